"""What to run on this machine: accuracy and latency of each contender, and one of them marked.

Measured `Accuracy` (None where there are no labelled pictures) and `Latency` enter, a `Compare`
and a `Recommendation` leave. The rule: patients come before milliseconds. Out of the bundle's own
that lose no more AUROC to the best of them, and flip no more of float32's decisions, than `MARGINS`
allow, the one with the most images a second; of those that are as fast within the noise of the
measurement, the one with the least memory. A foreign model stands beside them and is never chosen:
nothing is known of its training. Neither is a runtime that only the interpreter of `--python` has:
the app could not run what is recommended.
"""

import platform
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from benchmarks.machine import Machine
from benchmarks.record import (
    Accuracy,
    AccuracyRow,
    Compare,
    CompareRow,
    ContenderFacts,
    Latency,
    LatencyFigures,
    LatencyRow,
)
from benchmarks.store import Recording
from benchmarks.timing import log_mean, noise_between
from edge_app.bundle.manifest import Bundle
from edge_app.cores import usable_cores
from edge_app.models.recommendation import FORMAT_VERSION, Recommendation


@dataclass(frozen=True, slots=True)
class Margins:
    """What a contender may lose: AUROC against the best, share of float32's decisions flipped."""

    auroc: float
    flipped: float


RECOMMENDED = "recommended"
FOREIGN = "foreign: not the bundle's own"
ELSEWHERE = "only with --python: not installed where the app runs"
# The loosest limits that the export lets a file pass with (export/recipes/*.toml, [limits]:
# auroc_change and flipped_share), so that what may ship may be chosen; a test compares them.
MARGINS = Margins(auroc=0.001, flipped=0.01)
_BLOCKS = 8


def compare(
    accuracy: Accuracy | None,
    latency: Latency,
    recording: Recording[Compare],
    elsewhere: Collection[str] = (),
) -> Compare:
    """Put both together and choose.

    Args:
        accuracy: None where there are no labelled pictures.
        latency: of every contender.
        recording: of the section.
        elsewhere: runtimes that this environment lacks, measured in another one.
    """
    rows = [_row(row, accuracy) for row in latency.rows]
    own = [row.auroc.value for row in rows if row.auroc is not None and not row.contender.foreign]
    best = max(own, default=None)
    rows = [replace(row, choice=_objection(row, best, elsewhere)) for row in rows]
    chosen = _choose([row for row in rows if not row.choice])
    why = "nothing here can run the bundle"
    if chosen is not None:
        rows = [_against(row, chosen) for row in rows]
        why = _why(chosen, accuracy)
    data = "" if accuracy is None else accuracy.data.name
    trained_on = None if accuracy is None else accuracy.data.trained_on
    taken = recording.taken(complete=True)
    return recording.put(Compare(taken, data, trained_on, why, tuple(rows)))


def recommend(section: Compare, bundle: Bundle, machine: Machine) -> Recommendation | None:
    """What `pneumoscope info --recommend` shows; None where nothing runs."""
    chosen = next((row for row in section.rows if row.choice == RECOMMENDED), None)
    if chosen is None or chosen.p50_ms is None or chosen.p90_ms is None:
        return None
    return Recommendation(
        format_version=FORMAT_VERSION,
        measured_at=section.taken.at,
        architecture=platform.machine(),
        cores=usable_cores(),
        machine=str(machine),
        model_id=bundle.manifest.model_id,
        model_file=chosen.contender.file,
        model_sha256=chosen.contender.model_sha256,
        runtime=chosen.contender.runtime,
        runtime_version=chosen.contender.version,
        threads=chosen.threads,
        p50_ms=chosen.p50_ms,
        p90_ms=chosen.p90_ms,
        images_per_s=chosen.images_per_s,
        peak_memory_mb=chosen.peak_memory_mb,
        auroc=chosen.auroc,
        flipped=chosen.flipped,
        data=section.data,
        why=section.why,
    )


