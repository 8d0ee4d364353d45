"""What holds for any labels and scores; and the reference libraries, where they are installed."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

from edge_app.statistics.calibration import expected_calibration_error, fit_platt, reliability
from edge_app.statistics.cutoffs import (
    fit_band,
    threshold_balanced,
    threshold_for_sensitivity,
    threshold_for_specificity,
)
from edge_app.statistics.discrimination import (
    auprc,
    auroc,
    auroc_delong,
    confusion_at,
    delong_test,
    roc_curve,
    spearman,
)
from edge_app.statistics.intervals import binomial_cdf, binomial_upper_bound, wilson

Rows = list[tuple[bool, int]]

quick = hypothesis.settings(max_examples=80, deadline=None, derandomize=True)
# Few distinct scores, so ties are common, as in an int8 model's output.
rows = st.lists(st.tuples(st.booleans(), st.integers(-6, 6)), min_size=2, max_size=40).filter(
    lambda drawn: len({label for label, _ in drawn}) == 2
)
counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.sampled_from([0.5, 0.8, 0.95, 0.99])


def split(drawn: Rows) -> tuple[list[bool], list[int]]:
    return [label for label, _ in drawn], [score for _, score in drawn]


@quick
@hypothesis.given(rows)
def test_auroc_is_the_share_of_pairs(drawn: Rows) -> None:
    sick = [score for label, score in drawn if label]
    healthy = [score for label, score in drawn if not label]
    won = sum(Fraction(1 + (a > b) - (a < b), 2) for a in sick for b in healthy)
    expected = float(won / (len(sick) * len(healthy)))
    assert auroc(*split(drawn)) == pytest.approx(expected, abs=1e-14)


@quick
@hypothesis.given(rows)
def test_auroc_sees_ranks_only_and_mirrors(drawn: Rows) -> None:
    labels, scores = split(drawn)
    value = auroc(labels, scores)
    assert auroc(labels, np.exp(np.array(scores))) == value
    assert auroc(labels, -np.array(scores)) == pytest.approx(1 - value, abs=1e-14)
    assert auroc(~np.array(labels), scores) == pytest.approx(1 - value, abs=1e-14)
    assert auprc(labels, 3.0 * np.array(scores) + 1) == auprc(labels, scores)


@quick
@hypothesis.given(rows)
def test_delong_equals_its_definition(drawn: Rows) -> None:
    labels, scores = np.array([row[0] for row in drawn]), np.array([row[1] for row in drawn])
    hypothesis.assume(2 <= labels.sum() <= labels.size - 2)
    won = np.sign(scores[labels][:, None] - scores[~labels][None, :]) / 2 + 0.5
    variance = won.mean(axis=1).var(ddof=1) / labels.sum()
    variance += won.mean(axis=0).var(ddof=1) / (~labels).sum()
    figure = auroc_delong(labels, scores)
    assert figure.value == pytest.approx(won.mean(), abs=1e-14)
    assert 0 <= figure.low <= figure.value <= figure.high <= 1
    if figure.method == "wilson":
        assert variance < 1e-20
        return
    ends = np.array([figure.low, figure.high])
    span = np.diff(np.log(ends) - np.log1p(-ends))[0]
    error = span / (2 * 1.959963984540054) * won.mean() * (1 - won.mean())
    assert error**2 == pytest.approx(variance, rel=1e-6)


@quick
@hypothesis.given(rows, st.randoms(use_true_random=False))
def test_delong_test_is_antisymmetric(drawn: Rows, random: object) -> None:
    labels, a = split(drawn)
    hypothesis.assume(2 <= sum(labels) <= len(labels) - 2)
    b = a.copy()
    random.shuffle(b)  # type: ignore[attr-defined]
    try:
        forth, p_forth = delong_test(labels, a, b)
    except ValueError as error:
        if "no variance" not in str(error):
            raise
        return
    back, p_back = delong_test(labels, b, a)
    assert 0 <= p_forth <= 1
    assert p_forth == pytest.approx(p_back)
    assert (forth.low, forth.value) == pytest.approx((-back.high, -back.value))
    assert forth.value == pytest.approx(auroc(labels, a) - auroc(labels, b), abs=1e-14)


@quick
@hypothesis.given(counts, confidences)
def test_intervals_of_shares_hold_the_share_and_mirror(
    count: tuple[int, int], confidence: float
) -> None:
    successes, n = count
    figure, mirror = wilson(successes, n, confidence), wilson(n - successes, n, confidence)
    assert 0 <= figure.low <= successes / n <= figure.high <= 1
    assert figure.low < figure.high
    assert (figure.low, figure.high) == pytest.approx((1 - mirror.high, 1 - mirror.low))
    # the exact bound inverts the binomial's tail
    if successes < n:
        bound = binomial_upper_bound(successes, n, confidence)
        assert binomial_cdf(successes, n, bound) == pytest.approx(1 - confidence, rel=1e-6)


@quick
@hypothesis.given(rows, st.integers(-7, 7))
def test_confusion_counts_everyone_once(drawn: Rows, threshold: int) -> None:
    labels, scores = split(drawn)
    confusion = confusion_at(labels, scores, threshold)
    assert confusion.tp + confusion.fn == sum(labels)
    assert confusion.tn + confusion.fp == len(labels) - sum(labels)
    curve = roc_curve(labels, scores)
    at = int(np.flatnonzero(curve.thresholds >= threshold)[-1])
    assert confusion.sensitivity is not None
    assert confusion.specificity is not None
    assert curve.sensitivity[at] == pytest.approx(confusion.sensitivity.value)
    assert curve.specificity[at] == pytest.approx(confusion.specificity.value)


@quick
@hypothesis.given(rows, st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_thresholds_reach_their_aim_and_no_better_one_does(drawn: Rows, at_least: float) -> None:
    labels, scores = split(drawn)
    cuts = [*(value - 0.5 for value in range(-6, 7)), 6.5]
    reached = {cut: confusion_at(labels, scores, cut) for cut in cuts}

    def at(threshold: float, name: str) -> float:
        return float(getattr(confusion_at(labels, scores, threshold), name).value)

    sensitive = threshold_for_sensitivity(labels, scores, at_least)
    specific = threshold_for_specificity(labels, scores, at_least)
    assert at(sensitive, "sensitivity") >= at_least
    assert at(specific, "specificity") >= at_least
    enough = [cut for cut in reached if at(cut, "sensitivity") >= at_least]
    assert at(sensitive, "specificity") == max(at(cut, "specificity") for cut in enough)
    enough = [cut for cut in reached if at(cut, "specificity") >= at_least]
    assert at(specific, "sensitivity") == max(at(cut, "sensitivity") for cut in enough)


@quick
@hypothesis.given(rows)
def test_cuts_never_sit_on_a_score(drawn: Rows) -> None:
    labels, scores = split(drawn)
    for cut in (
        threshold_balanced(labels, scores),
        threshold_for_sensitivity(labels, scores, 0.9),
    ):
        assert min(abs(cut - score) for score in scores) >= 0.5


@quick
@hypothesis.given(rows, st.integers(8, 20))
def test_a_band_surrounds_its_threshold_and_bounds_its_errors(drawn: Rows, copies: int) -> None:
    labels, scores = (np.repeat(part, copies) for part in split(drawn))
    try:
        band = fit_band(labels, scores, 0.2, most_missed=0.3, most_false_alarms=0.2)
    except ValueError as error:
        if "no cut-off" not in str(error):
            raise
        return
    assert band.refer_low <= 0.2 <= band.refer_high
    assert band.missed.value < band.missed.high <= 0.3
    assert band.false_alarms.value < band.false_alarms.high <= 0.2


@quick
@hypothesis.given(rows, st.integers(1, 20))
def test_calibration_error_lies_between_its_bounds(drawn: Rows, bins: int) -> None:
    labels = np.array([row[0] for row in drawn])
    probabilities = (np.array([row[1] for row in drawn]) + 6) / 12
    error = expected_calibration_error(labels, probabilities, bins)
    # one bin cancels most, one bin an image cancels nothing
    assert abs(np.mean(probabilities - labels)) - 1e-12 <= error
    assert error <= np.mean(np.abs(probabilities - labels)) + 1e-12
    table = reliability(labels, probabilities, bins)
    assert sum(row.n for row in table) == labels.size
    assert len(table) <= bins
    assert all(a.high < b.low for a, b in itertools.pairwise(table))


@quick
@hypothesis.given(rows)
def test_platt_never_divides_by_a_separated_class(drawn: Rows) -> None:
    labels, scores = split(drawn)
    try:
        fitted = fit_platt(labels, scores)
    except ValueError as error:
        if "do not rise" not in str(error) and "differ" not in str(error):
            raise
        return
    probabilities = fitted.probability(scores)
    assert np.isfinite(probabilities).all()
    # smoothing pulls the mean towards 1/2, by one image a class at most
    targets = np.where(labels, (sum(labels) + 1) / (sum(labels) + 2), 1 / (labels.count(False) + 2))
    assert probabilities.sum() == pytest.approx(targets.sum(), abs=1e-5)


@quick
@hypothesis.given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=4))
def test_spearman_is_symmetric_and_sees_ranks_only(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    hypothesis.assume(np.ptp(x) > 0)
    hypothesis.assume(np.ptp(y) > 0)
    figure = spearman(x, y)
    assert -1 <= figure.low <= figure.value <= figure.high <= 1
    assert figure.low < figure.high
    assert spearman(y, x).value == pytest.approx(figure.value)
    assert spearman(np.exp(x), y).value == figure.value
    assert spearman(-x, y).value == pytest.approx(-figure.value)


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_agrees(seed: int) -> None:
    reference = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    labels = rng.random(300) < 0.7
    scores = np.round(rng.normal(size=300) + labels, 1)
    assert auroc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores))
    assert auprc(labels, scores) == pytest.approx(reference.average_precision_score(labels, scores))


@pytest.mark.parametrize("seed", range(5))
def test_scipy_agrees(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 100_000))
    k, p = int(rng.integers(n + 1)), float(rng.random())
    near = min(n, max(0, round(n * p + 3 * rng.normal() * np.sqrt(n * p * (1 - p)))))
    assert binomial_cdf(near, n, p) == pytest.approx(stats.binom.cdf(near, n, p), rel=1e-8)
    theirs = stats.binomtest(k, n).proportion_ci(0.95, "wilson")
    ours = wilson(k, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-8)
    exact = stats.binomtest(k, n).proportion_ci(0.95, "exact")
    assert binomial_upper_bound(k, n, 0.975) == pytest.approx(exact.high, rel=1e-8)
    x, y = np.round(rng.normal(size=(2, 50)), 1)
    assert spearman(x, y).value == pytest.approx(stats.spearmanr(x, y).statistic)
