"""Quality of the picture as a radiographer says it: measures from the lungs' outline and frame.

What both looks saw enters, a number a measure leaves, and which of them are unusual: outside of
the range in which most validation pictures lie, which the bundle holds. They are shown and never
used: no answer depends on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.images.lung_box import LungBox
from edge_app.images.lung_grid import GRID
from edge_app.runtimes.base import Floats

Grey = npt.NDArray[np.uint8]
_LUNG = 0.5


@dataclass(frozen=True, slots=True)
class Flaw:
    """A measure, the flags that it sets, and what they say.

    Attributes:
        measure: its name.
        below, above: the flag that is set under or over the usual range, None where nothing is.
    """

    measure: str
    below: str | None
    above: str | None


FLAWS = (
    Flaw("tilt_degrees", "tilted", "tilted"),
    Flaw("lungs_unequal", "patient_rotated", "patient_rotated"),
    Flaw("lungs_height", "poor_inspiration", None),
    Flaw("contrast", "low_penetration", "high_penetration"),
    Flaw("sharpness", "blurred", None),
    Flaw("bright_in_lungs", None, "foreign_object"),
    Flaw("clipped", None, "clipped"),
)
MEASURES = tuple(flaw.measure for flaw in FLAWS)
FLAGS = tuple(
    dict.fromkeys(name for flaw in FLAWS for name in (flaw.below, flaw.above) if name is not None)
)


def measure_quality(
    lungs: Floats, box: LungBox, seen: Grey, size: tuple[int, ...]
) -> dict[str, float]:
    """Every measure of one picture.

    - `tilt_degrees`: of the line through both lungs' centers against the picture's rows,
      positive where the lung on the picture's right lies lower.
    - `lungs_unequal`: logarithm of the area of the lung on the picture's left over the other's;
      a patient who is turned, or a lung that is white, makes one small.
    - `lungs_height`: height of the lungs' box over its width, in the picture's own pixels: little
      air was breathed in, or the picture was squashed.
    - `contrast`: mean grey of what is no lung minus that of the lungs, as a share of the range.
    - `sharpness`: mean absolute Laplacian of the frame over its deviation.
    - `bright_in_lungs`: 99th percentile of grey within the lungs, as a share of the range.
    - `clipped`: the larger of the frame's shares that are all black and all white.

    Args:
        lungs: float32 (`GRID`, `GRID`), as of `images.lung_grid.lungs_in_box`.
        box: of the lungs.
        seen: uint8 (1, h, w, 1), what the reader was shown.
        size: (height, width) of the upright picture in pixels.
    """
    mask = lungs >= _LUNG
    wide, high = box.width * size[1], box.height * size[0]
    grey = seen[0, :, :, 0].astype(np.float32)
    rows, columns = (np.arange(side) * GRID // side for side in grey.shape)
    inside = mask[np.ix_(rows, columns)]
    lung, other = grey[inside], grey[~inside]
    return {
        "tilt_degrees": _tilt(mask, wide, high),
        "lungs_unequal": _unequal(mask),
        "lungs_height": high / wide,
        "contrast": (_mean(other) - _mean(lung)) / 255,
        "sharpness": _sharpness(grey),
        "bright_in_lungs": float(np.percentile(lung, 99)) / 255 if lung.size else 0.0,
        "clipped": float(max(np.mean(grey == 0), np.mean(grey == 255))),
    }


def quality_of(
    measures: Mapping[str, float], usual: Mapping[str, tuple[float, float]]
) -> dict[str, bool]:
    """Which flags the measures set, given the usual range of each."""
    flags = dict.fromkeys(FLAGS, False)
    for flaw in FLAWS:
        low, high = usual[flaw.measure]
        value = measures[flaw.measure]
        if value < low and flaw.below is not None:
            flags[flaw.below] = True
        if value > high and flaw.above is not None:
            flags[flaw.above] = True
    return flags


def _tilt(mask: npt.NDArray[np.bool_], wide: float, high: float) -> float:
    half = GRID // 2
    left, right = np.argwhere(mask[:, :half]), np.argwhere(mask[:, half:])
    if not len(left) or not len(right):
        return 0.0
    row, column = right.mean(axis=0) - left.mean(axis=0) + (0, half)
    return float(np.degrees(np.arctan2(row * high, column * wide)))


def _unequal(mask: npt.NDArray[np.bool_]) -> float:
    half = GRID // 2
    return float(np.log((mask[:, :half].sum() + 1) / (mask[:, half:].sum() + 1)))


def _sharpness(grey: Floats) -> float:
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.abs(4 * grey[1:-1, 1:-1] - around).mean() / (grey.std() + 1))


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else 0.0
