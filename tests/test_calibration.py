"""Calibration: hand-worked tables, a reference optimum, separation, prevalence."""

import math

import numpy as np
import pytest

from edge_app.statistics.calibration import (
    Platt,
    expected_calibration_error,
    fit_platt,
    reliability,
)
from edge_app.statistics.discrimination import auroc, bootstrap
from edge_app.statistics.logistic import sigmoids

LABELS = np.array([0, 0, 1, 1, 0, 1, 0, 1, 1, 0])
LOGITS = np.array([-2.2, -0.4, -0.6, 1.4, -0.4, 0.4, 0.8, 2.2, 0.4, -1.4])
WEIGHTS = np.array([1, 2, 0.5, 1, 1, 3, 0.25, 1, 1, 2])


def test_platt_matches_a_general_optimizer() -> None:
    # scipy.optimize.minimize (BFGS, then Nelder-Mead) of the same smoothed cross-entropy
    fitted = fit_platt(LABELS, LOGITS)
    assert (fitted.scale, fitted.offset) == pytest.approx((0.82486303, -0.01862618), abs=1e-6)
    weighted = fit_platt(LABELS, LOGITS, WEIGHTS)
    assert (weighted.scale, weighted.offset) == pytest.approx((1.46997822, 0.18744573), abs=1e-6)


def test_platt_meets_its_first_order_conditions() -> None:
    # At the optimum, probabilities and smoothed targets agree in sum and in sum times logit.
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.7
    logits = rng.normal(size=500) * 30 + 20 * labels + 1000
    fitted = fit_platt(labels, logits)
    positives, negatives = labels.sum(), (~labels).sum()
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    residual = fitted.probability(logits) - targets
    assert abs(residual.sum()) < 1e-5
    assert abs(residual @ (logits - logits.mean())) < 1e-3


def test_newton_steps_are_halved_where_a_whole_one_overshoots() -> None:
    # Weights that differ a millionfold: without halving, this fit ends at a scale of 7e10.
    labels, logits = np.array([0, 0, 0, 1]), np.array([0.3, -3.4, 14.2, 2.2])
    weights = np.array([5315.886, 2.655, 0.013, 0.718])
    fitted = fit_platt(labels, logits, weights)
    targets = np.where(labels == 1, 1.718 / 2.718, 1 / (5315.886 + 2.655 + 0.013 + 2))
    residual = weights * (fitted.probability(logits) - targets)
    assert abs(residual.sum()) < 1e-6
    assert abs(residual @ logits) < 1e-5


def test_platt_recovers_the_truth() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=20_000) * 2
    labels = rng.random(20_000) < sigmoids(1.7 * logits - 0.6)
    fitted = fit_platt(labels, logits)
    assert (fitted.scale, fitted.offset) == pytest.approx((1.7, -0.6), abs=0.08)


def test_separated_classes_get_finite_probabilities_at_the_smoothed_targets() -> None:
    # Two scores, one a class: the fit passes through both smoothed targets exactly.
    fitted = fit_platt([0] * 8 + [1] * 18, [-1.0] * 8 + [3.0] * 18)
    assert fitted.probability([-1.0, 3.0]) == pytest.approx([1 / 10, 19 / 20], abs=1e-6)
    far_apart = fit_platt([0, 0, 1, 1], [-1e6, -1e6 + 1, 1e6, 1e6 + 1])
    assert 0 < far_apart.scale < 1e-5


def test_a_unit_of_the_score_does_not_matter() -> None:
    plain = fit_platt(LABELS, LOGITS)
    for factor, shift in ((1e-6, 0.0), (1e6, 0.0), (0.01, 500.0)):
        moved = fit_platt(LABELS, LOGITS * factor + shift)
        expected = plain.probability(LOGITS)
        assert moved.probability(LOGITS * factor + shift) == pytest.approx(expected, abs=1e-6)


def test_weights_are_counts() -> None:
    weights = np.array([1, 2, 3, 1, 1, 2, 1, 1, 4, 1])
    weighted = fit_platt(LABELS, LOGITS, weights)
    repeated = fit_platt(np.repeat(LABELS, weights), np.repeat(LOGITS, weights))
    expected = (repeated.scale, repeated.offset)
    # standardization differs, the optimum does not
    assert (weighted.scale, weighted.offset) == pytest.approx(expected, abs=1e-6)


def test_calibration_keeps_the_ranking() -> None:
    fitted = fit_platt(LABELS, LOGITS)
    assert auroc(LABELS, fitted.probability(LOGITS)) == auroc(LABELS, LOGITS)


