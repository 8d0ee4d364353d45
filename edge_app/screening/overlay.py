"""A heatmap as a picture for people: the film beside the same with its heat, and what it means.

A `Heatmap` and the answer in words enter, a Pillow image leaves. One absolute scale for every
picture: a film with a low score stays grey.
"""

from textwrap import wrap

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from edge_app.screening.heat_scale import CORE, FULL, WHAT_IT_IS
from edge_app.screening.heatmap import Heatmap

_WEAKEST, _STRONGEST = 0.15, 0.55
# Light yellow to dark red, which stays ordered for the colour-blind and in grey.
_WEAK, _STRONG = (255, 225, 90), (190, 20, 30)
_OUTLINE, _CONTOUR = (90, 200, 255), (255, 255, 255)
_TEXT, _PAPER = (22, 32, 42), (255, 255, 255)
_GAP, _MARGIN, _FONT_SIZE = 10, 12, 15

Colours = npt.NDArray[np.float32]


def draw_overlay(heatmap: Heatmap, answer: str) -> Image.Image:
    """Film, heat, legend and two sentences, mode RGB.

    Args:
        heatmap: of a scored picture.
        answer: in words, one line.
    """
    film = Image.fromarray(heatmap.picture).convert("RGB")
    hot = Image.fromarray(coloured(heatmap))
    font = ImageFont.load_default(size=_FONT_SIZE)
    width = 2 * film.width + _GAP
    letters = max(20, int((width - 2 * _MARGIN) / font.getlength("n")))
    lines = [*wrap(answer, letters), *wrap(WHAT_IT_IS, letters)]
    below = _MARGIN + 3 * _FONT_SIZE + (_FONT_SIZE + 5) * len(lines) + _MARGIN
    page = Image.new("RGB", (width, film.height + below), _PAPER)
    page.paste(film, (0, 0))
    page.paste(hot, (film.width + _GAP, 0))
    draw = ImageDraw.Draw(page)
    y = film.height + _MARGIN
    _draw_legend(draw, y, width, font)
    y += 3 * _FONT_SIZE
    for line in lines:
        draw.text((_MARGIN, y), line, fill=_TEXT, font=font)
        y += _FONT_SIZE + 5
    return page


def coloured(heatmap: Heatmap) -> npt.NDArray[np.uint8]:
    """(height, width, 3): the picture, its heat, the lungs' outline, a contour around the core."""
    heat = heatmap.heat()
    colour, alpha = _heat_of(heat, heatmap.level)
    grey = np.repeat(heatmap.picture[..., np.newaxis], 3, axis=2)
    mixed = grey * (1 - alpha[..., np.newaxis]) + colour * alpha[..., np.newaxis]
    mixed[edge_of(heatmap.lungs)] = _OUTLINE
    mixed[edge_of(heat >= heatmap.level + CORE)] = _CONTOUR
    colours: npt.NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return colours


def lay_heat_on(film: Image.Image, heatmap: Heatmap) -> None:
    """Draw heat and its core's contour on another picture of the same film, inside the lungs.

    Args:
        film: mode RGB, upright, of any size.
        heatmap: of it.
    """
    heat = heatmap.heat()
    colour, alpha = _heat_of(heat, heatmap.level)
    core = edge_of(heat >= heatmap.level + CORE)
    colour[core], alpha[core] = _CONTOUR, 1.0
    layer, mask = (
        Image.fromarray(np.rint(each).astype(np.uint8)) for each in (colour, alpha * 255)
    )
    # Nearest: between two values there would be heat beside the lungs.
    nearest = Image.Resampling.NEAREST
    film.paste(layer.resize(film.size, nearest), mask=mask.resize(film.size, nearest))


def _heat_of(heat: npt.NDArray[np.float32], level: float) -> tuple[Colours, Colours]:
    """Colours (height, width, 3), and how much of them (height, width): none below the level."""
    share = np.clip((heat - level) / FULL, 0, 1)
    strength = _WEAKEST + (_STRONGEST - _WEAKEST) * share
    return _colour(share), np.where(heat >= level, strength, 0).astype(np.float32)


def edge_of(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The cells of a mask that touch what is not in it by a side; the picture's edge is none."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner


def _colour(share: npt.NDArray[np.float32]) -> Colours:
    weak, strong = np.array(_WEAK, np.float32), np.array(_STRONG, np.float32)
    return weak + (strong - weak) * share[..., np.newaxis]


def _draw_legend(draw: ImageDraw.ImageDraw, y: int, width: int, font: object) -> None:
    """The scale of the heat, then what the lines are."""
    bar = min(160, width // 4)
    colours = np.rint(_colour(np.linspace(0, 1, bar, dtype=np.float32))).astype(int)
    for x, colour in enumerate(colours):
        draw.line((_MARGIN + x, y, _MARGIN + x, y + 14), fill=tuple(map(int, colour)))
    text = "heat: from the cut-off for a suspicion upwards, one scale for all films"
    draw.text((_MARGIN + bar + 8, y - 2), text, fill=_TEXT, font=font)  # type: ignore[arg-type]
    y += _FONT_SIZE + 7
    draw.rectangle((_MARGIN, y, _MARGIN + 24, y + 10), fill=(60, 60, 60))
    draw.line((_MARGIN, y + 5, _MARGIN + 24, y + 5), fill=_OUTLINE, width=2)
    draw.text((_MARGIN + 32, y - 4), "lungs as found", fill=_TEXT, font=font)  # type: ignore[arg-type]
    x = _MARGIN + 32 + 130
    draw.rectangle((x, y, x + 24, y + 10), fill=(60, 60, 60))
    draw.line((x, y + 5, x + 24, y + 5), fill=_CONTOUR, width=2)
    draw.text((x + 32, y - 4), "the heat's core", fill=_TEXT, font=font)  # type: ignore[arg-type]
