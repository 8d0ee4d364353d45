"""Discrimination: values worked out by hand, scikit-learn's and scipy's numbers, coverage."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

from edge_app.statistics.discrimination import (
    Confusion,
    auprc,
    auprc_bootstrap,
    auroc,
    auroc_delong,
    bootstrap,
    confusion_at,
    delong_test,
    mcnemar,
    roc_curve,
    spearman,
)
from edge_app.statistics.observations import (
    check_both_classes,
    check_observations,
    patient_weights,
)

# Five of each class with ties across them.
LABELS = np.array([0, 0, 1, 1, 0, 1, 0, 1, 1, 0])
SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.4, 0.4, 0.7, 0.9, 0.6, 0.2])

# Positives 3 and 2, negatives 1 and 2.5: V10 = (1, 1/2), V01 = (1, 1/2), so the AUROC is 3/4 and
# its variance (1/8) / 2 + (1/8) / 2 = 1/8.
SMALL_LABELS = [1, 1, 0, 0]
SMALL_SCORES = [3.0, 2.0, 1.0, 2.5]


def two_normals(
    rng: np.random.Generator, m: int, n: int, distance: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Draw m positives from N(distance, 1) and n negatives from N(0, 1)."""
    labels = np.arange(m + n) < m
    return labels, rng.normal(size=m + n) + distance * labels


def test_auroc_and_auprc_match_scikit_learn() -> None:
    assert auroc(LABELS, SCORES) == pytest.approx(0.76, abs=1e-15)
    assert auprc(LABELS, SCORES) == pytest.approx(0.7892857142857144, abs=1e-15)


def test_auroc_counts_pairs_and_half_of_the_ties() -> None:
    # pairs (1, 1): tie; (1, 0): won; (3, 1): won; (3, 0): won -> 3.5 of 4
    assert auroc([1, 0, 1, 0], [1, 1, 3, 0]) == 3.5 / 4
    assert auroc([0, 1], [5, 5]) == 0.5


