"""The gate: figures worked out by hand, and what it lets through and what not."""

from dataclasses import replace

import numpy as np
import pytest

from edge_app.decision import Reason
from edge_app.files.codec import canonical_json, decode, parse_json
from edge_app.images.lung_frame import Frame
from edge_app.statistics.observations import patient_weights
from export.errors import ExportError, GateError
from export.figures import measure, split_of
from export.fitting import (
    PointSpec,
    fit_calibration,
    fit_points,
    load_points,
    shares_at,
)
from export.looks import View
from export.parity import (
    Report,
    Row,
    check,
    check_locator,
    compare,
    compare_views,
    keras_thresholds,
    require_enough,
    require_logits,
    table,
)
from export.pictures import STORED, Pictures
from export.recipe import Limits
from export.shortfalls import Shortfalls

LIMITS = Limits(
    mean_logit_change=0.15,
    max_logit_change=1.0,
    flipped_share=0.005,
    auroc_change=0.001,
    mean_edge_change=0.01,
)
SHA = "a" * 64
RELEASE = Shortfalls(accepted=False)


def pictures_of(
    labels: list[int], forms: list[str] | None = None, per_patient: int = 1
) -> Pictures:
    n = len(labels)
    return Pictures(
        pixels=(np.zeros((1, 1), np.uint8),) * n,
        labels=np.array(labels, np.intp),
        patients=np.array([f"p{i // per_patient}" for i in range(n)]),
        forms=np.array(forms or [STORED] * n),
        files=np.array([f"f{i}" for i in range(n)]),
    )


def scores(n: int, seed: int = 0) -> tuple[Pictures, np.ndarray]:
    """N pictures, half sick, with scores whose AUROC is about 0.998."""
    rng = np.random.default_rng(seed)
    labels = [i % 2 for i in range(n)]
    return pictures_of(labels), np.array(labels) * 4.0 - 2 + rng.normal(0, 1.0, n)


def test_a_comparison_by_hand() -> None:
    pictures = pictures_of([0, 0, 1, 1, 1], [STORED] * 4 + ["exposed"])
    reference = np.array([-2.0, -1.0, 0.5, 2.0, 3.0])
    # The second crosses 0 upwards, the third downwards; the last moves without crossing.
    logits = np.array([-2.0, 0.25, -0.5, 2.0, 2.0])
    stored, everything = compare(pictures, reference, logits, {"balanced": 0.0})
    assert (stored.pictures, stored.n) == (STORED, 4)
    assert stored.mean_change == pytest.approx((1.25 + 1.0) / 4)
    assert stored.max_change == 1.25
    assert stored.bias == pytest.approx((1.25 - 1.0) / 4, abs=1e-5)
    assert stored.flipped == {"balanced": 2}
    # Of the four pairs, (-1, 0.5) is the only one that turned round: AUROC 1 became 3/4.
    assert stored.auroc.value == 0.75
    assert stored.auroc_change == -0.25
    assert everything.n == 5
    assert everything.flipped == {"balanced": 2}
    assert everything.max_change == 1.25


def test_a_score_on_the_threshold_is_positive() -> None:
    pictures = pictures_of([0, 0, 1, 1])
    reference = np.array([-1.0, -2.0, 0.0, 1.0])
    moved = np.array([-1.0, -2.0, -1e-9, 1.0])
    assert compare(pictures, reference, reference, {"b": 0.0})[0].flipped == {"b": 0}
    assert compare(pictures, reference, moved, {"b": 0.0})[0].flipped == {"b": 1}


def row(pictures: Pictures, reference: np.ndarray, logits: np.ndarray) -> Row:
    return Row(
        "tflite_static_int8", "litert", 1, SHA, compare(pictures, reference, logits, {"b": 0})
    )


