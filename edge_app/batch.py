"""Folder scoring: every picture below a folder gets a row, whatever is wrong with it.

A folder and a `Screener` enter; `results.jsonl` (written row by row) and `results.csv` (derived
from it) leave. One bad file never stops the folder; the disk, the bundle and the user do.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_app import __version__
from edge_app.decision import Decision, Reason, Status
from edge_app.discovery import find_images, portable_name
from edge_app.errors import InputError, NoInputError, PneumoscopeError, UsageError
from edge_app.image import Radiograph, decode_image, hash_bytes, read_bytes
from edge_app.results import (
    FORMAT_VERSION,
    CutOffs,
    ResultRow,
    RunHeader,
    csv_table,
    read_results,
    utc_now,
)
from edge_app.screener import Screener, ScreeningResult
from edge_app.storage import Journal, make_folder, write_whole

RESULTS_FILE = "results.jsonl"
TABLE_FILE = "results.csv"


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A folder that holds something to score, and where the results go."""

    folder: Path
    out: Path
    total: int

    @property
    def results(self) -> Path:
        """The journal: the truth."""
        return self.out / RESULTS_FILE

    @property
    def table(self) -> Path:
        """The table that is derived from it."""
        return self.out / TABLE_FILE


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """How a run went: files by decision, those without a score by reason, and the time."""

    decisions: Counter[Decision]
    refused: Counter[Reason]
    failed: Counter[Reason]
    seconds: float

    @property
    def total(self) -> int:
        """Number of files."""
        return self.decisions.total()


def plan_batch(folder: Path, out: Path) -> BatchPlan:
    """Look before anything is loaded or written.

    Raises:
        NoInputError: the folder is missing or holds no picture.
        UsageError: the output folder holds results already.
    """
    total = sum(1 for _ in find_images(folder, excluded=out))
    if total == 0:
        raise NoInputError(f"{folder}: no PNG, JPEG, TIFF, BMP, WebP or DICOM file in it")
    if (out / RESULTS_FILE).exists():
        raise UsageError(
            f"{out}: holds results already, which are never overwritten; "
            "name another folder with -o"
        )
    return BatchPlan(folder=folder, out=out, total=total)


def run_batch(
    plan: BatchPlan, screener: Screener, on_row: Callable[[ResultRow], None]
) -> BatchSummary:
    """Score all pictures of a folder, one after another in the order of their names.

    Args:
        plan: from `plan_batch`.
        screener: what scores them.
        on_row: called with each row once it is written.

    Raises:
        StorageError: the results cannot be written; what is in the journal stays valid.
    """
    started = time.perf_counter()
    decisions: Counter[Decision] = Counter()
    reasons: dict[Status, Counter[Reason]] = {Status.REFUSED: Counter(), Status.FAILED: Counter()}
    make_folder(plan.out)
    with Journal(plan.results) as journal:
        journal.append(describe_run(screener, str(plan.folder)))
        for path in find_images(plan.folder, excluded=plan.out):
            row = score_file(screener, path, portable_name(path, plan.folder))
            journal.append(row)
            decisions[row.decision] += 1
            if row.reason is not None:
                reasons[row.status][row.reason] += 1
            on_row(row)
    write_whole(plan.table, csv_table(read_results(plan.results)[1]))
    return BatchSummary(
        decisions=decisions,
        refused=reasons[Status.REFUSED],
        failed=reasons[Status.FAILED],
        seconds=time.perf_counter() - started,
    )


def describe_run(screener: Screener, source: str) -> RunHeader:
    """The first line of a run's results."""
    point = screener.operating_point
    return RunHeader(
        format_version=FORMAT_VERSION,
        pneumoscope_version=__version__,
        started_at=utc_now(),
        input=source.encode("utf-8", "backslashreplace").decode("utf-8"),
        model_id=screener.bundle.manifest.model_id,
        model_sha256=screener.runtime.model.sha256,
        runtime=screener.runtime.name,
        runtime_version=screener.runtime.version,
        operating_point=CutOffs(
            name=point.name,
            threshold=point.threshold,
            refer_low=point.refer_low,
            refer_high=point.refer_high,
        ),
        parameters={},
    )


def score_file(screener: Screener, path: Path, name: str) -> ResultRow:
    """Score one file; what is wrong with it becomes a row, never an exception.

    Args:
        screener: what scores it.
        path: where it lies.
        name: how the row calls it.

    Raises:
        PneumoscopeError: only what concerns the model or the machine, not this file.
    """
    started = time.perf_counter()
    data = b""
    try:
        data = read_bytes(path)
        radiograph = decode_image(data, path.name, spec=screener.bundle.manifest.preprocess)
        decode_ms = _milliseconds_since(started)
        result = screener.score(radiograph)
    except InputError as error:
        return _failed_row(screener, name, data, Reason(error.reason), str(error), started)
    except PneumoscopeError:
        raise
    except Exception as error:  # a defect of ours must not cost the rest of the folder
        text = f"{path.name}: {type(error).__name__}: {error}"
        return _failed_row(screener, name, data, Reason.INTERNAL_ERROR, text, started)
    return _answered_row(name, radiograph, result, decode_ms, started)


def _answered_row(
    name: str, radiograph: Radiograph, result: ScreeningResult, decode_ms: float, started: float
) -> ResultRow:
    return ResultRow(
        file=name,
        sha256=radiograph.sha256,
        sop_instance_uid=radiograph.sop_instance_uid,
        status=result.status,
        decision=result.decision,
        reason=result.reason,
        message=result.message or None,
        raw_score=result.raw_score,
        probability=result.probability,
        operating_point=result.operating_point,
        quality=result.quality,
        model_id=result.model_id,
        model_sha256=result.model_sha256,
        runtime=result.runtime,
        decode_ms=decode_ms,
        infer_ms=None if result.infer_ms is None else round(result.infer_ms, 3),
        total_ms=_milliseconds_since(started),
        scored_at=utc_now(),
    )


def _failed_row(
    screener: Screener, name: str, data: bytes, reason: Reason, message: str, started: float
) -> ResultRow:
    return ResultRow(
        file=name,
        sha256=hash_bytes(data) if data else None,
        sop_instance_uid=None,
        status=Status.FAILED,
        decision=Decision.NOT_ASSESSABLE,
        reason=reason,
        message=message.encode("utf-8", "backslashreplace").decode("utf-8"),
        raw_score=None,
        probability=None,
        operating_point=screener.operating_point.name,
        quality={},
        model_id=screener.bundle.manifest.model_id,
        model_sha256=screener.runtime.model.sha256,
        runtime=screener.runtime.name,
        decode_ms=None,
        infer_ms=None,
        total_ms=_milliseconds_since(started),
        scored_at=utc_now(),
    )


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
