"""The worklist: worst first, and nobody twice."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_app.cli import main
from edge_app.decision import Decision, Reason, Status
from edge_app.files.codec import compact_json
from edge_app.report.worklist import worklist
from edge_app.results.rows import Asked, ResultRow, encode_row, failed_row
from tests.test_sender import HEADER

ASKED = Asked("balanced", "m", "a" * 64, "litert")


def row(file: str, decision: Decision, hour: int) -> ResultRow:
    failed = failed_row(file, Reason.UNREADABLE, "damaged", 1.0, ASKED)
    at = f"2026-11-28T{hour:02}:00:00.000Z"
    if decision is Decision.NOT_ASSESSABLE:
        return replace(failed, scored_at=at)
    return replace(
        failed,
        status=Status.SCORED,
        decision=decision,
        reason=None,
        message=None,
        raw_score=0.0,
        probability=0.5,
        scored_at=at,
    )


ROWS = [
    row("clear", Decision.NO_PNEUMONIA_SEEN, 1),
    row("was_clear", Decision.NO_PNEUMONIA_SEEN, 1),
    row("failed", Decision.NOT_ASSESSABLE, 1),
    row("refer", Decision.INDETERMINATE, 2),
    row("late", Decision.PNEUMONIA_SUSPECTED, 9),
    row("early", Decision.PNEUMONIA_SUSPECTED, 3),
    row("was_clear", Decision.PNEUMONIA_SUSPECTED, 10),  # overwritten, and scored again
]


def test_by_decision_and_then_by_who_waits_longest() -> None:
    assert [one.file for one in worklist(ROWS)] == ["early", "late", "was_clear", "refer", "failed"]
    assert [one.file for one in worklist(ROWS, with_clear=True)][-1] == "clear"


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [(compact_json(HEADER) + "\n").encode(), *map(encode_row, ROWS)]
    (tmp_path / "results.jsonl").write_bytes(b"".join(lines))
    assert main(["worklist", str(tmp_path), "--limit", "2"]) == 0
    first, second, more = capsys.readouterr().out.splitlines()
    assert first.startswith("P1  waits ")
    assert "early  Pneumonia suspected, probability 0.500" in first
    assert "late" in second
    assert more == "and 3 more (--limit)"
    assert main(["worklist", str(tmp_path), "--json", "--all"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["priority"] for one in listed] == [1, 1, 1, 2, 3, 4]
    assert main(["worklist", str(tmp_path / "nowhere")]) == 4
