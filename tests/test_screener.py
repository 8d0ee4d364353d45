"""From a radiograph to an answer: cut-offs, calibration, and what is refused."""

import dataclasses
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_app import Decision, Screener, load_bundle
from edge_app.bundle.manifest import Bundle, Calibration, OperatingPoint, Population
from edge_app.decision import Reason, Status, show_probability
from edge_app.errors import BundleFormatError, UsageError
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.radiograph import DicomFacts, Radiograph
from edge_app.screening.population import find_population_refusal
from edge_app.screening.refusals import (
    MIN_GREY_LEVELS,
    MIN_SIDE_PIXELS,
    find_contrast_refusal,
    find_refusal,
    quality_flags,
)
from edge_app.screening.score_file import score_file
from edge_app.screening.screener import decide
from edge_app.screening.stated import Stated
from tests.tiny_bundle import FIGURE, SPEC, SPLIT, TOLERANCE, write_tiny_bundle
from tests.tiny_network import forward

CHILDREN = Population("children", (1, 5), ("AP",), ("one",))
FACTS = DicomFacts("DX", "CHEST", "AP", 3.0, "MONOCHROME2", "1.2", "FOR PRESENTATION")
POINT = OperatingPoint("p", "0" * 64, 0.5, -1.0, 2.0, "", SPLIT, FIGURE, FIGURE)


def radiograph(pixels: Any = None, facts: DicomFacts | None = None) -> Radiograph:
    pixels = draw_phantom(Phantom(1), 160, 160) if pixels is None else pixels
    return Radiograph(
        pixels=pixels,
        max_value=255,
        source_format="PNG",
        sha256="0" * 64,
        original_size=(pixels.shape[1], pixels.shape[0]),
        dicom=facts,
    )


@pytest.fixture
def bundle(tiny_bundle_folder: Path) -> Bundle:
    return load_bundle(tiny_bundle_folder)


@pytest.mark.parametrize(
    ("raw_score", "decision"),
    [
        (-1.0001, Decision.NO_PNEUMONIA_SEEN),
        (-1.0, Decision.INDETERMINATE),
        (1.9999, Decision.INDETERMINATE),
        (2.0, Decision.PNEUMONIA_SUSPECTED),
    ],
)
def test_cut_offs(raw_score: float, decision: Decision) -> None:
    assert decide(raw_score, POINT) is decision


def test_with_equal_cut_offs_nothing_is_indeterminate() -> None:
    point = dataclasses.replace(POINT, refer_low=0.5, refer_high=0.5)
    assert decide(0.5, point) is Decision.PNEUMONIA_SUSPECTED
    assert decide(math.nextafter(0.5, 0), point) is Decision.NO_PNEUMONIA_SEEN


def test_probability_by_hand() -> None:
    calibration = Calibration("0" * 64, "platt", 2.0, -1.0, FIGURE, SPLIT)
    assert calibration.probability(0.5) == 0.5
    assert calibration.probability(1.5) == pytest.approx(1 / (1 + math.exp(-2)))


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.floats(0.01, 50))
def test_probability_is_a_rising_share_for_any_score(raw_score: float, scale: float) -> None:
    calibration = Calibration("0" * 64, "platt", scale, 0.3, FIGURE, SPLIT)
    probability = calibration.probability(raw_score)
    assert 0 <= probability <= 1
    assert probability <= calibration.probability(raw_score + 1)


def test_a_phantom_is_scored_with_the_bundle_s_numbers(bundle: Bundle) -> None:
    screener = Screener(bundle)
    pixels = draw_phantom(Phantom(1), 192, 192)
    result = screener.score(radiograph(pixels))
    from edge_app.images.preprocess import preprocess

    expected = forward(preprocess(pixels, SPEC)).logit
    assert result.status is Status.SCORED
    assert result.raw_score == pytest.approx(expected, abs=TOLERANCE)
    z = 1.5 * result.raw_score - 0.25
    assert result.probability == pytest.approx(1 / (1 + math.exp(-z)))
    assert (result.reason, result.message) == (None, "")
    assert result.operating_point == "balanced"
    assert result.model_sha256 == screener.runtime.model.sha256
    assert result.activation_map is not None
    assert result.infer_ms is not None
    assert result.infer_ms > 0


