"""Made-up runs of any size: results and truth on the disk, without a model or a picture."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_app.decision import Decision, Reason, Status
from edge_app.files.codec import compact_json
from edge_app.results.rows import (
    CutOffs,
    LungPlace,
    ResultRow,
    RunHeader,
    encode_row,
    failed_row,
)
from edge_app.statistics.logistic import sigmoid

SCALE, OFFSET = 1.5, -0.25
HEADER = RunHeader(
    format_version=3,
    pneumoscope_version="0.1.0",
    started_at="2026-11-23T08:00:00.000Z",
    input="/films",
    model_id="made-up",
    model_sha256="a" * 64,
    runtime="litert",
    runtime_version="2",
    operating_point=CutOffs("balanced", 0.0, -1.0, 1.0),
    parameters={"bundle_sha256": "b" * 64},
)
LUNGS = LungPlace(0.1, 0.2, 0.9, 0.8, 0.95, 0, 4, 4, "BmY=", 2)


def decision_of(score: float, point: CutOffs = HEADER.operating_point) -> Decision:
    """The rule of the format."""
    if score < point.refer_low:
        return Decision.NO_PNEUMONIA_SEEN
    return Decision.INDETERMINATE if score < point.refer_high else Decision.PNEUMONIA_SUSPECTED


def scored(file: str, score: float, **changes: Any) -> ResultRow:
    """The row of a film with this raw score."""
    row = ResultRow(
        file=file,
        sha256="c" * 64,
        sop_instance_uid=None,
        status=Status.SCORED,
        decision=decision_of(score),
        reason=None,
        message=None,
        raw_score=float(score),
        probability=sigmoid(SCALE * score + OFFSET),
        operating_point=HEADER.operating_point.name,
        quality={"age_unknown": True, "enlarged": False},
        lungs=LUNGS,
        model_id=HEADER.model_id,
        model_sha256=HEADER.model_sha256,
        runtime=HEADER.runtime,
        decode_ms=1.0,
        infer_ms=1.0,
        total_ms=2.0,
        scored_at="2026-11-23T08:00:01.000Z",
    )
    return replace(row, **changes)


def refused(file: str, **changes: Any) -> ResultRow:
    """The row of a film that was refused."""
    row = failed_row(file, Reason.LUNGS_NOT_FOUND, "no lungs", 2.0, HEADER.asked)
    return (
        replace(row, status=Status.REFUSED, scored_at="2026-11-23T08:00:01.000Z", sha256="d" * 64)
        if not changes
        else replace(row, status=Status.REFUSED, **changes)
    )


def write_run(folder: Path, rows: Sequence[ResultRow], header: RunHeader = HEADER) -> Path:
    """Write `results.jsonl` into a folder; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [(compact_json(header) + "\n").encode(), *map(encode_row, rows)]
    (folder / "results.jsonl").write_bytes(b"".join(lines))
    return folder


def write_truth(path: Path, lines: Sequence[str], columns: str = "file,label") -> Path:
    """Write a CSV of truth."""
    path.write_text("\n".join([columns, *lines, ""]), encoding="utf-8")
    return path
