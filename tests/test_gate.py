"""The input gate, quality and negatives, on phantoms with a gate that is fitted on phantoms."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle, InputGate
from edge_app.decision import Decision, Reason
from edge_app.errors import BundleError, BundleFormatError, SelfTestError
from edge_app.files.codec import encode
from edge_app.images.lung_box import LungBox
from edge_app.images.lung_grid import GRID, lungs_in_box
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import preprocess
from edge_app.images.radiograph import Radiograph
from edge_app.report.words import FLAGS as WORDS
from edge_app.runtimes import Runtime, open_runtime
from edge_app.screening.flaws import EXPOSURE_FLAWS, FLAWS, MOST_USUAL, show_flag
from edge_app.screening.gate import PARTS, Direction, gate_features, likeness
from edge_app.screening.locator import find_anyway
from edge_app.screening.quality import FLAGS, MEASURES, measure_quality, quality_of
from edge_app.screening.screener import Screener
from edge_app.screening.selftest import run_self_test
from export.gate import Seen, fit_gate
from tests.tiny_bundle import SPLIT, write_tiny_bundle

SEEDS = range(20, 80)
FILE = "gate.npy"
BOX = LungBox(0.1, 0.1, 0.9, 0.9, certainty=0.9, area=0.3, parts=2)


def seen_by(bundle: Bundle, runtime: Runtime, pixels: Any) -> Seen:
    """What both looks of a bundle make of an upright picture."""
    locator = bundle.manifest.locator
    assert locator is not None
    found = find_anyway(pixels, runtime, locator)
    assert found is not None
    assert found.box is not None
    seen = preprocess(pixels, bundle.manifest.preprocess, found.frame)
    embedding = runtime.run(seen).embedding
    assert embedding is not None
    features = gate_features(found.logits, found.box, seen, embedding)
    shape = lungs_in_box(found.logits, found.box)
    return Seen(features, measure_quality(shape, found.box, seen, pixels.shape))


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle with a gate that knows phantoms, and the distances of its golden input."""
    folder = tmp_path_factory.mktemp("gate")
    plain = load_bundle(write_tiny_bundle(folder / "plain", locator=True))
    runtime = open_runtime(plain)
    phantoms = [seen_by(plain, runtime, draw_phantom(Phantom(s), 150, 160)) for s in SEEDS]
    golden = np.load(folder / "plain" / "golden" / "phantom.npy")
    patients = np.array([str(seed) for seed in SEEDS])
    fits = []
    distances = {}
    for model in plain.manifest.models:
        gate, content = fit_gate(phantoms, phantoms, patients, model.sha256, FILE)
        fits.append(gate.fit)
        distances[model.sha256] = gate.distance(seen_by(plain, runtime, golden).features)

    def change(document: dict[str, Any]) -> None:
        document["input_gate"] = encode(
            InputGate("joined_distance", tuple(fits), SPLIT, SPLIT, 0.1)
        )
        document["golden"]["cases"][0]["distances"] = distances

    return write_tiny_bundle(folder / "gated", locator=True, change=change, extra={FILE: content})


@pytest.fixture
def screener(gated: Path) -> Screener:
    return Screener(load_bundle(gated))


def score(screener: Screener, pixels: Any) -> Any:
    pixels = np.ascontiguousarray(pixels)
    top = 255 if pixels.dtype == np.uint8 else 4095
    return screener.score(Radiograph(pixels, top, "PNG", "0" * 64, pixels.shape[::-1]))


def test_what_the_gate_knows_passes(screener: Screener) -> None:
    result = score(screener, draw_phantom(Phantom(30), 300, 320))
    assert result.reason is None
    assert not result.quality["greys_inverted"]
    assert set(FLAGS) <= set(result.quality)


def test_what_is_unlike_it_is_refused(screener: Screener) -> None:
    """The phantom whose lungs are barred: the locator finds them, the gate has not seen such."""
    phantom = draw_phantom(Phantom(30), 300, 320)
    barred = phantom.astype(int)
    barred[100:200, 60:260:12] = 62
    barred[60:240:9] = np.minimum(barred[60:240:9] + 50, 255)
    result = score(screener, barred.astype(np.uint8))
    assert result.decision is Decision.NOT_ASSESSABLE
    assert result.reason is Reason.UNLIKE_VALIDATED_FILMS
    assert (result.raw_score, result.lungs) == (None, None)
    assert "read by a person" in result.message


