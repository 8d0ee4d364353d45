"""The one way from a radiograph's pixels to the network's input.

A (height, width) uint8 or uint16 radiograph enters, bright meaning dense (MONOCHROME2); a uint8
(1, height, width, 1) array leaves. No file access, no randomness, no learned numbers: everything
that can vary stands in `PreprocessSpec`, which travels inside the model bundle. Training and the
benchmarks call this same function, so the picture that a clinic's file becomes is the picture
that the network was trained on.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.images.lung_frame import WHOLE, Frame
from edge_app.images.preprocess_spec import Antialiasing
from edge_app.images.preprocess_spec import PreprocessSpec as PreprocessSpec

_FILTERS: dict[Antialiasing | Literal["nearest"], Image.Resampling] = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


def preprocess(
    pixels: npt.NDArray[np.generic], spec: PreprocessSpec, frame: Frame | None = None
) -> npt.NDArray[np.uint8]:
    """Turn a radiograph, or the part of it that `frame` names, into the network's input.

    Args:
        pixels: (height, width) uint8 or uint16, bright = dense.
        spec: the bundle's preprocessing numbers.
        frame: the part to see; the whole picture where None.

    Returns:
        uint8 (1, spec.height, spec.width, 1), C-contiguous. A picture without contrast gives
        zeros; whether that may be scored is the screener's question.

    Raises:
        ValueError: `pixels` is not a two-dimensional uint8 or uint16 array.
    """
    resized = resize(pixels, spec, frame)
    return to_input(resized, spec, grey_range(resized, spec))


def resize(
    pixels: npt.NDArray[np.generic], spec: PreprocessSpec, frame: Frame | None = None
) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Resize to (spec.height, spec.width) in source units: uint8 stays so, uint16 gets float32.

    A frame's edges may lie between pixels: it is cut out and resized in one resampling.

    Raises:
        ValueError: `pixels` is not a two-dimensional uint8 or uint16 array.
    """
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"pixels must be (height, width) uint8 or uint16, not {pixels.shape} {pixels.dtype}"
        )
    if spec.resize_filter == "bilinear_without_antialiasing":
        return _resize_by_points(pixels, spec, frame or WHOLE)
    if pixels.dtype == np.uint8:
        image = Image.fromarray(np.ascontiguousarray(pixels), mode="L")
    else:
        # Pillow's 16-bit integer resampling lacks some filters; float32 holds 16 bits exactly.
        image = Image.fromarray(pixels.astype(np.float32), mode="F")
    size = (spec.width, spec.height)
    if frame is not None:
        width, height = image.size
        box = (frame.left * width, frame.top * height, frame.right * width, frame.bottom * height)
        image = image.resize(size, _FILTERS[spec.resize_filter], box)
    elif image.size != size:
        image = image.resize(size, _FILTERS[spec.resize_filter])
    return np.asarray(image)


def _resize_by_points(
    pixels: npt.NDArray[np.generic], spec: PreprocessSpec, frame: Frame
) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    """Bilinear between the four pixels around each point, however far apart the points lie.

    Centres of pixels lie at halves, as in TensorFlow's `tf.image.resize` (antialias=False).
    """
    height, width = pixels.shape
    top, bottom, down = _points(spec.height, frame.top * height, frame.bottom * height, height)
    left, right, across = _points(spec.width, frame.left * width, frame.right * width, width)
    corners = [
        [pixels[rows[:, np.newaxis], columns].astype(np.float32) for columns in (left, right)]
        for rows in (top, bottom)
    ]
    above, below = (first + (second - first) * across for first, second in corners)
    resized = above + (below - above) * down[:, np.newaxis]
    return np.rint(resized).astype(np.uint8) if pixels.dtype == np.uint8 else resized


def _points(
    n: int, start: float, end: float, length: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each of n points: the pixel before, the one after, and how far between (n,)."""
    places = start + (np.arange(n) + 0.5) * ((end - start) / n) - 0.5
    below = np.floor(places)
    last = length - 1
    return (
        np.clip(below, 0, last).astype(np.intp),
        np.clip(np.ceil(places), 0, last).astype(np.intp),
        (places - below).astype(np.float32),
    )


def to_input(
    resized: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    spec: PreprocessSpec,
    found: tuple[float, float],
) -> npt.NDArray[np.uint8]:
    """The network's input, (1, height, width, 1), of a resized picture with this `grey_range`."""
    if spec.range_region == 0:
        found = (0.0, 255.0 if resized.dtype == np.uint8 else 65535.0)
    return stretch(resized, *found)


def grey_range(
    resized: npt.NDArray[np.uint8] | npt.NDArray[np.float32], spec: PreprocessSpec
) -> tuple[float, float]:
    """Darkest and brightest grey: percentiles of the central region, in source units.

    They become 0 and 255, unless the greys are to stay as they are stored (`to_input`).

    They lie between neighbouring values as `np.percentile` has it; of bytes they are read off a
    histogram, ten times faster.
    """
    height, width = resized.shape
    region = spec.range_region or 1.0
    margin_y = round(height * (1 - region) / 2)
    margin_x = round(width * (1 - region) / 2)
    center = resized[margin_y : height - margin_y, margin_x : width - margin_x]
    percents = (spec.range_low_percentile, spec.range_high_percentile)
    if center.dtype == np.uint8:
        ends = np.cumsum(np.bincount(center.ravel(), minlength=256))
        low, high = (percentile_of_counts(ends, percent) for percent in percents)
        return low, high
    result = np.percentile(center, percents)
    return float(result[0]), float(result[1])


def stretch(
    resized: npt.NDArray[np.uint8] | npt.NDArray[np.float32], low: float, high: float
) -> npt.NDArray[np.uint8]:
    """Make `low` 0 and `high` 255: uint8 (1, height, width, 1); zeros where there is no range."""
    if high <= low:
        return np.zeros((1, *resized.shape, 1), np.uint8)
    if resized.dtype == np.uint8:
        # The same arithmetic, once for each of the 256 values that there can be.
        stretched = _stretch(np.arange(256, dtype=np.float32), low, high).take(
            np.asarray(resized, np.uint8)
        )
    else:
        stretched = _stretch(resized.astype(np.float32, copy=False), low, high)
    return stretched[np.newaxis, :, :, np.newaxis]


def percentile_of_counts(ends: npt.NDArray[np.intp], percent: float) -> float:
    """A percentile of values 0, 1, 2, ... from their cumulated counts."""
    rank = percent / 100 * (int(ends[-1]) - 1)
    below = int(rank)
    first, second = np.searchsorted(ends, (below, min(below + 1, int(ends[-1]) - 1)), side="right")
    return float(first + (second - first) * (rank - below))


def _stretch(values: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.uint8]:
    stretched = (values - np.float32(low)) * np.float32(255.0 / (high - low))
    np.rint(stretched, out=stretched)
    np.clip(stretched, 0, 255, out=stretched)
    return stretched.astype(np.uint8)
