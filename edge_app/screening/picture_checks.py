"""Cheap checks of a picture: colour, text of a screen, and what is burnt out to black or white.

A `Radiograph`, or what the reader saw of it, enters; shares of it leave, and a `Refusal` where one
is too large to read what is left. The limits lie beyond every film of the development sets; those
of the exposure where films burnt out on purpose began to get other answers (docs/gate.md).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edge_app.decision import Reason
from edge_app.images.radiograph import Pixels, Radiograph
from edge_app.screening.refusals import Refusal

Counts = npt.NDArray[np.intp]

# Rows that are looked at; letters of 12 pixels on a page of 1,000 meet 64 rows often enough.
_ROWS = 64
# Shares of the greys that there could be: of a letter's edge, and of what is flat beside it.
_EDGE, _FLAT = 96 / 255, 8 / 255
_LEAST_EDGES = 16  # in a row: eight strokes. A side marker has two to four
_LEAST_FLAT = 0.4  # of a row's points; noise has edges too, and nothing flat between them

_REFUSED_ABOVE: tuple[tuple[str, float, Refusal], ...] = (
    (
        "colour",
        0.05,
        Refusal(
            Reason.COLOUR_PICTURE,
            "this is a picture in colour, and an X-ray has none: send the film's own file, or "
            "photograph the film on its light box with nothing beside it",
        ),
    ),
    (
        "text",
        0.25,
        Refusal(
            Reason.SCREEN_COPY,
            "this looks like a copy of a screen or a page, with much text around or over a film: "
            "send the film's own file",
        ),
    ),
    (
        "black_in_lungs",
        0.15,
        Refusal(
            Reason.OVER_EXPOSED,
            "too much of the lungs is plain black: export the film with a wider window, or take it "
            "again with less exposure",
        ),
    ),
    (
        "white_beside_lungs",
        0.40,
        Refusal(
            Reason.UNDER_EXPOSED,
            "too much beside the lungs is plain white: export the film with a wider window, or "
            "take it again with more exposure",
        ),
    ),
)


def measure_picture(radiograph: Radiograph) -> dict[str, float]:
    """What can be measured before any look: the shares `colour` and `text`."""
    return {
        "colour": radiograph.colour,
        "text": text_share(radiograph.pixels, radiograph.max_value),
    }


def text_share(pixels: Pixels, max_value: int) -> float:
    """The share of 64 rows that run through text: many hard edges, and flat between them.

    Args:
        pixels: (height, width).
        max_value: the largest that there could be.
    """
    rows = pixels[np.arange(_ROWS) * (len(pixels) - 1) // (_ROWS - 1)]
    before, after = rows[:, :-1], rows[:, 1:]
    steps = np.maximum(before, after) - np.minimum(before, after)
    edges = (steps > _EDGE * max_value).sum(axis=1, dtype=np.uint32)
    busy = steps[edges >= _LEAST_EDGES]
    if not busy.size:
        return 0.0
    flat = (busy <= _FLAT * max_value).mean(axis=1)
    return float(np.sum(flat >= _LEAST_FLAT)) / _ROWS


def burnt_out(lungs: Counts, beside: Counts) -> dict[str, float]:
    """The shares of the lungs that are plain black, and of what is beside them plain white.

    A film is black where it was exposed too much, or windowed so that nothing is left.

    Args:
        lungs, beside: (256,) how often each grey is there, as the reader was shown them.
    """
    return {
        "black_in_lungs": float(lungs[0] / max(1, lungs.sum())),
        "white_beside_lungs": float(beside[-1] / max(1, beside.sum())),
    }


def find_picture_refusal(measures: Mapping[str, float]) -> Refusal | None:
    """A reason not to read a picture with these measures, None where there is none."""
    for name, most, refusal in _REFUSED_ABOVE:
        if measures.get(name, 0.0) > most:
            return refusal
    return None
