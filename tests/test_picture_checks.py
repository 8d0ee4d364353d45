"""Colour, text and burnt-out greys: an example of each reason and flag, and films without."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from edge_app.bundle.load import load_bundle
from edge_app.decision import Decision, Reason
from edge_app.images.colour import colour_share
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import decode_image, read_image
from edge_app.screening.flaws import MOST_USUAL, show_flag, show_measure
from edge_app.screening.picture_checks import burnt_out, find_picture_refusal, text_share
from edge_app.screening.screener import Screener

KINDS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")


@cache
def phantom(seed: int = 1) -> Any:
    return draw_phantom(Phantom(seed), 300, 320)


def photograph() -> Image.Image:
    """A blue sky over grass, with a red ball."""
    image = Image.new("RGB", (400, 300), (120, 170, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 180, 400, 300), fill=(70, 140, 50))
    draw.ellipse((150, 120, 260, 230), fill=(210, 50, 40))
    return image


def page(words: str = "patient number exposure history") -> Image.Image:
    """A page of text beside a film."""
    image = Image.new("L", (700, 500), 30)
    draw = ImageDraw.Draw(image)
    for top in range(5, 480, 13):
        draw.text((8, top), f"{words} {top} " * 2, 220)
    image.paste(Image.fromarray(phantom()).convert("L").resize((250, 250)), (440, 240))
    return image


def stored(image: Image.Image, kind: str) -> Radiograph:
    stream = io.BytesIO()
    image.save(stream, kind)
    return decode_image(stream.getvalue(), "picture")


@pytest.fixture
def screener(tiny_bundle_folder: Path) -> Screener:
    return Screener(load_bundle(tiny_bundle_folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_colour_photograph_is_refused(kind: str, screener: Screener) -> None:
    picture = stored(photograph(), kind)
    assert picture.colour > 0.5
    result = screener.score(picture)
    assert result.reason is Reason.COLOUR_PICTURE
    assert result.measures["colour"] == picture.colour
    assert "light box" in result.message
    assert result.quality["in_colour"]


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK"])
def test_colour_is_seen_however_it_is_stored(mode: str) -> None:
    image = photograph().convert(mode)
    assert stored(image, "JPEG" if mode == "CMYK" else "PNG").colour > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_grey_film_that_is_stored_in_colour_has_none(kind: str, screener: Screener) -> None:
    grey = Image.fromarray(phantom())
    film = stored(grey.convert("RGB"), kind)
    assert film.colour == 0
    assert screener.score(film).reason is None


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_tinted_film_is_a_film_still(seed: int) -> None:
    """Light of any colour through the film, each channel with a contrast of its own."""
    rng = np.random.default_rng(seed)
    tint, gamma = rng.uniform(0.75, 1, 3), rng.uniform(0.95, 1.05, 3)
    grey = phantom(seed % 4) / 255
    channels = [255 * t * grey**g for t, g in zip(tint, gamma, strict=True)]
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(rng.integers(40, 95)))
    assert decode_image(stream.getvalue(), "film").colour <= MOST_USUAL["colour"]


def test_an_arrow_on_a_film_is_flagged_and_read(screener: Screener) -> None:
    film = Image.fromarray(phantom()).convert("RGB")
    ImageDraw.Draw(film).rectangle((200, 30, 280, 45), fill=(230, 30, 30))
    result = screener.score(stored(film, "PNG"))
    assert result.reason is None
    assert result.quality["in_colour"]
    assert show_flag("in_colour", result.measures).endswith("%")


def test_colour_by_hand() -> None:
    """Half of the points blue, the other half grey: the tint of neither explains both."""
    rgb = np.full((10, 10, 3), 100, np.uint8)
    assert colour_share(rgb) == 0
    rgb[:5, :, 2] = 200
    assert colour_share(rgb) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_screen_copy_is_refused(kind: str, screener: Screener) -> None:
    result = screener.score(stored(page(), kind))
    assert result.reason is Reason.SCREEN_COPY
    assert result.decision is Decision.NOT_ASSESSABLE
    assert result.measures["text"] > 0.25
    assert "the film's own file" in result.message


@pytest.mark.parametrize("max_value", [255, 4095, 65535])
def test_text_is_text_at_every_depth(max_value: int) -> None:
    grey = np.asarray(page())
    scaled = grey if max_value == 255 else (grey.astype(np.uint32) * max_value // 255)
    pixels = scaled.astype(np.uint8 if max_value == 255 else np.uint16)
    assert text_share(pixels, max_value) == pytest.approx(text_share(grey, 255), abs=0.05)


def test_words_in_a_corner_are_flagged_and_read(screener: Screener) -> None:
    film = Image.fromarray(phantom(3)).resize((700, 700))
    draw = ImageDraw.Draw(film)
    for top in range(6, 110, 14):
        draw.text((6, top), "patient 12345 chest AP 60 kVp", 255)
    result = screener.score(stored(film, "PNG"))
    assert result.reason is None
    assert result.quality["text_on_picture"]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_noise_and_films_are_no_text(seed: int) -> None:
    """Noise has edges, and nothing flat between them; a phantom has no edges."""
    noise = np.random.default_rng(seed).integers(0, 256, (200, 200)).astype(np.uint8)
    assert text_share(noise, 255) == 0
    assert text_share(phantom(seed % 4), 255) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 2)])
def test_a_picture_of_any_shape_has_its_share(shape: tuple[int, int]) -> None:
    assert text_share(np.zeros(shape, np.uint8), 255) == 0


def test_what_is_burnt_out_by_hand() -> None:
    lungs, beside = np.zeros(256, np.intp), np.zeros(256, np.intp)
    assert set(burnt_out(lungs, beside).values()) == {0.0}
    lungs[[0, 90]] = 1, 3
    beside[[0, 255]] = 5, 5
    assert burnt_out(lungs, beside) == {"black_in_lungs": 0.25, "white_beside_lungs": 0.5}


@pytest.mark.parametrize(
    ("measure", "most", "reason"),
    [
        ("colour", 0.05, Reason.COLOUR_PICTURE),
        ("text", 0.25, Reason.SCREEN_COPY),
        ("black_in_lungs", 0.15, Reason.OVER_EXPOSED),
        ("white_beside_lungs", 0.40, Reason.UNDER_EXPOSED),
    ],
)
def test_a_limit_is_where_it_is_said_to_be(measure: str, most: float, reason: Reason) -> None:
    assert find_picture_refusal({measure: most}) is None
    refusal = find_picture_refusal({measure: most + 0.001})
    assert refusal is not None
    assert refusal.reason is reason
    assert MOST_USUAL[measure] < most  # flagged before it is refused


def test_numbers_are_shown_as_people_say_them() -> None:
    assert show_measure("tilt_degrees", -8.26) == "-8.3°"
    assert show_measure("lungs_unequal", float(np.log(2))) == "2.0 : 1"
    assert show_measure("lungs_unequal", -float(np.log(1.5))) == "1 : 1.5"
    assert show_measure("contrast", 0.316) == "31.6%"
    assert show_flag("tilted", {"tilt_degrees": 9.0}) == "+9.0°"
    assert show_flag("tilted", {}) == show_flag("age_unknown", {"tilt_degrees": 9.0}) == ""


def real_films(data: Path, n: int) -> list[Path]:
    return sorted((data / "originals").rglob("*.jpeg"))[:: 100 // n]


def test_no_real_film_is_taken_for_a_screen_or_a_photograph(shared_data: Path) -> None:
    for path in real_films(shared_data, 20):
        film = read_image(path)
        assert film.colour <= MOST_USUAL["colour"]
        assert text_share(film.pixels, film.max_value) <= MOST_USUAL["text"]


@pytest.mark.parametrize("reason", [Reason.OVER_EXPOSED, Reason.UNDER_EXPOSED])
def test_a_burnt_out_film_is_refused(shared_data: Path, reason: Reason) -> None:
    """Films that are answered for, their lungs lost in black or the rest of them in white."""
    screener = Screener(load_bundle())
    reasons = []
    for path in real_films(shared_data, 4):
        film = read_image(path)
        plain = screener.score(film)
        assert plain.lungs is not None
        box, (height, width) = plain.lungs.box, film.pixels.shape
        rows = slice(int(box.top * height), int(box.bottom * height))
        chest = film.pixels[rows, int(box.left * width) : int(box.right * width)]
        level = float(np.quantile(chest, 0.4))
        if reason is Reason.OVER_EXPOSED:
            burnt = np.clip(film.pixels - level, 0, 255)
        else:
            burnt = np.minimum(film.pixels, level + 8) * (255 / (level + 8))
        size = film.original_size
        result = screener.score(Radiograph(burnt.astype(np.uint8), 255, "PNG", "0" * 64, size))
        reasons.append(result.reason)
        if result.reason is reason:
            assert result.quality[reason.value]
            assert result.lungs is not None  # where they are is not in doubt
    assert None not in reasons
    assert reasons.count(reason) >= 2  # of the others the locator has its doubts
