"""The regression guard: ratios of the landed state against those of now.

Ratios only, never times: they hold on the next machine of the same kind, and on a busy one.
`guarded_ratios` takes them from results, `judge` compares two sets. A ratio is called worse where
it moved the bad way by more than the noise of both measurements, |ln now - ln then| >
t * sqrt(se1^2 + se2^2), and by `DRIFT` on top, which is what the same code differs by from one
hour to the next here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.compare import blocks
from benchmarks.machine import Machine
from benchmarks.processes import REPOSITORY
from benchmarks.record import Latency, LatencyRow, Results, Startup, Throughput
from benchmarks.startup import BARE
from benchmarks.tables import Table, throughput_ratio
from benchmarks.timing import Ratio, log_mean_of, noise_between, ratio
from edge_app.codec import CodecError, canonical_json, decode, parse_json
from edge_app.errors import UsageError

BASELINE = REPOSITORY / "benchmarks" / "baseline.json"
DRIFT = 0.05

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Guarded:
    """A ratio and which way is good."""

    name: str
    better: Better
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Baseline:
    """`baseline.json`: the landed state's ratios.

    Attributes:
        cpu, cores: they were taken on; elsewhere a verdict is only a hint.
        full: of the measurements on real files.
        short: of the short form, on phantoms, which CI runs.
    """

    format_version: int
    cpu: str
    cores: int
    full: tuple[Guarded, ...]
    short: tuple[Guarded, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One ratio then and now; `now` is None where it was not measured here."""

    name: str
    then: Ratio
    now: Ratio | None
    verdict: Literal["same", "worse", "better", "not measured here"]


def guarded_ratios(results: Results) -> list[Guarded]:
    """Every ratio that the guard watches, of what the results hold."""
    found: list[Guarded] = []
    if results.throughput is not None:
        found += _throughput_ratios(results.throughput)
    if results.latency is not None:
        found += _latency_ratios(results.latency)
    if results.startup is not None:
        found += _startup_ratios(results.startup)
    return found


def judge(then: Sequence[Guarded], now: Sequence[Guarded]) -> list[Verdict]:
    """Compare each ratio of the baseline with the one of the same name."""
    measured = {guarded.name: guarded.ratio for guarded in now}
    return [_verdict(guarded, measured.get(guarded.name)) for guarded in then]


def landed(baseline: Baseline, *, short: bool) -> tuple[Guarded, ...]:
    """The ratios of one form.

    Raises:
        UsageError: there are none, so that nothing could become worse.
    """
    found = baseline.short if short else baseline.full
    if not found:
        form = ("short form", "check --write") if short else ("full form", "check --write FOLDER")
        raise UsageError(
            f"{BASELINE}: holds no ratios of the {form[0]}; make them with "
            f"`python -m benchmarks {form[1]}`"
        )
    return found


def same_machine(baseline: Baseline, machine: Machine) -> bool:
    """Whether the baseline is of such a processor with as many cores."""
    return (baseline.cpu, baseline.cores) == (machine.cpu, machine.cores)


def verdict_table(verdicts: Sequence[Verdict], *, same_machine: bool) -> Table:
    """The verdicts for people."""
    rows = tuple(
        (v.name, str(v.then), "–" if v.now is None else str(v.now), v.verdict) for v in verdicts
    )
    notes = [
        f"Worse: by {100 * DRIFT:g}% more than the noise of both measurements explains (95%, "
        "standard errors added in squares)."
    ]
    if not same_machine:
        notes.append(
            "The baseline is of another processor or number of cores: its ratios are only a hint."
        )
    return Table(
        "check", "Against the landed state", ("ratio", "landed", "now", ""), rows, tuple(notes)
    )


def read_baseline(path: Path = BASELINE) -> Baseline:
    """Read the landed state.

    Raises:
        UsageError: there is none, or it does not fit.
    """
    try:
        return decode(Baseline, parse_json(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"{path}: no baseline ({error.strerror}); make it with --write") from error
    except CodecError as error:
        raise UsageError(f"{path}: not a baseline: {error}") from error


def baseline_json(baseline: Baseline) -> bytes:
    """The bytes of the file."""
    return canonical_json(baseline)


def _throughput_ratios(section: Throughput) -> list[Guarded]:
    ours = next((row for row in section.rows if row.name == section.ours), None)
    if ours is None or not ours.seconds:
        return []
    found = []
    for row in section.rows:
        times = None if row is ours else throughput_ratio(row, ours, section)
        if times is None:
            continue
        if row.name == section.floor:
            found.append(Guarded("throughput: ours / floor", "lower", _inverse(times)))
        else:
            found.append(Guarded(f"throughput: {row.name} / ours", "higher", times))
    return found


def _latency_ratios(section: Latency) -> list[Guarded]:
    """Each candidate against the first, with one thread: block medians of the two series."""
    rows = [row for row in section.rows if row.figures is not None and row.threads == 1]
    return [
        Guarded(
            f"latency: {row.entrant.name} / {rows[0].entrant.name}",
            "higher",
            ratio(_blocks(row), _blocks(rows[0])),
        )
        for row in rows[1:]
    ]


def _startup_ratios(section: Startup) -> list[Guarded]:
    bare = next((row for row in section.rows if row.name == BARE and row.seconds), None)
    if bare is None:
        return []
    return [
        Guarded(f"startup: {row.name} / {BARE}", "lower", ratio(row.seconds, bare.seconds))
        for row in section.rows
        if row is not bare and row.seconds
    ]


def _blocks(row: LatencyRow) -> list[float]:
    return [] if row.figures is None else blocks(row.figures.samples_us)


def _inverse(found: Ratio) -> Ratio:
    return Ratio(
        value=1 / found.value,
        low=1 / found.high,
        high=1 / found.low,
        least=1 / found.most,
        most=1 / found.least,
        rounds=found.rounds,
    )


def _verdict(then: Guarded, now: Ratio | None) -> Verdict:
    if now is None:
        return Verdict(then.name, then.ratio, None, "not measured here")
    before, after = log_mean_of(then.ratio), log_mean_of(now)
    change = after.value - before.value
    if abs(change) <= noise_between(before, after) + math.log1p(DRIFT):
        return Verdict(then.name, then.ratio, now, "same")
    good = (change > 0) == (then.better == "higher")
    return Verdict(then.name, then.ratio, now, "better" if good else "worse")
