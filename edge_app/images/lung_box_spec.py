"""The numbers of the lungs' box, as a bundle holds them; `images.lung_box` applies them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LungBoxSpec:
    """Numbers, never code, that say how a map of logits becomes a box.

    Attributes:
        threshold: probability from which a cell counts as lung when its mask is drawn.
        smallest_part: a connected part of the mask that is smaller than this fraction of the
            largest one is left out (gas in the stomach, the outside between arm and chest).
        left, top, right, bottom: that edge of the box lies where the largest probability along a
            line of cells first crosses this, between the lines' centers by interpolation. Each
            edge has its own, fitted so that the box is as often too small as too large: lungs
            end in thin tips below, which a coarse map shows weakly.
    """

    threshold: float
    smallest_part: float
    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        """Raises ValueError for a number outside of its domain."""
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} must lie between 0 and 1")
        if not 0 <= self.smallest_part <= 1:
            raise ValueError(f"smallest_part {self.smallest_part} must lie in [0, 1]")
        for name in ("left", "top", "right", "bottom"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must lie between 0 and 1")
