"""The numbers of preprocessing, as a bundle holds them; `images.preprocess` applies them."""

from dataclasses import dataclass
from typing import Literal, get_args

Antialiasing = Literal["box", "bilinear", "hamming", "bicubic", "lanczos"]
ResizeFilter = Literal[
    "box", "bilinear", "hamming", "bicubic", "lanczos", "nearest", "bilinear_without_antialiasing"
]


@dataclass(frozen=True, slots=True)
class PreprocessSpec:
    """Numbers, never code, that say how a radiograph becomes the network's input.

    Attributes:
        height, width: size of the network's input in pixels.
        grey: how colour becomes grey; "rec601" is ITU-R BT.601 luma, Pillow's mode L and the
            Y channel of a JPEG.
        resize_filter: Pillow's antialiasing filter, its support scaled with the reduction. Two
            more look at single pixels and are for networks that were trained so: Pillow's
            "nearest", and "bilinear_without_antialiasing", which is TensorFlow's and Keras's
            default.
        aspect: "stretch" maps the whole picture onto the input and ignores the aspect ratio.
        range_low_percentile, range_high_percentile: grey values at these percentiles of the
            resized picture's central region become 0 and 255; the rest is clipped. A linear
            change of brightness or contrast (another windowing) therefore changes nothing.
        range_region: side of that central region as a fraction of the picture's, so that a
            border or a burnt-in letter does not set the range. 0 leaves the greys as they are
            stored: the type's own range, 0 to 255 or 0 to 65535, becomes 0 to 255; percentiles
            then only tell a blank picture, of all of it.
        jpeg_draft_ratio: a JPEG may be decoded at a reduced DCT scale as long as both sides keep
            at least this many times the input's; 0 always decodes in full.
    """

    height: int
    width: int
    grey: Literal["rec601"]
    resize_filter: ResizeFilter
    aspect: Literal["stretch"]
    range_low_percentile: float
    range_high_percentile: float
    range_region: float
    jpeg_draft_ratio: int

    def __post_init__(self) -> None:
        """Raises ValueError for a number outside of its domain."""
        if self.height < 1 or self.width < 1:
            raise ValueError(f"input size {self.width}x{self.height} must be positive")
        if self.grey != "rec601":
            raise ValueError(f"grey conversion {self.grey!r} is not known")
        if self.resize_filter not in get_args(ResizeFilter):
            raise ValueError(f"resize filter {self.resize_filter!r} is not known")
        if self.aspect != "stretch":
            raise ValueError(f"aspect handling {self.aspect!r} is not known")
        if not 0 <= self.range_low_percentile < self.range_high_percentile <= 100:
            raise ValueError("range percentiles must satisfy 0 <= low < high <= 100")
        if not 0 <= self.range_region <= 1:
            raise ValueError(f"range_region {self.range_region} must lie in [0, 1]")
        if self.jpeg_draft_ratio < 0:
            raise ValueError(f"jpeg_draft_ratio {self.jpeg_draft_ratio} must not be negative")
