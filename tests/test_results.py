"""Results, format version 3: strict rows, a validator that finds what is wrong, a safe table."""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.decision import Decision, Reason, Status
from edge_app.errors import NoInputError
from edge_app.files.codec import CodecError, compact_json
from edge_app.results.rows import CutOffs, ResultRow, RunHeader, read_results, utc_now
from edge_app.results.table import csv_table, disarm_formula
from edge_app.results.validate import validate_results

KEYS = """file sha256 sop_instance_uid status decision reason message raw_score probability
    operating_point quality lungs model_id model_sha256 runtime decode_ms infer_ms total_ms
    scored_at measures""".split()

HEADER = RunHeader(
    format_version=3,
    pneumoscope_version="0.1.0",
    started_at="2026-11-23T19:10:23.125Z",
    input="ward",
    model_id="m",
    model_sha256="a" * 64,
    runtime="litert",
    runtime_version="2.3.0",
    operating_point=CutOffs("balanced", 0.0, -1.0, 1.0),
    parameters={},
)
SCORED = ResultRow(
    file="a.png",
    sha256="b" * 64,
    sop_instance_uid=None,
    status=Status.SCORED,
    decision=Decision.PNEUMONIA_SUSPECTED,
    reason=None,
    message=None,
    raw_score=1.5,
    probability=0.9,
    operating_point="balanced",
    quality={"age_unknown": True, "enlarged": False},
    lungs=None,
    model_id="m",
    model_sha256="a" * 64,
    runtime="litert",
    decode_ms=3.5,
    infer_ms=4.25,
    total_ms=9.0,
    scored_at="2026-11-23T19:10:23Z",
)
FAILED = dataclasses.replace(
    SCORED,
    file="b.png",
    sha256=None,
    status=Status.FAILED,
    decision=Decision.NOT_ASSESSABLE,
    reason=Reason.UNREADABLE,
    message="b.png: the file is empty",
    raw_score=None,
    probability=None,
    quality={},
    decode_ms=None,
    infer_ms=None,
)


def write(path: Path, *entries: Any) -> Path:
    path.write_text("".join(compact_json(entry) + "\n" for entry in entries), encoding="utf-8")
    return path


def test_a_row_has_the_keys_of_the_format() -> None:
    assert list(json.loads(compact_json(SCORED))) == KEYS


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", HEADER, SCORED, FAILED)
    header, rows = read_results(path)
    assert header == HEADER
    assert list(rows) == [SCORED, FAILED]
    validation = validate_results(path)
    assert (validation.rows, validation.problems) == (2, ())


@pytest.mark.parametrize(
    "change",
    [
        {"raw_score": None},
        {"probability": None},
        {"probability": 1.1},
        {"reason": Reason.TOO_SMALL},
        {"decision": Decision.NOT_ASSESSABLE},
        {"status": Status.REFUSED},
        {"total_ms": -1.0},
        {"scored_at": "2026-11-23 19:10"},
        {"scored_at": "2026-11-23T19:10:23+01:00"},
        {"scored_at": "2026-13-23T19:10:23Z"},
    ],
)
def test_a_row_that_contradicts_itself_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        dataclasses.replace(SCORED, **change)


@pytest.mark.parametrize(
    "change", [{"raw_score": 1.0}, {"reason": None}, {"status": Status.SCORED}]
)
def test_a_failure_has_a_reason_and_no_score(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        dataclasses.replace(FAILED, **change)


def changed(**change: Any) -> Callable[[list[Any]], None]:
    """Change keys of the first row."""

    def apply(lines: list[Any]) -> None:
        lines[1] |= change

    return apply


def without(key: str) -> Callable[[list[Any]], None]:
    def apply(lines: list[Any]) -> None:
        del lines[1][key]

    return apply


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (changed(extra=1), "line 2: extra: unknown key"),
        (without("sha256"), "line 2: sha256: missing key"),
        (changed(raw_score="1.5"), "line 2: raw_score"),
        (changed(reason="tired"), "line 2: reason"),
        (changed(decision="healthy"), "line 2: decision"),
        (changed(file="b.png"), "line 3: 'b.png' has a row already"),
        (changed(model_sha256="c" * 64), "line 2: model"),
        (changed(runtime="onnxruntime"), "line 2: runtime"),
        (changed(operating_point="other"), "line 2: operating point"),
        (changed(raw_score=0.5), "line 2: raw_score 0.5 means indeterminate"),
        (changed(raw_score=-1.5), "line 2: raw_score -1.5 means no_pneumonia_seen"),
        (lambda lines: lines.pop(0), "line 1: "),
        (lambda lines: lines[0].update(format_version=2), "line 1: .*format version 2"),
    ],
)
def test_the_validator_finds(
    tmp_path: Path, change: Callable[[list[Any]], None], text: str
) -> None:
    lines = [json.loads(compact_json(entry)) for entry in (HEADER, SCORED, FAILED)]
    change(lines)
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    problems = "\n".join(validate_results(path).problems)
    assert re.search(text, problems), problems


