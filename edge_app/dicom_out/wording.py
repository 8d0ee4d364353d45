"""What an answer says in words: the same on the picture and in the report."""

from edge_app.decision import show_probability
from edge_app.report.words import NAMES, kind_of, priority, reason_words
from edge_app.results.rows import ResultRow

CAUTION = "RESEARCH USE / NOT A DIAGNOSIS"


def decision_words(row: ResultRow) -> str:
    """The decision for people."""
    return NAMES[kind_of(row)]


def series_description(row: ResultRow) -> str:
    """(0008,103E): what lists and routing rules see; at most 64 characters."""
    return f"Pneumoscope P{priority(row)} {decision_words(row)} ({CAUTION.partition(' /')[0]})"


def sentences(row: ResultRow) -> list[str]:
    """An answer, line by line, without the caution."""
    lines = [decision_words(row)]
    if row.reason is not None:
        lines += [reason_words(row.reason), row.message or ""]
    if row.probability is not None:
        lines.append(f"probability {show_probability(row.probability)}")
    lines.append(f"operating point {row.operating_point}, model {row.model_id}")
    return [line for line in lines if line]
