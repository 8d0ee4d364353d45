"""A stored score read against other cut-offs: rows in, rows out, no picture is looked at."""

from collections.abc import Callable
from dataclasses import replace

from edge_app.decision import Decision
from edge_app.results.rows import CutOffs, ResultRow, half_refused

Probability = Callable[[float], float]


def rescored(row: ResultRow, point: CutOffs, probability: Probability | None = None) -> ResultRow:
    """The row as a run with these cut-offs would have it; a row without a score keeps its answer.

    A film with one lung is refused where it is not suspected, as the screener refuses it: it has no
    score then, so that other cut-offs do not bring it back.

    Args:
        row: of a run.
        point: the cut-offs.
        probability: of a raw score; None keeps the row's own.
    """
    if row.raw_score is None:
        return replace(row, operating_point=point.name)
    decision = point.decide(row.raw_score)
    if row.is_half and decision is not Decision.PNEUMONIA_SUSPECTED:
        return replace(half_refused(row), operating_point=point.name)
    return replace(
        row,
        operating_point=point.name,
        decision=decision,
        probability=row.probability if probability is None else probability(row.raw_score),
    )
