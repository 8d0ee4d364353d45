"""Which format to run on this machine: accuracy and latency of each, and one of them marked.

Measured `Accuracy` (None where there are no labelled pictures) and `Latency` enter, a `Compare`
and a `Recommendation` leave. The rule: patients come before milliseconds. Out of those that lose
no more than `AUROC_MARGIN` to the best and flip no more than `FLIP_MARGIN` of float32's decisions,
the one with the most images a second; within `SAME_SPEED` of it, the one with the least memory.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.machine import Machine
from benchmarks.record import (
    Accuracy,
    AccuracyRow,
    Compare,
    CompareRow,
    Latency,
    LatencyRow,
    Stopwatch,
)
from edge_app.bundle import Bundle
from edge_app.recommend import FORMAT_VERSION, Recommendation

RECOMMENDED = "recommended"
# What the export's parity gate lets through (docs/decisions, export/recipes).
AUROC_MARGIN = 0.003
FLIP_MARGIN = 0.005
SAME_SPEED = 0.05


def compare(accuracy: Accuracy | None, latency: Latency, watch: Stopwatch) -> Compare:
    """Put both together and choose."""
    rows = [_row(row, accuracy) for row in latency.rows]
    best = max((row.auroc.value for row in rows if row.auroc is not None), default=None)
    rows = [replace(row, choice=_objection(row, best)) for row in rows]
    chosen = _choose([row for row in rows if not row.choice])
    why = "nothing here can run the bundle"
    if chosen is not None:
        rows = [_against(row, chosen) for row in rows]
        why = _why(chosen, accuracy)
    data = "" if accuracy is None else accuracy.data.name
    return Compare(watch.taken(complete=True), data, why, tuple(rows))


def recommend(section: Compare, bundle: Bundle, machine: Machine) -> Recommendation | None:
    """What `pneumoscope info --recommend` shows; None where nothing runs."""
    chosen = next((row for row in section.rows if row.choice == RECOMMENDED), None)
    if chosen is None or chosen.p50_ms is None or chosen.p90_ms is None:
        return None
    return Recommendation(
        format_version=FORMAT_VERSION,
        measured_at=section.taken.at,
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        machine=str(machine),
        model_id=bundle.manifest.model_id,
        model_file=chosen.entrant.file,
        model_sha256=chosen.entrant.model_sha256,
        runtime=chosen.entrant.runtime,
        runtime_version=chosen.entrant.version,
        threads=chosen.threads,
        p50_ms=chosen.p50_ms,
        p90_ms=chosen.p90_ms,
        images_per_s=images_per_s(chosen),
        peak_memory_mb=chosen.peak_memory_mb,
        auroc=chosen.auroc,
        flipped=chosen.flipped,
        data=section.data,
        why=section.why,
    )


def images_per_s(row: CompareRow) -> float | None:
    """Offline throughput; with several threads one stream has the machine to itself."""
    if row.offline_per_s is not None:
        return row.offline_per_s
    if row.p50_ms is None:
        return None
    return 1000 / row.p50_ms


def _row(row: LatencyRow, accuracy: Accuracy | None) -> CompareRow:
    figures = row.figures
    of = None if accuracy is None else _accuracy_of(row.entrant.name, accuracy)
    return CompareRow(
        entrant=row.entrant,
        threads=row.threads,
        file_bytes=row.file_bytes,
        auroc=None if of is None else of.auroc,
        flipped=None if of is None or not of.points else of.points[0].flipped,
        p50_ms=None if figures is None else figures.single_stream.p50,
        p90_ms=None if figures is None else figures.single_stream.p90,
        offline_per_s=None if figures is None else figures.offline_per_s,
        peak_memory_mb=None if figures is None else figures.peak_memory_mb,
        choice="",
    )


def _accuracy_of(name: str, accuracy: Accuracy) -> AccuracyRow | None:
    return next((row for row in accuracy.rows if row.entrant.name == name), None)


def _objection(row: CompareRow, best: float | None) -> str:
    """Why a candidate is out of the question, "" where it is not."""
    if row.p50_ms is None:
        return row.entrant.missing or "not measured"
    if best is not None and row.auroc is None:
        return "accuracy not measured"
    if best is not None and row.auroc is not None and best - row.auroc.value > AUROC_MARGIN:
        return f"AUROC {best - row.auroc.value:.4f} below the best"
    if row.flipped is not None and row.flipped.value > FLIP_MARGIN:
        return f"flips {100 * row.flipped.value:.2f}% of float32's decisions"
    return ""


def _choose(rows: Sequence[CompareRow]) -> CompareRow | None:
    rates = [(images_per_s(row) or 0.0, row) for row in rows]
    if not rates:
        return None
    fastest = max(rate for rate, _ in rates)
    close = [row for rate, row in rates if rate >= (1 - SAME_SPEED) * fastest]
    return min(close, key=lambda row: (row.peak_memory_mb or float("inf"), row.file_bytes))


def _against(row: CompareRow, chosen: CompareRow) -> CompareRow:
    if row is chosen:
        return replace(row, choice=RECOMMENDED)
    if row.choice:
        return row
    rate, best = images_per_s(row), images_per_s(chosen)
    if rate is None or best is None or rate >= best:
        return replace(row, choice="as fast, more memory")
    return replace(row, choice=f"{best / rate:.1f} times slower")


def _why(chosen: CompareRow, accuracy: Accuracy | None) -> str:
    held = (
        "no labelled pictures were given, so accuracy rests on the export's parity gate"
        if accuracy is None
        else f"AUROC within {AUROC_MARGIN:g} of the best and at most {100 * FLIP_MARGIN:g}% of "
        f"float32's decisions flipped on {accuracy.data.name}"
    )
    name = f"{chosen.entrant.name}, {chosen.threads} thread{'s' if chosen.threads > 1 else ''}"
    return f"{name}: the most images a second among those that hold their accuracy ({held})"
