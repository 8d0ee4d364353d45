"""Results as Parquet: the same rows, back byte for byte, and no damage passes unnoticed."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.cli import main
from edge_app.decision import Decision, Reason, Status
from edge_app.files.codec import compact_json
from edge_app.results.parquet import read_parquet, write_parquet, write_shards
from edge_app.results.rows import LungPlace, ResultRow, encode_row, read_results
from edge_app.results.validate import validate_results
from tests.conftest import REPOSITORY
from tests.test_results import FAILED, HEADER, SCORED

pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install '.[parquet]'")

LUNGS = LungPlace(0.1, 0.05, 0.95, 0.9, 0.875, 1, 2, 4, "8A==", 2)
finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]))
times = st.none() | st.floats(0, 1e9)


@st.composite
def rows(draw: st.DrawFn) -> ResultRow:
    row = dataclasses.replace(
        draw(st.sampled_from([SCORED, FAILED])),
        file=draw(text),
        sha256=draw(st.none() | text),
        sop_instance_uid=draw(st.none() | text),
        quality=draw(st.dictionaries(text, st.booleans())),
        measures=draw(st.dictionaries(text, st.floats(-1e6, 1e6))),
        lungs=draw(st.sampled_from([None, LUNGS])),
        decode_ms=draw(times),
        total_ms=draw(st.floats(0, 1e9)),
    )
    if row.status is Status.SCORED:
        return dataclasses.replace(row, raw_score=draw(finite), probability=draw(st.floats(0, 1)))
    return dataclasses.replace(row, reason=draw(st.sampled_from(Reason)), message=draw(text))


def numbered(count: int) -> list[ResultRow]:
    return [dataclasses.replace(SCORED, file=f"{i:05}.png", lungs=LUNGS) for i in range(count)]


def write_lines(path: Path, rows: Sequence[ResultRow]) -> Path:
    head = compact_json(HEADER).encode("utf-8") + b"\n"
    path.write_bytes(head + b"".join(map(encode_row, rows)))
    return path


@settings(deadline=None, max_examples=40)
@given(st.lists(rows(), max_size=5))
def test_any_rows_come_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, rows: list[ResultRow]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    lines, columns, back = (folder / n for n in ("a.jsonl", "a.parquet", "b.jsonl"))
    write_lines(lines, rows)
    assert main(["convert", str(lines), str(columns)]) == 0
    assert main(["convert", str(columns), str(back)]) == 0
    assert back.read_bytes() == lines.read_bytes()


def test_columns_have_types_that_other_tools_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", HEADER, [dataclasses.replace(SCORED, lungs=LUNGS)])
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column_names == list(ResultRow.__dataclass_fields__)
    (row,) = table.to_pylist()
    assert (row["decision"], row["raw_score"]) == ("pneumonia_suspected", 1.5)
    assert dict(row["quality"]) == {"age_unknown": True, "enlarged": False}
    assert (row["lungs"]["right"], row["lungs"]["quarter_turns"]) == (0.95, 1)
    note = json.loads(pq.read_metadata(tmp_path / "a.parquet").metadata[b"pneumoscope"])
    assert note["header"]["model_id"] == "m"


def test_shards_hold_every_row_once_and_old_ones_go(tmp_path: Path) -> None:
    folder, rows = tmp_path / "results.parquet", numbered(25)
    assert write_shards(folder, HEADER, rows, 4) == 7
    assert write_shards(folder, HEADER, rows, 10) == 3
    assert sorted(path.name for path in folder.iterdir()) == [
        f"part-0000{i}.parquet" for i in range(3)
    ]
    assert list(read_parquet(folder)[1]) == rows
    assert validate_results(folder).problems == ()
    assert write_shards(tmp_path / "none.parquet", HEADER, [], 10) == 1
    assert list(read_parquet(tmp_path / "none.parquet")[1]) == []


def test_a_missing_shard_is_noticed_wherever_it_was(tmp_path: Path) -> None:
    for missing, words in (
        (0, "it is shard 1 and begins with row 11 of the run, but shard 0 and row 1 are next"),
        (1, "it is shard 2 and begins with row 21 of the run, but shard 1 and row 11 are next"),
        (2, "the last shard is missing"),
    ):
        folder = tmp_path / f"{missing}.parquet"
        write_shards(folder, HEADER, numbered(25), 10)
        (folder / f"part-0000{missing}.parquet").unlink()
        (problem,) = validate_results(folder).problems
        assert words in problem


def test_damage_is_a_problem_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, HEADER, numbered(300))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert main(["validate", str(path)]) == 1
    assert "a.parquet: no Parquet file, damaged or cut off" in capsys.readouterr().out
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    assert main(["validate", str(path)]) == 1
    assert "a page cannot be read" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "b.jsonl")]) == 2
    assert not (tmp_path / "b.jsonl").exists()


def test_rows_that_contradict_themselves_are_found_in_either_form(tmp_path: Path) -> None:
    wrong = dataclasses.replace(SCORED, decision=Decision.NO_PNEUMONIA_SEEN)
    twice = [SCORED, SCORED, dataclasses.replace(wrong, file="b.png")]
    write_parquet(tmp_path / "a.parquet", HEADER, twice)
    write_lines(tmp_path / "a.jsonl", twice)
    found = [validate_results(tmp_path / name) for name in ("a.parquet", "a.jsonl")]
    assert [found[0].rows, found[1].rows] == [3, 3]
    assert [p.partition(": ")[2] for p in found[0].problems] == [
        p.partition(": ")[2] for p in found[1].problems
    ]
    assert found[0].problems[0].startswith("a.parquet row 2: 'a.png' has a row already")


def test_a_foreign_table_is_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert main(["convert", str(tmp_path / "a.parquet"), str(tmp_path / "b.jsonl")]) == 2
    assert "no results of Pneumoscope" in capsys.readouterr().err


def test_conversion_refuses_what_it_cannot_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = write_lines(tmp_path / "a.jsonl", numbered(3))
    write_parquet(tmp_path / "a.parquet", HEADER, numbered(3))
    for source, target, code, words in (
        (lines, "b.jsonl", 2, "must end in .parquet"),
        (tmp_path / "a.parquet", "b.parquet", 2, "must end in .jsonl"),
        (lines, "a.parquet", 5, "exists already"),
        (tmp_path / "none.jsonl", "b.parquet", 4, "No such file"),
        (tmp_path / "none.parquet", "b.jsonl", 4, "no such file"),
    ):
        assert main(["convert", str(source), str(tmp_path / target)]) == code
        assert words in capsys.readouterr().err
    lines.write_bytes(lines.read_bytes()[:-9])
    assert main(["convert", str(lines), str(tmp_path / "c.parquet")]) == 2
    assert "line 4: torn" in capsys.readouterr().err
    assert main(["convert", str(lines), str(tmp_path / "d.parquet"), "--rows-a-shard", "1"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "a.parquet"]


def test_a_folder_of_a_run_becomes_shards(tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "results.jsonl", numbered(5))
    target = tmp_path / "shards.parquet"
    assert main(["convert", str(tmp_path), str(target), "--rows-a-shard", "2"]) == 0
    assert len(list(target.iterdir())) == 3
    assert main(["convert", str(target), str(tmp_path / "b.jsonl")]) == 0
    assert (tmp_path / "b.jsonl").read_bytes() == lines.read_bytes()
    assert [row.file for row in read_results(lines)[1]] == [row.file for row in numbered(5)]


def questions() -> list[str]:
    """The queries of docs/archive.md, each with the comment above it."""
    page = (REPOSITORY / "docs" / "archive.md").read_text(encoding="utf-8")
    block = page.partition("```sql\n")[2].partition("```")[0]
    return [query.strip() for query in block.split(";") if query.strip()]


def test_duckdb_answers_the_questions_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb: pip install duckdb")
    clear = dataclasses.replace(
        SCORED, file="b/c.png", decision=Decision.NO_PNEUMONIA_SEEN, raw_score=-2.0, lungs=LUNGS
    )
    write_parquet(
        tmp_path / "results.parquet",
        HEADER,
        [SCORED, clear, dataclasses.replace(FAILED, file="z.png")],
    )
    monkeypatch.chdir(tmp_path)
    found = {query.partition("\n")[0]: duckdb.sql(query).fetchall() for query in questions()}
    assert len(found) == 9
    assert sorted(found["-- How many films have which answer?"]) == [
        ("no_pneumonia_seen", 1),
        ("not_assessable", 1),
        ("pneumonia_suspected", 1),
    ]
    assert found["-- Why did films get no answer?"] == [("failed", "unreadable", 1)]
    assert found["-- Who should be seen first?"] == [("a.png", 0.9)]
    assert found["-- How many suspected films a day?"] == [("2026-11-23", 3, 1)]
    assert found["-- Which pictures stand there twice?"] == [("b" * 64, [SCORED.file, "b/c.png"])]
    assert found["-- What is flagged in the pictures?"] == [("age_unknown", 2)]
    assert all(found.values())
