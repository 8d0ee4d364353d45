"""Draws a radiograph's small picture for the report.

A decoded `Radiograph` and its answer enter; a `Thumbnail` leaves: a grey JPEG of about 9 kB and the
activation map as numbers, which the report draws as contours. Nothing here is written to disk.
"""

import io
from binascii import b2a_base64

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.images.lung_frame import WHOLE
from edge_app.images.radiograph import Radiograph
from edge_app.report.thumbnail import Thumbnail
from edge_app.screening.refusals import MIN_GREY_LEVELS
from edge_app.screening.screener import ScreeningResult

LONGEST_SIDE = 320
_JPEG_QUALITY = 72
_LOW_PERCENTILE, _HIGH_PERCENTILE = 0.5, 99.5


def make_thumbnail(file: str, radiograph: Radiograph, result: ScreeningResult) -> Thumbnail:
    """Draw the thumbnail of a screened radiograph."""
    turns = 0 if result.lungs is None else result.lungs.quarter_turns
    image = shrink(radiograph, turns, LONGEST_SIDE)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_JPEG_QUALITY)
    grid, frame = result.activation_map, result.frame or WHOLE
    rows = [] if grid is None else np.asarray(grid, np.float64).round(2).tolist()
    return Thumbnail(
        file=file,
        decision=result.decision.value,
        raw_score=result.raw_score,
        width=image.width,
        height=image.height,
        jpeg=b2a_base64(stream.getvalue(), newline=False).decode("ascii"),
        frame=(frame.left, frame.top, frame.right, frame.bottom),
        activation_map=tuple(tuple(row) for row in rows),
    )


def shrink(radiograph: Radiograph, quarter_turns: int, longest_side: int) -> Image.Image:
    """Mode L, upright, its longest side so long, contrast stretched over what is in it.

    A picture without contrast, which is refused, keeps its own grey: stretched, a blank film would
    be black and a noisy one look like a picture.
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
    if (high - low) * radiograph.max_value / 255 < MIN_GREY_LEVELS:
        low, high = 0.0, 255.0
    small = np.rot90(small, -quarter_turns)
    if small.dtype == np.uint8:  # the same arithmetic, once for each of the 256 values
        return Image.fromarray(_stretch(np.arange(256), low, high).take(small))
    return Image.fromarray(_stretch(small, low, high))


def _grey_range(small: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Percentiles of the grey values; of bytes from their counts, ten times faster."""
    percents = _LOW_PERCENTILE, _HIGH_PERCENTILE
    if small.dtype != np.uint8:
        low, high = np.percentile(small.astype(np.float32), percents)
    else:
        ends = np.cumsum(np.bincount(small.ravel(), minlength=256))
        low, high = np.searchsorted(ends, np.multiply(percents, ends[-1] / 100))
    return float(low), float(high)


def _stretch(values: npt.NDArray[np.generic], low: float, high: float) -> npt.NDArray[np.uint8]:
    stretched = np.rint((values.astype(np.float32) - low) * (255 / (high - low)))
    grey: npt.NDArray[np.uint8] = np.clip(stretched, 0, 255).astype(np.uint8)
    return grey
