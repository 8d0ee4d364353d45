"""The lungs' box from the locator's map: numbers in, a box in fractions of the picture out.

A coarse map of logits enters, a frozen `LungBox` leaves. No file access, no randomness; the
numbers stand in `LungBoxSpec`, which travels inside the model bundle. Training, export and the
edge share this copy.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.images.lung_box_spec import LungBoxSpec as LungBoxSpec
from edge_app.statistics.logistic import sigmoids

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a picture, as fractions of its width and height from the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """As a fraction of the picture's width."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """As a fraction of the picture's height."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class LungBox(Extent):
    """Where the lungs are.

    Attributes:
        certainty: mean over the mask of how far its cells lie from doubt: 0 to 1.
        area: share of the picture that the mask covers.
        parts: connected parts of the mask that count; two lungs often touch in a coarse map.
    """

    certainty: float
    area: float
    parts: int


def find_lung_box(logits: Floats, spec: LungBoxSpec) -> LungBox | None:
    """The box around the lungs, None where no cell says lung.

    Args:
        logits: (rows, columns) float32, the locator's output `lungs` for one picture.
        spec: the bundle's numbers.

    Raises:
        ValueError: `logits` is not a two-dimensional array.
    """
    if logits.ndim != 2:
        raise ValueError(f"the map must be (rows, columns), not {logits.shape}")
    probability = sigmoids(logits)
    parts = _connected_parts(probability >= spec.threshold)
    if not parts:
        return None
    smallest = spec.smallest_part * max(int(part.sum()) for part in parts)
    kept = [part for part in parts if part.sum() >= smallest]
    mask = np.logical_or.reduce(kept)
    # The doubtful rim of the lungs places their edges between cells; other parts must not.
    counted = _grown(_grown(mask))
    for part in parts:
        if part.sum() < smallest:
            counted &= ~part
    seen = np.where(counted, probability, 0.0)
    columns, rows = seen.max(axis=0), seen.max(axis=1)
    return LungBox(
        left=_first(columns, spec.left),
        top=_first(rows, spec.top),
        right=1 - _first(columns[::-1], spec.right),
        bottom=1 - _first(rows[::-1], spec.bottom),
        certainty=float(np.mean(2 * np.abs(probability[mask] - 0.5))),
        area=float(mask.mean()),
        parts=len(kept),
    )


def _connected_parts(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    """Parts whose cells touch by a side, in the order of their first cell.

    The mask is one whole number, a bit a cell, so that it grows by shifts: tenfold faster here than
    arrays. A column that is never set stands between the rows.
    """
    rows, columns = mask.shape
    wide = columns + 1
    bits = np.packbits(np.pad(mask, ((0, 0), (0, 1))), bitorder="little")
    left_over = int.from_bytes(bits.tobytes(), "little")
    parts = []
    while left_over:
        part, grown = 0, left_over & -left_over
        while grown != part:
            part = grown
            grown = part | part << 1 | part >> 1 | part << wide | part >> wide
            grown &= left_over
        left_over ^= part
        cells = np.frombuffer(part.to_bytes(len(bits), "little"), np.uint8)
        flags = np.unpackbits(cells, count=rows * wide, bitorder="little")
        parts.append(flags.reshape(rows, wide)[:, :columns].astype(np.bool_))
    return parts


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask and every cell that touches it by a side."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def _first(profile: npt.NDArray[np.float64], level: float) -> float:
    """Where a profile over lines of cells first reaches `level`, as a fraction of its length.

    It reaches it somewhere: the mask holds a cell whose probability is at least the threshold;
    where that is lower than `level`, the line of the largest probability is taken.
    """
    level = min(level, float(profile.max()))
    index = int((profile >= level).argmax())
    before = float(profile[index - 1]) if index else 0.0
    share = (level - before) / (float(profile[index]) - before)
    # Values stand for the lines' centers; at the picture's own edge there is no line before.
    place = index - 0.5 + share if index else 0.0
    return float(np.clip(place / len(profile), 0, 1))
