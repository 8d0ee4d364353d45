"""What training a locator needs besides the loop: batches of views, and how good it is.

Samples with outlines and unlabelled pictures enter; batches and figures leave. Every epoch shows
each picture of the training patients once, each picture of other sites that has an outline
`_ADULTS` times, the other frontal films once, and composed pictures in between.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from edge_app.images.framing import FRAMINGS, Framing, frame_outline, frame_picture
from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.lung_box import LungBox, LungBoxSpec, find_lung_box
from edge_app.images.preprocess import preprocess
from train.cache import Cache
from train.config import Config
from train.loader import Batch
from train.locator_views import (
    View,
    composed_lateral,
    drawn_nothing,
    no_chest,
    random_view,
    without_lungs,
)
from train.outlines import Mask, Outline, Outlines, box_of, read_mask
from train.predict import predict

FORMS = (Framing("stored"), *FRAMINGS)
"""In which a locator and a reader of lungs are judged."""
# Outlined adults are few, and the only ones who are not children.
_ADULTS = 6
BOX = LungBoxSpec(threshold=0.5, smallest_part=0.2, left=0.45, top=0.5, right=0.42, bottom=0.19)
"""How a box is read off the map while training; export takes the same numbers."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One picture of an epoch, and its outline's file."""

    outline: Outline
    mask: Mask | None


