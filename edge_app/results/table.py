"""Result rows as the table `results.csv`; no text of a row can act as a formula there."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter

from edge_app.results.rows import ResultRow, with_staleness

# A spreadsheet runs a cell that begins so as a formula (OWASP, CSV injection); the wide forms are
# what Excel takes for them in Asian locales, and some skip spaces in front. A cell may also begin
# within ours: where the system's list separator is a semicolon (most of Europe), Excel splits lines
# there, and quotes do not help, since a quote that does not begin a cell is text to it; one that
# does is dropped. LibreOffice does the same for what is ticked in its dialogue. So a text is made
# harmless wherever a formula could begin, whatever the separator.
_FORMULA = re.compile('([;,\t\r\n])(?=[ "]*[=+\\-@\t\r\n＝＋－＠])')

# What people look for comes first, then whose film it is, then where the answer comes from; the
# lungs' mask is no cell.
_FIRST = ("file", "decision", "probability", "reason", "message", "quality", "sop_instance_uid")
_KEYS = (*_FIRST, *(f.name for f in fields(ResultRow) if f.name not in (*_FIRST, "lungs")))
COLUMNS = (*_KEYS, "stale", "model_lacks", "model_signed_by")
_PROBABILITY = COLUMNS.index("probability")


class _Echo:
    """A file that gives back what is written, so that one writer serves all rows."""

    @staticmethod
    def write(text: str) -> str:
        return text


def csv_table(
    rows: Iterable[ResultRow], stale: Mapping[str, int], signed_by: str = "", lacks: str = ""
) -> Iterator[str]:
    """Lines of the table, the column names first.

    Rows of content that was overwritten since say so in `stale`, which is as of `with_staleness`.
    `signed_by` says whose key vouches for the model, `lacks` what a research model lacks: a table
    is passed on without its header.

    Opens as it is in Excel and LibreOffice: the first line begins with a byte order mark, which
    tells them UTF-8, and no text of a row can act as a formula.
    """
    values_of = attrgetter(*_KEYS)
    to_line = csv.writer(_Echo()).writerow
    yield f"\ufeff{to_line(COLUMNS)}"
    for row, is_stale in with_staleness(rows, stale):
        mark = "stale" if is_stale else ""
        yield str(to_line([*_csv_cells(values_of(row)), mark, disarm_formula(lacks), signed_by]))


def _csv_cells(values: Iterable[object]) -> list[object]:
    """A row's cells: of flags the names of those that are set, of a number four digits.

    Measures stand as name=number, one after another.
    """
    cells = [
        _mapping(value)
        if isinstance(value, Mapping)
        else round(value, 4)
        if isinstance(value, float)
        else value
        for value in values
    ]
    if cells[_PROBABILITY] in (0.0, 1.0):  # of rounding alone: nothing is certain
        cells[_PROBABILITY] = 0.9999 if cells[_PROBABILITY] else 0.0001
    # One look at all texts, since hardly ever one of them needs anything.
    if _FORMULA.search(";" + ";".join([cell for cell in cells if isinstance(cell, str)])):
        return [disarm_formula(cell) if isinstance(cell, str) else cell for cell in cells]
    return cells


def _mapping(values: Mapping[str, bool | float]) -> str:
    return " ".join(
        name if value is True else f"{name}={value:.4g}"
        for name, value in sorted(values.items())
        if value is not False
    )


def disarm_formula(text: str) -> str:
    """Put an apostrophe wherever a spreadsheet could take what follows for a formula."""
    return _FORMULA.sub(r"\1'", ";" + text)[1:]
