"""The schema of a row in Parquet: what was written comes back, and pyarrow holds the nulls."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_app.files.codec import decode, encode
from edge_app.results.arrow_schema import arrow_schema
from edge_app.results.rows import ResultRow
from tests.site_runs import refused, scored

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'pneumoscope[fleet]'")
import pyarrow.parquet as pq


def test_rows_come_back_from_parquet_as_they_were(tmp_path: Path) -> None:
    rows = [scored("a.png", 0.25), refused("b.png")]
    table = pa.Table.from_pylist([encode(row) for row in rows], schema=arrow_schema(ResultRow))
    pq.write_table(table, tmp_path / "rows.parquet")
    back = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    for row in back:
        row["quality"], row["measures"] = dict(row["quality"]), dict(row["measures"])
    assert [decode(ResultRow, row) for row in back] == rows


def test_exactly_what_may_be_null_is_nullable() -> None:
    schema = arrow_schema(ResultRow)
    assert schema.names == [field.name for field in dataclasses.fields(ResultRow)]
    assert {field.name for field in schema if not field.nullable} == {
        "file",
        "status",
        "decision",
        "operating_point",
        "quality",
        "measures",
        "model_id",
        "model_sha256",
        "runtime",
        "total_ms",
        "scored_at",
    }


def test_a_field_that_no_row_has_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: complex

    with pytest.raises(TypeError, match="no column"):
        arrow_schema(Odd)
