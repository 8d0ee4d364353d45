"""Pictures for the gate that are made of chest films: turned, cut, burnt out, on a screen.

Grey films and their lungs' boxes enter, arrays leave. Every run makes the same ones.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from edge_app.images.lung_box import LungBox

Grey = npt.NDArray[np.uint8]

_SEED = 14
_CROPS = 1000
_MOST_SHOWN = 0.40  # of a film, and of its lungs' box
_WORDS = """patient name study date series image window level zoom ward chest kVp mAs exposure
    hospital accession born sex weight comment opinion finding the of with left right""".split()


def made_pictures(
    films: list[Grey], boxes: list[LungBox]
) -> Iterator[tuple[str, str, Iterable[Grey]]]:
    """Kind, what should come of it, and its pictures, made of (height, width) uint8 films."""
    rng = np.random.default_rng(_SEED)
    yield "on its side, either way", "put right", (np.rot90(f, k) for f in films for k in (1, 3))
    yield "upside down", "put right", (np.rot90(f, 2) for f in films)
    yield "inverted greys", "put right", (255 - f for f in films)
    yield "two films side by side", "refused", _pairs(films, np.hstack)
    yield "two films, one above the other", "refused", _pairs(films, np.vstack)
    yield "random parts under 40% of the chest", "refused", _crops(films, boxes, rng)
    yield (
        "black, white, grey",
        "refused",
        (np.full((300, 300), v, np.uint8) for v in range(0, 256, 5)),
    )
    yield "noise, fine to coarse", "refused", (_noise(rng) for _ in range(100))
    yield "text", "refused", (_text(rng) for _ in range(100))
    yield "a film among the text of a screen", "refused", (_screen(film, rng) for film in films)
    yield "lungs burnt out to black by 40%", "refused", map(_burnt_black, films, boxes)
    yield "burnt out to white by 60%", "refused", map(_burnt_white, films, boxes)
    yield "text in the corners of the film", "read", (_with_corners(film, rng) for film in films)


def _pairs(films: list[Grey], join: Callable[[list[Grey]], Grey]) -> Iterator[Grey]:
    for index, film in enumerate(films):
        other = films[(7 * index + 3) % len(films)]
        yield join([_resized(film), _resized(other)])


def _resized(film: Grey) -> Grey:
    return np.asarray(Image.fromarray(film, mode="L").resize((400, 400)))


def _crops(films: list[Grey], boxes: list[LungBox], rng: np.random.Generator) -> Iterator[Grey]:
    """Random parts of 5 to 40% of a film that show less than 40% of its lungs' box."""
    made = 0
    for index in itertools.count():
        film, box = films[index % len(films)], boxes[index % len(films)]
        height, width = film.shape
        area, shape = rng.uniform(0.05, _MOST_SHOWN), float(np.exp(rng.uniform(-0.5, 0.5)))
        high = min(height, round(float(np.sqrt(area * height * width * shape))))
        wide = min(width, round(area * height * width / high))
        top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
        across = _shared(box.left * width, box.right * width, left, left + wide)
        down = _shared(box.top * height, box.bottom * height, top, top + high)
        if across * down < _MOST_SHOWN:
            yield film[top : top + high, left : left + wide]
            made += 1
        if made == _CROPS:
            return


def _shared(low: float, high: float, start: float, end: float) -> float:
    """The share of low to high that lies between start and end."""
    return max(0.0, min(high, end) - max(low, start)) / (high - low)


def _noise(rng: np.random.Generator) -> Grey:
    side = int(np.exp(rng.uniform(np.log(3), np.log(300))))
    small = rng.integers(0, 256, (side, side), dtype=np.uint8)
    return np.asarray(Image.fromarray(small, mode="L").resize((300, 300), Image.Resampling.BICUBIC))


def _text(rng: np.random.Generator) -> Grey:
    paper = int(rng.choice([0, 255]))
    page = Image.new("L", (500, 600), paper)
    draw = ImageDraw.Draw(page)
    letters = list("abcdefghijklmnopqrstuvwxyz   ")
    for line in range(10, 590, 18):
        draw.text((10, line), "".join(rng.choice(letters, int(rng.integers(5, 70)))), 255 - paper)
    return np.asarray(page)


def _screen(film: Grey, rng: np.random.Generator) -> Grey:
    """A film in a viewer: about half of the screen, the rest dark or light with lines of words."""
    width, height = int(rng.integers(1000, 1600)), int(rng.integers(700, 1000))
    paper, ink = (40, 220) if rng.random() < 0.5 else (240, 40)
    page = Image.new("L", (width, height), paper)
    _write_lines(page, ink, rng)
    scale = min(rng.uniform(0.45, 0.8) * width / film.shape[1], 0.85 * height / film.shape[0])
    shown = _scaled(film, scale)
    page.paste(shown, (int(rng.integers(5, width - shown.width)), height - shown.height - 10))
    return np.asarray(page)


def _write_lines(page: Image.Image, ink: int, rng: np.random.Generator) -> None:
    draw, size = ImageDraw.Draw(page), int(rng.integers(11, 19))
    font = ImageFont.load_default(size)
    for top in range(4, page.height - size, size + int(rng.integers(3, 9))):
        words = " ".join(rng.choice(_WORDS, page.width // (4 * size)))
        draw.text((8, top), words, ink, font=font)


def _with_corners(film: Grey, rng: np.random.Generator) -> Grey:
    """What a viewer writes into the corners when it saves a film."""
    page = _scaled(film, rng.uniform(700, 1100) / max(film.shape))
    draw, size = ImageDraw.Draw(page), int(rng.integers(11, 19))
    font = ImageFont.load_default(size)
    for x, anchor in ((6, "la"), (page.width - 6, "ra")):
        for line in range(int(rng.integers(3, 8))):
            words = " ".join(rng.choice(_WORDS, int(rng.integers(1, 5))))
            draw.text((x, 6 + line * (size + 3)), words, 255, font=font, anchor=anchor)
    return np.asarray(page)


def _scaled(film: Grey, scale: float) -> Image.Image:
    size = max(1, round(film.shape[1] * scale)), max(1, round(film.shape[0] * scale))
    return Image.fromarray(film, mode="L").resize(size)


def _burnt_black(film: Grey, box: LungBox) -> Grey:
    """The darkest 40% of what the lungs' box holds are lost in black."""
    level = float(np.quantile(_boxed(film, box), 0.4))
    return np.asarray(np.clip(film.astype(np.float32) - level, 0, 255), np.uint8)


def _burnt_white(film: Grey, box: LungBox) -> Grey:
    """The brightest 60% of what the lungs' box holds are lost in white."""
    level = max(1.0, float(np.quantile(_boxed(film, box), 0.4)))
    return np.asarray(np.minimum(film, level) * (255 / level), np.uint8)


def _boxed(film: Grey, box: LungBox) -> Grey:
    height, width = film.shape
    rows = slice(int(box.top * height), int(box.bottom * height))
    return film[rows, int(box.left * width) : int(box.right * width)]
