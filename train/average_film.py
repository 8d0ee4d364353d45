"""The average of many films whose lungs are laid over one another: like a film, and nobody's.

Outlines of one class enter; one picture leaves. The examples of `pneumoscope examples` are made of
it, since no child's film may ship and the input gate refuses a drawing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edge_app.errors import DataError
from train.outlines import Box, Outline

HEIGHT, WIDTH = 480, 560
# Where the lungs' box comes to lie, as fractions of the average.
LUNGS: Box = (0.12, 0.08, 0.88, 0.90)
# Averaging blurs; without this the lungs' edges are as soft as disease.
_SHARPEN = ImageFilter.UnsharpMask(radius=12, percent=220, threshold=0)
_MEAN, _DEVIATION = 125.0, 55.0

Film = npt.NDArray[np.float32]


def average_film(outlines: Sequence[Outline], films: int) -> tuple[Image.Image, list[str]]:
    """The average of those `films` whose outlines are most alike.

    Args:
        outlines: with box and mask; a film that does not fill the average's frame is left out.
        films: how many to take.

    Returns:
        An 8-bit greyscale picture of `HEIGHT` by `WIDTH`, and the names of what it was made of.

    Raises:
        DataError: too few outlines fill the frame, or a file cannot be read.
    """
    whole = [(o, frame) for o in outlines if (frame := _frame(o)) is not None]
    if len(whole) < films or films < 1:
        raise DataError(f"{len(whole)} films fill the frame; {films} were asked for")
    masks = [_laid(o.mask, frame) > 0 for o, frame in whole if o.mask is not None]
    middle = np.mean(masks, axis=0) >= 1 / 2
    alike = [-(mask & middle).sum() / (mask | middle).sum() for mask in masks]
    chosen = sorted(np.argsort(alike, kind="stable")[:films])
    mean = np.mean([_even(_laid(whole[i][0].path, whole[i][1])) for i in chosen], axis=0)
    grey = (mean - mean.mean()) / mean.std() * _DEVIATION + _MEAN
    picture = Image.fromarray(np.clip(grey.round(), 0, 255).astype(np.uint8))
    return picture.filter(_SHARPEN), [whole[i][0].name for i in chosen]


def _frame(outline: Outline) -> Box | None:
    """What of the film the average shows, as fractions; None where that leaves the film."""
    if outline.box is None or outline.mask is None:
        return None
    left, top, right, bottom = outline.box
    width = (right - left) / (LUNGS[2] - LUNGS[0])
    height = (bottom - top) / (LUNGS[3] - LUNGS[1])
    x, y = left - LUNGS[0] * width, top - LUNGS[1] * height
    inside = min(x, y) >= 0 and x + width <= 1 and y + height <= 1
    return (x, y, x + width, y + height) if inside else None


def _laid(path: Path, frame: Box) -> Film:
    """A picture's `frame`, resampled to the average's size: float32 (HEIGHT, WIDTH)."""
    try:
        with Image.open(path) as file:
            picture = file.convert("L")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    x, y = picture.size
    box = (frame[0] * x, frame[1] * y, frame[2] * x, frame[3] * y)
    return np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box), np.float32)


def _even(film: Film) -> Film:
    """Every film with the same range of greys, so that each counts alike."""
    low, high = np.percentile(film, [2, 98])
    return np.asarray((film - low) / max(high - low, 1), np.float32)
