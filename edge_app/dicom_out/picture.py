"""The picture of an answer, for viewers that show no reports: film, lungs, decision, caution.

A decoded film with its result enters, or only the row of one that could not be decoded; an RGB
picture leaves. Everything that is said is burnt in, and nothing about the patient is. Heat is drawn
where the result has it, which it has on request only, with the sentence of what it is not.
"""

import textwrap

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from edge_app.dicom_out.wording import CAUTION, sentences
from edge_app.images.radiograph import Radiograph
from edge_app.report.thumbnail_maker import shrink
from edge_app.report.words import priority
from edge_app.results.rows import ResultRow
from edge_app.screening.heat_scale import WHAT_IT_IS
from edge_app.screening.locator import Lungs
from edge_app.screening.overlay import lay_heat_on
from edge_app.screening.screener import ScreeningResult

LONGEST_SIDE = 1024
_BAND_COLOURS = {1: (150, 0, 0), 2: (140, 80, 0), 3: (70, 70, 70), 4: (0, 70, 40)}
_BOX, _OUTLINE, _CAUTION = (255, 220, 0), (0, 210, 255), (255, 255, 0)
_LEAST_WIDTH = 640
_TEXT, _SMALL_TEXT = 26, 20


def draw_answer(
    row: ResultRow, radiograph: Radiograph | None, result: ScreeningResult | None
) -> Image.Image:
    """Draw the picture; the film is left out where it could not be decoded."""
    if radiograph is None or result is None:
        film = Image.new("RGB", (_LEAST_WIDTH, _LEAST_WIDTH // 2))
    else:
        film = _film(radiograph, result)
    return _with_band(film, row, has_heat=result is not None and result.heatmap is not None)


def _film(radiograph: Radiograph, result: ScreeningResult) -> Image.Image:
    turns = 0 if result.lungs is None else result.lungs.quarter_turns
    film = shrink(radiograph, turns, LONGEST_SIDE).convert("RGB")
    if result.heatmap is not None:
        lay_heat_on(film, result.heatmap)
    if result.lungs is not None:
        _draw_lungs(film, result.lungs)
    return film


def _draw_lungs(film: Image.Image, lungs: Lungs) -> None:
    draw, (width, height), box = ImageDraw.Draw(film), film.size, lungs.box
    for start, end in outline(lungs.mask):
        scaled = [(x * width, y * height) for x, y in (start, end)]
        draw.line(scaled, fill=_OUTLINE, width=2)
    corners = (box.left * width, box.top * height, box.right * width, box.bottom * height)
    draw.rectangle(corners, outline=_BOX, width=3)


Point = tuple[float, float]


def outline(mask: npt.NDArray[np.bool_]) -> list[tuple[Point, Point]]:
    """The sides between the mask's cells and all others, as lines in fractions of the picture.

    Args:
        mask: bool (rows, columns).
    """
    rows, columns = mask.shape
    padded = np.pad(mask, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]  # (rows + 1, columns)
    down = padded[1:-1, 1:] != padded[1:-1, :-1]  # (rows, columns + 1)
    lines = [
        ((x / columns, y / rows), ((x + 1) / columns, y / rows)) for y, x in np.argwhere(across)
    ]
    lines += [
        ((x / columns, y / rows), (x / columns, (y + 1) / rows)) for y, x in np.argwhere(down)
    ]
    return lines


def _with_band(film: Image.Image, row: ResultRow, *, has_heat: bool) -> Image.Image:
    """The film between the caution above and the answer below."""
    width = max(film.width, _LEAST_WIDTH)
    characters = width // (_SMALL_TEXT // 2 + 1)
    first, *others = [*sentences(row), *([WHAT_IT_IS] if has_heat else [])]
    lines = [line for text in others for line in textwrap.wrap(text, characters)]
    head, foot = _TEXT + 16, _TEXT + 16 + len(lines) * (_SMALL_TEXT + 8) + 8
    page = Image.new("RGB", (width, head + film.height + foot))
    page.paste(film, ((width - film.width) // 2, head))
    draw, y = ImageDraw.Draw(page), head + film.height
    large, small = ImageFont.load_default(_TEXT), ImageFont.load_default(_SMALL_TEXT)
    draw.rectangle((0, y, width, page.height), fill=_BAND_COLOURS[priority(row)])
    draw.text((12, 8), CAUTION, fill=_CAUTION, font=large)
    draw.text((12, y + 8), first, fill="white", font=large)
    for number, line in enumerate(lines):
        draw.text((12, y + _TEXT + 18 + number * (_SMALL_TEXT + 8)), line, fill="white", font=small)
    return page
