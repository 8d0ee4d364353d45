"""The framing counterfactuals: one picture as other places would have framed it.

A (height, width) uint8 picture enters, the same picture cut close or with a margin leaves. What
was in the lungs is in them still (as far as they are shown), so no answer may follow.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from train.outlines import Mask

Picture = npt.NDArray[np.uint8]
Margin = Literal["black", "grey", "mirror"]


@dataclass(frozen=True, slots=True)
class Framing:
    """What is cut off or added on each side, as fractions of the picture's sides.

    Attributes:
        name: in reports.
        left, top, right, bottom: cut off where positive, added where negative.
        margin: what stands in an added margin.
    """

    name: str
    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0
    margin: Margin = "black"


STORED = Framing("as stored")
FRAMINGS = (
    STORED,
    Framing("cut tight (12% at the sides, 14% above, 20% below)", 0.12, 0.14, 0.12, 0.20),
    Framing("20% cut below", bottom=0.20),
    Framing("10% cut at the left", left=0.10),
    Framing("10% cut at the right", right=0.10),
    Framing("14% cut above", top=0.14),
    Framing("20% black margin", -0.20, -0.20, -0.20, -0.20, "black"),
    Framing("20% grey margin", -0.20, -0.20, -0.20, -0.20, "grey"),
    Framing("20% mirrored margin", -0.20, -0.20, -0.20, -0.20, "mirror"),
)


def frame_picture(pixels: Picture, framing: Framing) -> Picture:
    """The picture, framed: (height, width) uint8."""
    grey = int(np.median(pixels)) if framing.margin == "grey" else 0
    return _frame(pixels, framing, grey, mirror=framing.margin == "mirror")


def frame_outline(mask: Mask, framing: Framing) -> Mask:
    """The outline of the framed picture; what a mirror shows is no lung."""
    return _frame(mask.astype(np.uint8), framing, 0, mirror=False).astype(bool)


def _frame(pixels: Picture, framing: Framing, grey: int, *, mirror: bool) -> Picture:
    height, width = pixels.shape
    sides = np.array([framing.top * height, framing.bottom * height,
                      framing.left * width, framing.right * width])  # fmt: skip
    top, bottom, left, right = np.rint(sides).astype(int).tolist()
    cut = pixels[max(top, 0) : height - max(bottom, 0), max(left, 0) : width - max(right, 0)]
    added = ((max(-top, 0), max(-bottom, 0)), (max(-left, 0), max(-right, 0)))
    if not any(map(any, added)):
        return np.ascontiguousarray(cut)
    if mirror:
        return np.pad(cut, added, mode="symmetric")
    return np.pad(cut, added, constant_values=grey)
