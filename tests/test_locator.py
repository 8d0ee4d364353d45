"""The first look: lungs are found, turned pictures put right, and the rest is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Locator
from edge_app.decision import Decision, Reason
from edge_app.errors import BundleFormatError, BundleIntegrityError
from edge_app.images.lung_box import LungBox
from edge_app.images.lung_frame import Frame, lung_frame
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import preprocess
from edge_app.images.radiograph import Radiograph
from edge_app.report.thumbnail_maker import make_thumbnail
from edge_app.results.rows import decode_row, encode_row
from edge_app.runtimes import RUNTIMES, Runtime, open_runtime
from edge_app.runtimes.base import LungOutputs
from edge_app.screening.locator import Lungs, _is_second_film, find_lungs, look
from edge_app.screening.score_file import score_file
from edge_app.screening.screener import Screener, ScreeningResult, _is_enlarged
from edge_app.screening.selftest import run_self_test
from tests.tiny_bundle import MARGIN, RULES, SPEC, TOLERANCE, tiny_frame, write_tiny_bundle
from tests.tiny_network import forward, locate

INSTALLED = [engine.name for engine in RUNTIMES if engine.is_installed]
PHANTOM = draw_phantom(Phantom(seed=1), 300, 320)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "two-looks", locator=True)


@pytest.fixture
def screener(folder: Path) -> Screener:
    return Screener(load_bundle(folder))


def radiograph(pixels: Any) -> Radiograph:
    pixels = np.ascontiguousarray(pixels)
    return Radiograph(pixels, 255, "PNG", "0" * 64, pixels.shape[::-1])


def answer(screener: Screener, pixels: Any) -> ScreeningResult:
    return screener.score(radiograph(pixels))


def edges(frame: Frame | None) -> tuple[float, ...]:
    assert frame is not None
    return frame.left, frame.top, frame.right, frame.bottom


@pytest.mark.parametrize("name", INSTALLED)
def test_each_runtime_gives_what_the_reference_gives(folder: Path, name: str) -> None:
    if name == "tflite-runtime":
        pytest.importorskip("tflite_runtime")
    bundle = load_bundle(folder)
    runtime = open_runtime(bundle, name)
    outputs = runtime.locate(preprocess(PHANTOM, SPEC))
    expected = locate(preprocess(PHANTOM, SPEC))
    np.testing.assert_allclose(outputs.lungs, expected["lungs"][0, :, :, 0], atol=1e-3)
    for role in ("orientation", "view", "cut_off"):
        np.testing.assert_allclose(getattr(outputs, role), expected[role][0], atol=1e-3)
    (case,) = run_self_test(bundle, runtime)
    assert case.difference <= TOLERANCE


def test_the_reader_sees_the_lungs_frame_and_nothing_else(screener: Screener) -> None:
    result = answer(screener, PHANTOM)
    frame = tiny_frame(PHANTOM)
    assert edges(result.frame) == pytest.approx(edges(frame), abs=1e-5)
    assert result.raw_score == pytest.approx(
        forward(preprocess(PHANTOM, SPEC, frame)).logit, abs=TOLERANCE
    )
    assert result.lungs is not None
    assert result.lungs.box.left - frame.left == pytest.approx(MARGIN * result.lungs.box.width)
    height, width = PHANTOM.shape
    outside = PHANTOM.copy()  # but for what the resampling's filter reaches
    outside[: int(frame.top * height) - 8] = 90
    outside[int(frame.bottom * height) + 8 :, : int(frame.left * width) - 8] = 90
    rows, columns = slice(100, 250), slice(30, 290)
    assert (outside[rows, columns] == PHANTOM[rows, columns]).any()
    same = forward(preprocess(outside, SPEC, frame)).logit
    assert same == pytest.approx(forward(preprocess(PHANTOM, SPEC, frame)).logit, abs=1e-6)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_picture_is_put_right_and_flagged(screener: Screener, turns: int) -> None:
    upright = answer(screener, PHANTOM)
    turned = answer(screener, np.rot90(PHANTOM, turns))
    assert turned.lungs is not None
    assert turned.lungs.quarter_turns == turns
    assert turned.quality["turned_upright"]
    assert not upright.quality["turned_upright"]
    assert turned.raw_score == upright.raw_score
    assert edges(turned.frame) == edges(upright.frame)


def test_lungs_that_are_cut_off_are_no_lungs_to_read(screener: Screener) -> None:
    result = answer(screener, PHANTOM[:, 75:])
    assert (result.decision, result.reason) == (Decision.NOT_ASSESSABLE, Reason.LUNGS_CUT_OFF)
    assert "cut off at the left" in result.message
    assert result.raw_score is None
    assert result.lungs is not None  # where they are is known all the same
    assert result.quality["touches_edge"]


def test_what_is_bright_all_over_is_no_chest_film(screener: Screener) -> None:
    bright = np.clip(PHANTOM.astype(int) // 8 + 215, 0, 255).astype(np.uint8)
    bright[130:170, 140:180] = 0  # so that the range is not stretched
    assert answer(screener, bright).reason is Reason.NOT_CHEST_RADIOGRAPH


def test_what_has_no_lungs_is_not_guessed(screener: Screener) -> None:
    y = np.linspace(0, 1, 300)[:, np.newaxis]
    steps = np.where(y + 0 * np.linspace(0, 1, 300) > 0.5, 255, 0).astype(np.uint8)
    result = answer(screener, steps)
    assert result.reason is Reason.LUNGS_NOT_FOUND
    assert (result.lungs, result.frame, result.raw_score) == (None, None, None)


def test_which_way_up_is_not_guessed(screener: Screener) -> None:
    half = PHANTOM[:150]
    both = np.concatenate([half, half[::-1]])  # a head at either end
    assert answer(screener, both).reason is Reason.ROTATED


def test_a_blank_picture_is_told_before_the_locator_is_asked(screener: Screener) -> None:
    assert answer(screener, np.full((300, 300), 90, np.uint8)).reason is Reason.NO_CONTRAST


@pytest.mark.parametrize(("films", "reason"), [(1, None), (2, Reason.LUNGS_NOT_FOUND)])
def test_two_films_on_one_picture_are_not_read_as_one(films: int, reason: Reason | None) -> None:
    lungs = np.full((28, 28), -9, np.float32)
    for film in range(films):
        top = 3 + 13 * film
        lungs[top : top + 10, 4:12] = lungs[top : top + 10, 15:23] = 9
    sure = np.array([9, 0, 0, 0], np.float32)
    outputs = LungOutputs(lungs, sure, sure[:3], np.full(4, -9, np.float32))
    found, refusal = find_lungs(outputs, RULES, 0)
    assert found is not None
    assert found.box.parts == 2 * films
    assert (None if refusal is None else refusal.reason) is reason
    if refusal is not None:
        assert "send each film as a picture of its own" in refusal.message


def test_half_a_chest_is_called_sick_or_nothing(folder: Path) -> None:
    """Either a film of one lung, never to be cleared, or one whose other lung is white."""
    picture = PHANTOM.copy()
    picture[:, :150] = 140  # nothing there is as dark as lung
    bundle = load_bundle(folder)
    sick = answer(Screener(bundle, operating_point="screening"), picture)
    assert sick.decision is Decision.PNEUMONIA_SUSPECTED
    assert sick.lungs is not None
    assert sick.lungs.is_half
    other = answer(Screener(bundle), picture)
    assert other.reason is Reason.LUNGS_NOT_FOUND
    assert "only one lung was found" in other.message
    assert (other.raw_score, other.probability, other.activation_map) == (None, None, None)
    both = answer(Screener(bundle), PHANTOM)
    assert both.lungs is not None
    assert not both.lungs.is_half


def test_two_films_on_one_picture_get_an_answer_or_a_reason(screener: Screener) -> None:
    result = answer(screener, np.concatenate([PHANTOM, PHANTOM], axis=1))
    assert (result.reason is None) == (result.raw_score is not None)


def test_a_row_says_where_the_lungs_are(screener: Screener, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(np.rot90(PHANTOM).copy()).save(path)
    row = score_file(screener, path, "a.png")
    assert row.lungs is not None
    assert row.lungs.quarter_turns == 1
    assert decode_row(encode_row(row)) == row
    bits = np.unpackbits(np.frombuffer(__import__("base64").b64decode(row.lungs.mask), np.uint8))
    mask = bits[: row.lungs.rows * row.lungs.columns].reshape(row.lungs.rows, row.lungs.columns)
    lungs = answer(screener, PHANTOM).lungs
    assert lungs is not None
    assert (mask.astype(bool) == lungs.mask).all()


def test_a_row_with_a_box_outside_of_the_picture_is_refused(screener: Screener) -> None:
    row = json.loads(encode_row(_row(screener)))
    for change in ({"left": -0.1}, {"right": 0.01}, {"quarter_turns": 4}, {"mask": "AAAA"}):
        broken = row | {"lungs": row["lungs"] | change}
        with pytest.raises(ValueError, match="lungs"):
            decode_row(json.dumps(broken).encode() + b"\n")


def _row(screener: Screener) -> Any:
    from edge_app.screening.score_file import _answered_row

    picture = radiograph(PHANTOM)
    return _answered_row("a", picture, screener.score(picture), 1.0, 0.0)


def test_the_film_of_the_report_is_upright_and_knows_its_frame(screener: Screener) -> None:
    turned = radiograph(np.rot90(PHANTOM))
    drawn = make_thumbnail("a", turned, screener.score(turned))
    assert (drawn.width, drawn.height) == (320, 300)
    frame = tiny_frame(PHANTOM)
    assert drawn.frame == pytest.approx(edges(frame), abs=1e-5)


def test_a_frame_never_leaves_the_picture() -> None:
    from edge_app.images.lung_box import LungBox

    box = LungBox(0.0, 0.01, 1.0, 0.99, certainty=1.0, area=0.5, parts=1)
    assert lung_frame(box, 0.1) == Frame(0.0, 0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="no part of a picture"):
        Frame(0.5, 0.0, 0.5, 1.0)


def _swap(document: dict[str, Any]) -> None:
    pairs = document["locator"]["pairs"]
    first, second = pairs
    pairs[first], pairs[second] = pairs[second], pairs[first]


def _forget(document: dict[str, Any]) -> None:
    document["locator"]["pairs"].popitem()


def _foreign(document: dict[str, Any]) -> None:
    pairs = document["locator"]["pairs"]
    pairs[next(iter(pairs))] = "f" * 64


@pytest.mark.parametrize("change", [_swap, _forget, _foreign])
def test_a_locator_that_the_cut_offs_were_not_fitted_with_does_not_load(
    tmp_path: Path, change: Any
) -> None:
    folder = write_tiny_bundle(tmp_path / "b", locator=True, change=change)
    with pytest.raises(BundleIntegrityError, match="pairs"):
        load_bundle(folder)


def test_rules_outside_of_their_range_do_not_load(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["locator"]["rules"]["turned"] = 1.5

    with pytest.raises(BundleFormatError, match="turned"):
        load_bundle(write_tiny_bundle(tmp_path / "b", locator=True, change=change))


def test_uncertain_lungs_are_not_read(folder: Path) -> None:
    bundle = load_bundle(folder)
    locator = bundle.manifest.locator
    assert locator is not None
    strict = replace(locator, rules=replace(RULES, least_certainty=0.999))
    sure = replace(bundle, manifest=replace(bundle.manifest, locator=strict))
    assert answer(Screener(sure), PHANTOM).reason is Reason.LUNGS_NOT_FOUND


@pytest.mark.parametrize(
    ("shape", "enlarged"),
    [((64, 128), False), ((63, 128), True), ((64, 127), True), ((63, 127), True)],
)
def test_a_frame_of_fewer_pixels_than_the_input_is_enlarged(
    shape: tuple[int, int], enlarged: bool
) -> None:
    """Half of either side, against an input of 32 x 64: each side counts for itself."""
    spec = replace(SPEC, height=32, width=64)
    assert _is_enlarged(shape, Frame(0.25, 0.5, 0.75, 1.0), spec) is enlarged


def test_two_films_on_one_picture_are_not_read(screener: Screener) -> None:
    """The locator may see one of them alone; the half beside it then holds lungs too."""
    alone = np.concatenate([PHANTOM, np.zeros_like(PHANTOM)], axis=1)
    pair = np.concatenate([PHANTOM, PHANTOM], axis=1)
    runtime, locator = screener.runtime, screener.bundle.manifest.locator
    assert locator is not None
    for pixels, second in ((alone, False), (pair, True)):
        left = replace(_lungs_of(runtime, locator, PHANTOM), box=_IN_THE_LEFT_HALF)
        assert _is_second_film(np.ascontiguousarray(pixels), left, runtime, locator) == second
    middle = replace(_lungs_of(runtime, locator, PHANTOM))
    assert not _is_second_film(PHANTOM, middle, runtime, locator)
    assert answer(screener, pair).reason is not None


_IN_THE_LEFT_HALF = LungBox(0.05, 0.2, 0.45, 0.8, certainty=0.9, area=0.2, parts=2)


def _lungs_of(runtime: Runtime, locator: Locator, pixels: Any) -> Lungs:
    lungs = look(pixels, runtime, locator).lungs
    assert lungs is not None
    return lungs
