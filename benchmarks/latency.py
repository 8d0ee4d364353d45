"""How long one inference takes: candidates and numbers of threads enter, a `Latency` leaves.

The method is MLPerf Inference's (Reddi VJ et al. ISCA 2020; mlcommons inference_rules.adoc) in
two of its scenarios, each candidate in a process of its own:

- single stream: the next picture is sent when the one before is done; the figure is the 90th
  percentile of latency.
- offline: all pictures are there at the start; the figure is pictures a second.

Where it departs: our own loop in place of LoadGen; at least 1,024 runs, or 60 s where that comes
first, in place of 600 s; offline runs 2,048 inferences spread over one single-threaded process a
core, in place of 24,576; phantoms in place of a data set, since these networks take the same time
for any picture; no accuracy run in the same process (`accuracy` is a command of its own); and
nobody audits it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.accuracy import describe, with_runtime
from benchmarks.candidates import Candidate
from benchmarks.machine import read_sensors, usable_cores
from benchmarks.processes import Worker, WorkerError, run_worker
from benchmarks.progress import progress
from benchmarks.record import Latency, LatencyFigures, LatencyRow, Stopwatch
from benchmarks.timing import percentiles
from edge_app.codec import encode

Save = Callable[[Latency], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        warmup_runs, warmup_s: both must have passed before the first sample.
        runs: of the single stream; fewer where `max_s` comes first.
        max_s: bound of the single stream.
        offline_samples: inferences in all; 0 leaves the scenario out.
    """

    warmup_runs: int
    warmup_s: float
    runs: int
    max_s: float
    offline_samples: int


FULL = Effort(warmup_runs=50, warmup_s=1.0, runs=1024, max_s=60.0, offline_samples=2048)
SHORT = Effort(warmup_runs=10, warmup_s=0.2, runs=100, max_s=3.0, offline_samples=0)


def measure_latency(
    candidates: Sequence[Candidate],
    threads: Sequence[int],
    effort: Effort,
    watch: Stopwatch,
    save: Save,
) -> Latency:
    """Measure every candidate with every number of threads; `save` is called after each."""
    jobs = [candidate.with_threads(n) for candidate in candidates for n in threads]
    rows: list[LatencyRow] = []
    section = Latency(watch.taken(complete=False), ())
    for job in jobs:
        rows.append(measure_one(job, effort))
        section = Latency(watch.taken(complete=len(rows) == len(jobs)), tuple(rows))
        save(section)
    return section


def measure_one(candidate: Candidate, effort: Effort) -> LatencyRow:
    """One candidate; a row that says why where it does not run here."""
    entrant = describe(candidate)
    row = LatencyRow(entrant, candidate.threads, candidate.path.stat().st_size, None, None)
    before = read_sensors()
    try:
        ready, done = _single_stream(candidate, effort)
        rate = None
        if effort.offline_samples and candidate.threads == 1:
            rate = _offline_per_s(candidate, effort)
    except WorkerError as error:
        return replace(row, entrant=replace(entrant, missing=str(error)))
    runs = len(done["samples_us"])
    joules = done["joules"]
    figures = LatencyFigures(
        load_ms=ready["load_ms"],
        first_ms=ready["first_ms"],
        warmup_runs=done["warmup_runs"],
        single_stream=percentiles(done["samples_us"]),
        offline_per_s=rate,
        offline_samples=0 if rate is None else effort.offline_samples,
        peak_memory_mb=done["peak_memory_mb"],
        joules_per_run=None if joules is None else joules / runs,
        energy_source=done["energy_source"],
        before=before,
        after=read_sensors(),
        samples_us=tuple(done["samples_us"]),
    )
    return replace(
        row,
        entrant=with_runtime(entrant, ready),
        multiply_adds=done["multiply_adds"],
        figures=figures,
    )


def spread_counts(rows: Sequence[LatencyRow]) -> tuple[LatencyRow, ...]:
    """Fill in multiply-adds that no installed package could count, from the network's other files.

    Only the bundle's own files: they are one network in several formats.
    """
    known = [row.multiply_adds for row in rows if row.multiply_adds and not _is_foreign(row)]
    if not known:
        return tuple(rows)
    return tuple(
        row if row.multiply_adds or _is_foreign(row) else replace(row, multiply_adds=known[0])
        for row in rows
    )


def _is_foreign(row: LatencyRow) -> bool:
    return row.entrant.name.startswith(row.entrant.file)


def _single_stream(candidate: Candidate, effort: Effort) -> tuple[dict[str, Any], dict[str, Any]]:
    request = _request("latency", candidate, effort) | {
        "runs": effort.runs,
        "max_s": effort.max_s,
    }
    what = f"{candidate.name}, {candidate.threads} threads"
    with progress(what, effort.runs, "runs") as bar:
        messages: dict[str, Any] = {}
        for message in run_worker(candidate.interpreter, request):
            if "progress" in message:
                bar.at(message["progress"])
            messages |= message
    return messages["ready"], messages["done"]


def _offline_per_s(candidate: Candidate, effort: Effort) -> float:
    """Pictures a second of one single-threaded process a core, all told to go at once."""
    workers = usable_cores()
    share = max(1, effort.offline_samples // workers)
    request = _request("offline", candidate, effort) | {"samples": share}
    with ExitStack() as stack:
        running = [
            stack.enter_context(Worker(candidate.interpreter, "benchmarks.worker", request))
            for _ in range(workers)
        ]
        for worker in running:
            worker.receive()
        started = time.monotonic()
        for worker in running:
            worker.send("go")
        ends: list[float] = [worker.receive()["done"]["ended"] for worker in running]
    return share * workers / (max(ends) - started)


def _request(task: str, candidate: Candidate, effort: Effort) -> dict[str, Any]:
    return {
        "task": task,
        "candidate": encode(candidate),
        "warmup_runs": effort.warmup_runs,
        "warmup_s": effort.warmup_s,
    }
