"""A trained locator at work: pictures in, boxes of the lungs out, as the edge finds them."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edge_app.errors import ConfigError
from edge_app.images.lung_box import LungBox, find_lung_box
from edge_app.images.lung_frame import WHOLE, Frame, lung_frame
from edge_app.images.preprocess import preprocess
from train.checkpoint import Checkpoint, load_network
from train.locator_task import BOX
from train.predict import BATCH_SIZE, batched, predict_batch

# From this probability on a picture is put upright; what ships as `turned` (export).
TURNED = 0.9

Pixels = npt.NDArray[np.generic]


class LungFinder:
    """A locator.

    Args:
        checkpoint: of a configuration with the table `locator`.

    Raises:
        ConfigError: it is no locator's.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        if checkpoint.config.locator is None:
            raise ConfigError(f"{checkpoint.path}: not a locator's checkpoint")
        self.checkpoint = checkpoint
        self._network = load_network(checkpoint)

    def boxes(self, pictures: Iterable[Pixels]) -> Iterator[LungBox | None]:
        """The box in each (height, width) picture as it lies; None where no lung is seen."""
        for batch in batched(pictures, BATCH_SIZE):
            for _, box in self._look(batch):
                yield box

    def upright(self, pictures: Sequence[Pixels]) -> list[tuple[Pixels, LungBox | None]]:
        """Each picture of one batch, put upright where it surely is not, and the box in it."""
        found: list[tuple[Pixels, LungBox | None]] = []
        seen = self._look(pictures)
        for pixels, (turns, box) in zip(pictures, seen, strict=True):
            if turns:
                pixels = np.ascontiguousarray(np.rot90(pixels, -turns))
                ((_, box),) = self._look([pixels])
            found.append((pixels, box))
        return found

    def _look(self, pictures: Sequence[Pixels]) -> list[tuple[int, LungBox | None]]:
        """Quarter turns (0 where they are not sure) and the box of each picture."""
        spec = self.checkpoint.config.preprocess
        inputs = np.concatenate([preprocess(pixels, spec) for pixels in pictures])
        outputs = predict_batch(self._network, inputs)
        shares = np.exp(outputs["orientation"] - outputs["orientation"].max(axis=1, keepdims=True))
        sure = shares.max(axis=1) / shares.sum(axis=1) >= TURNED
        turns = np.where(sure, shares.argmax(axis=1), 0).tolist()
        boxes = [find_lung_box(logits[..., 0], BOX) for logits in outputs["lungs"]]
        return list(zip(turns, boxes, strict=True))


def frame_or_whole(box: LungBox | None, margin: float) -> Frame:
    """What the reader is shown.

    Where nothing is found the edge gives no answer; a figure needs one, so the whole picture is
    shown, and whoever reports counts such pictures.
    """
    return WHOLE if box is None else lung_frame(box, margin)
