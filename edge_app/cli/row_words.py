"""A row of the results as words on one line, for every command that prints them."""

import os
from typing import TYPE_CHECKING

from edge_app.cli.streams import one_line

if TYPE_CHECKING:
    from edge_app.results.rows import ResultRow


def answer_of(row: "ResultRow") -> str:
    """Name, decision, and the probability or why there is none; never the raw score."""
    from edge_app.decision import show_probability

    name = one_line(row.file)
    if row.probability is None:
        # The message begins with the file's name, which stands there already.
        message = (row.message or "").removeprefix(f"{os.path.basename(row.file)}: ")
        return f"{name}: {row.decision} ({row.reason}): {one_line(message)}"
    return f"{name}: {row.decision}, probability {show_probability(row.probability)}"
