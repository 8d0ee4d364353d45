"""The reliability diagram as PNG: claimed probability against observed share, with intervals.

Drawn with Pillow, so that the same figures give the same bytes and no plotting library is needed.
"""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from edge_app.statistics.calibration import ReliabilityBin

_SIZE, _MARGIN, _SIDE = (560, 600), 70, 440
_GRID, _INK, _MARK, _BAND = (222, 222, 222), (40, 40, 40), (20, 90, 160), (150, 180, 215)


def reliability_png(bins: Sequence[ReliabilityBin], title: str, note: str) -> bytes:
    """Draw one point a bin, its area by the number of pictures, its bar the 95% interval."""
    image = Image.new("RGB", _SIZE, (255, 255, 255))
    draw = ImageDraw.Draw(image)
    _axes(draw, title, note)
    most = max(found.n for found in bins)
    for found in bins:
        x, y = _place(found.mean_probability, found.observed.value)
        _, low = _place(0, found.observed.low)
        _, high = _place(0, found.observed.high)
        draw.line([(x, low), (x, high)], fill=_BAND, width=3)
        radius = 3 + 5 * (found.n / most) ** 0.5
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=_MARK)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def _place(x: float, y: float) -> tuple[float, float]:
    return _MARGIN + x * _SIDE, _MARGIN + (1 - y) * _SIDE


def _axes(draw: ImageDraw.ImageDraw, title: str, note: str) -> None:
    font = ImageFont.load_default(size=14)
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        draw.line([_place(tick, 0), _place(tick, 1)], fill=_GRID)
        draw.line([_place(0, tick), _place(1, tick)], fill=_GRID)
        x, y = _place(tick, 0)
        draw.text((x, y + 8), f"{tick:.1f}", fill=_INK, font=font, anchor="mt")
        x, y = _place(0, tick)
        draw.text((x - 10, y), f"{tick:.1f}", fill=_INK, font=font, anchor="rm")
    draw.line([_place(0, 0), _place(1, 1)], fill=_INK)
    middle = _MARGIN + _SIDE / 2
    draw.text((middle, 20), title, fill=_INK, font=font, anchor="mt")
    draw.text((middle, 42), note, fill=_INK, font=font, anchor="mt")
    bottom = _MARGIN + _SIDE
    labels = ("probability of pneumonia", "up: observed share, with 95% intervals")
    for row, text in enumerate(labels):
        draw.text((middle, bottom + 32 + 22 * row), text, fill=_INK, font=font, anchor="mt")
