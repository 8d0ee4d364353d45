"""A radiograph as people look at it: upright, reduced, 8 bits, its greys stretched.

A `Radiograph` enters, a (height, width) uint8 array leaves. No network is shown this.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.images.radiograph import Radiograph

_MOST_SORTED = 1 << 19
_LOW_PERCENTILE, _HIGH_PERCENTILE = 0.5, 99.5


def display(
    radiograph: Radiograph, quarter_turns: int, longest_side: int, least_levels: int
) -> npt.NDArray[np.uint8]:
    """The picture for people.

    A picture without contrast, which is refused, keeps its own grey: stretched, a blank film would
    be black and a noisy one look like a picture.

    Args:
        radiograph: what to show.
        quarter_turns: by which it lies turned counter-clockwise.
        longest_side: of the result, in pixels; smaller pictures are enlarged.
        least_levels: grey levels in source units from which on they are stretched.
    """
    pixels = radiograph.pixels
    if pixels.dtype == np.uint8:
        image = Image.fromarray(pixels)
    else:
        image = Image.fromarray(pixels.astype(np.float32) * np.float32(255 / radiograph.max_value))
    scale = longest_side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.5))
    low, high = _grey_range(small)
    if (high - low) * radiograph.max_value / 255 < least_levels:
        low, high = 0.0, 255.0
    small = np.rot90(small, -quarter_turns)
    if small.dtype == np.uint8:  # the same arithmetic, once for each of the 256 values
        return _stretch(np.arange(256), low, high).take(small)
    return _stretch(small, low, high)


def _grey_range(small: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Percentiles of the grey values; of bytes from their counts, ten times faster."""
    percents = _LOW_PERCENTILE, _HIGH_PERCENTILE
    if small.dtype != np.uint8:
        # Of a large picture every third row and column: sorting is most of the work.
        step = 3 if small.size > _MOST_SORTED else 1
        low, high = np.percentile(small[::step, ::step].astype(np.float32), percents)
    else:
        ends = np.cumsum(np.bincount(small.ravel(), minlength=256))
        low, high = np.searchsorted(ends, np.multiply(percents, ends[-1] / 100))
    return float(low), float(high)


def _stretch(values: npt.NDArray[np.generic], low: float, high: float) -> npt.NDArray[np.uint8]:
    stretched = np.rint((values.astype(np.float32) - low) * (255 / (high - low)))
    grey: npt.NDArray[np.uint8] = np.clip(stretched, 0, 255).astype(np.uint8)
    return grey