def test_only_a_watch_has_a_second_row_of_a_file_that_was_overwritten(tmp_path: Path) -> None:
    again = dataclasses.replace(SCORED, sha256="c" * 64)
    watch = dataclasses.replace(HEADER, parameters={"watch": True})
    for header, second, is_good in (
        (watch, again, True),
        (watch, SCORED, False),
        (HEADER, again, False),
    ):
        problems = validate_results(write(tmp_path / "r.jsonl", header, SCORED, second)).problems
        assert problems == (() if is_good else ("line 3: 'a.png' has a row already",))
    lines = list(csv_table([SCORED, FAILED, again], {"a.png": 1}))
    assert [line.rstrip().split(",")[-3] for line in lines] == ["stale", "stale", "", ""]


def test_a_torn_last_line_is_a_problem_with_its_number(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", HEADER, SCORED, FAILED)
    path.write_bytes(path.read_bytes()[:-1])
    assert validate_results(path).problems == ("line 3: torn: it does not end with a newline",)
    _, rows = read_results(path)
    assert next(rows) == SCORED
    with pytest.raises(CodecError, match="line 3: torn"):
        next(rows)


def test_an_empty_or_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with pytest.raises(NoInputError):
        validate_results(path)
    path.write_bytes(b"")
    assert validate_results(path).problems
    with pytest.raises(CodecError, match="missing"):
        read_results(path)


def test_the_time_is_utc() -> None:
    assert dataclasses.replace(SCORED, scored_at=utc_now())


def table(*rows: ResultRow) -> list[dict[str, str]]:
    content = "".join(csv_table(rows, {})).encode("utf-8")
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_the_table() -> None:
    first, second = table(SCORED, FAILED)
    assert list(first)[:5] == ["file", "decision", "probability", "reason", "message"]
    assert {*first, "lungs"} == {*KEYS, "stale", "model_lacks", "model_signed_by"}
    assert first["raw_score"] == "1.5"
    assert first["quality"] == "age_unknown"
    assert first["reason"] == ""
    assert second["reason"] == "unreadable"
    assert second["raw_score"] == ""
    low = dataclasses.replace(SCORED, raw_score=-1.5, decision=Decision.NO_PNEUMONIA_SEEN)
    assert table(low)[0]["raw_score"] == "-1.5"  # a number stays a number
    for probability, cell in ((0.123456, "0.1235"), (0.99999, "0.9999"), (1e-9, "0.0001")):
        (row,) = table(dataclasses.replace(SCORED, probability=probability))
        assert row["probability"] == cell


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# Mostly what is dangerous, so that combinations of it come up.
DANGEROUS = st.text(st.sampled_from(list("=+-@;, \t\r\n\"'a1")))


@given(NAMES | DANGEROUS)
def test_no_text_can_act_as_a_formula(name: str) -> None:
    row = dataclasses.replace(FAILED, file=name, message=name)
    (cells,) = table(row)
    for key in ("file", "message"):
        assert not cells[key].lstrip(" ").startswith(tuple("=+-@\t\r\n"))
        assert cells[key].replace("'", "") == name.replace("'", "")


@given(NAMES | DANGEROUS)
def test_no_text_can_act_as_a_formula_where_another_separator_rules(name: str) -> None:
    """A German Excel splits at semicolons, also within what Python's writer has quoted."""
    row = dataclasses.replace(FAILED, file=name, message=name)
    line = list(csv_table([row], {}))[1].removesuffix("\r\n")
    for separator in ";,\t":
        # As simple as a reader can be: no quotes; then as Excel reads them.
        pieces = re.split(f"[{separator}\r\n]", line)
        pieces += next(
            csv.reader([line.replace("\r", " ").replace("\n", " ")], delimiter=separator)
        )
        assert not [p for p in pieces if p.lstrip(' "').startswith(tuple("=+-@"))], (line, pieces)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "＝"])
def test_formula_starts_are_disarmed(start: str) -> None:
    assert disarm_formula(f"{start}cmd|' /C calc'!A0.png").startswith("'")
    assert disarm_formula(f"x;{start}1+1.png").startswith("x;'")
    assert disarm_formula("a=b, c-d; e.png") == "a=b, c-d; e.png"
    assert disarm_formula('x;"=1.png') == "x;'\"=1.png"
