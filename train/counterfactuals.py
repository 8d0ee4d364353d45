"""The same radiograph as another file would hold it: changes that must not change the answer.

A (height, width) uint8 picture, bright = dense, enters each function of `CHANGES`; the changed
picture leaves. Nothing is random, so a probe repeats. Amounts are what differs between clinics'
machines and programs, not what would destroy the picture.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from train.degrade import recompress

Picture = npt.NDArray[np.uint8]
Change = Callable[[Picture], Picture]

_REFERENCE_SIDE = 224


def _jpeg(quality: int, pixels: Picture) -> Picture:
    return np.asarray(recompress(Image.fromarray(pixels, mode="L"), quality))


def _resize(wider: float, taller: float, pixels: Picture) -> Picture:
    height, width = pixels.shape
    size = (max(1, round(width * wider)), max(1, round(height * taller)))
    image = Image.fromarray(pixels, mode="L")
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def _blur(pixels: Picture) -> Picture:
    """Gaussian blur with a sigma of one pixel of a 224-pixel picture."""
    image = Image.fromarray(pixels, mode="L")
    return np.asarray(image.filter(ImageFilter.GaussianBlur(_unit(pixels))))


def _sharpen(pixels: Picture) -> Picture:
    """Unsharp mask of 100% over one pixel of a 224-pixel picture."""
    image = Image.fromarray(pixels, mode="L")
    return np.asarray(image.filter(ImageFilter.UnsharpMask(_unit(pixels), 100, 0)))


def _gamma(exponent: float, pixels: Picture) -> Picture:
    """Grey values to a power: what no linear windowing undoes."""
    table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return table[pixels]


def _crop(share: float, pixels: Picture) -> Picture:
    height, width = pixels.shape
    y, x = round(share * height), round(share * width)
    return np.ascontiguousarray(pixels[y : height - y, x : width - x])


def _frame(share: float, grey: int, pixels: Picture) -> Picture:
    height, width = pixels.shape
    y, x = round(share * height), round(share * width)
    return np.pad(pixels, ((y, y), (x, x)), constant_values=grey)


def _letters(pixels: Picture) -> Picture:
    """A side marker and a word in white, where technicians put them."""
    image = Image.fromarray(pixels, mode="L").copy()
    draw = ImageDraw.Draw(image)
    width, height = image.size
    large = ImageFont.load_default(size=max(8.0, 0.09 * height))
    small = ImageFont.load_default(size=max(8.0, 0.05 * height))
    draw.text((0.04 * width, 0.04 * height), "R", fill=255, font=large)
    draw.text((0.72 * width, 0.05 * height), "PORTABLE", fill=255, font=small)
    return np.asarray(image)


def _unit(pixels: Picture) -> float:
    height, width = pixels.shape
    longer: int = max(height, width)
    return longer / _REFERENCE_SIDE


CHANGES: dict[str, Change] = {
    "JPEG quality 95": partial(_jpeg, 95),
    "JPEG quality 75": partial(_jpeg, 75),
    "JPEG quality 50": partial(_jpeg, 50),
    "JPEG quality 30": partial(_jpeg, 30),
    "half resolution": partial(_resize, 0.5, 0.5),
    "double resolution": partial(_resize, 2.0, 2.0),
    "20% wider": partial(_resize, 1.2, 1.0),
    "20% taller": partial(_resize, 1.0, 1.2),
    "blurred": _blur,
    "sharpened": _sharpen,
    "brighter (gamma 0.75)": partial(_gamma, 0.75),
    "darker (gamma 1.33)": partial(_gamma, 1.33),
    "borders cropped by 5%": partial(_crop, 0.05),
    "black borders of 5% added": partial(_frame, 0.05, 0),
    "white borders of 5% added": partial(_frame, 0.05, 255),
    "letters burnt in": _letters,
}