def test_an_inverted_or_constant_score_is_refused() -> None:
    with pytest.raises(ValueError, match="do not rise with the scores"):
        fit_platt(LABELS, -LOGITS)
    with pytest.raises(ValueError, match="scores that differ"):
        fit_platt([0, 1], [3.0, 3.0])
    with pytest.raises(ValueError, match="there is no negative image"):
        fit_platt([1, 1], [3.0, 4.0])


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_is_positive(scale: float) -> None:
    with pytest.raises(ValueError, match="scale > 0"):
        Platt(scale, 0.0)


def test_sigmoid_neither_overflows_nor_loses_its_tail() -> None:
    with np.errstate(all="raise", under="ignore"):
        values = sigmoids([-1000.0, -40.0, 0.0, 40.0, 1000.0])
    assert values == pytest.approx([0.0, math.exp(-40), 0.5, 1.0, 1.0], rel=1e-12)


PROBABILITIES = [0.05, 0.15, 0.25, 0.35, 0.8, 0.9, 1.0, 0.6]
OUTCOMES = [0, 0, 1, 0, 1, 1, 1, 0]


def test_ece_of_equal_numbers_by_hand() -> None:
    # pairs: 0.2 for 0, 0.6 for 1, 1.4 for 1, 1.9 for 2
    error = expected_calibration_error(OUTCOMES, PROBABILITIES, bins=4)
    assert error == pytest.approx((0.2 + 0.4 + 0.4 + 0.1) / 8)
    # one bin: 4.1 for 4
    assert expected_calibration_error(OUTCOMES, PROBABILITIES, bins=1) == pytest.approx(0.1 / 8)
    # more bins than images: each stands alone
    alone = sum(abs(p - y) for p, y in zip(PROBABILITIES, OUTCOMES, strict=True)) / 8
    assert expected_calibration_error(OUTCOMES, PROBABILITIES, bins=50) == pytest.approx(alone)


def test_equal_probabilities_share_a_bin() -> None:
    assert expected_calibration_error([0, 1] * 20, [0.5] * 40, bins=15) == 0.0


def test_ece_weighs_the_bins_by_their_weights() -> None:
    # Two bins of four: claimed 0.8 for 1 of 4, each weighing 1; claimed 3.3 for 3 of 4, each 3.
    weights = [1, 1, 1, 1, 3, 3, 3, 3]
    error = expected_calibration_error(OUTCOMES, PROBABILITIES, bins=2, weights=weights)
    assert error == pytest.approx((0.2 + 3 * 0.3) / 16)


def test_ece_of_true_probabilities_is_small_and_of_shifted_ones_is_not() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.random(20_000)
    labels = rng.random(20_000) < probabilities
    assert expected_calibration_error(labels, probabilities) < 0.015
    squeezed = 0.5 + 0.5 * (probabilities - 0.5)  # off by |p - 1/2| / 2: 1/8 on average
    assert expected_calibration_error(labels, squeezed) == pytest.approx(0.125, abs=0.01)


def test_ece_has_an_interval_over_patients() -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.random(200)
    labels = rng.random(200) < probabilities
    groups = np.arange(200) // 2
    figure = bootstrap(expected_calibration_error, labels, probabilities, groups, n_resamples=200)
    assert 0 <= figure.low <= figure.value < figure.high < 0.25


def test_reliability_is_the_table_behind_the_error() -> None:
    table = reliability(OUTCOMES, PROBABILITIES, bins=4)
    assert [(row.low, row.high, row.n) for row in table] == [
        (0.05, 0.15, 2),
        (0.25, 0.35, 2),
        (0.6, 0.8, 2),
        (0.9, 1.0, 2),
    ]
    assert [row.observed.value for row in table] == [0.0, 0.5, 0.5, 1.0]
    assert [row.mean_probability for row in table] == pytest.approx([0.1, 0.3, 0.7, 0.95])
    gaps = [row.n * abs(row.mean_probability - row.observed.value) for row in table]
    assert sum(gaps) / 8 == pytest.approx(expected_calibration_error(OUTCOMES, PROBABILITIES, 4))
    assert table[0].observed.method == "wilson"


def test_raw_scores_are_no_probabilities() -> None:
    for judge in (expected_calibration_error, reliability):
        with pytest.raises(ValueError, match="calibrate raw scores first"):
            judge([0, 1], [-1.0, 2.0])
    with pytest.raises(ValueError, match="bins must be at least 1"):
        expected_calibration_error([0, 1], [0.1, 0.9], bins=0)
