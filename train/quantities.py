"""Quantities of a picture's file that no diagnosis may rest on: size, sharpness, compression.

A path enters, `Quantities` leave. `audit` asks whether they tell the classes apart, `probe`
whether a network's score follows them.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.images.read import read_image
from train.cache import eight_bits

# Share of the sides that counts as border, and of the grey range that counts as dark.
_BORDER = 0.05
_DARK = 0.1


@dataclass(frozen=True, slots=True)
class Quantities:
    """What a file gives away without a look at the lungs; NaN where it does not apply.

    Attributes:
        bytes_per_pixel: of the compressed file.
        jpeg_quantization: sum of the luminance table; higher is coarser (about 330 at quality
            95, 1858 at quality 75). NaN for a file that is no JPEG.
        sharpness: mean absolute Laplacian in grey values.
        pixel_count, width, height: in pixels, as stored.
        aspect_ratio: width / height.
        mean_grey: mean over the picture, 0 to 255.
        border_darkness: share of the outer 5% that is darker than a tenth of the range.
    """

    bytes_per_pixel: float
    jpeg_quantization: float
    sharpness: float
    pixel_count: float
    width: float
    height: float
    aspect_ratio: float
    mean_grey: float
    border_darkness: float


NAMES = tuple(field.name for field in fields(Quantities))


def measure(path: Path) -> tuple[Quantities, npt.NDArray[np.uint8]]:
    """Quantities of one file, and its pixels as (height, width) uint8 to compare with others'.

    Quantities are those of the grey values as stored; the pixels of a deep picture fill 8 bits.

    Raises:
        InputError: the picture cannot be read.
    """
    radiograph = read_image(path)
    scale = np.float32(255 / radiograph.max_value)
    grey = np.rint(radiograph.pixels.astype(np.float32) * scale).astype(np.uint8)
    width, height = radiograph.original_size
    measured = Quantities(
        bytes_per_pixel=path.stat().st_size / (width * height),
        jpeg_quantization=_quantization(path) if radiograph.source_format == "JPEG" else math.nan,
        sharpness=sharpness(grey),
        pixel_count=width * height,
        width=width,
        height=height,
        aspect_ratio=width / height,
        mean_grey=float(grey.mean()),
        border_darkness=_border_darkness(grey),
    )
    return measured, eight_bits(radiograph.pixels)


def sharpness(pixels: npt.NDArray[np.uint8]) -> float:
    """Mean absolute Laplacian (four neighbours) in grey values; 0 below 3 x 3 pixels."""
    if min(pixels.shape) < 3:
        return 0.0
    values = pixels.astype(np.int16)
    laplacian = (
        4 * values[1:-1, 1:-1]
        - values[:-2, 1:-1]
        - values[2:, 1:-1]
        - values[1:-1, :-2]
        - values[1:-1, 2:]
    )
    return float(np.abs(laplacian).mean())


def _quantization(path: Path) -> float:
    with Image.open(path) as image:
        tables = getattr(image, "quantization", {})
    return float(sum(tables[0])) if 0 in tables else math.nan


def _border_darkness(pixels: npt.NDArray[np.uint8]) -> float:
    height, width = pixels.shape
    y, x = max(1, round(_BORDER * height)), max(1, round(_BORDER * width))
    inner = np.zeros(pixels.shape, bool)
    inner[y : height - y, x : width - x] = True
    return float((pixels[~inner] < _DARK * 255).mean())