def test_auprc_by_hand() -> None:
    # ranked 1, 0, 1: half of the recall at precision 1, half at 2/3
    assert auprc([1, 0, 1], [0.9, 0.8, 0.7]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert auprc([1, 1, 0, 0], [1, 1, 1, 1]) == 0.5


def test_roc_curve_matches_scikit_learn() -> None:
    curve = roc_curve(LABELS, SCORES)
    assert curve.thresholds.tolist() == [math.inf, 0.9, 0.8, 0.7, 0.6, 0.4, 0.35, 0.2, 0.1]
    assert curve.sensitivity == pytest.approx([0, 0.2, 0.4, 0.4, 0.6, 0.8, 1, 1, 1])
    assert 1 - curve.specificity == pytest.approx([0, 0, 0, 0.2, 0.2, 0.6, 0.6, 0.8, 1])
    heights = (curve.sensitivity[1:] + curve.sensitivity[:-1]) / 2
    assert heights @ -np.diff(curve.specificity) == pytest.approx(auroc(LABELS, SCORES))


def test_a_score_on_the_threshold_is_positive() -> None:
    confusion = confusion_at(LABELS, SCORES, 0.4)
    assert confusion == Confusion(tp=4, fp=3, tn=2, fn=1)
    values = {
        name: getattr(confusion, name).value
        for name in ("sensitivity", "specificity", "ppv", "npv", "accuracy")
    }
    expected = {
        "sensitivity": 4 / 5,
        "specificity": 2 / 5,
        "ppv": 4 / 7,
        "npv": 2 / 3,
        "accuracy": 6 / 10,
    }
    assert values == expected
    assert confusion.ppv is not None
    assert (confusion.ppv.n, confusion.ppv.method) == (7, "wilson")


def test_shares_of_nothing_are_none() -> None:
    nobody_called = confusion_at([1, 0], [0.1, 0.2], math.inf)
    assert nobody_called.ppv is None
    assert nobody_called.sensitivity is not None
    only_sick = confusion_at([1, 1], [0.1, 0.2], 0.15)
    assert only_sick.specificity is None
    assert only_sick.sensitivity is not None
    assert Confusion(0, 0, 0, 0).accuracy is None


def test_delong_by_hand() -> None:
    figure = auroc_delong(SMALL_LABELS, SMALL_SCORES, confidence=math.erf(1 / math.sqrt(2)))
    # z = 1, so the interval is logit(3/4) -+ sqrt(1/8) / (3/16) on the logit scale
    half = math.sqrt(1 / 8) / (3 / 16)
    assert figure.value == 0.75
    assert figure.low == pytest.approx(1 / (1 + math.exp(half) / 3), abs=1e-12)
    assert figure.high == pytest.approx(1 / (1 + math.exp(-half) / 3), abs=1e-12)
    assert (figure.method, figure.n) == ("delong", 4)


def test_delong_difference_by_hand() -> None:
    # b = (3, 2; 1, 0) is perfect, with V10 = V01 = (1, 1): the difference keeps a's variance 1/8
    # and is -1/4, so z^2 = 1/2.
    figure, p_value = delong_test(SMALL_LABELS, SMALL_SCORES, [3, 2, 1, 0])
    assert figure.value == -0.25
    assert figure.low == pytest.approx(-0.25 - 1.959963984540054 * math.sqrt(1 / 8))
    assert p_value == pytest.approx(math.erfc(0.5), abs=1e-12)


def test_delong_interval_covers_the_true_area() -> None:
    # AUROC of two unit normals: Phi(distance / sqrt 2). 0.95 -+ 3 standard errors over 600 draws.
    rng = np.random.default_rng(20261123)
    for distance in (1.0, 2.5):
        truth = NormalDist().cdf(distance / math.sqrt(2))
        figures = [auroc_delong(*two_normals(rng, 60, 40, distance)) for _ in range(600)]
        covered = np.mean([figure.low <= truth <= figure.high for figure in figures])
        assert 0.923 <= covered <= 0.977


def test_delong_test_keeps_its_level() -> None:
    rng = np.random.default_rng(7)
    p_values = []
    for _ in range(600):
        labels, common = two_normals(rng, 50, 50, 1.5)
        noise = rng.normal(size=(2, 100))
        p_values.append(delong_test(labels, common + noise[0], common + noise[1])[1])
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.08


def test_copies_of_an_image_within_a_patient_tell_nothing_new() -> None:
    labels, scores = two_normals(np.random.default_rng(1), 20, 15, 1.0)
    once = auroc_delong(labels, scores)
    patients = np.repeat(np.arange(35), 3)
    thrice = auroc_delong(np.repeat(labels, 3), np.repeat(scores, 3), groups=patients)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=1e-12)
    naive = auroc_delong(np.repeat(labels, 3), np.repeat(scores, 3))
    assert naive.low > once.low + 0.02


def obuchowski_variance(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], groups: npt.NDArray[np.int64]
) -> float:
    """Obuchowski 1997, written out pair by pair."""
    sick, healthy = np.flatnonzero(labels), np.flatnonzero(~labels)

    def won(i: int, j: int) -> float:
        return float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j])

    v10 = {i: np.mean([won(i, j) for j in healthy]) for i in sick}
    v01 = {j: np.mean([won(i, j) for i in sick]) for j in healthy}
    area = np.mean(list(v10.values()))
    s10 = s01 = s11 = 0.0
    for group in set(groups.tolist()):
        of_sick = sum(v10[i] - area for i in sick if groups[i] == group)
        of_healthy = sum(v01[j] - area for j in healthy if groups[j] == group)
        s10, s01, s11 = s10 + of_sick**2, s01 + of_healthy**2, s11 + of_sick * of_healthy
    m, n, k = len(sick), len(healthy), len(set(groups.tolist()))
    k10, k01 = len(set(groups[sick].tolist())), len(set(groups[healthy].tolist()))
    return float(
        s10 * k10 / (k10 - 1) / m**2 + s01 * k01 / (k01 - 1) / n**2 + 2 * s11 * k / (k - 1) / m / n
    )


