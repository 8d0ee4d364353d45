"""What a site's films look like to the model, without any truth: the distributions to compare.

Rows enter, a `Distribution` for each feature leaves: the raw score, the answer or why there is
none, each quality flag, and the outline of the lungs. A number is counted in bins that a baseline
fixes; no picture and no name of a file is kept.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_app.decision import Status
from edge_app.results.rows import LungPlace, ResultRow

# Tenths of the baseline; fewer where scores are tied.
_BINS = 10


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often a feature fell where.

    Attributes:
        edges: of a number's bins, rising, the outermost bins open; empty for a word.
        words: of a word's bins; empty for a number.
        counts: of each bin.
    """

    edges: tuple[float, ...]
    words: tuple[str, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raises ValueError where the parts contradict each other."""
        bins = len(self.words) or len(self.edges) + 1
        if len(self.counts) != bins or (self.words and self.edges):
            raise ValueError(f"{len(self.counts)} counts for {bins} bins")
        if any(count < 0 for count in self.counts):
            raise ValueError("a count must not be negative")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must rise")

    @property
    def n(self) -> int:
        """How many rows have the feature."""
        return sum(self.counts)

    def count(self, values: Sequence[float | str]) -> "Distribution":
        """Other values in the same bins; words that are new get bins of their own."""
        if not self.words:
            index = np.searchsorted(self.edges, np.array(values, dtype=np.float64), side="right")
            counts = np.bincount(index, minlength=len(self.counts))
            return Distribution(self.edges, (), tuple(map(int, counts)))
        found = Counter(map(str, values))
        words = (*self.words, *sorted(set(found) - set(self.words)))
        return Distribution((), words, tuple(found[word] for word in words))


@dataclass(frozen=True, slots=True)
class Baseline:
    """The distributions of a site's films at the time of its calibration.

    Attributes:
        n: rows.
        features: by name: `raw_score`, `answer`, `flag NAME`, `lungs NAME`.
    """

    n: int
    features: Mapping[str, Distribution]


def baseline_of(rows: Iterable[ResultRow]) -> Baseline:
    """The baseline of these rows, in bins of equal size as far as values are not tied."""
    rows = list(rows)
    return Baseline(
        n=len(rows),
        features={name: distribution_of(values) for name, values in values_of(rows).items()},
    )


def values_of(rows: Iterable[ResultRow]) -> dict[str, list[float | str]]:
    """The values of each feature, of the rows that have it."""
    values: dict[str, list[float | str]] = {}
    for row in rows:
        for name, value in _features(row):
            values.setdefault(name, []).append(value)
    return values


def _features(row: ResultRow) -> Iterable[tuple[str, float | str]]:
    answer = "scored" if row.status is Status.SCORED else str(row.reason)
    yield "answer", answer
    if row.raw_score is not None:
        yield "raw_score", row.raw_score
    for name, is_set in row.quality.items():
        yield f"flag {name}", "set" if is_set else "not set"
    if row.lungs is not None:
        yield from _geometry(row.lungs)


def _geometry(lungs: LungPlace) -> Iterable[tuple[str, float | str]]:
    yield "lungs width", lungs.right - lungs.left
    yield "lungs height", lungs.bottom - lungs.top
    yield "lungs across", (lungs.left + lungs.right) / 2
    yield "lungs down", (lungs.top + lungs.bottom) / 2
    bits = int.from_bytes(base64.b64decode(lungs.mask)).bit_count()
    yield "lungs area", bits / (lungs.rows * lungs.columns)
    yield "lungs certainty", lungs.certainty
    yield "lungs turned", str(lungs.quarter_turns)


def distribution_of(values: Sequence[float | str]) -> Distribution:
    """The distribution of these values, one at least, in bins of their own."""
    if isinstance(values[0], str):
        words = tuple(sorted(set(map(str, values))))
        return Distribution((), words, (0,) * len(words)).count(values)
    numbers = np.array(values, dtype=np.float64)
    inner = np.quantile(numbers, np.arange(1, _BINS) / _BINS)
    edges = tuple(float(edge) for edge in np.unique(inner))
    return Distribution(edges, (), (0,) * (len(edges) + 1)).count(values)
