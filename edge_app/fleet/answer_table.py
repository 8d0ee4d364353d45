"""The lines of a pack as an Arrow table, every value checked: a signature vouches for no sense.

A key that a pack's line must not have, one that it lacks, a word that is none, a day that is none,
a score that is not finite or that contradicts the status refuse the whole pack.
"""

from typing import TYPE_CHECKING

import numpy as np

from edge_app.decision import Decision, Reason, Status
from edge_app.errors import PackError, RuntimeUnavailableError
from edge_app.fleet.answers import PackedAnswer
from edge_app.record.studies import Basis, Label
from edge_app.results.arrow_schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

_WORDS = {
    "status": Status,
    "decision": Decision,
    "reason": Reason,
    "label": Label,
    "basis": Basis,
}
_OF_SCORED = ("raw_score", "probability")


def read_answers(lines: bytes) -> "pa.Table":
    """The table of a pack's lines; `answered_on` is a date.

    Raises:
        PackError: a line is none of a pack's.
        RuntimeUnavailableError: pyarrow is missing.
    """
    try:
        import pyarrow as pa
        from pyarrow import json
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"packs are merged by a package ({error.name}): pip install 'pneumoscope[fleet]'"
        ) from error
    schema = arrow_schema(PackedAnswer)
    # Which key is missing says `_check`; the parser would not.
    loose = pa.schema([field.with_nullable(True) for field in schema])
    try:
        if lines:
            parse = json.ParseOptions(explicit_schema=loose, unexpected_field_behavior="error")
            read = json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
            table = json.read_json(pa.BufferReader(lines), read, parse).select(schema.names)
        else:
            table = loose.empty_table()
        _check(table, schema)
        return _with_days(table)
    except (pa.ArrowException, KeyError) as error:
        raise PackError(f"a line of its answers is of another form: {first_line(error)}") from error


def latest(table: "pa.Table") -> "pa.Table":
    """Of the lines of one answer the last, in the order of the table."""
    names = table["answer"].to_numpy()
    _, from_the_end = np.unique(names[::-1], return_index=True)
    if from_the_end.size == names.size:
        return table
    return table.take(np.sort(names.size - 1 - from_the_end))


def first_line(error: Exception) -> str:
    """What a library says, without the lines behind it."""
    return str(error).partition("\n")[0]


def _check(table: "pa.Table", schema: "pa.Schema") -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise PackError(f"{field.name}: missing in some of its answers")
    for name, words in _WORDS.items():
        known = pa.array([word.value for word in words])
        column = table[name].drop_null()
        if not pc.all(pc.is_in(column, known), min_count=0).as_py():
            raise PackError(f"{name}: a word that this version does not know")
    is_scored = pc.equal(table["status"], Status.SCORED.value)
    for name in _OF_SCORED:
        if not is_scored.equals(table[name].is_valid()):
            raise PackError(f"{name}: exactly the scored answers have one")
        if not pc.all(pc.is_finite(table[name].drop_null()), min_count=0).as_py():
            raise PackError(f"{name}: not a finite number")
    if not is_scored.equals(table["reason"].is_null()):
        raise PackError("reason: exactly the answers that are not scored have one")


def _with_days(table: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    place = table.schema.get_field_index("answered_on")
    return table.set_column(place, "answered_on", table["answered_on"].cast(pa.date32()))