def test_another_model_file_has_another_gate(gated: Path) -> None:
    manifest = load_bundle(gated).manifest
    assert manifest.input_gate is not None
    for model in manifest.models:
        assert manifest.input_gate.fit_of(model).model_sha256 == model.sha256


def test_distances_are_part_of_the_self_test(gated: Path) -> None:
    bundle = load_bundle(gated)
    (case,) = run_self_test(bundle, open_runtime(bundle))
    assert case.found_distance is not None
    assert case.gate_difference <= bundle.manifest.golden.distance_tolerance
    golden = bundle.manifest.golden
    other = {sha: distance + 2 for sha, distance in golden.cases[0].distances.items()}
    cases = (dataclasses.replace(golden.cases[0], distances=other),)
    manifest = dataclasses.replace(bundle.manifest, golden=dataclasses.replace(golden, cases=cases))
    with pytest.raises(SelfTestError, match="other distances"):
        run_self_test(dataclasses.replace(bundle, manifest=manifest), open_runtime(bundle))


def _shorter(document: dict[str, Any]) -> None:
    document["input_gate"]["fits"][0]["parts"]["frame"]["values"] = 255


def _unmeasured(document: dict[str, Any]) -> None:
    for fit in document["input_gate"]["fits"]:
        del fit["usual"]["clipped"]


def _no_such_part(document: dict[str, Any]) -> None:
    del document["input_gate"]["fits"][0]["parts"]["frame"]


def _one_model(document: dict[str, Any]) -> None:
    del document["input_gate"]["fits"][1]


def _no_such_file(document: dict[str, Any]) -> None:
    document["input_gate"]["fits"][1]["file"] = "elsewhere.npy"


def _no_locator(document: dict[str, Any]) -> None:
    document["locator"] = None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_shorter, "instead of float32"),
        (_unmeasured, "there must be one of each"),
        (_no_such_part, "a part is missing"),
        (_one_model, "are others than the bundle's"),
        (_no_such_file, "files lacks the gate"),
        (_no_locator, "needs a locator"),
    ],
)
def test_a_gate_that_does_not_fit_stops(
    gated: Path, tmp_path: Path, damage: Any, message: str
) -> None:
    content = (gated / FILE).read_bytes()
    whole = json.loads((gated / "bundle.json").read_bytes())

    def change(document: dict[str, Any]) -> None:
        document["input_gate"] = whole["input_gate"]
        damage(document)

    folder = write_tiny_bundle(tmp_path / "b", locator=True, change=change, extra={FILE: content})
    with pytest.raises(BundleError, match=message):
        Screener(load_bundle(folder), "litert")