def blocks(samples: Sequence[float]) -> list[float]:
    """Medians of consecutive blocks, since neighbouring runs are not independent."""
    count = min(_BLOCKS, len(samples))
    edges = [index * len(samples) // count for index in range(count + 1)] if count else []
    ordered = (sorted(samples[a:b]) for a, b in pairwise(edges))
    return [float(block[len(block) // 2]) for block in ordered]


def _row(row: LatencyRow, accuracy: Accuracy | None) -> CompareRow:
    figures = row.figures
    of = None if accuracy is None else _accuracy_of(row.contender, accuracy)
    return CompareRow(
        contender=row.contender,
        threads=row.threads,
        file_bytes=row.file_bytes,
        auroc=None if of is None else of.auroc,
        flipped=None if of is None or not of.points else of.points[0].flipped,
        p50_ms=None if figures is None else figures.single_stream.p50,
        p90_ms=None if figures is None else figures.single_stream.p90,
        offline_per_s=None if figures is None else figures.offline_per_s,
        rates=() if figures is None else _rates(figures),
        peak_memory_mb=None if figures is None else figures.peak_memory_mb,
        choice="",
    )


def _rates(figures: LatencyFigures) -> tuple[float, ...]:
    if figures.offline_rates:
        return figures.offline_rates
    return tuple(1e6 / max(1.0, block) for block in blocks(figures.samples_us))


def _accuracy_of(contender: ContenderFacts, accuracy: Accuracy) -> AccuracyRow | None:
    return next((row for row in accuracy.rows if row.contender.key == contender.key), None)


def _objection(row: CompareRow, best: float | None, elsewhere: Collection[str]) -> str:
    """Why a contender is out of the question, "" where it is not."""
    if row.p50_ms is None:
        return row.contender.missing or "not measured"
    if row.contender.foreign:
        return FOREIGN
    if row.contender.runtime in elsewhere:
        return ELSEWHERE
    if best is not None and row.auroc is None:
        return "accuracy not measured"
    if best is not None and row.auroc is not None and best - row.auroc.value > MARGINS.auroc:
        return f"AUROC {best - row.auroc.value:.4f} below the best"
    if row.flipped is not None and row.flipped.value > MARGINS.flipped:
        return f"flips {100 * row.flipped.value:.2f}% of float32's decisions"
    return ""


def _choose(rows: Sequence[CompareRow]) -> CompareRow | None:
    if not rows:
        return None
    fastest = max(rows, key=lambda row: row.images_per_s or 0.0)
    close = [row for row in rows if _as_fast(row, fastest)]
    return min(close, key=lambda row: (row.peak_memory_mb or float("inf"), row.file_bytes))


def _as_fast(row: CompareRow, fastest: CompareRow) -> bool:
    """Whether the rates differ by no more than the noise of both, 95%."""
    if row is fastest:
        return True
    if not row.rates or not fastest.rates:
        return False
    ours, best = log_mean(row.rates), log_mean(fastest.rates)
    return best.value - ours.value <= noise_between(ours, best)


def _against(row: CompareRow, chosen: CompareRow) -> CompareRow:
    if row is chosen:
        return replace(row, choice=RECOMMENDED)
    if row.choice:
        return row
    rate, best = row.images_per_s, chosen.images_per_s
    if rate is None or best is None or rate >= best or _as_fast(row, chosen):
        return replace(row, choice="as fast within the noise, more memory")
    digits = 1 if best / rate >= 1.1 else 2
    return replace(row, choice=f"{best / rate:.{digits}f} times slower")


def _why(chosen: CompareRow, accuracy: Accuracy | None) -> str:
    """What speaks for the chosen row: only what was measured for it."""
    name = f"{chosen.contender.name}, {chosen.threads} thread{'s' if chosen.threads > 1 else ''}"
    if accuracy is None:
        held = "no labelled pictures were given: accuracy rests on the export's parity gate"
    else:
        of = _accuracy_of(chosen.contender, accuracy)
        held = f"{_auroc_held(chosen, of)}; {_flips_held(chosen, of, accuracy)}"
        held += f"; on {accuracy.data.name}"
    return f"{name}: the most images a second of those that passed what could be checked ({held})"


def _auroc_held(chosen: CompareRow, of: AccuracyRow | None) -> str:
    if of is None:
        return "accuracy not measured"
    if chosen.auroc is None:
        return f"AUROC undefined: {of.undefined.get('auroc', 'no reason was recorded')}"
    return f"AUROC {chosen.auroc.value:.4f}, within {MARGINS.auroc:g} of the best"


def _flips_held(chosen: CompareRow, of: AccuracyRow | None, accuracy: Accuracy) -> str:
    if chosen.flipped is not None:
        share, most = 100 * chosen.flipped.value, 100 * MARGINS.flipped
        return f"{share:.2f}% of float32's decisions flipped, at most {most:g}% allowed"
    if not accuracy.reference:
        return "flips not measured: no float32 ran here"
    if of is not None and of.contender.name == accuracy.reference:
        return "flips are counted against this very file"
    return "flips not measured"
