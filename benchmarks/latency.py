"""How long one inference takes: candidates and numbers of threads enter, a `Latency` leaves.

The method is MLPerf Inference's (Reddi VJ et al. ISCA 2020; mlcommons inference_rules.adoc) in
two of its scenarios, each candidate in a process of its own:

- single stream: the next picture is sent when the one before is done; the figure is the 90th
  percentile of latency.
- offline: all pictures are there at the start; the figure is pictures a second.

Where it departs: our own loop in place of LoadGen; at least 1,024 runs, or 60 s where that comes
first, in place of 600 s; offline runs 2,048 inferences in five rounds, each spread over one
single-threaded process a core, in place of 24,576 at once; phantoms in place of a data set, since
these networks take the same time for any picture; no accuracy run in the same process (`accuracy`
is a command of its own); and nobody audits it.
"""

import statistics
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
from edge_app.files.codec import encode

Save = Callable[[Latency], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        warmup_runs, warmup_s: both must have passed before the first sample.
        runs: of the single stream; fewer where `max_s` comes first.
        max_s: bound of the single stream.
        offline_samples: inferences in all; 0 leaves the scenario out.
        offline_rounds: they are spread over; in each all candidates run one after another, so
            that what else the machine does meets all of them.
    """

    warmup_runs: int
    warmup_s: float
    runs: int
    max_s: float
    offline_samples: int
    offline_rounds: int


FULL = Effort(
    warmup_runs=50, warmup_s=1.0, runs=1024, max_s=60.0, offline_samples=2048, offline_rounds=5
)


def measure_latency(
    candidates: Sequence[Candidate],
    threads: Sequence[int],
    effort: Effort,
    watch: Stopwatch,
    save: Save,
) -> Latency:
    """Measure every candidate with every number of threads; `save` is called after each.

    The single streams come first, then the rounds of the offline scenario for what has one thread.
    """
    jobs = [candidate.with_threads(n) for candidate in candidates for n in threads]
    rows: list[LatencyRow] = []
    rounds = effort.offline_rounds if effort.offline_samples else 0

    def saved(*, complete: bool) -> Latency:
        section = Latency(watch.taken(complete=complete), spread_counts(rows))
        save(section)
        return section

    section = Latency(watch.taken(complete=False), ())
    for job in jobs:
        rows.append(measure_one(job, effort))
        section = saved(complete=not rounds and len(rows) == len(jobs))
    for number in range(1, rounds + 1):
        rows = _offline_round(jobs, rows, effort, number)
        section = saved(complete=number == rounds)
    return section


def measure_one(candidate: Candidate, effort: Effort) -> LatencyRow:
    """One candidate's single stream; a row that says why where it does not run here."""
    entrant = describe(candidate)
    row = LatencyRow(entrant, candidate.threads, candidate.path.stat().st_size, None, None)
    before = read_sensors()
    try:
        ready, done = _single_stream(candidate, effort)
    except WorkerError as error:
        return _missing(row, error)
    joules = done["joules"]
    figures = LatencyFigures(
        load_ms=ready["load_ms"],
        first_ms=ready["first_ms"],
        warmup_runs=done["warmup_runs"],
        single_stream=percentiles(done["samples_us"]),
        offline_per_s=None,
        offline_rates=(),
        offline_samples=0,
        peak_memory_mb=done["peak_memory_mb"],
        joules_per_run=None if joules is None else joules / len(done["samples_us"]),
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


def _offline_round(
    jobs: Sequence[Candidate], rows: Sequence[LatencyRow], effort: Effort, number: int
) -> list[LatencyRow]:
    """One pass over all that have one thread, the n-th beginning with the n-th of them."""
    found = list(rows)
    runnable = [i for i, row in enumerate(rows) if row.figures is not None and row.threads == 1]
    start = number % max(1, len(runnable))
    what = f"offline, round {number} of {effort.offline_rounds}"
    with progress(what, len(runnable), "candidates") as bar:
        for done, index in enumerate([*runnable[start:], *runnable[:start]], start=1):
            try:
                found[index] = _with_rate(found[index], _offline_pass(jobs[index], effort))
            except WorkerError as error:
                found[index] = _missing(found[index], error)
            bar.at(done)
    return found


def _with_rate(row: LatencyRow, measured: tuple[float, int]) -> LatencyRow:
    """One more round; the figure is the geometric mean of the rounds."""
    assert row.figures is not None
    rate, samples = measured
    rates = (*row.figures.offline_rates, rate)
    figures = replace(
        row.figures,
        offline_per_s=statistics.geometric_mean(rates),
        offline_rates=rates,
        offline_samples=row.figures.offline_samples + samples,
    )
    return replace(row, figures=figures)


def _missing(row: LatencyRow, error: WorkerError) -> LatencyRow:
    return replace(row, entrant=replace(row.entrant, missing=str(error)), figures=None)


def spread_counts(rows: Sequence[LatencyRow]) -> tuple[LatencyRow, ...]:
    """Fill in multiply-adds that no installed package could count, from the network's other files.

    Only the bundle's own files: they are one network in several formats.
    """
    own = [row for row in rows if not row.entrant.foreign]
    known = [row.multiply_adds for row in own if row.multiply_adds]
    if not known:
        return tuple(rows)
    return tuple(
        row if row.multiply_adds or row.entrant.foreign else replace(row, multiply_adds=known[0])
        for row in rows
    )


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


def _offline_pass(candidate: Candidate, effort: Effort) -> tuple[float, int]:
    """Pictures a second of one single-threaded process a core, all told to go at once; how many."""
    workers = usable_cores()
    share = max(1, effort.offline_samples // (workers * effort.offline_rounds))
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
    return share * workers / (max(ends) - started), share * workers


def _request(task: str, candidate: Candidate, effort: Effort) -> dict[str, Any]:
    return {
        "task": task,
        "candidate": encode(candidate),
        "warmup_runs": effort.warmup_runs,
        "warmup_s": effort.warmup_s,
    }
