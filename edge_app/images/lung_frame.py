"""The canonical frame: what of a picture the reader is given.

A `LungBox` and a margin enter, the frame's edges as fractions of the picture leave;
`images.preprocess` resamples them once, from the source, to a square. Stretched, the box says
nothing of its shape, whatever squashed the picture before.
"""

from dataclasses import dataclass

from edge_app.images.lung_box import Extent, LungBox


@dataclass(frozen=True, slots=True)
class Frame(Extent):
    """The part of a picture that the reader is given."""

    def __post_init__(self) -> None:
        """Raises ValueError where it holds nothing, or reaches beyond the picture."""
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(f"no part of a picture: {self}")


WHOLE = Frame(0.0, 0.0, 1.0, 1.0)


def lung_frame(box: LungBox, margin: float) -> Frame:
    """The box and `margin` of its sides around it, as far as the picture reaches.

    Nothing is invented beyond the picture's edge: a black or repeated margin would say "filmed
    close", which is how the sick were filmed. The reader is trained with frames that move by more
    than the margin, so that a frame without one says nothing either.
    """
    wide, high = margin * box.width, margin * box.height
    return Frame(
        left=max(0.0, box.left - wide),
        top=max(0.0, box.top - high),
        right=min(1.0, box.right + wide),
        bottom=min(1.0, box.bottom + high),
    )
