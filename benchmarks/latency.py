"""How long one inference takes: contenders and numbers of threads enter, a `Latency` leaves.

The method is MLPerf Inference's (Reddi VJ et al. ISCA 2020; mlcommons inference_rules.adoc) in
two of its scenarios, each contender in a process of its own:

- single stream: the next picture is sent when the one before is done; the figure is the 90th
  percentile of latency.
- offline: all pictures are there at the start; the figure is pictures a second.

Where it departs: our own loop in place of LoadGen; at least 1,024 runs, or 60 s where that comes
first, in place of 600 s; offline runs 2,048 inferences in five rounds, each spread over one
single-threaded process a core, in place of 24,576 at once; phantoms in place of a data set, since
these networks take the same time for any picture; no accuracy run in the same process (`accuracy`
is a command of its own); and nobody audits it.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.machine import read_sensors
from benchmarks.processes import Worker, WorkerError, run_worker
from benchmarks.record import Latency, LatencyFigures, LatencyRow
from benchmarks.store import Recording
from edge_app.cores import usable_cores
from edge_app.files.codec import encode
from edge_app.progress import progress


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        warmup_runs, warmup_s: both must have passed before the first sample.
        runs: of the single stream; fewer where `max_s` comes first.
        max_s: bound of the single stream.
        offline_samples: inferences in all; 0 leaves the scenario out.
        offline_rounds: they are spread over; in each all contenders run one after another, so
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
    contenders: Sequence[Contender],
    threads: Sequence[int],
    effort: Effort,
    recording: Recording[Latency],
) -> Latency:
    """Measure every contender with every number of threads; each step is recorded.

    The single streams come first, then the rounds of the offline scenario for what has one thread.
    """
    jobs = [replace(contender, threads=n) for contender in contenders for n in threads]
    rounds = effort.offline_rounds if effort.offline_samples else 0
    rows: list[LatencyRow] = []
    section = Latency(recording.taken(complete=False), ())
    for step in range(1, len(jobs) + rounds + 1):
        if step <= len(jobs):
            rows.append(measure_one(jobs[step - 1], effort))
        else:
            rows = _offline_round(jobs, rows, effort, step - len(jobs))
        taken = recording.taken(complete=step == len(jobs) + rounds)
        section = recording.put(Latency(taken, spread_counts(rows)))
    return section


def measure_one(contender: Contender, effort: Effort) -> LatencyRow:
    """One contender's single stream; a row that says why where it does not run here."""
    facts = contender.facts()
    row = LatencyRow(facts, contender.threads, contender.path.stat().st_size, None, None)
    before = read_sensors()
    try:
        ready, done = _single_stream(contender, effort)
    except WorkerError as error:
        return _missing(row, error)
    joules = done["joules"]
    figures = LatencyFigures(
        load_ms=ready["load_ms"],
        first_ms=ready["first_ms"],
        warmup_runs=done["warmup_runs"],
        offline_rates=(),
        offline_samples=0,
        peak_memory_mb=done["peak_memory_mb"],
        joules_per_run=None if joules is None else joules / len(done["samples_us"]),
        energy_source=done["energy_source"],
        before=before,
        after=read_sensors(),
        samples_us=tuple(done["samples_us"]),
    )
    multiply_adds = done["multiply_adds"]
    return replace(row, contender=facts.opened(ready), multiply_adds=multiply_adds, figures=figures)


def _offline_round(
    jobs: Sequence[Contender], rows: Sequence[LatencyRow], effort: Effort, number: int
) -> list[LatencyRow]:
    """One pass over all that have one thread, the n-th beginning with the n-th of them."""
    found = list(rows)
    runnable = [i for i, row in enumerate(rows) if row.figures is not None and row.threads == 1]
    start = number % max(1, len(runnable))
    what = f"offline, round {number} of {effort.offline_rounds}"
    with progress(what, len(runnable), "contenders") as at:
        for done, index in enumerate([*runnable[start:], *runnable[:start]], start=1):
            try:
                found[index] = _with_rate(found[index], *_offline_pass(jobs[index], effort))
            except WorkerError as error:
                found[index] = _missing(found[index], error)
            at(done)
    return found


def _with_rate(row: LatencyRow, rate: float, samples: int) -> LatencyRow:
    assert row.figures is not None
    rates = (*row.figures.offline_rates, rate)
    samples += row.figures.offline_samples
    return replace(row, figures=replace(row.figures, offline_rates=rates, offline_samples=samples))


def _missing(row: LatencyRow, error: WorkerError) -> LatencyRow:
    return replace(row, contender=replace(row.contender, missing=str(error)), figures=None)


def spread_counts(rows: Sequence[LatencyRow]) -> tuple[LatencyRow, ...]:
    """Fill in multiply-adds that no installed package could count, from the network's other files.

    Only the bundle's own files: they are one network in several formats.
    """
    counts = (row.multiply_adds for row in rows if not row.contender.foreign)
    known = next(filter(None, counts), None)
    return tuple(
        row if row.multiply_adds or row.contender.foreign else replace(row, multiply_adds=known)
        for row in rows
    )


def _single_stream(contender: Contender, effort: Effort) -> tuple[dict[str, Any], dict[str, Any]]:
    request = _request("latency", contender, effort) | {"runs": effort.runs, "max_s": effort.max_s}
    what = f"{contender.name}, {contender.threads} threads"
    messages: dict[str, Any] = {}
    with progress(what, effort.runs, "runs") as at:
        for message in run_worker(contender.interpreter, request):
            if "progress" in message:
                at(message["progress"])
            messages |= message
    return messages["ready"], messages["done"]


def _offline_pass(contender: Contender, effort: Effort) -> tuple[float, int]:
    """Pictures a second of one single-threaded process a core, all told to go at once; how many."""
    workers = usable_cores()
    share = max(1, effort.offline_samples // (workers * effort.offline_rounds))
    request = _request("offline", contender, effort) | {"samples": share}
    with ExitStack() as stack:
        running = [
            stack.enter_context(Worker(contender.interpreter, request)) for _ in range(workers)
        ]
        for worker in running:
            worker.receive()
        started = time.monotonic()
        for worker in running:
            worker.send("go")
        ends: list[float] = [worker.receive()["done"]["ended"] for worker in running]
    return share * workers / (max(ends) - started), share * workers


def _request(task: str, contender: Contender, effort: Effort) -> dict[str, Any]:
    return {
        "task": task,
        "contender": encode(contender),
        "warmup_runs": effort.warmup_runs,
        "warmup_s": effort.warmup_s,
    }