def test_clustered_variance_matches_its_definition() -> None:
    rng = np.random.default_rng(3)
    labels = rng.random(40) < 0.6
    groups = rng.integers(15, size=40)  # patients with images of both classes among them
    scores = np.round(rng.normal(size=40) + labels + 0.1 * groups, 1)
    figure = auroc_delong(labels, scores, groups=groups)
    error = math.sqrt(obuchowski_variance(labels, scores, groups))
    area = figure.value
    half = 1.959963984540054 * error / (area * (1 - area))
    low, high = (math.log(end / (1 - end)) for end in (figure.low, figure.high))
    assert (high - low) / 2 == pytest.approx(half, rel=1e-9)


def test_perfect_separation_keeps_an_interval() -> None:
    labels, scores = np.arange(30) < 10, -np.arange(30.0)
    figure = auroc_delong(labels, scores)
    # Wilson's interval for 10 of 10
    assert (figure.value, figure.high, figure.method) == (1.0, 1.0, "wilson")
    assert figure.low == pytest.approx(10 / (10 + 1.959963984540054**2))
    of_two_patients = auroc_delong(labels, scores, groups=np.arange(30) % 2)
    assert of_two_patients.low < figure.low


@pytest.mark.parametrize("patients", [10, 20, 50, 1000])
def test_perfect_separation_is_as_wide_as_there_are_patients(patients: int) -> None:
    """By hand: k of k patients give k / (k + z^2); exactly, an AUROC of A gives it in A^k at most.

    Twice as many images of the same patients, or of the other class, tell nothing more.
    """
    labels = np.repeat([0, 1], [3 * patients, 2 * patients])
    groups = [*range(3 * patients), *np.repeat(range(3 * patients, 4 * patients), 2)]
    area = auroc_delong(labels, labels * 5.0, groups=groups)
    precision = auprc_bootstrap(labels, labels * 5.0, groups, 20)
    expected = patients / (patients + 1.959963984540054**2)
    for figure in (area, precision):
        assert (figure.value, figure.high, figure.method) == (1.0, 1.0, "wilson")
        assert figure.low == pytest.approx(expected, rel=1e-9)
    if patients >= 20:
        assert area.low == pytest.approx(0.025 ** (1 / patients), abs=0.01)


def test_auprc_of_imperfect_scores_is_bootstrapped() -> None:
    figure = auprc_bootstrap(LABELS, SCORES, np.arange(10), 200)
    assert (figure.value, figure.method) == (auprc(LABELS, SCORES), "bootstrap")
    assert figure.low < figure.value < figure.high


def test_two_perfect_rankings_do_not_differ() -> None:
    labels, scores = np.arange(30) < 10, -np.arange(30.0)
    swapped = scores.copy()
    swapped[[0, 1]] = scores[[1, 0]]
    figure, p_value = delong_test(labels, scores, swapped)
    assert (figure.value, p_value) == (0.0, 1.0)
    assert figure.low < -0.2
    assert figure.high > 0.2
    same, p_same = delong_test(labels, scores, 2 * scores)
    assert (same.low, same.value, same.high, p_same) == (0.0, 0.0, 0.0, 1.0)


def test_a_difference_without_variance_is_refused() -> None:
    with pytest.raises(ValueError, match="no variance"):
        delong_test([1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0])


def test_bootstrap_draws_patients() -> None:
    labels, scores = two_normals(np.random.default_rng(5), 40, 40, 1.5)
    alone = bootstrap(auroc, labels, scores, np.arange(80), n_resamples=400)
    again = bootstrap(auroc, labels, scores, np.arange(80), n_resamples=400)
    assert alone == again
    assert (alone.method, alone.n, alone.value) == ("bootstrap", 80, auroc(labels, scores))
    copies = [np.repeat(part, 4) for part in (labels, scores, np.arange(80))]
    clustered = bootstrap(auroc, *copies, n_resamples=400)
    as_if_independent = bootstrap(auroc, *copies[:2], np.arange(320), n_resamples=400)
    assert clustered.low == pytest.approx(alone.low, abs=1e-9)
    assert as_if_independent.high - as_if_independent.low < 0.6 * (alone.high - alone.low)


