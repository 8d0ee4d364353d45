"""Quality of the picture as a radiographer says it: measures from the lungs' outline and frame.

What both looks saw enters, a number a measure leaves, and which of them are unusual: outside of
the range in which most validation pictures lie, which the bundle holds. They are shown and never
used: no answer depends on them, but for pictures so burnt out that `picture_checks` refuses them.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edge_app.images.lung_box import LungBox
from edge_app.images.lung_grid import GRID
from edge_app.images.preprocess import percentile_of_counts
from edge_app.runtimes.base import Floats
from edge_app.screening.flaws import EXPOSURE_FLAWS, FLAWS, flags_of, own_ranges, set_flags
from edge_app.screening.picture_checks import burnt_out

Grey = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.intp]
_GREYS = np.arange(256.0)
_LUNG = 0.5
MEASURES = tuple(flaw.measure for flaw in FLAWS)
FLAGS = flags_of((*FLAWS, *EXPOSURE_FLAWS))


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
    - `black_in_lungs`, `white_beside_lungs`: as of `picture_checks.burnt_out`.

    Args:
        lungs: float32 (`GRID`, `GRID`), as of `images.lung_grid.lungs_in_box`.
        box: of the lungs.
        seen: uint8 (1, h, w, 1), what the reader was shown.
        size: (height, width) of the upright picture in pixels.
    """
    mask = lungs >= _LUNG
    wide, high = box.width * size[1], box.height * size[0]
    grey = seen[0, :, :, 0]
    rows, columns = (np.arange(side) * GRID // side for side in grey.shape)
    # Of bytes, counts say all that is asked, several times faster than the bytes themselves.
    lung = _counts(grey[mask[np.ix_(rows, columns)]])
    whole = _counts(grey.ravel())
    return {
        "tilt_degrees": _tilt(mask, wide, high),
        "lungs_unequal": _unequal(mask),
        "lungs_height": high / wide,
        "contrast": (_mean(whole - lung) - _mean(lung)) / 255,
        "sharpness": _sharpness(grey, whole),
        "bright_in_lungs": percentile_of_counts(lung.cumsum(), 99) / 255 if lung.any() else 0.0,
        "clipped": float(max(whole[0], whole[-1]) / grey.size),
        **burnt_out(lung, whole - lung),
    }


def quality_of(
    measures: Mapping[str, float], usual: Mapping[str, tuple[float, float]]
) -> dict[str, bool]:
    """Which flags the measures set, given the usual range of each."""
    return set_flags((*FLAWS, *EXPOSURE_FLAWS), measures, {**own_ranges(), **usual})


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


def _sharpness(grey: npt.NDArray[np.uint8], counts: Counts) -> float:
    grey_16 = grey.astype(np.int16)
    around = grey_16[:-2, 1:-1] + grey_16[2:, 1:-1] + grey_16[1:-1, :-2] + grey_16[1:-1, 2:]
    edges = np.abs(4 * grey_16[1:-1, 1:-1] - around)
    mean = _mean(counts)
    spread = float(np.sqrt(counts @ (_GREYS - mean) ** 2 / grey.size))
    return float(edges.sum(dtype=np.int64)) / edges.size / (spread + 1)


def _counts(greys: npt.NDArray[np.uint8]) -> Counts:
    """(256,) how often each grey is among them."""
    return np.bincount(greys, minlength=256)


def _mean(counts: Counts) -> float:
    n = int(counts.sum())
    return float(counts @ _GREYS) / n if n else 0.0