def test_decisions_follow_the_operating_point(bundle: Bundle) -> None:
    def answers(name: str | None) -> list[Decision]:
        screener = Screener(bundle, operating_point=name)
        seeds = (1, 3, 8)
        return [
            screener.score(radiograph(draw_phantom(Phantom(s), 256, 256))).decision for s in seeds
        ]

    assert answers(None) == [
        Decision.PNEUMONIA_SUSPECTED,
        Decision.NO_PNEUMONIA_SEEN,
        Decision.INDETERMINATE,
    ]
    assert answers("screening") == [Decision.PNEUMONIA_SUSPECTED] * 3
    with pytest.raises(UsageError, match="nonesuch"):
        Screener(bundle, operating_point="nonesuch")


def test_an_open_runtime_is_used_as_it_is(bundle: Bundle) -> None:
    runtime = Screener(bundle).runtime
    assert Screener(bundle, runtime).runtime is runtime


def test_an_unknown_input_gate_stops(tmp_path: Path) -> None:
    def gate(document: dict[str, Any]) -> None:
        document["input_gate"] = {"kind": "sorcery", "parameters": {"cut": 1.0, "mean": [0, 1]}}

    with pytest.raises(BundleFormatError, match="input_gate"):
        load_bundle(write_tiny_bundle(tmp_path / "b", change=gate))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"modality": "CT"}, Reason.NOT_CHEST_RADIOGRAPH),
        ({"modality": "MG"}, Reason.NOT_CHEST_RADIOGRAPH),
        ({"body_part": "L SPINE"}, Reason.NOT_CHEST_RADIOGRAPH),
        ({"body_part": "HAND"}, Reason.NOT_CHEST_RADIOGRAPH),
        ({"view_position": "LL"}, Reason.VIEW_NOT_VALIDATED),
        ({"view_position": "RL"}, Reason.VIEW_NOT_VALIDATED),
        ({"view_position": "LATERAL"}, Reason.VIEW_NOT_VALIDATED),
        ({"presentation_intent": "FOR PROCESSING"}, Reason.NOT_FOR_PRESENTATION),
        ({"patient_age_years": 64.0}, Reason.OUTSIDE_VALIDATED_POPULATION),
        ({"patient_age_years": 0.99}, Reason.OUTSIDE_VALIDATED_POPULATION),
        ({"patient_age_years": 6.0}, Reason.OUTSIDE_VALIDATED_POPULATION),
        ({"patient_age_years": 5.99}, None),
        ({"patient_age_years": 1.0}, None),
        ({"patient_age_years": None}, None),
        ({"modality": ""}, None),
        ({"modality": "CR", "body_part": "THORAX", "view_position": "AP ERECT"}, None),
        ({"view_position": "PA"}, Reason.OUTSIDE_VALIDATED_POPULATION),
        ({"view_position": "BEDSIDE"}, None),
        ({"body_part": "PORT CHEST"}, None),
        ({"body_part": ""}, None),
    ],
)
def test_what_the_header_says_decides(change: dict[str, Any], reason: Reason | None) -> None:
    facts = dataclasses.replace(FACTS, **change)
    refusal = find_refusal(radiograph(facts=facts)) or find_population_refusal(
        facts, Stated(), CHILDREN
    )
    assert (refusal.reason if refusal else None) == reason


def test_without_a_validated_age_no_age_is_refused() -> None:
    everyone = dataclasses.replace(CHILDREN, age_years=None)
    facts = dataclasses.replace(FACTS, patient_age_years=90.0)
    assert find_population_refusal(facts, Stated(), everyone) is None


def test_a_small_picture_is_refused_by_its_stored_size() -> None:
    small = draw_phantom(Phantom(1), MIN_SIDE_PIXELS - 1, 400)
    refusal = find_refusal(radiograph(small))
    assert refusal is not None
    assert refusal.reason is Reason.TOO_SMALL
    assert find_refusal(radiograph(draw_phantom(Phantom(1), 128, 128))) is None
    # A JPEG that was decoded at a reduced scale is as large as its file.
    reduced = dataclasses.replace(radiograph(small), original_size=(1600, 508))
    assert find_refusal(reduced) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_without_contrast_is_refused(bundle: Bundle, dtype: type) -> None:
    flat = np.full((300, 300), 90, dtype)
    noisy = flat + np.random.default_rng(0).integers(0, 7, flat.shape).astype(dtype)
    framed = flat.copy()
    framed[:20] = 255
    screener = Screener(bundle)
    for blank in (flat, noisy, framed):
        result = screener.score(radiograph(blank))
        assert result.status is Status.REFUSED
        assert result.reason is Reason.NO_CONTRAST
        assert result.raw_score is None
    faint = flat + np.linspace(0, 30, 300).astype(dtype)
    assert screener.score(radiograph(faint)).status is Status.SCORED


