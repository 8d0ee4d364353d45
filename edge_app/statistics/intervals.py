"""Estimates that never travel alone: a figure with its interval, and intervals of proportions.

Counts enter, `Figure`s leave. Needs the standard library only, so that reading a bundle's figures
loads no numerical library. Counts may be fractional: an image that is worth half of an independent
observation counts a half (see `observations.patient_weights`). The edge app uses `Figure` alone.
"""

import math
from dataclasses import dataclass
from typing import Literal

IntervalMethod = Literal["wilson", "clopper-pearson", "delong", "bootstrap", "fisher-z", "mover"]

_TINY = 1e-300
_FRACTION_TERMS = 20_000


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate with its confidence interval.

    Attributes:
        value: the estimate.
        low, high: ends of the interval; low <= value <= high.
        confidence: nominal coverage of the interval, in (0, 1).
        method: how the interval was made.
        n: number of observations behind the estimate, at least 1.

    Raises:
        ValueError: a number is not finite, the interval does not hold the value, or the
            confidence is not a share.
    """

    value: float
    low: float
    high: float
    confidence: float
    method: IntervalMethod
    n: int

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise ValueError(f"a figure must be finite: {self.value} [{self.low}, {self.high}]")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"[{self.low}, {self.high}] does not hold the value {self.value}")
        check_share("confidence", self.confidence)
        if self.n < 1:
            raise ValueError(f"n must be at least 1: {self.n}")

    def __str__(self) -> str:
        percent = f"{100 * self.confidence:g}%"
        return (
            f"{self.value:.3f} ({percent} CI {self.low:.3f} to {self.high:.3f}, "
            f"{self.method}, n={self.n})"
        )


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless `value` lies strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie strictly between 0 and 1: {value}")


def wilson(successes: float, n: float, confidence: float = 0.95) -> Figure:
    """Score interval of a proportion.

    Wilson EB. Probable inference, the law of succession, and statistical inference. J Am Stat
    Assoc 1927; 22:209-212. Without continuity correction, as Newcombe (Stat Med 1998; 17:857-872,
    method 3) recommends; it neither leaves [0, 1] nor collapses at 0 or n successes.

    Args:
        successes: 0 <= successes <= n.
        n: number of trials, > 0.
        confidence: two-sided coverage.

    Raises:
        ValueError: no trials, or successes outside of them.
    """
    _check_counts(successes, n)
    z = normal_quantile_two_sided(confidence)
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # In exact arithmetic the interval holds the share; rounding may miss it by one ulp at 0 and n.
    low = max(0.0, min(center - half, share))
    high = min(1.0, max(center + half, share))
    return Figure(share, low, high, confidence, "wilson", max(1, int(n)))


def binomial_upper_bound(successes: float, n: float, confidence: float) -> float:
    """Exact one-sided upper bound of a proportion: the p at which P(X <= successes) = 1-confidence.

    Solved by bisection down to neighbouring floats; the end that is returned is the safe one.
    """
    _check_counts(successes, n)
    check_share("confidence", confidence)
    if successes >= n:
        return 1.0
    low, high = successes / n, 1.0
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high
        if binomial_cdf(successes, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle


def binomial_cdf(successes: float, n: float, probability: float) -> float:
    """P(X <= successes) for X ~ Binomial(n, probability).

    Through the regularized incomplete beta function, I_{1-p}(n - k, k + 1) (NIST DLMF 8.17.5),
    whose arguments need not be whole, so that fractional counts interpolate.
    """
    _check_counts(successes, n)
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability must lie in [0, 1]: {probability}")
    if successes >= n:
        return 1.0
    return _regularized_beta(1.0 - probability, n - successes, successes + 1.0)


def normal_quantile_two_sided(confidence: float) -> float:
    """The z of a two-sided normal interval: 1.96 for 0.95."""
    from statistics import NormalDist  # loads fractions and decimal: 10 ms that a scan can spare

    check_share("confidence", confidence)
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _check_counts(successes: float, n: float) -> None:
    if not (math.isfinite(n) and n > 0):
        raise ValueError(f"a proportion needs at least one observation: n={n}")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, {n}]: {successes}")


def _regularized_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) by the continued fraction DLMF 8.17.22, on the side where it converges fast."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _regularized_beta(1.0 - x, b, a)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_front) * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Modified Lentz evaluation of the continued fraction of the incomplete beta function."""
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _FRACTION_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d)
            c = _nonzero(1.0 + term / c)
            step = c * d
            fraction *= step
        if abs(step - 1.0) < 1e-15:
            return fraction
    raise ArithmeticError(f"incomplete beta did not converge at x={x}, a={a}, b={b}")


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
