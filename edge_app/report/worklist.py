"""What waits for a person, worst first: by decision, then by how long it has waited."""

from collections.abc import Iterable, Iterator

from edge_app.report.words import priority
from edge_app.results.rows import ResultRow

# The last one: nothing was seen.
_CLEAR = 4


def worklist(rows: Iterable[ResultRow], *, with_clear: bool = False) -> list[ResultRow]:
    """Rows in the order in which they are to be looked at.

    Args:
        rows: of a run, in their order; of several for one file the last holds.
        with_clear: whether those in which nothing was seen stand at the end.
    """
    last = {row.file: row for row in rows}
    waiting: Iterator[ResultRow] = (
        row for row in last.values() if with_clear or priority(row) < _CLEAR
    )
    return sorted(waiting, key=lambda row: (priority(row), row.scored_at, row.file))
