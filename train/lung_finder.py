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
from train.predict import BATCH_SIZE, Picture, batched, predict_batch


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

    def boxes(self, pictures: Iterable[Picture]) -> Iterator[LungBox | None]:
        """The box in each (height, width) picture; None where no lung is seen."""
        for batch in batched(pictures, BATCH_SIZE):
            yield from self.boxes_of(batch)

    def boxes_of(self, pictures: Sequence[npt.NDArray[np.generic]]) -> list[LungBox | None]:
        """As `boxes`, for one batch."""
        spec = self.checkpoint.config.preprocess
        inputs = np.concatenate([preprocess(pixels, spec) for pixels in pictures])
        maps = predict_batch(self._network, inputs)["lungs"]
        return [find_lung_box(logits[..., 0], BOX) for logits in maps]


def frame_or_whole(box: LungBox | None, margin: float) -> Frame:
    """What the reader is shown.

    Where nothing is found the edge gives no answer; a figure needs one, so the whole picture is
    shown, and whoever reports counts such pictures.
    """
    return WHOLE if box is None else lung_frame(box, margin)