def test_a_gate_of_what_is_no_number_stops(gated: Path) -> None:
    bundle = load_bundle(gated)
    gate = bundle.manifest.input_gate
    assert gate is not None
    numbers = np.load(gated / FILE)
    numbers[3] = np.nan
    stream = io.BytesIO()
    np.save(stream, numbers)
    original = (gated / FILE).read_bytes()
    try:
        (gated / FILE).write_bytes(stream.getvalue())
        with pytest.raises(BundleFormatError, match="no number"):
            Screener(bundle)
    finally:
        (gated / FILE).write_bytes(original)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_a_residual_is_what_no_direction_explains(seed: int, k: int) -> None:
    """By hand: the rest of a vector after a projection onto orthonormal directions."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(9, 9)))[0][:k]
    mean, values = rng.normal(size=9), rng.normal(size=9)
    part = Direction(*(np.asarray(a, np.float32) for a in (mean, basis, -np.ones(k))), rest=1.0)
    off = values - mean
    expected = np.sum((off - basis.T @ (basis @ off)) ** 2)
    assert part.distance(values.astype(np.float32)) == pytest.approx(expected, abs=1e-3)
    assert len(part.to_array()) == 9 + 9 * k + k + 1


@given(st.integers(0, 2**32 - 1))
def test_a_negative_is_the_opposite_of_its_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, 256, (1, 64, 64, 1)).astype(np.uint8)
    logits, embedding = np.zeros((8, 8), np.float32), np.zeros(4, np.float32)
    one = gate_features(logits, None, seen, embedding)["frame"]
    other = gate_features(logits, None, 255 - seen, embedding)["frame"]
    assert likeness(one, other) == pytest.approx(-1, abs=1e-3)
    assert likeness(one, one) == pytest.approx(1, abs=1e-3)
    assert set(PARTS) == set(gate_features(logits, None, seen, embedding))


def test_a_frame_without_contrast_is_like_nothing() -> None:
    flat = np.full((1, 64, 64, 1), 7, np.uint8)
    logits = np.zeros((8, 8), np.float32)
    frame = gate_features(logits, None, flat, np.zeros(4, np.float32))["frame"]
    assert likeness(frame, np.ones(GRID * GRID, np.float32)) == 0.0


def lungs(rows: int = 16) -> Any:
    """Two lungs side by side, as of `lungs_in_box`."""
    mask = np.zeros((GRID, GRID), np.float32)
    mask[:rows, 1:7] = mask[:rows, 9:15] = 1
    return mask


def measured(mask: Any = None, grey: Any = None, size: tuple[int, int] = (200, 200)) -> Any:
    picture = np.full((128, 128), 200) if grey is None else grey
    seen = np.asarray(picture, np.uint8)[np.newaxis, :, :, np.newaxis]
    return measure_quality(lungs() if mask is None else mask, BOX, seen, size)


def test_a_tilt_is_the_angle_between_the_lungs() -> None:
    assert measured()["tilt_degrees"] == 0
    lower = np.zeros((GRID, GRID), np.float32)
    lower[:8, 1:7] = lower[8:, 9:15] = 1  # eight cells across, eight down
    assert measured(lower)["tilt_degrees"] == pytest.approx(45)
    assert measured(lower[:, ::-1])["tilt_degrees"] == pytest.approx(-45)
    assert measured(lower, size=(100, 200))["tilt_degrees"] == pytest.approx(26.565, abs=1e-3)


def test_a_turned_patient_has_one_lung_smaller_than_the_other() -> None:
    assert measured()["lungs_unequal"] == 0
    small = lungs()
    small[8:, 9:15] = 0
    assert measured(small)["lungs_unequal"] == pytest.approx(np.log(97 / 49))


def test_little_air_makes_low_lungs() -> None:
    assert measured(size=(200, 200))["lungs_height"] == pytest.approx(1)
    assert measured(size=(100, 200))["lungs_height"] == pytest.approx(0.5)


def test_contrast_brightness_and_clipping_are_shares_of_the_range() -> None:
    fine = np.kron(lungs(), np.ones((8, 8))) >= 0.5
    grey = np.where(fine, 51, 204)
    found = measured(grey=grey)
    assert found["contrast"] == pytest.approx(0.6)
    assert found["bright_in_lungs"] == pytest.approx(0.2)
    assert found["clipped"] == 0
    grey[:64] = 255
    assert measured(grey=grey)["clipped"] == pytest.approx(0.5)
    assert measured(grey=grey)["bright_in_lungs"] == 1


def test_a_blurred_picture_is_less_sharp() -> None:
    from PIL import Image, ImageFilter

    sharp = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(1)))
    assert measured(grey=blurred)["sharpness"] < 0.7 * measured(grey=sharp)["sharpness"]


def test_every_flag_is_set_by_its_measure_alone_and_has_words() -> None:
    usual = dict.fromkeys(MEASURES, (-1.0, 1.0))
    calm = dict.fromkeys((*MEASURES, *MOST_USUAL), 0.0)
    assert not any(quality_of(calm, usual).values())
    for flaw in (*FLAWS, *EXPOSURE_FLAWS):
        for value, name in ((-2.0, flaw.below), (2.0, flaw.above)):
            flags = quality_of({**calm, flaw.measure: value}, usual)
            assert {flag for flag, is_set in flags.items() if is_set} == ({name} if name else set())
            assert name is None or show_flag(name, {flaw.measure: value})
    assert set(FLAGS) <= set(WORDS)
