"""`pneumoscope evaluate`: made-up runs against scikit-learn, scipy and values worked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.cli import main
from edge_app.errors import DataError, NoInputError
from edge_app.images.labelled_pictures import Labelling
from edge_app.site.accuracy import measure
from edge_app.site.cases import read_cases
from edge_app.site.evaluation_page import spread
from edge_app.statistics.cutoffs import outcomes_at_every_cut
from edge_app.statistics.intervals import wilson
from edge_app.statistics.predictive_values import predictive_values
from edge_app.statistics.sample_size import cases_for_margin
from tests.site_runs import refused, scored, write_run, write_truth

LABELLING = Labelling()


def _site(tmp_path: Path, n: int = 60, seed: int = 0) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    scores = np.round(rng.normal(2 * labels - 1.0, 1.2), 2)
    run = write_run(tmp_path / "out", [scored(f"{i}.png", s) for i, s in enumerate(scores)])
    truth = write_truth(tmp_path / "truth.csv", [f"{i}.png,{y}" for i, y in enumerate(labels)])
    return run, truth, labels, scores


def test_every_cut_off_is_as_scikit_learn_counts(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    run, truth, labels, scores = _site(tmp_path)
    accuracy = measure(read_cases(run, truth, LABELLING))
    assert accuracy.auroc.value == pytest.approx(metrics.roc_auc_score(labels, scores))
    for row in accuracy.cut_offs:
        tn, fp, fn, tp = metrics.confusion_matrix(labels, scores >= row.raw_score).ravel()
        assert row.sensitivity.value == pytest.approx(tp / (tp + fn))
        assert row.specificity.value == pytest.approx(tn / (tn + fp))
        # At the prevalence of the cases themselves, Bayes' theorem is counting.
        assert row.referrals.value == pytest.approx((tp + fp) / labels.size)
        if tp + fp:
            assert row.ppv is not None
            assert row.ppv.value == pytest.approx(tp / (tp + fp))
        else:
            assert row.ppv is None
        if tn + fn:
            assert row.npv is not None
            assert row.npv.value == pytest.approx(tn / (tn + fn))


def test_textbook_predictive_values() -> None:
    # Altman DG, Bland JM. BMJ 1994; 309:102: 231 of 258 and 54 of 86 right; at a prevalence of
    # 0.25, PPV 0.45 and NPV 0.95.
    sensitivity, specificity = wilson(231, 258), wilson(54, 86)
    values = predictive_values(sensitivity, specificity, 0.25)
    assert values.ppv is not None
    assert values.npv is not None
    assert values.ppv.value == pytest.approx(0.45, abs=0.005)
    assert values.npv.value == pytest.approx(0.95, abs=0.005)


def test_ratio_interval_is_that_of_fieller_for_proportions() -> None:
    # Its ends are where the difference a - r b, with MOVER's interval, touches 0.
    a, b = wilson(40, 50), wilson(12, 60)
    values = predictive_values(a, wilson(48, 60), 0.5)
    assert values.ppv is not None
    low = values.ppv.low / (1 - values.ppv.low)
    gap = a.value - low * b.value
    assert gap == pytest.approx(math.hypot(a.value - a.low, low * (b.high - b.value)))


@pytest.mark.parametrize("prevalence", [0.05, 0.5])
def test_predictive_values_cover(prevalence: float) -> None:
    # 95% nominal; 4,000 draws have a standard error of 0.35%.
    rng = np.random.default_rng(1)
    truth = prevalence * 0.9 / (prevalence * 0.9 + (1 - prevalence) * 0.2)
    hits, tried = 0, 1500
    for tp, tn in zip(rng.binomial(60, 0.9, tried), rng.binomial(80, 0.8, tried), strict=True):
        ppv = predictive_values(wilson(int(tp), 60), wilson(int(tn), 80), prevalence).ppv
        assert ppv is not None
        hits += ppv.low <= truth <= ppv.high
    assert 0.93 <= hits / tried <= 0.98


@given(
    n=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    prevalence=st.floats(0.001, 0.999),
)
def test_predictive_values_hold_for_any_counts(
    n: tuple[int, int], share: tuple[float, float], prevalence: float
) -> None:
    sensitivity, specificity = (
        wilson(round(part * count), count) for part, count in zip(share, n, strict=True)
    )
    values = predictive_values(sensitivity, specificity, prevalence)  # Figure checks its order
    for figure in (values.ppv, values.npv, values.referrals):
        assert figure is None or 0 <= figure.low <= figure.high <= 1


@given(
    cases=st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30).filter(
        lambda cases: len({label for label, _ in cases}) == 2
    )
)
def test_outcomes_are_counts(cases: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(part) for part in zip(*cases, strict=True))
    outcomes = outcomes_at_every_cut(labels, scores)
    for index, cut in enumerate(outcomes.cut_offs):
        called = scores >= cut
        assert outcomes.index_of(float(cut)) == index
        assert outcomes.tp[index] == np.sum(called & labels)
        assert outcomes.fp[index] == np.sum(called & ~labels)
        assert outcomes.fn[index] == np.sum(~called & labels)
        assert outcomes.tn[index] == np.sum(~called & ~labels)


def test_sample_size_is_the_formula_of_protocols_where_that_holds() -> None:
    # Buderer 1996: 1.96^2 x 0.9 x 0.1 / 0.05^2 = 138.3.
    assert cases_for_margin(0.9, 0.05) == pytest.approx(139, abs=3)
    assert cases_for_margin(0.5, 0.01) == pytest.approx(9604, abs=5)


@given(share=st.floats(0, 1), margin=st.floats(0.01, 0.3))
@settings(max_examples=30)
def test_sample_size_is_the_smallest(share: float, margin: float) -> None:
    n = cases_for_margin(share, margin)
    wide = lambda n: wilson(share * n, n).high - wilson(share * n, n).low  # noqa: E731
    assert wide(n) <= 2 * margin
    assert n == 1 or wide(n - 1) > 2 * margin


def test_films_of_one_patient_count_together(tmp_path: Path) -> None:
    rows = [scored(f"{i}.png", 2.0 if i < 10 else -2.0) for i in range(20)]
    run = write_run(tmp_path / "out", rows)
    lines = [f"{i}.png,{int(i < 10)},{'p' if i < 9 else i}" for i in range(20)]
    truth = write_truth(tmp_path / "t.csv", lines, "file,label,patient_id")
    accuracy = measure(read_cases(run, truth, LABELLING))
    assert (accuracy.n_images, accuracy.n_patients) == (20, 12)
    assert accuracy.referred.sensitivity == wilson(2, 2)


def test_what_has_no_answer_is_counted_and_in_no_figure(tmp_path: Path) -> None:
    rows = [scored(f"{i}.png", 2.0 if i < 5 else -2.0) for i in range(10)]
    run = write_run(tmp_path / "out", [*rows, refused("r.png"), scored("x.png", 0.0)])
    lines = [f"{i}.png,{int(i < 5)}" for i in range(10)]
    accuracy = measure(
        read_cases(run, write_truth(tmp_path / "t.csv", [*lines, "r.png,1"]), LABELLING)
    )
    assert (accuracy.sick.refused, accuracy.sick.total, accuracy.n_images) == (1, 6, 10)
    assert accuracy.unlabelled == 1


def test_probabilities_of_cut_offs_are_the_runs_own(tmp_path: Path) -> None:
    run, truth, _, _ = _site(tmp_path)
    accuracy = measure(read_cases(run, truth, LABELLING))
    expected = 1 / (1 + math.exp(-(1.5 * -1.0 - 0.25)))
    assert accuracy.referred.probability == pytest.approx(expected, abs=1e-9)


def test_names_may_have_more_or_fewer_folders(tmp_path: Path) -> None:
    rows = [scored("a/1.png", 2.0), scored("b/1.png", -2.0), scored("2.png", 1.0)]
    run = write_run(tmp_path / "out", rows)
    truth = write_truth(tmp_path / "t.csv", ["films/a/1.png,1", "b\\1.png,0", "x/2.png,1"])
    found = read_cases(run, truth, LABELLING)
    assert [case.row.file for case in found.all] == ["a/1.png", "b/1.png", "2.png"]
    with pytest.raises(DataError, match=r"t\.csv:2: '1\.png' may be 'a/1\.png' or 'b/1\.png'"):
        read_cases(run, write_truth(truth, ["1.png,1"]), LABELLING)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0.png,1", "zz.png,0"], r"t\.csv:3: 'zz\.png' has no row"),
        (["0.png,1", "0.png,0"], r"t\.csv:3: '0\.png' stands in line 2 with another label"),
        (["0.png,1", "0.png,1"], r"t\.csv:3: '0\.png' stands in line 2 already"),
        (["0.png,maybe"], r"t\.csv:2: label 'maybe'"),
        (["0.png"], r"t\.csv:2: label ''"),
        (
            ["0.png,1", "1.png,1", "2.png,1"],
            "2 patients without pneumonia that have a score; there are 0",
        ),
        ([], "patients with pneumonia that have a score; there are 0"),
    ],
)
def test_truth_that_cannot_be_used_names_its_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    run = write_run(tmp_path / "out", [scored(f"{i}.png", i) for i in range(5)])
    with pytest.raises(DataError, match=message):
        measure(read_cases(run, write_truth(tmp_path / "t.csv", lines), LABELLING))


def test_five_cases_are_measured_and_called_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "out", [scored(f"{i}.png", i) for i in range(5)])
    truth = write_truth(tmp_path / "t.csv", [f"{i}.png,{int(i > 2)}" for i in range(5)])
    assert main(["evaluate", str(run), str(truth)]) == 0
    assert "only 2 films" in capsys.readouterr().out


def test_torn_and_damaged_results_name_their_line(tmp_path: Path) -> None:
    run, truth, _, _ = _site(tmp_path)
    results = run / "results.jsonl"
    whole = results.read_bytes()
    results.write_bytes(whole[:-5])
    with pytest.raises(DataError, match=r"results\.jsonl: line 61: torn"):
        read_cases(run, truth, LABELLING)
    results.write_bytes(whole.replace(b'"status":"scored"', b'"status":"good"', 1))
    with pytest.raises(DataError, match=r"line 2: status"):
        read_cases(run, truth, LABELLING)
    results.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        read_cases(run, truth, LABELLING)
    with pytest.raises(NoInputError):
        read_cases(tmp_path / "nowhere", truth, LABELLING)
    results.write_bytes(whole)
    with pytest.raises(NoInputError):
        read_cases(run, tmp_path / "nowhere.csv", LABELLING)


def test_the_command_prints_json_and_writes_one_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, truth, labels, _ = _site(tmp_path, n=200)
    page = tmp_path / "page.html"
    assert main(["evaluate", str(run), str(truth), "-o", str(page), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_images"] == labels.size
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 3
    assert "src=" not in text
    assert "<script" not in text
    assert "made-up" in text
    assert f"({found['auroc']['low']:.2f}-" in text
    assert main(["evaluate", str(run), str(truth), "-o", str(tmp_path / "page.pdf")]) == 2


def test_a_long_table_keeps_its_ends() -> None:
    rows = list(range(1000))
    thinned = spread(rows)  # type: ignore[arg-type]
    assert (thinned[0], thinned[-1], len(thinned)) == (0, 999, 40)
