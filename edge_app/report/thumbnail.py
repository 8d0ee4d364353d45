"""A small picture of a radiograph for the report, and where its score comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture for the report.

    Attributes:
        file: name of the row that it belongs to.
        decision: of that row.
        raw_score: of that row, None where it was refused.
        width, height: in pixels, in the upright radiograph's proportions.
        jpeg: base64 of a grey JPEG.
        frame: left, top, right and bottom of what was read, as fractions of the picture.
        activation_map: rows of the heat over that frame in raw-score units, at most the upper
            cut-off beside the lungs; empty unless heatmaps were asked for.
    """

    file: str
    decision: str
    raw_score: float | None
    width: int
    height: int
    jpeg: str
    frame: tuple[float, float, float, float]
    activation_map: tuple[tuple[float, ...], ...]
