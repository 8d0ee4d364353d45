"""Has a distribution changed? The population stability index, and what chance alone makes of it.

Counts by bin of two samples enter, a `Comparison` leaves. The index is biased: of two samples of
one population it is about (bins - 1)(1 / n + 1 / m) instead of 0 (Yurdakul B, Naranjo J.
Statistical properties of the population stability index. J Risk Model Valid 2020; 14:89-100), so 30
films may give 0.4 where nothing has changed, and fixed rules of thumb cry wolf on small samples.
Here it is held against its own distribution under no change, drawn by dealing the pooled films out
again, which holds for samples of any size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

# Of a bin, so that an empty one does not make the index infinite (Jeffreys' prior).
_HALF = 0.5
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Comparison:
    """A sample against a baseline.

    Attributes:
        index: the population stability index.
        by_chance: its mean where nothing has changed.
        noise: what it stays below in 95% of such cases.
        p_value: of no change: share of deals with at least this index.
        n_baseline, n: sizes.
        bins: in which either has a case.
    """

    index: float
    by_chance: float
    noise: float
    p_value: float
    n_baseline: int
    n: int
    bins: int

    @property
    def excess(self) -> float:
        """The index without what chance puts in."""
        return max(0.0, self.index - self.by_chance)

    def cases_for_noise(self, noise: float) -> int | None:
        """About how many cases bring the noise down to this; None where the baseline is too small.

        In large samples index / (1 / n + 1 / m) is chi-square with bins - 1 degrees of freedom
        (Yurdakul and Naranjo 2020).
        """
        left = noise / _chi_square_quantile(max(1, self.bins - 1)) - 1 / self.n_baseline
        return math.ceil(1 / left) if left > 0 else None


def stability_index(baseline: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """The population stability index, sum of (p - q) ln(p / q) over bins.

    Siddiqi N. Credit Risk Scorecards, 2006, chapter 9; the symmetric divergence of Kullback S,
    Leibler RA. Ann Math Stat 1951; 22:79-86. Half a case is added to each bin.

    Args:
        baseline: (k,) counts, k >= 1.
        counts: (k,) counts of the other sample.

    Raises:
        ValueError: other shapes, or a sample without a case.
    """
    first, second = _check(baseline), _check(counts)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} bins against {second.size}")
    return float(_indices(first[np.newaxis], second[np.newaxis])[0])


def compare(
    baseline: npt.ArrayLike, counts: npt.ArrayLike, deals: int = 1999, seed: int = 0
) -> Comparison:
    """Hold a sample against a baseline; arguments and errors as of `stability_index`.

    Args:
        baseline: (k,) counts.
        counts: (k,) counts.
        deals: how often the pooled cases are dealt out again; the smallest p-value is
            1 / (deals + 1) (Phipson B, Smyth GK. Stat Appl Genet Mol Biol 2010; 9:39).
        seed: of numpy's PCG64; the same seed gives the same figures.
    """
    index = stability_index(baseline, counts)
    first, second = _check(baseline), _check(counts)
    pooled, n = first + second, int(second.sum())
    dealt = np.random.default_rng(seed).multivariate_hypergeometric(pooled, n, size=deals)
    indices = _indices(pooled - dealt, dealt)
    at_least = int(np.sum(indices >= index - 1e-12))
    return Comparison(
        index=index,
        by_chance=float(indices.mean()),
        noise=float(np.quantile(indices, _CONFIDENCE)),
        p_value=(at_least + 1) / (deals + 1),
        n_baseline=int(first.sum()),
        n=n,
        bins=int(np.count_nonzero(pooled)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted so that all of them together err as one may.

    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979; 6:65-70.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted so that of those that are called at a level that share
    at most is called in error, in the mean.

    Benjamini Y, Hochberg Y. Controlling the false discovery rate. J R Stat Soc B 1995; 57:289-300.
    """
    adjusted = [0.0] * len(p_values)
    smallest, n = 1.0, len(p_values)
    falling = sorted(range(n), key=lambda i: p_values[i], reverse=True)
    for rank, place in zip(range(n, 0, -1), falling, strict=True):
        smallest = min(smallest, p_values[place] * n / rank)
        adjusted[place] = smallest
    return adjusted


def _indices(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(deals,) indices of counts (deals, k)."""
    p, q = (
        (counts + _HALF) / (counts.sum(axis=1, keepdims=True) + _HALF * counts.shape[1])
        for counts in (first, second)
    )
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=1), dtype=np.float64)


def _chi_square_quantile(degrees: int) -> float:
    """Of 95% (Wilson EB, Hilferty MM. Proc Natl Acad Sci 1931; 17:684-688): within 3% of exact."""
    z, ninth = NormalDist().inv_cdf(_CONFIDENCE), 2 / (9 * degrees)
    return float(degrees * (1 - ninth + z * math.sqrt(ninth)) ** 3)


def _check(counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    values = np.asarray(counts)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"counts must have one dimension, not shape {values.shape}")
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0:
        raise ValueError("counts must be whole numbers, not negative")
    if values.sum() == 0:
        raise ValueError("a sample without a case has no distribution")
    return values.astype(np.int64)
