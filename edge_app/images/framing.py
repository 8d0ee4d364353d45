"""The framing counterfactuals: one picture as other places would have framed it.

A (height, width) uint8 picture enters, the same picture cut close or with a margin leaves. What
was in the lungs is in them still (as far as they are shown), so no answer may follow. Training
probes with these, and export fits cut-offs over them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
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


FRAMINGS = (
    Framing("tight", 0.12, 0.14, 0.12, 0.20),
    Framing("below", bottom=0.20),
    Framing("left", left=0.10),
    Framing("right", right=0.10),
    Framing("above", top=0.14),
    Framing("black", -0.20, -0.20, -0.20, -0.20, "black"),
    Framing("grey", -0.20, -0.20, -0.20, -0.20, "grey"),
    Framing("mirrored", -0.20, -0.20, -0.20, -0.20, "mirror"),
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
    sides = (framing.top * height, framing.bottom * height, framing.left * width)
    top, bottom, left = (round(side) for side in sides)
    right = round(framing.right * width)
    cut = pixels[max(top, 0) : height - max(bottom, 0), max(left, 0) : width - max(right, 0)]
    added = ((max(-top, 0), max(-bottom, 0)), (max(-left, 0), max(-right, 0)))
    if not any(map(any, added)):
        return np.ascontiguousarray(cut)
    if mirror:
        return np.pad(cut, added, mode="symmetric")
    return np.pad(cut, added, constant_values=grey)