def test_the_gate_lets_equal_files_through() -> None:
    pictures, reference = scores(600)
    check(row(pictures, reference, reference + 0.01), LIMITS)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda k: k + 0.2, r"mean \|change of logit\| is 0\.2000"),
        (lambda k: k + 1.5 * (np.arange(k.size) == 7), r"largest \|change of logit\| is 1\.5000"),
        (lambda k: np.where(np.abs(k) < 0.14, -k, k), "share of flipped decisions at 'b'"),
    ],
)
def test_the_gate_stops_worse_files_and_says_where(spoil, message: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    pictures, reference = scores(600)
    spoiled = row(pictures, reference, spoil(reference))
    with pytest.raises(GateError, match=message) as raised:
        check(spoiled, LIMITS)
    assert "tflite_static_int8 in litert" in str(raised.value)
    assert "600 pictures (stored)" in str(raised.value)
    assert GateError.exit_code == 3


def test_the_gate_stops_a_lower_auroc() -> None:
    """Small changes, none across the threshold, can still mix up the order."""
    pictures, reference = scores(600)
    narrow = reference * 0.02
    mixed = np.where(narrow < 0, -0.01, 0.01) * np.random.default_rng(1).uniform(0.5, 1, 600)
    with pytest.raises(GateError, match=r"\|change of AUROC\|"):
        check(row(pictures, narrow, mixed), LIMITS)


def test_the_gate_holds_at_every_operating_point() -> None:
    """Small moves round the cut-off of `screening` alone; nothing crosses the default's."""
    pictures, reference = scores(600)
    logits = np.where(np.abs(reference + 1) < 0.2, -2 - reference, reference)
    cuts = {"balanced": 0.0, "rule_in": 1.0, "screening": -1.0}
    found = compare(pictures, reference, logits, cuts)
    assert found[0].flipped["balanced"] == found[0].flipped["rule_in"] == 0
    assert found[0].flipped["screening"] > 3
    with pytest.raises(GateError, match="share of flipped decisions at 'screening'"):
        check(Row("tflite_static_int8", "litert", 1, SHA, found), LIMITS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_stopped(value: float) -> None:
    pictures, reference = scores(600)
    spoiled = np.where(np.arange(600) == 3, value, reference)
    with pytest.raises(GateError, match="1 of 600 raw scores are no finite numbers"):
        compare(pictures, reference, spoiled, {"b": 0.0})
    with pytest.raises(GateError, match="trained network: 1 of 600 raw scores"):
        require_logits(spoiled)


def test_probabilities_are_no_logits() -> None:
    """Whatever the network looks like, its validation scores tell."""
    _, logits = scores(600)
    require_logits(logits)
    with pytest.raises(GateError, match=r"all 600 raw scores lie in 0\.\.1"):
        require_logits(1 / (1 + np.exp(-logits)))
    require_logits(np.array([0.2, 1.01]))


@pytest.mark.parametrize(
    ("labels", "missing"),
    [([1] * 6, {"auroc", "specificity"}), ([0] * 6, {"auroc", "sensitivity"}), ([0, 1], {"auroc"})],
)
def test_figures_that_one_class_cannot_show_are_left_out(
    labels: list[int], missing: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One view of another site may hold the sick alone: they lie in bed."""
    pictures, logits = scores(600)
    (point,) = fit_points(
        load_points().point[:1], pictures, logits, SHA, split_of("drawn", pictures), RELEASE
    )
    others = pictures_of(labels)
    found = measure(
        split_of("view AP", others), others, np.linspace(-3, 3, len(labels)), [point], SHA
    )
    assert {"auroc", "sensitivity", "specificity", "indeterminate"} - {
        metric.name for metric in found
    } == missing
    assert "view AP: no AUROC" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("healthy", "sick", "enough"),
    [(250, 250, True), (249, 250, False), (100, 400, True), (99, 500, False), (500, 99, False)],
)
def test_too_few_validation_pictures_are_refused(healthy: int, sick: int, enough: bool) -> None:
    pictures = pictures_of([0] * healthy + [1] * sick)
    if enough:
        require_enough(pictures, RELEASE)
        return
    with pytest.raises(ExportError, match="too few validation pictures"):
        require_enough(pictures, RELEASE)


def test_forms_of_the_same_pictures_are_not_more_pictures() -> None:
    labels = [i % 2 for i in range(800)]
    with pytest.raises(ExportError, match="too few validation pictures: 400"):
        require_enough(pictures_of(labels, [STORED] * 400 + ["exposed"] * 400), RELEASE)


def test_the_table_names_every_row() -> None:
    pictures, reference = scores(600)
    pictures.forms[:300] = "exposed"
    found = row(pictures, reference, reference)
    report = Report(SHA, {STORED: found.comparisons[0].auroc}, {"b": 0.0}, (found,), ())
    text = table(report)
    assert text.count("tflite_static_int8 | litert") == 2
    assert "| Keras float32 | TensorFlow |" in text


def test_the_table_is_the_same_after_writing_and_reading() -> None:
    """Mappings are sorted on writing; no column may change its meaning by that."""
    pictures, reference = scores(600)
    logits = reference + 0.3
    cuts = {"balanced": 0.0, "screening": -1.0, "rule_in": 1.0}
    found = Row("r", "litert", 1, SHA, compare(pictures, reference, logits, cuts))
    report = Report(SHA, {STORED: found.comparisons[0].auroc}, cuts, (found,), ())
    again = decode(Report, parse_json(canonical_json(report)))
    assert table(again) == table(report)
    flipped = found.comparisons[0].flipped
    expected = f"{flipped['balanced']} / {flipped['rule_in']} / {flipped['screening']}"
    assert "flipped: balanced / rule_in / screening" in table(report)
    assert expected in table(report)
    assert len(set(flipped.values())) == 3


SPLIT_SEED = 3


def test_operating_points_keep_what_they_promise() -> None:
    pictures, logits = scores(900, SPLIT_SEED)
    split = split_of("drawn", pictures)
    points = {
        p.name: p for p in fit_points(load_points().point, pictures, logits, SHA, split, RELEASE)
    }
    assert points["screening"].threshold < points["balanced"].threshold
    assert points["balanced"].threshold < points["rule_in"].threshold
    assert points["screening"].sensitivity.value >= 0.99
    assert points["screening"].sensitivity.low >= 0.93
    assert points["rule_in"].specificity.value >= 0.995
    for point in points.values():
        assert point.refer_low <= point.threshold <= point.refer_high
        assert point.model_sha256 == SHA


def test_the_band_bounds_errors_on_new_pictures() -> None:
    """Fitted on one draw, counted on another: each bound fails in at most 1 of 20 draws."""
    spec = load_points().point[0]
    failures = 0
    for seed in range(20):
        pictures, logits = scores(900, seed)
        (point,) = fit_points([spec], pictures, logits, SHA, split_of("drawn", pictures), RELEASE)
        others, fresh = scores(40_000, 1000 + seed)
        sick, healthy = fresh[others.labels == 1], fresh[others.labels == 0]
        missed = float(np.mean(sick < point.refer_low))
        alarms = float(np.mean(healthy >= point.refer_high))
        failures += missed > spec.most_missed or alarms > spec.most_false_alarms
    assert failures <= 3


def test_a_wanted_figure_that_cannot_be_shown_stops_the_export() -> None:
    spec = PointSpec("s", "p", "sensitivity", 0.99, 0.98, 0.05, 0.1, 0.05)
    pictures, logits = scores(120)
    with pytest.raises(ExportError, match="operating point 's' cannot be fitted"):
        fit_points([spec], pictures, logits, SHA, split_of("drawn", pictures), RELEASE)
    with pytest.raises(ExportError, match="trained network itself"):
        keras_thresholds([spec], pictures, logits, RELEASE)


def test_a_patient_counts_once_however_many_pictures_he_has() -> None:
    """One sick patient has 9 pictures, all missed; nine others have one each, all found."""
    pictures = pictures_of([1] * 18 + [0, 0])
    patients = np.array(["many"] * 9 + [f"p{i}" for i in range(9)] + ["h1", "h2"])
    pictures = Pictures(pictures.pixels, pictures.labels, patients, pictures.forms, pictures.files)
    logits = np.array([-1.0] * 9 + [1.0] * 9 + [-2.0, -2.0])
    sensitivity, specificity = shares_at(0.0, pictures, logits)
    assert (sensitivity.value, sensitivity.n) == (0.9, 10)
    assert specificity.value == 1
    assert patient_weights(patients).sum() == pytest.approx(12)


def test_the_calibration_recovers_a_known_one() -> None:
    """Labels drawn with probability sigmoid(1.5 x - 0.5)."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 2.5, 8000)
    labels = (rng.random(8000) < 1 / (1 + np.exp(-(1.5 * logits - 0.5)))).astype(int)
    pictures = pictures_of(labels.tolist())
    found = fit_calibration(pictures, logits, SHA, split_of("drawn", pictures))
    assert found.scale == pytest.approx(1.5, abs=0.1)
    assert found.offset == pytest.approx(-0.5, abs=0.1)
    assert found.ece.value < 0.02
    assert found.ece.low <= found.ece.value <= found.ece.high


def test_scores_that_fall_with_the_label_cannot_be_calibrated() -> None:
    pictures, logits = scores(600)
    with pytest.raises(ExportError, match="calibration cannot be fitted"):
        fit_calibration(pictures, -logits, SHA, split_of("drawn", pictures))


def test_a_locator_file_that_finds_other_frames_is_no_copy() -> None:
    def seen(left: float, turns: int = 0, reason: Reason | None = None) -> View:
        return View(turns, Frame(left, 0.1, 0.9, 0.8), reason)

    reference = [seen(0.1), seen(0.2), seen(0.3)]
    mine = [seen(0.1), seen(0.24), seen(0.3, turns=1)]
    row = compare_views("tflite_static_int8", "litert", b"x", reference, mine)
    # Two pictures of four edges each; the third was turned otherwise, so its frame says nothing.
    assert (row.n, row.turned_otherwise) == (2, 1)
    assert row.mean_edge_change == pytest.approx(0.04 / 8)
    assert row.max_edge_change == pytest.approx(0.04)
    check_locator(row, LIMITS)
    with pytest.raises(GateError, match="the locator's frames"):
        check_locator(row, replace(LIMITS, mean_edge_change=0.004))
    refusing = [*reference[:2], seen(0.3, reason=Reason.LUNGS_NOT_FOUND)]
    row = compare_views("tflite_static_int8", "litert", b"x", reference, refusing)
    assert (row.n, row.refused_otherwise, row.mean_edge_change) == (3, 1, 0)
    with pytest.raises(GateError, match="refuses other pictures"):
        check_locator(row, LIMITS)
    check_locator(row, replace(LIMITS, flipped_share=0.34))