def test_bootstrap_agrees_with_delong() -> None:
    labels, scores = two_normals(np.random.default_rng(6), 80, 60, 1.0)
    exact = auroc_delong(labels, scores)
    drawn = bootstrap(auroc, labels, scores, np.arange(140), n_resamples=1500)
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.015)


def test_bootstrap_hands_on_paired_scores() -> None:
    labels, scores = two_normals(np.random.default_rng(8), 30, 30, 1.0)
    pair = np.stack([scores, scores + 1.0], axis=1)

    def difference(drawn: npt.NDArray[np.bool_], both: npt.NDArray[np.float64]) -> float:
        return auroc(drawn, both[:, 1]) - auroc(drawn, both[:, 0])

    figure = bootstrap(difference, labels, pair, np.arange(60), n_resamples=50)
    assert (figure.low, figure.value, figure.high) == (0.0, 0.0, 0.0)


def test_bootstrap_draws_again_where_a_class_is_missing() -> None:
    # Of 4 patients one is positive: 68% of the resamples hold him, and some are all his.
    figure = bootstrap(auroc, [1, 0, 0, 0], [2.0, 1.0, 3.0, 0.0], list("abcd"), n_resamples=200)
    assert 0 <= figure.low < figure.value == pytest.approx(2 / 3)
    assert figure.high == 1.0


def test_bootstrap_interval_holds_a_biased_estimate() -> None:
    def spread(_: npt.NDArray[np.bool_], values: npt.NDArray[np.float64]) -> float:
        return -float(np.unique(values).size)  # every resample has fewer distinct values

    values = np.arange(50.0)
    figure = bootstrap(spread, np.arange(50) < 9, values, np.arange(50), n_resamples=100)
    assert figure.value == -50 == figure.low
    assert figure.high < -25 + 10


