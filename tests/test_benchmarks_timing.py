"""Percentiles and ratios against values worked out by hand."""

import math

import pytest

from benchmarks.timing import (
    LogMean,
    log_mean,
    log_mean_of,
    noise_between,
    percentiles,
    ratio,
)


def test_percentiles_are_nearest_ranks_in_milliseconds() -> None:
    found = percentiles([1000 * k for k in range(10, 0, -1)])
    assert (found.n, found.p50, found.p90, found.p99, found.max) == (10, 5.0, 9.0, 10.0, 10.0)


def test_percentiles_of_a_single_run_are_that_run() -> None:
    found = percentiles([2500])
    assert found.p50 == found.p90 == found.p99 == found.max == 2.5


def test_no_runs_have_no_percentiles() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        percentiles([])


def test_ratio_is_the_geometric_mean_of_paired_rounds() -> None:
    found = ratio([2.0, 8.0], [1.0, 1.0])
    assert found.value == pytest.approx(4.0)
    assert (found.least, found.most, found.rounds) == (pytest.approx(2), pytest.approx(8), 2)
    # Logs ln 2 and ln 8: mean ln 4, standard error ln 2, t(1 degree) = 12.706.
    assert found.high == pytest.approx(4 * math.exp(12.706 * math.log(2)), rel=1e-9)
    assert found.low * found.high == pytest.approx(16)


def test_common_slowness_of_a_round_cancels() -> None:
    found = ratio([3.0, 30.0, 6.0], [1.0, 10.0, 2.0])
    assert found.value == pytest.approx(3.0)
    assert found.low == pytest.approx(3.0)
    assert found.high == pytest.approx(3.0)


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0])])
def test_ratio_needs_positive_pairs(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs|positive"):
        ratio(a, b)


def test_a_ratio_gives_back_the_mean_that_it_was_made_from() -> None:
    times = [2.0, 2.2, 1.9, 2.1]
    mean = log_mean(times)
    again = log_mean_of(ratio(times, [1.0] * 4))
    assert again.value == pytest.approx(mean.value)
    assert again.error == pytest.approx(mean.error)
    assert again.degrees == mean.degrees == 3


def test_noise_between_two_means_adds_their_errors_in_squares() -> None:
    # Equal errors of 4 degrees each: Welch's formula gives 8, t(8) = 2.306.
    mean = LogMean(0.0, 0.03, 4)
    assert noise_between(mean, mean) == pytest.approx(2.306 * 0.03 * math.sqrt(2))
    # One side known exactly leaves the other's own 4 degrees.
    assert noise_between(mean, LogMean(0.0, 0.0, 0)) == pytest.approx(2.776 * 0.03)