def test_noise_makes_no_picture_of_a_blank_film(bundle: Bundle) -> None:
    noise = np.random.default_rng(1).normal(90, 6, (1200, 1200)).astype(np.uint8)
    assert np.ptp(np.percentile(noise, (1, 99))) > 2 * MIN_GREY_LEVELS
    assert Screener(bundle).score(radiograph(noise)).reason is Reason.NO_CONTRAST


@pytest.mark.parametrize(
    ("low", "high", "refused"), [(0, 7.9, True), (90, 98, False), (5, 5, True), (0, 40_000, False)]
)
def test_how_many_grey_levels_are_needed(low: float, high: float, refused: bool) -> None:
    assert (find_contrast_refusal(low, high) is not None) == refused


def test_a_refusal_is_an_answer_without_a_score(bundle: Bundle) -> None:
    facts = dataclasses.replace(FACTS, patient_age_years=40.0)
    result = Screener(bundle).score(radiograph(facts=facts))
    assert result.status is Status.REFUSED
    assert result.decision is Decision.NOT_ASSESSABLE
    assert result.reason is Reason.OUTSIDE_VALIDATED_POPULATION
    assert "40.0 years" in result.message
    assert (result.raw_score, result.probability, result.infer_ms) == (None, None, None)


@pytest.mark.parametrize(
    ("facts", "size", "expected"),
    [
        (None, 160, {"age_unknown", "view_unknown"}),
        (FACTS, 160, set()),
        (dataclasses.replace(FACTS, age_by_birth_years=5.9), 160, {"age_contradicted"}),
        (dataclasses.replace(FACTS, patient_age_years=None), 50, {"age_unknown", "enlarged"}),
    ],
)
def test_quality_flags(facts: DicomFacts | None, size: int, expected: set[str]) -> None:
    picture = radiograph(draw_phantom(Phantom(1), size, size), facts)
    flags = quality_flags(picture, SPEC, age_stated=False, view_stated=False)
    assert {name for name, is_set in flags.items() if is_set} == expected
    assert set(flags) == {"age_unknown", "age_contradicted", "view_unknown", "enlarged"}
    stated = quality_flags(picture, SPEC, age_stated=True, view_stated=True)
    assert not stated["age_unknown"]
    assert not stated["view_unknown"]


def test_a_path_is_read_as_a_folder_run_reads_it(bundle: Bundle, tmp_path: Path) -> None:
    """A JPEG of full size is decoded at a reduced scale, by every door alike."""
    path = tmp_path / "large.jpg"
    Image.fromarray(draw_phantom(Phantom(1), 1600, 1600)).save(path, quality=95)
    screener = Screener(bundle)
    row = score_file(screener, path, path.name)
    for named in (path, str(path)):
        result = screener.score(named)
        assert (result.raw_score, result.probability) == (row.raw_score, row.probability)


def test_what_is_no_picture_is_a_type_error_that_says_what_is_taken(bundle: Bundle) -> None:
    screener = Screener(bundle)
    with pytest.raises(TypeError, match=r"a path, or a Radiograph.*this is ndarray"):
        screener.score(draw_phantom(Phantom(1), 160, 160))  # type: ignore[arg-type]


def test_a_result_as_a_dict_and_as_a_line(bundle: Bundle) -> None:
    screener = Screener(bundle)
    scored = screener.score(radiograph())
    document = json.loads(json.dumps(scored.to_dict()))
    assert document["decision"] == scored.decision.value
    assert document["probability"] == scored.probability
    shown = show_probability(scored.probability)
    assert repr(scored) == f"<ScreeningResult {scored.decision}, probability {shown}>"
    assert repr(replace(scored, probability=1.0)).endswith("probability > 0.999>")
    refused = screener.score(radiograph(np.zeros((60, 60), np.uint8)))
    assert json.loads(json.dumps(refused.to_dict()))["reason"] == "too_small"
    assert repr(refused) == "<ScreeningResult not_assessable (too_small)>"
