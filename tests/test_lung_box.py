"""The box from the locator's map, and the frame around it: against boxes worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.images.lung_box import LungBox, LungBoxSpec, _connected_parts, find_lung_box
from edge_app.images.lung_frame import Frame, lung_frame
from edge_app.images.phantom import Phantom, draw_lungs, draw_phantom

EVEN = LungBoxSpec(threshold=0.5, smallest_part=0.2, left=0.5, top=0.5, right=0.5, bottom=0.5)


def _logits(share: np.ndarray) -> np.ndarray:
    """Logits whose probabilities are these, short of 0 and 1."""
    p = np.clip(share, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p)).astype(np.float32)


def test_cells_that_are_lung_give_their_own_edges() -> None:
    share = np.zeros((10, 20))
    share[2:8, 3:15] = 1.0
    box = find_lung_box(_logits(share), EVEN)
    assert box is not None
    edges = (box.left, box.top, box.right, box.bottom)
    # Between the last line without lung and the first one with it, at half way: the cells' border.
    assert edges == pytest.approx((3 / 20, 2 / 10, 15 / 20, 8 / 10), abs=1e-4)
    assert box.area == pytest.approx(72 / 200)
    assert box.certainty == pytest.approx(1.0, abs=1e-4)
    assert box.parts == 1


def test_a_half_covered_line_moves_its_edge_by_half_a_cell() -> None:
    share = np.zeros((10, 20))
    share[2:8, 3:15] = 1.0
    share[2:8, 2] = 0.5
    box = find_lung_box(_logits(share), EVEN)
    assert box is not None
    assert box.left == pytest.approx(2.5 / 20, abs=1e-4)
    lower = find_lung_box(_logits(share), replace(EVEN, left=0.25))
    assert lower is not None
    assert lower.left == pytest.approx(2 / 20, abs=1e-4)


def test_lungs_at_the_edge_of_the_picture_reach_it() -> None:
    share = np.zeros((8, 8))
    share[:, :3] = 1.0
    box = find_lung_box(_logits(share), EVEN)
    assert box is not None
    assert (box.left, box.top, box.bottom) == (0.0, 0.0, 1.0)


def test_a_speck_far_from_the_lungs_does_not_count() -> None:
    share = np.zeros((20, 20))
    share[4:12, 3:9] = share[4:12, 11:17] = 1.0
    alone = find_lung_box(_logits(share), EVEN)
    share[18, 18] = 1.0
    assert find_lung_box(_logits(share), EVEN) == alone
    assert alone is not None
    assert alone.parts == 2
    counted = find_lung_box(_logits(share), replace(EVEN, smallest_part=0.0))
    assert counted is not None
    assert counted.bottom == pytest.approx(19 / 20, abs=1e-4)


def test_a_map_without_lung_has_no_box() -> None:
    assert find_lung_box(np.full((6, 6), -3.0, np.float32), EVEN) is None
    with pytest.raises(ValueError, match=r"\(rows, columns\)"):
        find_lung_box(np.zeros((1, 6, 6), np.float32), EVEN)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 30), columns=st.integers(1, 30))
def test_any_map_gives_a_box_within_the_picture_or_none(seed: int, rows: int, columns: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 4, (rows, columns)).astype(np.float32)
    box = find_lung_box(logits, EVEN)
    assert (box is None) == bool((logits < 0).all())
    if box is not None:
        assert 0 <= box.left < box.right <= 1
        assert 0 <= box.top < box.bottom <= 1
        assert 0 <= box.certainty <= 1


def test_a_phantom_s_lungs_are_where_it_is_dark() -> None:
    phantom = Phantom(seed=3)
    picture, lungs = draw_phantom(phantom, 96, 80), draw_lungs(phantom, 96, 80)
    trunk = np.zeros_like(lungs)
    trunk[30:70, 8:72] = True
    assert picture[lungs].mean() < picture[trunk & ~lungs].mean() - 40


@pytest.mark.parametrize("name", ["threshold", "left", "bottom"])
def test_numbers_outside_of_their_domain_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        replace(EVEN, **{name: 1.0})


def test_a_frame_has_its_margin_as_far_as_the_picture_reaches() -> None:
    box = LungBox(0.01, 0.2, 0.61, 0.9, certainty=1.0, area=0.3, parts=2)
    # 0.1 of the box's sides: 0.06 and 0.07.
    frame = lung_frame(box, 0.1)
    edges = (frame.left, frame.top, frame.right, frame.bottom)
    assert edges == pytest.approx((0.0, 0.13, 0.67, 0.97))


@pytest.mark.parametrize("edges", [(0.5, 0, 0.5, 1), (-0.1, 0, 1, 1), (0, 0.2, 1, 1.01)])
def test_a_frame_is_a_part_of_the_picture(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="no part of a picture"):
        Frame(*edges)


def flooded(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """Parts whose cells touch by a side, cell by cell."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    parts = []
    while left:
        part, edge = set(), {min(left)}
        while edge:
            part |= edge
            near = {
                (y + dy, x + dx) for y, x in edge for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1))
            }
            edge = (near & left) - part
        left -= part
        parts.append(part)
    return parts


@pytest.mark.parametrize("seed", range(40))
def test_parts_are_those_that_flooding_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(1, 20, 2))) < 0.45
    found = [{(int(y), int(x)) for y, x in np.argwhere(part)} for part in _connected_parts(mask)]
    assert found == flooded(mask)
    assert all(part.shape == mask.shape for part in _connected_parts(mask))


def test_the_end_of_a_row_does_not_touch_the_next_one() -> None:
    mask = np.array([[False, False, True], [True, False, False]])
    assert len(_connected_parts(mask)) == 2