class LocatorTask:
    """Batches for a locator, and its validation.

    Args:
        config: with the tables `locator` and `locate`.
        train, validation: labelled pictures; those without an outline are passed over.
        outlines: theirs, and unlabelled pictures.
        cache: holds all of them.
    """

    criterion = "val_box_iou"

    def __init__(
        self,
        config: Config,
        train: Sequence[LabelledPicture],
        validation: Sequence[LabelledPicture],
        outlines: Outlines,
        cache: Cache,
    ) -> None:
        assert config.locator is not None
        assert config.locate is not None
        self._config, self._cache = config, cache
        self._cells = config.locator.cells[0]
        others = outlines.used("train")
        named = [outlines.by_name[s.name] for s in train if s.name in outlines.by_name]
        adults = [other for other in others if other.mask is not None]
        films = [other for other in others if other.mask is None and other.view == "frontal"]
        self._sources = _read_masks([*named, *adults, *films])
        once = len(named)
        self._order = [
            *range(once),
            *list(range(once, once + len(adults))) * _ADULTS,
            *range(once + len(adults), len(self._sources)),
        ]
        self._negatives = [other for other in others if other.view == "none"]
        self._validation = _read_masks(
            [outlines.by_name[s.name] for s in validation if s.name in outlines.by_name]
        )

    @property
    def n_train(self) -> int:
        """Pictures an epoch."""
        return len(self._order)

    def batches(self, epoch: int) -> "LocatorBatches":
        """One epoch."""
        return LocatorBatches(self, epoch)

    def ready(self, batch: Batch) -> Batch:
        """As it is: nobody teaches a locator."""
        return batch

    def view(self, epoch: int, index: int) -> View:
        """View `index` of an epoch; follows from (seed, epoch, index)."""
        config = self._config
        assert config.locate is not None
        assert config.degrade is not None
        rng = np.random.default_rng([config.seed, epoch, index])
        source = self._sources[self._order[index]]
        pixels = self._cache.read(source.outline.path)
        if rng.random() < config.locate.p_composed:
            kind = rng.random()
            if kind < 0.35 and source.mask is not None:
                return composed_lateral(pixels, source.mask, config.degrade, rng)
            if kind < 0.6 and source.mask is not None:
                piece = without_lungs(pixels, source.mask, self._cells, config.degrade, rng)
                if piece is not None:
                    return piece
            if kind < 0.9 and self._negatives:
                negative = self._negatives[int(rng.integers(len(self._negatives)))]
                return no_chest(self._cache.read(negative.path), self._cells, config.degrade, rng)
            return drawn_nothing(self._cells, config.degrade, rng)
        neighbour = self._sources[int(rng.integers(len(self._sources)))]
        return random_view(
            pixels,
            source.mask,
            self._cache.read(neighbour.outline.path),
            config.locate,
            config.degrade,
            self._cells,
            rng,
        )

    def batch(self, views: Sequence[View]) -> Batch:
        """Views as arrays; what is not known of one weighs nothing."""
        cells = self._cells
        empty = np.zeros((cells, cells), np.float32)
        pictures = np.concatenate([preprocess(v.pixels, self._config.preprocess) for v in views])
        open_edges = np.full(4, 0.5, np.float32)
        return Batch(
            pictures=pictures,
            targets={
                "lungs": np.stack([empty if v.lungs is None else v.lungs for v in views])[
                    ..., np.newaxis
                ],
                "orientation": np.eye(4, dtype=np.float32)[[v.quarter or 0 for v in views]],
                "view": np.eye(3, dtype=np.float32)[[v.view for v in views]],
                "cut_off": np.stack(
                    [open_edges if v.cut_off is None else v.cut_off for v in views]
                ),
            },
            weights={
                "lungs": _column(v.lungs is not None for v in views),
                "orientation": _column(v.quarter is not None for v in views),
                "view": _column(True for _ in views),
                "cut_off": _column(v.cut_off is not None for v in views),
            },
        )

    def validate(self, network: keras.Model) -> tuple[dict[str, float], list[dict[str, object]]]:
        """Boxes of held-out pictures in every framing: figures, and a row a picture and form."""
        rows: list[dict[str, object]] = []
        figures: dict[str, list[float]] = {"iou": [], "within": [], "error": []}
        for framing in FORMS:
            boxes = self._boxes(network, framing)
            for source, found in zip(self._validation, boxes, strict=True):
                assert source.mask is not None
                truth = box_of(frame_outline(source.mask, framing))
                edges = (found.left, found.top, found.right, found.bottom) if found else (0.0,) * 4
                errors = np.abs(np.subtract(edges, truth))
                figures["iou"].append(box_iou(edges, truth))
                figures["within"].append(float(errors.max() <= 0.05))
                figures["error"].append(float(errors.mean()))
                row: dict[str, object] = {"file": source.outline.name, "framing": framing.name}
                rows.append(
                    row
                    | {f"true_{s}": f"{v:.4f}" for s, v in zip(_SIDES, truth, strict=True)}
                    | {s: f"{v:.4f}" for s, v in zip(_SIDES, edges, strict=True)}
                    | {"certainty": f"{found.certainty:.4f}" if found else ""}
                )
        count = len(self._validation)
        summary = {"val_box_iou": round(float(np.mean(figures["iou"])), 5)}
        summary["val_stored_iou"] = round(float(np.mean(figures["iou"][:count])), 5)
        summary["val_stored_within_5"] = round(float(np.mean(figures["within"][:count])), 5)
        summary["val_box_error"] = round(float(np.mean(figures["error"])), 5)
        return summary, rows

    def _boxes(self, network: keras.Model, framing: Framing) -> Iterator[LungBox | None]:
        spec = self._config.preprocess

        def prepared(source: _Source) -> npt.NDArray[np.uint8]:
            return preprocess(frame_picture(self._cache.read(source.outline.path), framing), spec)

        maps = predict(network, (prepared(source) for source in self._validation))["lungs"]
        return (find_lung_box(logits[..., 0], BOX) for logits in maps)


_SIDES = ("left", "top", "right", "bottom")


class LocatorBatches:
    """One epoch of shuffled batches; the incomplete last one is left out."""

    def __init__(self, task: LocatorTask, epoch: int) -> None:
        self._task, self._epoch = task, epoch
        config = task._config
        self._size = config.optimizer.batch_size
        self._order = np.random.default_rng([config.seed, epoch]).permutation(task.n_train)

    def __len__(self) -> int:
        return len(self._order) // self._size

    def __getitem__(self, index: int) -> Batch:
        chosen = self._order[index * self._size : (index + 1) * self._size].tolist()
        return self._task.batch([self._task.view(self._epoch, i) for i in chosen])


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes: left, top, right, bottom."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both) if areas > both else 0.0


def _read_masks(outlines: Sequence[Outline]) -> list[_Source]:
    def read(outline: Outline) -> _Source:
        return _Source(outline, None if outline.mask is None else read_mask(outline.mask))

    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, outlines))


def _column(values: Iterator[bool]) -> npt.NDArray[np.float32]:
    return np.array(list(values), np.float32)[:, np.newaxis]
