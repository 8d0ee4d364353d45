"""Operating points: hand-worked cuts, and the band's promise on known distributions."""

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

from edge_app.statistics.cutoffs import (
    fit_band,
    threshold_balanced,
    threshold_for_sensitivity,
    threshold_for_specificity,
)
from edge_app.statistics.discrimination import Confusion, confusion_at
from edge_app.statistics.intervals import binomial_cdf
from edge_app.statistics.observations import patient_weights

# Rising scores; sensitivity falls at 4, 6, 7, 8, 9, specificity rises at 0, 1, 2, 3, 5.
SCORES = np.arange(10.0)
LABELS = np.array([0, 0, 0, 0, 1, 0, 1, 1, 1, 1])


def draw(
    rng: np.random.Generator, n: int, prevalence: float = 0.6, distance: float = 3.0
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Draw n labels and scores: healthy N(0, 1), sick N(distance, 1)."""
    labels = rng.random(n) < prevalence
    return labels, rng.normal(size=n) + distance * labels


def test_sensitivity_takes_the_strictest_cut_that_reaches_it() -> None:
    assert threshold_for_sensitivity(LABELS, SCORES, at_least=1.0) == 3.5
    assert threshold_for_sensitivity(LABELS, SCORES, at_least=0.8) == 5.5
    assert threshold_for_sensitivity(LABELS, SCORES, at_least=0.81) == 3.5
    assert threshold_for_sensitivity(LABELS, SCORES, at_least=0.2) == 8.5


def test_specificity_takes_the_laxest_cut_that_reaches_it() -> None:
    assert threshold_for_specificity(LABELS, SCORES, at_least=0.8) == 3.5
    assert threshold_for_specificity(LABELS, SCORES, at_least=1.0) == 5.5
    assert threshold_for_specificity(LABELS, SCORES, at_least=0.2) == 0.5


def test_the_outermost_cut_lies_outside() -> None:
    labels = [1, 0, 1, 0]
    assert threshold_for_sensitivity(labels, [2.0, 3.0, 5.0, 9.0], at_least=1.0) == 1.5
    assert threshold_for_specificity(labels, [2.0, 3.0, 5.0, 9.0], at_least=1.0) == 11.0


def test_ties_are_not_cut_apart() -> None:
    threshold = threshold_for_sensitivity([0, 1, 1, 1, 0], [0, 1, 1, 1, 2], at_least=0.5)
    assert threshold == 0.5


def test_neighbouring_floats_are_still_split() -> None:
    low = 1.0
    high = math.nextafter(low, 2.0)
    threshold = threshold_for_sensitivity([0, 1], [low, high], at_least=1.0)
    assert confusion_at([0, 1], [low, high], threshold) == Confusion(tp=1, fp=0, tn=1, fn=0)


def test_the_lower_bound_counts_too() -> None:
    rng = np.random.default_rng(0)
    labels, scores = draw(rng, 1000)
    loose = threshold_for_sensitivity(labels, scores, at_least=0.95)
    strict = threshold_for_sensitivity(labels, scores, 0.95, lower_bound_at_least=0.95)
    assert strict < loose
    reached = confusion_at(labels, scores, strict).sensitivity
    assert reached is not None
    assert reached.low >= 0.95
    # the next stricter cut no longer reaches it
    above = np.sort(scores[labels & (scores > strict)])[0]
    beyond = confusion_at(labels, scores, math.nextafter(above, math.inf)).sensitivity
    assert beyond is not None
    assert beyond.low < 0.95


def test_too_few_images_for_a_lower_bound() -> None:
    with pytest.raises(ValueError, match=r"5 images cannot show a sensitivity.*it is 0\.566"):
        threshold_for_sensitivity(LABELS, SCORES, 0.95, lower_bound_at_least=0.93)
    with pytest.raises(ValueError, match="cannot show a specificity"):
        threshold_for_specificity(LABELS, SCORES, 0.95, lower_bound_at_least=0.93)


def test_images_of_one_patient_count_once() -> None:
    labels = np.repeat([1, 0], [100, 100])
    scores = np.linspace(1, 0, 200)
    threshold_for_sensitivity(labels, scores, 0.95, lower_bound_at_least=0.93)
    weights = patient_weights(np.arange(200) // 10)  # ten sick patients, not a hundred
    with pytest.raises(ValueError, match="10 images cannot show"):
        threshold_for_sensitivity(labels, scores, 0.95, 0.93, weights=weights)


@pytest.mark.parametrize("at_least", [0.0, 1.1, math.nan])
def test_an_aim_is_a_share(at_least: float) -> None:
    with pytest.raises(ValueError, match="must be asked for in"):
        threshold_for_sensitivity(LABELS, SCORES, at_least)


def test_balanced_cut_of_mirrored_classes_is_the_middle() -> None:
    rng = np.random.default_rng(1)
    sick = rng.normal(size=300) + 1.5
    scores = np.concatenate([sick, -sick])
    labels = np.arange(600) < 300
    gap = np.diff(np.sort(scores))[299]
    assert threshold_balanced(labels, scores) == pytest.approx(0.0, abs=max(gap, 0.1))


def test_balanced_cut_of_separated_classes_is_halfway() -> None:
    assert threshold_balanced([0, 0, 0, 1, 1, 1], [-3, -2, -1, 5, 6, 7]) == 2.0


def test_balanced_cut_equalizes_sensitivity_and_specificity() -> None:
    labels, scores = draw(np.random.default_rng(2), 3000, distance=2.0)
    confusion = confusion_at(labels, scores, threshold_balanced(labels, scores))
    assert confusion.sensitivity is not None
    assert confusion.specificity is not None
    assert confusion.sensitivity.value == pytest.approx(confusion.specificity.value, abs=0.02)


def empirical_crossing(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float:
    gaps = [abs(np.mean(scores[labels] >= cut) - np.mean(scores[~labels] < cut)) for cut in scores]
    return float(scores[np.argmin(gaps)])


def test_balanced_cuts_vary_less_than_the_empirical_crossing() -> None:
    rng = np.random.default_rng(3)
    cuts = []
    for _ in range(60):
        labels, scores = draw(rng, 150)
        cuts.append([threshold_balanced(labels, scores), empirical_crossing(labels, scores)])
    smooth, empirical = np.std(cuts, axis=0)
    assert smooth < empirical
    assert np.mean(cuts, axis=0)[0] == pytest.approx(1.5, abs=0.1)


def test_balanced_cut_follows_weights() -> None:
    labels, scores = draw(np.random.default_rng(4), 400)
    weights = np.where(~labels & (scores > 0.5), 5.0, 1.0)  # healthy with high scores count more
    assert threshold_balanced(labels, scores, weights=weights) > threshold_balanced(labels, scores)


def test_balanced_cut_over_forms_weighs_the_worst_of_each_class() -> None:
    """The sick of one form lie low, the healthy of another high: only these two matter."""
    rng = np.random.default_rng(5)
    n = 2000
    means = {"plain": (-3.0, 3.0), "dull": (-3.0, 1.0), "grey": (-2.0, 3.0)}
    labels = np.tile(np.repeat([0, 1], n), len(means))
    forms = np.repeat(list(means), 2 * n)
    scores = rng.normal(np.repeat(np.ravel(list(means.values())), n), 1.0)
    # Equal errors of N(-2, 1) above the cut and of N(1, 1) below it: halfway.
    assert threshold_balanced(labels, scores, forms=forms) == pytest.approx(-0.5, abs=0.1)
    assert threshold_balanced(labels, scores) == pytest.approx(-0.25, abs=0.25)
    one = forms == "plain"
    assert threshold_balanced(labels[one], scores[one], forms=forms[one]) == threshold_balanced(
        labels[one], scores[one]
    )


def test_forms_that_cannot_be_balanced_are_refused() -> None:
    with pytest.raises(ValueError, match="both classes in the form b"):
        threshold_balanced([0, 1, 1], [1, 2, 3], forms=["a", "a", "b"])
    with pytest.raises(ValueError, match="forms must be"):
        threshold_balanced([0, 1], [1, 2], forms=["a"])


def test_balanced_cut_of_tied_scores_is_finite() -> None:
    assert math.isfinite(threshold_balanced([0, 1], [2.0, 2.0]))
    assert threshold_balanced([0, 0, 1, 1], [2.0, 2.0, 3.0, 3.0]) == 2.5


def true_shares(low: float, high: float, distance: float) -> tuple[float, float]:
    """Of the population of `draw`: sick below `low`, and healthy above `high`."""
    return NormalDist(distance).cdf(low), 1 - NormalDist().cdf(high)


def test_the_band_keeps_its_promise() -> None:
    # The threshold is fitted on the same images, as in practice. delta = 0.2, and 0.2 + 3 standard
    # errors over 300 draws is 0.27; a band that took the observed share would fail half the time.
    rng = np.random.default_rng(20261123)
    bounds, broken, found, answered = (0.04, 0.06), 0, 0, []
    for _ in range(300):
        labels, scores = draw(rng, 800)
        threshold = threshold_balanced(labels, scores)
        try:
            band = fit_band(
                labels,
                scores,
                threshold,
                most_missed=bounds[0],
                most_false_alarms=bounds[1],
                delta=0.2,
            )
        except ValueError:
            continue
        found += 1
        answered.append(1 - band.indeterminate.value)
        assert band.refer_low <= threshold <= band.refer_high
        missed, alarmed = true_shares(band.refer_low, band.refer_high, 3.0)
        broken += missed > bounds[0] or alarmed > bounds[1]
    assert broken / 300 <= 0.27
    # and it is of use: nearly always found, and most images get an answer
    assert found >= 270
    assert np.mean(answered) > 0.85


def test_the_figures_hold_what_was_asked() -> None:
    labels, scores = draw(np.random.default_rng(5), 2000)
    threshold = threshold_balanced(labels, scores)
    band = fit_band(labels, scores, threshold, most_missed=0.03, most_false_alarms=0.02)
    below, above = scores < band.refer_low, scores >= band.refer_high
    assert band.missed.value == np.mean(below[labels])
    assert band.missed.n == labels.sum()
    assert band.missed.low == 0.0
    assert band.missed.high <= 0.03
    assert band.false_alarms.value == np.mean(above[~labels])
    assert band.false_alarms.high <= 0.02
    assert band.indeterminate.value == pytest.approx(np.mean(~below & ~above))
    assert band.refer_low < threshold < band.refer_high


def test_the_band_by_hand() -> None:
    # 200 sick at rising scores, 200 healthy far below. P(X <= k) for Binomial(200, 0.05) is at
    # most 0.025 up to k = 3 (0.0090; k = 4 gives 0.0264), so three sick may lie below refer_low.
    assert binomial_cdf(3, 200, 0.05) < 0.025 < binomial_cdf(4, 200, 0.05)
    labels = np.arange(400) < 200
    scores = np.where(labels, np.arange(400), np.arange(400) - 1000.0)
    band = fit_band(labels, scores, 50.0, most_missed=0.05, most_false_alarms=0.05, delta=0.05)
    assert band.refer_low == 2.5
    assert band.missed.value == 3 / 200
    # no healthy image scores 50 or more, so the threshold itself is safe on that side
    assert band.refer_high == 50.0


def test_without_errors_there_is_no_band() -> None:
    labels = np.arange(1000) >= 400
    scores = np.where(labels, 2.0, -2.0) + np.linspace(0, 1, 1000)
    band = fit_band(labels, scores, 0.1, most_missed=0.02, most_false_alarms=0.02)
    assert (band.refer_low, band.refer_high) == (0.1, 0.1)
    assert band.indeterminate.value == 0.0


def test_a_threshold_on_a_score_answers_as_the_threshold_does() -> None:
    # 400 healthy at 0, 400 sick at 1 and 200 more at 2: a score of 1 is positive at threshold 1.
    labels, scores = np.arange(1000) >= 400, np.repeat([0.0, 1.0, 2.0], [400, 400, 200])
    band = fit_band(labels, scores, 1.0, most_missed=0.05, most_false_alarms=0.05)
    assert (band.refer_low, band.refer_high) == (1.0, 1.0)
    assert (band.missed.value, band.missed.n) == (0.0, 600)
    assert (band.false_alarms.value, band.false_alarms.n) == (0.0, 400)


def test_no_cut_can_be_shown_safe() -> None:
    rng = np.random.default_rng(6)
    labels, scores = draw(rng, 100)
    with pytest.raises(
        ValueError, match=r"no cut-off for no_pneumonia_seen .* at least 368 are needed"
    ):
        fit_band(labels, scores, 1.5, most_missed=0.01, most_false_alarms=0.2)
    # A score that tells nothing leaves nearly all images open.
    useless = rng.normal(size=1000)
    band = fit_band(rng.random(1000) < 0.5, useless, 0.0, most_missed=0.05, most_false_alarms=0.05)
    assert band.indeterminate.value > 0.85


def test_weights_make_the_band_wider() -> None:
    labels, scores = draw(np.random.default_rng(7), 3000)
    threshold = threshold_balanced(labels, scores)
    plain = fit_band(labels, scores, threshold, most_missed=0.04, most_false_alarms=0.04)
    weights = np.full(3000, 0.3)
    weighted = fit_band(
        labels, scores, threshold, most_missed=0.04, most_false_alarms=0.04, weights=weights
    )
    assert weighted.refer_low < plain.refer_low
    assert weighted.refer_high > plain.refer_high


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"most_missed": 0.0}, "most_missed must lie strictly"),
        ({"most_false_alarms": 1.0}, "most_false_alarms must lie strictly"),
        ({"delta": 5.0}, "delta must lie strictly"),
        ({"threshold": math.inf}, "threshold must be finite"),
        ({"labels": np.ones(10)}, "there is no negative image"),
    ],
)
def test_bad_requests_are_refused(change: dict[str, object], message: str) -> None:
    request = {
        "labels": LABELS,
        "scores": SCORES,
        "threshold": 4.5,
        "most_missed": 0.05,
        "most_false_alarms": 0.05,
    }
    with pytest.raises(ValueError, match=message):
        fit_band(**{**request, **change})  # type: ignore[arg-type]