def test_bootstrap_refuses_what_is_undefined() -> None:
    with pytest.raises(ValueError, match="AUROC is undefined"):
        bootstrap(auroc, [1, 1], [1.0, 2.0], [0, 1])
    with pytest.raises(ValueError, match="two patients"):
        bootstrap(auroc, [1, 0], [1.0, 2.0], ["a", "a"])
    with pytest.raises(ValueError, match="groups of shape"):
        bootstrap(auroc, [1, 0], [1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="more than half"):
        # only the resample that holds all three patients has no repeat: 3! / 3^3 = 22%
        bootstrap(_raises_on_repeats, [1, 0, 0], [1.0, 2.0, 3.0], [0, 1, 2], n_resamples=100)


def _raises_on_repeats(_: npt.NDArray[np.bool_], values: npt.NDArray[np.float64]) -> float:
    if np.unique(values).size < values.size:
        raise ValueError("a value stands twice")
    return float(values.mean())


def test_mcnemar_by_hand_and_by_scipy() -> None:
    right_a = np.array([1] * 10 + [0] * 2 + [1] * 30 + [0] * 5)
    right_b = np.array([0] * 10 + [1] * 2 + [1] * 30 + [0] * 5)
    result = mcnemar(right_a, right_b)
    assert (result.only_a_right, result.only_b_right) == (10, 2)
    # 2 (1 + 12 + 66) / 2^12; scipy.stats.binomtest(2, 12).pvalue gives the same
    assert result.p_value == pytest.approx(0.03857421875, abs=1e-14)
    assert mcnemar([1, 0], [0, 1]).p_value == 1.0
    assert mcnemar([1, 0], [1, 0]).p_value == 1.0


def test_spearman_matches_scipy_with_ties() -> None:
    figure = spearman([1, 2, 2, 3, 5, 8], [2, 1, 4, 4, 4, 9])
    assert figure.value == pytest.approx(0.8008534347238067, abs=1e-14)
    center, r = math.atanh(figure.value), figure.value
    half = 1.959963984540054 * math.sqrt((1 + r * r / 2) / 3)
    assert figure.low == pytest.approx(math.tanh(center - half))
    assert figure.high == pytest.approx(math.tanh(center + half))


def test_spearman_interval_covers_the_true_correlation() -> None:
    # of a binormal with Pearson correlation rho: (6 / pi) asin(rho / 2)
    rng, rho = np.random.default_rng(11), 0.6
    truth = 6 / math.pi * math.asin(rho / 2)
    covered = 0
    for _ in range(600):
        x, noise = rng.normal(size=(2, 40))
        figure = spearman(x, rho * x + math.sqrt(1 - rho * rho) * noise)
        covered += figure.low <= truth <= figure.high
    assert 0.923 <= covered / 600 <= 0.977


def test_a_perfect_rank_correlation_keeps_an_interval() -> None:
    figure = spearman([1, 2, 3, 4, 5], [10, 20, 30, 40, 500])
    assert (figure.value, figure.high) == (1.0, 1.0)
    assert figure.low < 0.8
    assert spearman([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]).value == -1.0


def test_spearman_refuses_what_is_undefined() -> None:
    with pytest.raises(ValueError, match="constant"):
        spearman([1, 2, 3, 4], [7, 7, 7, 7])
    with pytest.raises(ValueError, match="at least 4"):
        spearman([1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match="x has 4 values, y 5"):
        spearman([1, 2, 3, 4], [1, 2, 3, 4, 5])


@pytest.mark.parametrize("function", [auroc, roc_curve, auroc_delong])
@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_class_is_undefined_never_nan(function: object, labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"there is no (positive|negative)|needs two"):
        function(labels, [0.1, 0.2, 0.3])  # type: ignore[operator]


def test_auprc_without_positives_is_undefined() -> None:
    with pytest.raises(ValueError, match="AUPRC is undefined"):
        auprc([0, 0], [0.1, 0.2])


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "message"),
    [
        ([], [], None, "labels must not be empty"),
        ([0, 2], [0.1, 0.2], None, "labels must be 0 or 1"),
        ([0, math.nan], [0.1, 0.2], None, "labels must be finite"),
        ([0, 1], [0.1, math.nan], None, "scores must be finite"),
        ([0, 1], [0.1, math.inf], None, "scores must be finite"),
        ([0, 1], [0.1], None, "2 labels but 1 scores"),
        ([0, 1], [[0.1], [0.2]], None, r"one dimension, not shape \(2, 1\)"),
        ([0, 1], [0.1, 0.2], [1.0], "2 labels but 1 weights"),
        ([0, 1], [0.1, 0.2], [1.0, -1.0], "not be negative"),
        ([0, 1], [0.1, 0.2], [0.0, 0.0], "not all zero"),
        ([0, 1], [0.1, 0.2], [1.0, 0.0], "no positive image"),
    ],
)
def test_bad_observations_are_refused(
    labels: list[float], scores: list[float], weights: list[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_both_classes(check_observations(labels, scores, weights), "x")


def test_a_threshold_is_a_number() -> None:
    with pytest.raises(ValueError, match="threshold is NaN"):
        confusion_at(LABELS, SCORES, math.nan)


def test_patient_weights_sum_to_patients() -> None:
    weights = patient_weights(["a", "b", "a", "c", "a"])
    assert weights == pytest.approx([1 / 3, 1, 1 / 3, 1, 1 / 3])


def test_every_order_of_the_images_gives_the_same() -> None:
    labels, scores = [1, 0, 1, 0, 1], [0.3, 0.3, 0.9, 0.1, 0.2]
    results = {
        (auroc(*zip(*rows, strict=True)), auprc(*zip(*rows, strict=True)))
        for rows in itertools.permutations(zip(labels, scores, strict=True))
    }
    assert len(results) == 1
