"""Drawn chest phantoms: pictures that look like a chest radiograph and are of nobody.

Numbers enter, a (height, width) uint8 or uint16 picture leaves, bright = dense. For tests, golden
inputs and first steps: no phantom says anything about how well the network reads patients.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatPicture = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Phantom:
    """What to draw.

    Attributes:
        seed: of the anatomy's variation and the noise; the same seed, the same picture.
        opacity: density of the drawn consolidation, 0 (clear lungs) to 1.
        side: the lung that holds it, as seen on the picture.
    """

    seed: int
    opacity: float = 0.0
    side: Literal["left", "right"] = "right"


def draw_phantom(phantom: Phantom, height: int = 512, width: int = 512, bits: int = 8) -> Picture:
    """Draw a phantom.

    Returns:
        (height, width), uint8 for `bits` up to 8, else uint16; values 0 to 2**bits - 1.

    Raises:
        ValueError: a side under 16 pixels, or `bits` outside of 1 to 16.
    """
    if min(height, width) < 16 or not 1 <= bits <= 16:
        raise ValueError(f"cannot draw a phantom of {width}x{height} pixels and {bits} bits")
    rng = np.random.default_rng(phantom.seed)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    density = _body(x, y, rng)
    lungs = _lungs(x, y, rng)
    density -= 0.42 * lungs
    density += 0.10 * _ribs(x, y, rng) * np.clip(_ellipse(x, y, 0, 0.0, 0.80, 0.90, 0.05), 0, 1)
    density += _mediastinum(x, y, rng)
    density += 0.40 * phantom.opacity * _consolidation(x, y, phantom.side, rng) * lungs
    density = np.clip(density, 0, 1) ** 0.9
    density += rng.normal(0, 0.012, density.shape)
    top = 2**bits - 1
    values: FloatPicture = np.clip(np.rint(density * top), 0, top)
    return values.astype(np.uint8) if bits <= 8 else values.astype(np.uint16)


def draw_lungs(phantom: Phantom, height: int = 512, width: int = 512) -> npt.NDArray[np.bool_]:
    """Where the lungs of a phantom lie: bool (height, width), pixel for pixel on its picture."""
    rng = np.random.default_rng(phantom.seed)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    _body(x, y, rng)  # the body's numbers are drawn before the lungs'
    return np.asarray(_lungs(x, y, rng) > 0.5)


def _ellipse(
    x: FloatPicture,
    y: FloatPicture,
    center_x: float,
    center_y: float,
    radius_x: float,
    radius_y: float,
    softness: float,
) -> FloatPicture:
    """1 inside, 0 outside, with an edge as wide as `softness` of the radius."""
    distance = np.hypot((x - center_x) / radius_x, (y - center_y) / radius_y)
    return np.asarray(1 / (1 + np.exp(np.clip((distance - 1) / (softness / 4), -60, 60))))


def _body(x: FloatPicture, y: FloatPicture, rng: np.random.Generator) -> FloatPicture:
    """Soft tissue of trunk, neck and shoulders over a dark background."""
    wide = rng.uniform(0.85, 0.95)
    trunk = _ellipse(x, y, 0, 0.35, wide, 1.25, 0.06)
    neck = _ellipse(x, y, 0, -0.95, 0.22, 0.45, 0.1)
    shoulders = _ellipse(x, y, 0, -0.45, 1.05, 0.28, 0.15)
    return np.asarray(0.62 * np.maximum(np.maximum(trunk, neck), 0.8 * shoulders))


def _lungs(x: FloatPicture, y: FloatPicture, rng: np.random.Generator) -> FloatPicture:
    size = rng.uniform(0.92, 1.05)
    shift = rng.uniform(-0.03, 0.03)
    right = _ellipse(x, y, -0.42 + shift, -0.02, 0.30 * size, 0.66 * size, 0.12)
    left = _ellipse(x, y, 0.42 + shift, -0.02, 0.29 * size, 0.66 * size, 0.12)
    # The diaphragm's domes cut the lungs' lower ends.
    dome = 0.50 - 0.16 * np.cos(np.clip((np.abs(x) - 0.42) * 3.2, -np.pi / 2, np.pi / 2))
    below = 1 / (1 + np.exp(np.clip((y - dome - 0.12) * 60, -60, 60)))
    return np.asarray(np.maximum(right, left) * below)


def _ribs(x: FloatPicture, y: FloatPicture, rng: np.random.Generator) -> FloatPicture:
    """Posterior ribs falling outward, anterior ribs crossing them, and the collar bones."""
    spacing = rng.uniform(0.135, 0.155)
    phase = rng.uniform(0, spacing)
    outward = np.abs(x)
    posterior = y + phase - 0.10 * np.sin(np.clip(outward, 0, 0.9) * np.pi / 0.9)
    anterior = y + phase - 0.55 * outward
    bands = np.maximum(
        np.cos(np.pi * posterior / spacing) ** 8, 0.5 * np.cos(np.pi * anterior / spacing) ** 12
    )
    clavicle = np.exp(-(((y + 0.62 + 0.18 * outward) / 0.03) ** 2)) * (outward < 0.75)
    return np.asarray(np.maximum(bands, 1.6 * clavicle))


def _mediastinum(x: FloatPicture, y: FloatPicture, rng: np.random.Generator) -> FloatPicture:
    spine = np.exp(-((x / 0.10) ** 4)) * (0.16 + 0.05 * np.cos(2 * np.pi * y / 0.16))
    heart = _ellipse(x, y, 0.12, 0.22, rng.uniform(0.30, 0.36), rng.uniform(0.30, 0.36), 0.12)
    vessels = 0.5 * _ellipse(x, y, 0.02, -0.35, 0.16, 0.35, 0.25)
    trachea = np.exp(-((x / 0.05) ** 4)) / (1 + np.exp(np.clip((y + 0.35) * 40, -60, 60)))
    return np.asarray(spine + 0.30 * np.maximum(heart, vessels) - 0.12 * trachea)


def _consolidation(
    x: FloatPicture, y: FloatPicture, side: str, rng: np.random.Generator
) -> FloatPicture:
    """A few soft clouds in one lung's middle and lower zones."""
    # The patient's right lung stands on the picture's left.
    sign = -1 if side == "right" else 1
    cloud = np.zeros_like(x)
    for _ in range(4):
        center_x = sign * rng.uniform(0.28, 0.52)
        center_y = rng.uniform(-0.05, 0.40)
        cloud += np.exp(
            -(
                ((x - center_x) / rng.uniform(0.10, 0.22)) ** 2
                + ((y - center_y) / rng.uniform(0.10, 0.22)) ** 2
            )
        )
    return np.clip(cloud, 0, 1)
