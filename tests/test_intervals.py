"""Intervals of proportions against scipy 1.17's numbers, and the figure's own rules."""

import itertools
import math
import subprocess
import sys

import pytest

from edge_app.statistics.intervals import (
    Figure,
    binomial_cdf,
    binomial_upper_bound,
    normal_quantile_two_sided,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "confidence", "low", "high"),
    [  # scipy.stats.binomtest(successes, n).proportion_ci(confidence, "wilson")
        (9, 10, 0.95, 0.5958499732047615, 0.9821237869049271),
        (380, 390, 0.95, 0.9534504982484792, 0.9860138260710473),
        (0, 20, 0.99, 0.0, 0.2491054010987534),
    ],
)
def test_wilson_matches_scipy(
    successes: int, n: int, confidence: float, low: float, high: float
) -> None:
    figure = wilson(successes, n, confidence)
    assert figure.value == successes / n
    assert figure.low == pytest.approx(low, rel=1e-12, abs=1e-15)
    assert figure.high == pytest.approx(high, rel=1e-12)
    assert (figure.confidence, figure.method, figure.n) == (confidence, "wilson", n)


def test_wilson_of_two_thirds_by_hand() -> None:
    # z = 1: center (2/3 + 1/6) / (4/3) = 5/8, half (3/4) sqrt(2/27 + 1/36) = sqrt(11/108) 3/4
    figure = wilson(2, 3, confidence=math.erf(1 / math.sqrt(2)))
    assert figure.low == pytest.approx(5 / 8 - 0.75 * math.sqrt(11 / 108), abs=1e-12)
    assert figure.high == pytest.approx(5 / 8 + 0.75 * math.sqrt(11 / 108), abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "n", "high"),
    [  # scipy.stats.binomtest(successes, n).proportion_ci(0.95, "exact")
        (9, 10, 0.9974714214555375),
        (3, 250, 0.03466661457477235),
    ],
)
def test_upper_bound_is_that_of_clopper_and_pearson(successes: int, n: int, high: float) -> None:
    assert binomial_upper_bound(successes, n, 0.975) == pytest.approx(high, rel=1e-10)


@pytest.mark.parametrize(
    ("successes", "n", "probability", "expected"),
    [  # scipy.stats.binom.cdf
        (3, 20, 0.1, 0.8670466765656649),
        (0, 300, 0.02, 0.0023325056679514245),
        (480, 500, 0.97, 0.12137950251481194),
        (50_000, 100_000, 0.5, 0.5012615631070978),
        (10, 100_000, 0.0003, 2.230313085323405e-05),
        (99_990, 100_000, 0.9999, 0.5420765413843014),
    ],
)
def test_binomial_cdf_matches_scipy(
    successes: int, n: int, probability: float, expected: float
) -> None:
    assert binomial_cdf(successes, n, probability) == pytest.approx(expected, rel=1e-9)


def test_binomial_cdf_is_the_sum_of_its_terms() -> None:
    for n in range(1, 25):
        for probability in (0.0, 0.03, 0.5, 0.81, 1.0):
            terms = [
                math.comb(n, k) * probability**k * (1 - probability) ** (n - k)
                for k in range(n + 1)
            ]
            for k in range(n + 1):
                total = math.fsum(terms[: k + 1])
                assert binomial_cdf(k, n, probability) == pytest.approx(total, abs=1e-13)


def test_binomial_cdf_grows_between_whole_counts() -> None:
    steps = [binomial_cdf(k / 4, 10, 0.3) for k in range(41)]
    assert all(a < b for a, b in itertools.pairwise(steps))


def test_upper_bound_without_errors_is_the_exact_root() -> None:
    # (1 - p)^n = 0.05; the "rule of three" approximates it by 3 / n.
    assert binomial_upper_bound(0, 100, 0.95) == pytest.approx(1 - 0.05**0.01, rel=1e-12)
    assert binomial_upper_bound(7, 7, 0.95) == 1.0


def test_upper_bound_errs_on_the_safe_side() -> None:
    for successes in range(30):
        bound = binomial_upper_bound(successes, 30, 0.975)
        assert binomial_cdf(successes, 30, bound) <= 1 - 0.975


def test_two_sided_normal_quantile() -> None:
    assert normal_quantile_two_sided(0.95) == pytest.approx(1.959963984540054, abs=1e-12)


@pytest.mark.parametrize("successes_and_n", [(0, 0), (-1, 5), (6, 5), (1, math.nan), (math.nan, 5)])
def test_counts_out_of_range_are_refused(successes_and_n: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"at least one observation|must lie in"):
        wilson(*successes_and_n)
    with pytest.raises(ValueError, match=r"at least one observation|must lie in"):
        binomial_upper_bound(*successes_and_n, 0.95)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_is_a_share(confidence: float) -> None:
    for interval in (wilson, binomial_upper_bound):
        with pytest.raises(ValueError, match="confidence must lie strictly between 0 and 1"):
            interval(3, 5, confidence)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": 0.6}, "does not hold"),
        ({"high": 0.4}, "does not hold"),
        ({"value": math.nan}, "finite"),
        ({"high": math.inf}, "finite"),
        ({"confidence": 1.0}, "confidence"),
        ({"n": 0}, "n must be at least 1"),
    ],
)
def test_an_impossible_figure_is_refused(change: dict[str, float], message: str) -> None:
    fields = {"value": 0.5, "low": 0.4, "high": 0.6, "confidence": 0.95, "method": "wilson", "n": 9}
    with pytest.raises(ValueError, match=message):
        Figure(**{**fields, **change})  # type: ignore[arg-type]


def test_a_figure_reads_as_a_sentence() -> None:
    figure = Figure(0.9541, 0.931, 0.9702, 0.95, "wilson", 480)
    assert str(figure) == "0.954 (95% CI 0.931 to 0.970, wilson, n=480)"


def test_figures_need_no_numerical_library() -> None:
    code = "import sys, edge_app.statistics.intervals; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
