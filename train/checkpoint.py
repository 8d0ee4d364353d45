"""A finished training run, opened for use: its configuration and its network.

A run folder (or the `model.keras` in it) enters; a `Checkpoint` leaves, checked against the
record beside it. `Scorer` averages the logits of one or several of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from edge_app.errors import ConfigError
from edge_app.images.labelled_pictures import LabelledPicture, split_hash
from edge_app.images.preprocess import PreprocessSpec, preprocess
from edge_app.images.read import read_image
from train.config import Config
from train.record import CHECKPOINT, RECORD, Record, file_sha256, identity_of, read_record
from train.splits import Splits, make_splits

if TYPE_CHECKING:
    import keras

    from train.lung_finder import LungFinder

T = TypeVar("T")
Reader = Callable[[T, PreprocessSpec], npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint file and what its record says.

    Attributes:
        path: the .keras file.
        config: the configuration that it was trained by.
        record: run.json.
        sha256: of the file.
    """

    path: Path
    config: Config
    record: Record
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Find a checkpoint and its record; the network is not loaded yet.

    Raises:
        ConfigError: no checkpoint or no record there, the run is not finished, or the record is of
            another checkpoint.
    """
    file = path / CHECKPOINT if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"{file}: no such checkpoint")
    record = read_record(file.parent)
    if record is None:
        raise ConfigError(f"{file.parent / RECORD} is missing: a checkpoint needs its record")
    if not record.get("finished"):
        raise ConfigError(
            f"{file}: this run is not finished; its checkpoint will change (the same `fit` goes on)"
        )
    sha256 = file_sha256(file)
    if record.get("checkpoint_sha256", sha256) != sha256:
        raise ConfigError(f"{file} is not the checkpoint that {RECORD} beside it records")
    return Checkpoint(file, identity_of(record, file.parent / RECORD).config, record, sha256)


def load_network(checkpoint: Checkpoint) -> "keras.Model":
    """The network of a checkpoint.

    Raises:
        ConfigError: the file is damaged, or holds another network than its configuration
            describes.
    """
    import keras

    from train.trainer import build

    try:
        network = keras.saving.load_model(checkpoint.path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what the damaged part happens to raise
        text = " ".join(str(error).split())[:300]
        raise ConfigError(f"{checkpoint.path}: Keras cannot load it: {text}") from error
    expected = build(checkpoint.config)

    def shapes(model: keras.Model) -> list[tuple[int, ...]]:
        return [tuple(weight.shape) for weight in model.weights]

    if network.input_shape != expected.input_shape or shapes(network) != shapes(expected):
        raise ConfigError(f"{checkpoint.path} holds another network than {RECORD} describes")
    return network


def held_out(checkpoint: Checkpoint, samples: Sequence[LabelledPicture]) -> Splits:
    """The split that the checkpoint was trained on, made again from the same data.

    Raises:
        ConfigError: the data is not the one that the run saw, so what it held out is not known.
    """
    splits = make_splits(samples, checkpoint.config.split, checkpoint.config.seed)
    for side in ("train", "validation"):
        pictures: tuple[LabelledPicture, ...] = getattr(splits, side)
        recorded = checkpoint.record.get(f"{side}_sha256")
        if split_hash(picture.identity for picture in pictures) != recorded:
            raise ConfigError(
                f"{checkpoint.path}: was trained on other data; what it held out of this is unknown"
            )
    return splits


class Scorer:
    """Logits of one checkpoint, or the mean logit of several (an ensemble).

    Args:
        checkpoints: at least one; each prepares pictures its own way.
        mirror: average with the logit of the mirrored picture (test-time augmentation).
        locator: finds the lungs for checkpoints that see nothing else.

    Raises:
        ConfigError: such a checkpoint without a locator, a locator that none needs, or a
            locator among the checkpoints.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        *,
        mirror: bool = False,
        locator: Checkpoint | None = None,
    ) -> None:
        _check_roles(checkpoints, locator)
        self.checkpoints, self.mirror = tuple(checkpoints), mirror
        self.finder = None if locator is None else _finder(locator)
        self._networks = [load_network(checkpoint) for checkpoint in checkpoints]

    def outputs(self, items: Sequence[T], read: Reader[T]) -> dict[str, npt.NDArray[np.float32]]:
        """`logit` and, where every network has it, `subtype_logit`: float32 (n,).

        Args:
            items: n of whatever `read` understands; each is read once a network and view.
            read: gives (height, width) uint8 or uint16 for an item and a preprocessing.
        """
        from train.predict import predict

        parts = []
        for network, checkpoint in zip(self._networks, self.checkpoints, strict=True):
            spec = checkpoint.config.preprocess
            for mirrored in (False, True) if self.mirror else (False,):
                view = partial(_view, read, spec, mirrored)
                parts.append(predict(network, self.inputs(items, view, checkpoint.config)))
        return {
            name: np.mean([part[name][:, 0] for part in parts], axis=0)
            for name in ("logit", "subtype_logit")
            if all(name in part for part in parts)
        }

    def inputs(
        self, items: Sequence[T], read: Callable[[T], npt.NDArray[np.generic]], config: Config
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """What a network of this configuration is shown of each item: (1, height, width, 1)."""
        from train.predict import BATCH_SIZE, ahead, batched

        if self.finder is None or config.read is None:
            yield from ahead(items, lambda item: preprocess(read(item), config.preprocess))
            return
        from train.lung_finder import frame_or_whole

        margin = config.read.margin
        for batch in batched(ahead(items, read), BATCH_SIZE):
            for pixels, box in self.finder.upright(batch):
                yield preprocess(pixels, config.preprocess, frame_or_whole(box, margin))

    def logits(self, items: Sequence[T], read: Reader[T]) -> npt.NDArray[np.float32]:
        """As `outputs`, the logit alone: float32 (n,)."""
        return self.outputs(items, read)["logit"]


def _check_roles(checkpoints: Sequence[Checkpoint], locator: Checkpoint | None) -> None:
    for checkpoint in checkpoints:
        if checkpoint.config.locator is not None:
            raise ConfigError(f"{checkpoint.path} finds lungs and reads none: give it as --locator")
        if checkpoint.config.read is not None and locator is None:
            raise ConfigError(f"{checkpoint.path} is shown the lungs alone: give it a --locator")
    if locator is not None and all(checkpoint.config.read is None for checkpoint in checkpoints):
        raise ConfigError("these networks see whole pictures: --locator would go unused")


def _finder(locator: Checkpoint) -> "LungFinder":
    from train.lung_finder import LungFinder

    return LungFinder(locator)


def read_file(path: Path, spec: PreprocessSpec) -> npt.NDArray[np.generic]:
    """A file's pixels, decoded as the edge app decodes them."""
    return read_image(path, spec=spec).pixels


def _view(
    read: Reader[T], spec: PreprocessSpec, mirrored: bool, item: T
) -> npt.NDArray[np.generic]:
    pixels = read(item, spec)
    return np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels
