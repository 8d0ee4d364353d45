"""The film of a photograph: drawn under a known perspective, found where it was drawn."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from edge_app.images.light_box import PhotographError, find_film, straighten
from edge_app.images.phantom import Phantom, draw_phantom

WIDTH, HEIGHT = 800, 600
CORNERS = np.array([[0.2, 0.15], [0.8, 0.15], [0.8, 0.85], [0.2, 0.85]])


def photograph(
    corners: npt.NDArray[np.float64], surround: int = 235, scale: float = 0.75
) -> npt.NDArray[np.uint8]:
    """A phantom's film on a light box, its corners at these fractions of the photograph."""
    film = draw_phantom(Phantom(3), 300, 300) * scale
    places = corners * (WIDTH, HEIGHT)
    flat = [(0, 0), (300, 0), (300, 300), (0, 300)]
    rows, values = [], []
    for (x, y), (u, v) in zip(places, flat, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    coefficients = np.linalg.solve(np.array(rows), np.array(values)).tolist()
    drawn = Image.fromarray(film.astype(np.uint8)).transform(
        (WIDTH, HEIGHT), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
    )
    mask = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(mask).polygon([tuple(place) for place in places], fill=255)
    picture = Image.new("L", (WIDTH, HEIGHT), surround)
    picture.paste(drawn, mask=mask)
    noise = np.random.default_rng(1).normal(0, 2, (HEIGHT, WIDTH))
    return np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)


shifts = st.lists(st.floats(-0.09, 0.09), min_size=8, max_size=8)


@settings(max_examples=8, deadline=None)
@given(shifts)
def test_the_corners_are_found_where_they_were_drawn(moved: list[float]) -> None:
    corners = CORNERS + np.reshape(moved, (4, 2))
    found = find_film(photograph(corners)).corners
    # One pixel of 240, at which the film is looked for, is 0.004.
    assert np.abs(found - corners).max() < 0.012


def test_the_straightened_film_is_the_film() -> None:
    moved = np.array([[0.05, 0.02], [-0.03, 0.06], [0.02, 0.0], [0.0, -0.04]])
    corners = CORNERS + moved
    straight = Image.fromarray(straighten(photograph(corners))).resize((300, 300))
    film = draw_phantom(Phantom(3), 300, 300) * 0.75
    correlation = np.corrcoef(np.asarray(straight).ravel(), film.ravel())[0, 1]
    assert correlation > 0.98


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("corner off the picture", "film_corners"),
        ("a hand over a corner", "film_corners"),
        ("nothing there", "film_corners"),
        ("far away", "film_small"),
        ("a lamp's reflection", "film_glare"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(change: str, code: str) -> None:
    corners = CORNERS.copy()
    if change == "corner off the picture":
        corners = CORNERS + np.array([0.3, 0.0])
    if change == "far away":
        corners = 0.5 + (CORNERS - 0.5) * 0.4
    picture = photograph(corners)
    if change == "a hand over a corner":
        picture[: HEIGHT // 3, : WIDTH // 3] = 235
    if change == "nothing there":
        picture[:] = 235
    if change == "a lamp's reflection":
        image = Image.fromarray(picture)
        ImageDraw.Draw(image).ellipse((330, 250, 400, 320), fill=255)
        picture = np.asarray(image)
    with pytest.raises(PhotographError) as caught:
        straighten(picture)
    assert caught.value.code == code
