"""Times become figures: percentiles of latencies, ratios of interleaved passes.

Seconds or microseconds enter, `Percentiles` and `Ratio`s leave. Standard library only.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Two-sided 95% quantiles of Student's t by degrees of freedom; above, the normal one is near.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
_T95_BEYOND = 2.05


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of single-stream latencies, in milliseconds.

    Attributes:
        n: runs, after the warm-up.
        p50, p90, p99: the smallest latency that at least so many of 100 runs do not exceed.
        max: the slowest run.
    """

    n: int
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times `a` is `b`, from passes that ran interleaved.

    Attributes:
        value: geometric mean of the rounds' ratios.
        low, high: 95% interval of it (Student's t on the logarithms, rounds independent); the
            value itself where there was one round only.
        least, most: of the rounds.
        rounds: pairs of passes.
    """

    value: float
    low: float
    high: float
    least: float
    most: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True)
class LogMean:
    """Mean of logarithms with its standard error; the error is 0 where one value was all.

    Attributes:
        value: mean of the natural logarithms.
        error: standard error of that mean.
        degrees: of freedom behind the error.
    """

    value: float
    error: float
    degrees: int


def percentiles(latencies_us: Sequence[float]) -> Percentiles:
    """Summarize latencies in microseconds.

    Raises:
        ValueError: there are none.
    """
    if not latencies_us:
        raise ValueError("percentiles need at least one run")
    ordered = sorted(latencies_us)
    return Percentiles(
        n=len(ordered),
        p50=_nearest_rank(ordered, 0.50) / 1000,
        p90=_nearest_rank(ordered, 0.90) / 1000,
        p99=_nearest_rank(ordered, 0.99) / 1000,
        max=ordered[-1] / 1000,
    )


def ratio(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """Ratio a / b of paired passes: a[i] and b[i] ran in the same round.

    Raises:
        ValueError: no pair, unequal numbers, or a time that is not positive.
    """
    if not a or len(a) != len(b):
        raise ValueError(f"a ratio needs pairs of passes, not {len(a)} and {len(b)}")
    if min(*a, *b) <= 0:
        raise ValueError("a time must be positive")
    quotients = [x / y for x, y in zip(a, b, strict=True)]
    mean = log_mean(quotients)
    half = t95(max(1, mean.degrees)) * mean.error
    return Ratio(
        value=math.exp(mean.value),
        low=math.exp(mean.value - half),
        high=math.exp(mean.value + half),
        least=min(quotients),
        most=max(quotients),
        rounds=len(quotients),
    )


def log_mean(values: Sequence[float]) -> LogMean:
    """Of independent positive values.

    Raises:
        ValueError: there are none, or one is not positive.
    """
    logs = [math.log(value) for value in values]
    if not logs:
        raise ValueError("a mean needs at least one value")
    spread = statistics.stdev(logs) if len(logs) > 1 else 0.0
    return LogMean(statistics.fmean(logs), spread / math.sqrt(len(logs)), len(logs) - 1)


def log_mean_of(found: Ratio) -> LogMean:
    """What a `Ratio`'s interval was made from."""
    degrees = max(0, found.rounds - 1)
    half = math.log(found.high / found.low) / 2
    return LogMean(math.log(found.value), half / t95(max(1, degrees)), degrees)


def noise_between(a: LogMean, b: LogMean) -> float:
    """How far two such means may lie apart by chance, 95%: t * sqrt(se1^2 + se2^2).

    Degrees of freedom by Welch BL (Biometrika 1947; 34:28-35) and Satterthwaite, rounded down.
    """
    parts = [(mean.error**2, mean.degrees) for mean in (a, b) if mean.error > 0]
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0
    degrees = variance**2 / sum(part**2 / max(1, n) for part, n in parts)
    return t95(max(1, int(degrees + 1e-9))) * math.sqrt(variance)


def t95(degrees: int) -> float:
    """Two-sided 95% quantile of Student's t."""
    return _T95[degrees - 1] if degrees <= len(_T95) else _T95_BEYOND


def _nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    # 0.9 * 10 is 9.000000000000002 in some orders of rounding: the guard keeps rank 9.
    return ordered[max(1, math.ceil(share * len(ordered) - 1e-9)) - 1]
