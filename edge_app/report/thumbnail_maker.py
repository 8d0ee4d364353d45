"""Draws a radiograph's small picture for the report.

A decoded `Radiograph` and its answer enter; a `Thumbnail` leaves: a grey JPEG of about 9 kB and,
where it was asked for, the heat as numbers, which the report draws as a contour. Nothing here is
written to disk.
"""

import io
from binascii import b2a_base64

import numpy as np
from PIL import Image

from edge_app.images.display import display
from edge_app.images.lung_frame import WHOLE
from edge_app.images.radiograph import Radiograph
from edge_app.report.thumbnail import Thumbnail
from edge_app.screening.heatmap import Heatmap, pixel_box
from edge_app.screening.refusals import MIN_GREY_LEVELS
from edge_app.screening.screener import ScreeningResult

LONGEST_SIDE = 320
_JPEG_QUALITY = 72
# Values a side of the heat: 3 kB a picture.
_CELLS = 24


def make_thumbnail(file: str, radiograph: Radiograph, result: ScreeningResult) -> Thumbnail:
    """Draw the thumbnail of a screened radiograph."""
    turns = 0 if result.lungs is None else result.lungs.quarter_turns
    image = shrink(radiograph, turns, LONGEST_SIDE)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_JPEG_QUALITY)
    frame = result.frame or WHOLE
    rows = [] if result.heatmap is None else _coarse(result.heatmap)
    return Thumbnail(
        file=file,
        decision=result.decision.value,
        raw_score=result.raw_score,
        width=image.width,
        height=image.height,
        jpeg=b2a_base64(stream.getvalue(), newline=False).decode("ascii"),
        frame=(frame.left, frame.top, frame.right, frame.bottom),
        activation_map=tuple(tuple(row) for row in rows),
    )


def _coarse(heatmap: Heatmap) -> list[list[float]]:
    """The heat over the frame, (_CELLS, _CELLS); what lies beside the lungs is no heat."""
    height, width = heatmap.picture.shape
    part = Image.fromarray(np.where(heatmap.lungs, heatmap.heat(), heatmap.level - 1))
    size = (_CELLS, _CELLS)
    box = pixel_box(heatmap.frame, width, height)
    cells = part.resize(size, Image.Resampling.BOX, box)
    rows: list[list[float]] = np.asarray(cells, np.float64).round(1).tolist()
    return rows


def shrink(radiograph: Radiograph, quarter_turns: int, longest_side: int) -> Image.Image:
    """Mode L, upright, its longest side so long, contrast stretched; see `images.display`."""
    return Image.fromarray(display(radiograph, quarter_turns, longest_side, MIN_GREY_LEVELS))
