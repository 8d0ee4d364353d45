"""A stored score read against other cut-offs: rows in, rows out, no picture is looked at."""

from collections.abc import Callable
from dataclasses import replace

from edge_app.results.rows import CutOffs, ResultRow

Probability = Callable[[float], float]


def rescored(row: ResultRow, point: CutOffs, probability: Probability | None = None) -> ResultRow:
    """The row as a run with these cut-offs would have it; a row without a score keeps its answer.

    Args:
        row: of a run.
        point: the cut-offs.
        probability: of a raw score; None keeps the row's own.
    """
    if row.raw_score is None:
        return replace(row, operating_point=point.name)
    return replace(
        row,
        operating_point=point.name,
        decision=point.decide(row.raw_score),
        probability=row.probability if probability is None else probability(row.raw_score),
    )
