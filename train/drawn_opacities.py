"""Opacities drawn into healthy lungs: of a known place, size and density, with a soft edge.

A (height, width) uint8 picture, bright = dense, and the outline of its lungs enter; the clouded
picture leaves. Nothing is random, so a probe repeats.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from train.counterfactuals import Picture
from train.outlines import Mask

Side = Literal["left", "right"]
Place = Literal["upper", "middle", "lower", "all"]
Size = Literal["spot", "patch", "lobe", "half", "lung"]

_THIRDS: tuple[Place, ...] = ("upper", "middle", "lower")
# Of a round opacity, as shares of the lung's height: about 3 cm and 6 cm in an adult.
_DIAMETERS = {"spot": 1 / 8, "patch": 1 / 4}
# How far the lung's grey goes towards that of soft tissue; at "white" all of it goes to white.
DENSITIES = {"soft": 0.5, "dense": 0.9, "white": 1.0}
_WHITE_PERCENTILE, _DENSE_PERCENTILE = 99.0, 70.0


@dataclass(frozen=True, slots=True)
class Opacity:
    """What to draw.

    Attributes:
        side: of the picture; the patient's right lung stands at its left.
        place: which third of the lung's height; "all" for what is larger.
        size: a round spot (an eighth of the lung's height) or patch (a quarter) at the third's
            middle, a lobe (that third), the lower half, or the lung.
        density: name of one of `DENSITIES`.
    """

    side: Side
    place: Place
    size: Size
    density: str


def every_opacity() -> tuple[Opacity, ...]:
    """What a probe draws: focal ones by place and size, then half and whole lungs."""
    sides: tuple[Side, ...] = ("left", "right")
    sizes: tuple[Size, ...] = ("spot", "patch", "lobe")
    focal = [
        Opacity(side, place, size, density)
        for size in sizes
        for place in _THIRDS
        for density in ("soft", "dense")
        for side in sides
    ]
    large: tuple[Size, ...] = ("half", "lung")
    return (
        *focal,
        *(Opacity(side, "all", size, d) for size in large for d in DENSITIES for side in sides),
    )


def cloud_lung(opacity: Opacity, pixels: Picture, lungs: Mask) -> Picture:
    """Draw an opacity into one lung; `lungs` is of the picture's shape."""
    where = _extent(opacity, lungs)
    soft = Image.fromarray(where.astype(np.uint8) * 255, mode="L")
    soft = soft.filter(ImageFilter.GaussianBlur(max(pixels.shape) / 56))
    weight = DENSITIES[opacity.density] * np.asarray(soft, np.float32) / 255
    target = _grey_of_white(pixels) if opacity.density == "white" else _grey_beside(pixels, lungs)
    return np.clip(pixels * (1 - weight) + target * weight, 0, 255).astype(np.uint8)


def _extent(opacity: Opacity, lungs: Mask) -> Mask:
    """Where the opacity lies: within one lung."""
    _, columns = np.nonzero(lungs)
    y, x = np.indices(lungs.shape)
    lung = lungs & ((x < columns.mean()) == (opacity.side == "left"))
    rows = np.nonzero(lung)[0]
    if rows.size == 0:  # an outline of one lung only
        return np.asarray(lung)
    top, height = rows.min(), np.ptp(rows) + 1
    if opacity.size == "lung":
        return np.asarray(lung)
    if opacity.size == "half":
        return np.asarray(lung & (y >= top + height / 2))
    third = _THIRDS.index(opacity.place)
    band = lung & (y >= top + height * third / 3) & (y < top + height * (third + 1) / 3)
    if opacity.size == "lobe" or not band.any():
        return np.asarray(band)
    center_y, center_x = (axis.mean() for axis in np.nonzero(band))
    radius = height * _DIAMETERS[opacity.size] / 2
    return np.asarray(lung & (np.hypot(y - center_y, x - center_x) <= radius))


def _grey_beside(pixels: Picture, lungs: Mask) -> float:
    """Grey of the soft tissue beside the lungs."""
    beside: npt.NDArray[np.uint8] = pixels[~lungs & (pixels > 20)]
    return float(np.percentile(beside if beside.size else pixels, _DENSE_PERCENTILE))


def _grey_of_white(pixels: Picture) -> float:
    return float(np.percentile(pixels, _WHITE_PERCENTILE))
