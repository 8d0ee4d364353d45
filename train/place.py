"""What frame and place alone predict: the lungs' box, the margins, the ring at the picture's rim.

Samples and outlines enter, AUROCs leave. Nothing here looks into the lungs: where one of these
comes near 1, a network can learn how a picture was framed instead of what is in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.lung_frame import Frame
from edge_app.progress import track
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure
from train.cache import read_grey
from train.outlines import Outlines, read_mask
from train.reader_views import frame_of
from train.tables import markdown_table, short

# Pictures are looked at in so many cells a side, of which a ring so wide is shown.
_CELLS, _RING = 28, 4
_PARTS = 5
# Of the ridge's penalty, relative to the number of pictures.
_PENALTY = 0.1
_MARGIN = 0.03

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """How well something beside the lungs predicts the label.

    Attributes:
        name: what was looked at.
        auroc: on patients that the prediction was not fitted on; of one number, as it is.
    """

    name: str
    auroc: Figure


def predict_by_place(samples: Sequence[LabelledPicture], outlines: Outlines) -> tuple[Place, ...]:
    """AUROCs of the box's numbers, and of ridge regressions on the box and on the rim.

    The regressions are cross-fitted over patients in five parts.
    """
    known = [sample for sample in samples if sample.name in outlines.by_name]
    rims = [_predict(name, values, known) for name, values in _rims(known, outlines).items()]
    return (*box_places(known, outlines), *rims)


def box_places(samples: Sequence[LabelledPicture], outlines: Outlines) -> tuple[Place, ...]:
    """AUROCs of what the lungs' boxes say, each number alone and all together."""
    labels = np.array([sample.label for sample in samples])
    patients = [sample.patient_id for sample in samples]
    boxes = np.array([outlines.by_name[sample.name].box for sample in samples])
    left, top, right, bottom = boxes.T
    numbers = {
        "height of the lungs' box": bottom - top,
        "width of the lungs' box": right - left,
        "margin at the left": left,
        "margin at the top": top,
        "margin at the right": 1 - right,
        "margin at the bottom": 1 - bottom,
    }
    squares = [boxes[:, i] * boxes[:, j] for i in range(4) for j in range(i, 4)]
    together = np.column_stack([boxes, *squares])
    return (
        *(
            Place(name, metrics.auroc_delong(labels, values, groups=patients))
            for name, values in numbers.items()
        ),
        _predict("the box's four numbers together", together, samples),
    )


def _predict(name: str, values: Floats, samples: Sequence[LabelledPicture]) -> Place:
    labels = np.array([sample.label for sample in samples])
    patients = [sample.patient_id for sample in samples]
    scores = _cross_fitted(values, labels, patients)
    return Place(name, metrics.auroc_delong(labels, scores, groups=patients))


def in_words(places: Sequence[Place]) -> str:
    """The findings as a Markdown table."""
    rows = [(place.name, short(place.auroc), str(place.auroc.n)) for place in places]
    return markdown_table(("without a look into the lungs", "AUROC", "n"), rows)


def _rims(samples: Sequence[LabelledPicture], outlines: Outlines) -> dict[str, Floats]:
    """The rim of the picture, of the lungs' frame, and of that frame with the lungs blacked out."""
    rims: dict[str, list[Floats]] = {
        f"outer ring of the picture, {_RING} of {_CELLS} cells": [],
        "outer ring of the lungs' frame (lung reaches into it)": [],
        "all of the lungs' frame but the lungs, black": [],
    }
    inner = np.zeros((_CELLS, _CELLS), bool)
    inner[_RING:-_RING, _RING:-_RING] = True
    for sample in track(samples, "rims", len(samples)):
        outline = outlines.by_name[sample.name]
        assert outline.box is not None
        assert outline.mask is not None
        pixels = read_grey(sample.path)
        frame = frame_of(outline.box, _MARGIN)
        framed = _cells(pixels, frame)
        lungs = _cells(read_mask(outline.mask).astype(np.uint8) * 255, frame) > 5
        values = (_cells(pixels)[~inner], framed[~inner], np.where(lungs, 0, framed).ravel())
        for column, value in zip(rims.values(), values, strict=True):
            column.append(value)
    return {name: np.array(column) for name, column in rims.items()}


def _cells(pixels: npt.NDArray[np.uint8], frame: Frame | None = None) -> Floats:
    """Mean greys of the cells: (cells, cells)."""
    height, width = pixels.shape
    box = None
    if frame is not None:
        box = (frame.left * width, frame.top * height, frame.right * width, frame.bottom * height)
    image = Image.fromarray(pixels, mode="L").resize((_CELLS, _CELLS), Image.Resampling.BOX, box)
    return np.asarray(image, np.float64)


def _cross_fitted(values: Floats, labels: npt.NDArray[np.intp], patients: Sequence[str]) -> Floats:
    """Ridge regression of the label, each part predicted from the other parts' patients."""
    scaled = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
    order = {name: i for i, name in enumerate(sorted(set(patients)))}
    # By the patient's rank, so that neighbours in name are spread over the parts.
    parts = np.array([order[name] % _PARTS for name in patients])
    scores = np.zeros(len(labels))
    for part in range(_PARTS):
        inside, outside = parts == part, parts != part
        x = np.column_stack([scaled[outside], np.ones(outside.sum())])
        # Classes weigh alike, as an AUROC has it.
        share = labels[outside].mean()
        weight = np.where(labels[outside] == 1, 0.5 / share, 0.5 / (1 - share))
        penalty = _PENALTY * outside.sum() * np.eye(x.shape[1])
        penalty[-1, -1] = 0
        gram = (x * weight[:, np.newaxis]).T @ x + penalty
        solution = np.linalg.solve(
            gram, (x * weight[:, np.newaxis]).T @ (2.0 * labels[outside] - 1)
        )
        scores[inside] = np.column_stack([scaled[inside], np.ones(inside.sum())]) @ solution
    return scores
