"""The regression guard: ratios of the landed state against those of now.

Ratios only, never times: they hold on the next machine of the same kind, and on a busy one. Each
is something of ours against fixed work beside it (`benchmarks.reference`; a bare Python for the
start), so that it moves only where ours does: another contender or the floor that becomes
faster makes nothing worse. `judge` compares two sets. A ratio is called worse where it grew by more
than the noise of both measurements, |ln now - ln then| > t * sqrt(se1^2 + se2^2), and by `DRIFT`
on top, which is what the same code differs by from one hour to the next here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.machine import Machine, Processor
from benchmarks.processes import REPOSITORY
from benchmarks.record import Startup, Throughput
from benchmarks.reference import REFERENCE, Paired, versions
from benchmarks.startup import BARE
from benchmarks.timing import Ratio, log_mean_of, noise_between, ratio
from edge_app.errors import UsageError
from edge_app.files.codec import CodecError, decode, parse_json

BASELINE = REPOSITORY / "benchmarks" / "baseline.json"
FORMAT_VERSION = 3
DRIFT = 0.05
FILL_SHORT = "python -m benchmarks check --write"
FILL_FULL = "python -m benchmarks check --write FOLDER"


@dataclass(frozen=True, slots=True)
class Guarded:
    """How many times the cost of fixed work something of ours costs: lower is better."""

    name: str
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Baseline:
    """`baseline.json`: the landed state's ratios.

    Attributes:
        processor, cores: they were taken on; elsewhere a verdict is only a hint.
        versions: of what the fixed work runs on; with others a verdict is only a hint, too.
        full: of the measurements on real files.
        short: of the short form, on phantoms, which CI runs.
    """

    format_version: int
    processor: Processor
    cores: int
    versions: Mapping[str, str]
    full: tuple[Guarded, ...]
    short: tuple[Guarded, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One ratio then and now; None where it has not landed yet, or was not measured here."""

    name: str
    then: Ratio | None
    now: Ratio | None
    verdict: Literal["same", "worse", "better", "not measured here", "new"]


def guarded_ratios(
    throughput: Throughput, inference: Sequence[Paired], startup: Startup | None
) -> tuple[Guarded, ...]:
    """Every ratio that the guard watches, of what was measured."""
    of_inference = [
        Guarded(
            f"inference: {pair.name} / {REFERENCE}", ratio(pair.contender_us, pair.reference_us)
        )
        for pair in inference
    ]
    of_startup = [] if startup is None else _startup_ratios(startup)
    return (*_throughput_ratios(throughput), *of_inference, *of_startup)


def judge(then: Sequence[Guarded], now: Sequence[Guarded]) -> list[Verdict]:
    """Compare each ratio of the baseline with the one of the same name."""
    measured = {guarded.name: guarded.ratio for guarded in now}
    known = {guarded.name for guarded in then}
    return [
        *(_verdict(guarded, measured.get(guarded.name)) for guarded in then),
        *(Verdict(g.name, None, g.ratio, "new") for g in now if g.name not in known),
    ]


def landed(baseline: Baseline, *, short: bool) -> tuple[Guarded, ...]:
    """The ratios of one form.

    Raises:
        UsageError: there are none, so that nothing could become worse.
    """
    found = baseline.short if short else baseline.full
    if not found:
        form, fill = ("short", FILL_SHORT) if short else ("full", FILL_FULL)
        raise UsageError(
            f"{BASELINE}: holds no ratios of the {form} form; on a quiet machine `{fill}` makes "
            "them, and so does `make benchmarks`"
        )
    return found


def only_a_hint(baseline: Baseline, machine: Machine) -> str:
    """Why a verdict against this baseline is no more than a hint here, "" where it is more."""
    if not machine.processor.is_same(baseline.processor) or baseline.cores != machine.cores:
        return (
            f"The baseline is of another processor or number of cores ({baseline.processor}, "
            f"{baseline.cores}), or does not tell"
        )
    now = versions(machine)
    if baseline.versions == now:
        return ""
    names = sorted(baseline.versions.keys() | now.keys())
    moved = [
        f"{name} {baseline.versions.get(name, 'none')}, now {now.get(name, 'none')}"
        for name in names
        if baseline.versions.get(name) != now.get(name)
    ]
    return f"The fixed work runs on other versions than the baseline's ({'; '.join(moved)})"


def read_baseline(path: Path = BASELINE) -> Baseline:
    """Read the landed state.

    Raises:
        UsageError: there is none, or it does not fit.
    """
    try:
        document = parse_json(path.read_bytes())
        _check_version(document, path)
        return decode(Baseline, document)
    except OSError as error:
        raise UsageError(
            f"{path}: no baseline ({error.strerror}); `{FILL_SHORT}` makes one"
        ) from error
    except CodecError as error:
        raise UsageError(f"{path}: not a baseline: {error}") from error


def _check_version(document: object, path: Path) -> None:
    """Raises UsageError for a baseline of another version, whose ratios mean something else."""
    version = document.get("format_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version != FORMAT_VERSION:
        raise UsageError(
            f"{path}: its ratios are not comparable: format version {version}, this is "
            f"{FORMAT_VERSION}, which takes them against other work; on a quiet machine make them "
            f"again: `{FILL_SHORT}` and `{FILL_FULL}`"
        )


def _throughput_ratios(section: Throughput) -> list[Guarded]:
    """Ours, with the most workers, against decoding of the same files, by round."""
    ours = section.our_row
    fixed = next((row for row in section.rows if row.name == REFERENCE), None)
    if ours is None or fixed is None or not ours.seconds:
        return []
    if len(ours.seconds) != len(fixed.seconds):
        return []
    found = ratio(section.ms_per_image(ours), section.ms_per_image(fixed))
    return [Guarded(f"throughput: pneumoscope batch / {REFERENCE}", found)]


def _startup_ratios(section: Startup) -> list[Guarded]:
    bare = next((row for row in section.rows if row.name == BARE and row.seconds), None)
    if bare is None:
        return []
    return [
        Guarded(f"startup: {row.name} / {BARE}", ratio(row.seconds, bare.seconds))
        for row in section.rows
        if row is not bare and row.seconds
    ]


def _verdict(then: Guarded, now: Ratio | None) -> Verdict:
    if now is None:
        return Verdict(then.name, then.ratio, None, "not measured here")
    before, after = log_mean_of(then.ratio), log_mean_of(now)
    change = after.value - before.value
    if abs(change) <= noise_between(before, after) + math.log1p(DRIFT):
        return Verdict(then.name, then.ratio, now, "same")
    return Verdict(then.name, then.ratio, now, "worse" if change > 0 else "better")
