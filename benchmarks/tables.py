"""Sections of `results.json` become tables, in Markdown for terminals and the README.

A figure never travels alone: intervals stand in the cells, and under each table the machine, the
versions, n and the command that gives it again.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.compare import MARGINS, images_per_s
from benchmarks.machine import Machine, describe_sensors
from benchmarks.record import (
    Accuracy,
    AccuracyRow,
    Article,
    Compare,
    ContenderRow,
    Entrant,
    Latency,
    LatencyRow,
    Results,
    Scale,
    Startup,
    Taken,
    Throughput,
)
from benchmarks.scale import linearity, scaling
from benchmarks.startup import BARE
from benchmarks.timing import Ratio, ratio
from edge_app.statistics.intervals import Figure

NONE = "–"
_FIGURES = {"auroc": "AUROC", "auprc": "AUPRC", "ece": "ECE"}


@dataclass(frozen=True, slots=True)
class Table:
    """Headers, cells and the notes under them; `name` is the README's marker."""

    name: str
    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def markdown(table: Table) -> str:
    """The table and its notes, without its title."""
    lines = [_line(table.headers), _line(["---"] * len(table.headers))]
    lines += [_line(row) for row in table.rows]
    lines += ["", *(f"{note}  " for note in table.notes[:-1]), *table.notes[-1:]]
    return "\n".join(lines) + "\n"


def all_tables(results: Results) -> list[Table]:
    """Every table of what has been measured, in the order in which a reader asks."""
    found: list[Table] = []
    for name, make in _MAKERS.items():
        section = getattr(results, name)
        if section is not None:
            found += make(section, results.machine)
    return found


def accuracy_tables(section: Accuracy, machine: Machine) -> list[Table]:
    """The formats side by side, the operating points, the subgroups."""
    data = section.data
    about = (
        f"{data.name}: {data.n} images of {data.n_patients} patients, {data.n_positive} with "
        "pneumonia. 95% intervals: AUROC DeLong over patients, AUPRC and ECE bootstrap over "
        "patients, shares Wilson."
    )
    fitted = (
        [f"**Fitted on these very pictures, so flattering:** {', '.join(data.fitted_here)}."]
        if data.fitted_here
        else []
    )
    notes = (about, *fitted, *_missing_notes([r.entrant for r in section.rows]))
    entrants = [row.entrant for row in section.rows]
    origin = _origin(section.taken, machine, _runtime_versions(entrants))
    measured = [row for row in section.rows if not row.entrant.missing]
    tables = [
        Table(
            "accuracy",
            "Accuracy by format",
            (
                *("format", "n scored", "AUROC", "AUPRC", "ECE"),
                *("refused", "failed", "AUROC − float32 (p)", "flipped"),
            ),
            tuple(_accuracy_cells(row) for row in measured),
            (*notes, *_undefined_notes(measured), *_refusal_notes(measured), origin),
        ),
        Table(
            "operating_points",
            "Fixed operating points",
            (
                "format",
                "point",
                "threshold",
                "sensitivity",
                "specificity",
                "PPV",
                "NPV",
                "indeterminate",
                "TP FP TN FN",
                "flipped",
                "McNemar p",
            ),
            tuple(cells for row in measured for cells in _point_cells(row)),
            (
                *notes,
                "PPV and NPV hold for the prevalence of these pictures. Flipped: decided otherwise "
                "than float32 at its own threshold of the same name (a foreign model: at the "
                "default one).",
                origin,
            ),
        ),
    ]
    groups = [cells for row in measured for cells in _group_cells(row)]
    if groups:
        title = "Subgroups, default operating point"
        headers = ("format", "group", "n", "with pneumonia", "AUROC", "sensitivity", "specificity")
        about = "Sub-types of the sick are set against all the healthy."
        tables.append(Table("subgroups", title, headers, tuple(groups), (about, origin)))
    return tables


def latency_tables(section: Latency, machine: Machine) -> list[Table]:
    """Inference alone, by format, runtime and threads."""
    rows = [row for row in section.rows if row.figures is not None]
    origin = _origin(
        section.taken, machine, _runtime_versions([row.entrant for row in section.rows])
    )
    headers = (
        "format",
        "threads",
        "load",
        "first",
        "p50",
        "p90",
        "p99",
        "max",
        "images/s",
        "memory",
        "file",
        "M mult-adds",
        "GOP/s",
        "mJ",
    )
    runs = sorted({row.figures.single_stream.n for row in rows if row.figures})
    counts = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}" if runs else "0"
    notes = [
        f"Milliseconds of one inference, {counts} runs each after a warm-up, one process a row "
        "(MLPerf single stream: the 90th percentile; images/s: its offline scenario, one "
        "single-threaded process a core; departures: docs/benchmarks.md). Memory in MB, Python "
        "included; file in MB.",
        *_missing_notes([row.entrant for row in section.rows]),
        *_runtime_notes(rows),
    ]
    return [
        Table(
            "latency",
            "Latency of one inference",
            headers,
            tuple(_latency_cells(row) for row in rows),
            (*notes, origin),
        )
    ]


def throughput_tables(section: Throughput, machine: Machine) -> list[Table]:
    """Ours against the loops and the floor."""
    ours = next((row for row in section.rows if row.name == section.ours), None)
    cells = [_throughput_cells(row, ours, section) for row in section.rows if not row.missing]
    parts = " + ".join(f"{name} {ms:.2f}" for name, ms in section.floor_parts_ms.items())
    rounds = len(ours.seconds) if ours is not None else 0
    left_out = f", {section.left_out}" if section.left_out else ""
    notes = (
        f"{section.pictures} pictures of {section.data}{left_out} (median "
        f"{section.megapixels:.1f} MP), {rounds} interleaved rounds; milliseconds a picture are "
        "medians, ratios geometric means of the rounds with 95% intervals. Ours is charged its "
        "start, its loading and "
        f"{0 if ours is None else ours.images} files' rows in results.jsonl and results.csv "
        "(report.html is left out: no loop makes one); the loops run warm. "
        "AUROC on these pictures only shows that a loop computes the same thing.",
        f"Floor: {parts} ms on one core (entropy decoding measured as libjpeg's 1/8 scale), "
        f"divided by {section.cores} cores.",
        *(f"{row.name}: not run: {row.missing}" for row in section.rows if row.missing),
        *_sensor_notes(describe_sensors(section.before, section.after)),
        _origin(section.taken, machine, _peer_versions(section.rows)),
    )
    headers = ("way", "ms an image", "images/s", "ours is faster by", "memory", "AUROC")
    return [Table("throughput", "Folder to results", headers, tuple(cells), notes)]


def compare_tables(section: Compare, machine: Machine) -> list[Table]:
    """The table that a user decides by."""
    headers = (
        "format",
        "threads",
        "file MB",
        "AUROC",
        "flipped",
        "p50 ms",
        "p90 ms",
        "images/s",
        "memory MB",
        "",
    )
    rows = tuple(
        (
            f"**{row.entrant.name}**" if row.choice == "recommended" else row.entrant.name,
            str(row.threads),
            f"{row.file_bytes / 1e6:.2f}",
            _figure(row.auroc, 4),
            _percent(row.flipped),
            _number(row.p50_ms, 2),
            _number(row.p90_ms, 2),
            _number(images_per_s(row), 0),
            _number(row.peak_memory_mb, 0),
            f"**{row.choice}**" if row.choice == "recommended" else row.choice,
        )
        for row in section.rows
    )
    notes = (
        f"Recommended on this machine: {section.why}.",
        f"AUROC and flips (against float32) on {_data_of(section)}; a format may lose "
        f"{MARGINS.auroc:g} AUROC and flip {100 * MARGINS.flipped:g}%, as the export allows. "
        "Images/s: inference alone on all cores.",
        _origin(section.taken, machine, _runtime_versions([row.entrant for row in section.rows])),
    )
    return [Table("compare", "Which format here?", headers, rows, notes)]


def _data_of(section: Compare) -> str:
    """The pictures and how many were scored."""
    counts = sorted({row.auroc.n for row in section.rows if row.auroc is not None})
    images = f" ({' or '.join(map(str, counts))} images)" if counts else ""
    return f"{section.data}{images}" if section.data else "nothing"


def scale_tables(section: Scale, machine: Machine) -> list[Table]:
    """One table a curve, with where it stops being linear."""
    tables = []
    for curve in section.curves:
        rows = tuple(
            (
                f"{point.x:g}",
                f"{point.seconds:.3f}",
                f"{1000 * point.seconds / point.x:.2f}",
                _number(point.peak_memory_mb, 0),
            )
            for point in curve.points
        )
        growth = scaling(curve.points) if curve.name == "workers" else linearity(curve.points)
        memory = "Memory: the process's peak."
        if curve.name != "megapixels":
            memory = (
                "Memory: all processes together, looked at ten times a second in the first run."
            )
        headers = (curve.unit, "seconds", f"ms per {curve.unit.removesuffix('s')}", "memory MB")
        if curve.name == "workers":
            rows = tuple(
                (x, s, f"{curve.points[0].seconds / float(s):.2f}", m) for x, s, _, m in rows
            )
            headers = (curve.unit, "seconds", "speed-up", "memory MB")
        tables.append(
            Table(
                f"scale_{curve.name}",
                f"Cost by {curve.unit}",
                headers,
                rows,
                (
                    f"{curve.note}; {growth}. {memory}",
                    _origin(section.taken, machine),
                ),
            )
        )
    return tables


def startup_tables(section: Startup, machine: Machine) -> list[Table]:
    """Commands from cold."""
    bare = next((row for row in section.rows if row.name == BARE), None)
    rows = []
    for row in section.rows:
        if not row.seconds:
            continue
        times = "" if bare is None else str(ratio(row.seconds, bare.seconds))
        rows.append(
            (
                f"`{row.command}`",
                f"{1000 * statistics.median(row.seconds):.0f}",
                f"{1000 * max(row.seconds):.0f}",
                times,
                f"{max(row.peak_memory_mb):.1f}",
            )
        )
    n = len(section.rows[0].seconds) if section.rows else 0
    note = (
        f"{n} fresh processes each, interleaved, files in the page cache; wall time in ms, "
        "ratio with 95% interval, peak resident memory in MB."
    )
    headers = ("command", "median", "slowest", f"times `{BARE}`", "memory")
    return [
        Table("startup", "From cold", headers, tuple(rows), (note, _origin(section.taken, machine)))
    ]


def article_tables(section: Article, machine: Machine) -> list[Table]:
    """The article's network beside ours."""
    headers = (
        "network",
        "split",
        "n",
        "AUROC",
        "AUROC, all degraded alike",
        "sensitivity",
        "specificity",
        "accuracy",
        "source",
    )
    rows = tuple(
        (
            row.name,
            row.split,
            str(row.n),
            _figure(row.auroc, 4),
            _figure(row.auroc_degraded, 4),
            _figure(row.sensitivity),
            _figure(row.specificity),
            _figure(row.accuracy),
            row.source,
        )
        for row in section.rows
    )
    notes = (
        "Held-out pictures of each run; sensitivity, specificity and accuracy at a sigmoid of "
        "0.5, the article's threshold, ours at its own. The rows were validated on different "
        "pictures (n), so two of them side by side say nothing finer than their intervals. Split "
        "by image, a patient's pictures stand on both sides; with no degradation, the files' "
        "compression gives the label away under either split: neither figure is a promise.",
        "All degraded alike: each held-out picture once as training degrades it, so that sharpness "
        "and compression tell nothing; the same split and n. The shipped row's figure there is the "
        "float32 network's, before it was quantized.",
        "The article itself claims an accuracy of 96%, split by image, and gives no interval.",
        f"Again: `{section.taken.command}`.",
    )
    return [Table("article", "The article's network beside ours", headers, rows, notes)]


_MAKERS: Mapping[str, Callable[..., list[Table]]] = {
    "compare": compare_tables,
    "accuracy": accuracy_tables,
    "latency": latency_tables,
    "throughput": throughput_tables,
    "scale": scale_tables,
    "startup": startup_tables,
    "article": article_tables,
}


def throughput_ratio(row: ContenderRow, ours: ContenderRow, section: Throughput) -> Ratio | None:
    """How many times as long a way takes a picture as ours; the floor is divided by the cores."""
    if not row.seconds or len(row.seconds) != len(ours.seconds):
        return None
    share = section.cores if row.name == section.floor else 1
    return ratio([ms / share for ms in row.ms_per_image()], ours.ms_per_image())


def _throughput_cells(
    row: ContenderRow, ours: ContenderRow | None, section: Throughput
) -> tuple[str, ...]:
    floor = row.name == section.floor
    share = section.cores if floor else 1
    ms = statistics.median(row.ms_per_image()) / share if row.seconds else None
    times = None if ours is None or row is ours else throughput_ratio(row, ours, section)
    shown = NONE if times is None else str(times)
    if floor and times is not None:
        shown = f"ours takes {1 / times.value:.2f} times the floor"
    name = f"**{row.name}**" if row.name == section.ours else row.name
    return (
        f"floor / {section.cores} cores" if floor else f"{name}: {row.what}",
        _number(ms, 2),
        NONE if ms is None else f"{1000 / ms:.0f}",
        shown,
        _number(row.peak_memory_mb, 0),
        _number(row.auroc, 3),
    )


def _accuracy_cells(row: AccuracyRow) -> tuple[str, ...]:
    flipped = row.points[0].flipped if row.points else None
    p = "" if row.versus_p is None else f" (p {row.versus_p:.2g})"
    return (
        row.entrant.name,
        str(row.n_scored),
        _figure(row.auroc, 4),
        _figure(row.auprc, 4),
        _figure(row.ece),
        _percent(row.refused),
        str(row.n_failed),
        NONE if row.versus is None else f"{_signed(row.versus)}{p}",
        _percent(flipped),
    )


def _point_cells(row: AccuracyRow) -> list[tuple[str, ...]]:
    return [
        (
            row.entrant.name,
            point.name,
            f"{point.threshold:+.3f}",
            _figure(point.sensitivity),
            _figure(point.specificity),
            _figure(point.ppv),
            _figure(point.npv),
            _percent(point.indeterminate),
            f"{point.tp} {point.fp} {point.tn} {point.fn}",
            _percent(point.flipped),
            _number(point.mcnemar_p, 2),
        )
        for point in row.points
    ]


def _group_cells(row: AccuracyRow) -> list[tuple[str, ...]]:
    return [
        (
            row.entrant.name,
            f"{group.kind}: {group.value}",
            str(group.n),
            str(group.n_positive),
            _figure(group.auroc),
            _figure(group.sensitivity),
            _figure(group.specificity),
        )
        for group in row.groups
    ]


def _latency_cells(row: LatencyRow) -> tuple[str, ...]:
    figures = row.figures
    assert figures is not None
    stream = figures.single_stream
    joules = figures.joules_per_run
    return (
        row.entrant.name,
        str(row.threads),
        f"{figures.load_ms:.0f}",
        f"{figures.first_ms:.1f}",
        *(f"{ms:.2f}" for ms in (stream.p50, stream.p90, stream.p99, stream.max)),
        _number(figures.offline_per_s, 0),
        _number(figures.peak_memory_mb, 0),
        f"{row.file_bytes / 1e6:.2f}",
        NONE if row.multiply_adds is None else f"{row.multiply_adds / 1e6:.0f}",
        _number(row.gops, 1),
        NONE if joules is None else f"{1000 * joules:.1f}",
    )


def _missing_notes(entrants: Sequence[Entrant]) -> list[str]:
    missing = {f"{e.name}: not measured: {e.missing}" for e in entrants if e.missing}
    return sorted(missing)


def _runtime_notes(rows: Sequence[LatencyRow]) -> list[str]:
    notes = {f"{row.entrant.name}: {note}" for row in rows for note in row.entrant.notes}
    sensors = {
        text
        for row in rows
        if row.figures and (text := describe_sensors(row.figures.before, row.figures.after))
    }
    sources = {row.figures.energy_source for row in rows if row.figures} - {None}
    energy = [f"Energy: {source}, the whole domain." for source in sorted(filter(None, sources))]
    return [*sorted(notes), *sorted(sensors), *energy]


def _sensor_notes(text: str) -> list[str]:
    return [f"Machine during the run: {text}."] if text else []


def _undefined_notes(rows: Sequence[AccuracyRow]) -> list[str]:
    """Why a figure is missing; of which rows, where not of all."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, why in row.undefined.items():
            text = f"{_FIGURES.get(name, name)} is undefined: {why}."
            found.setdefault(text, []).append(row.entrant.name)
    return [_of_rows(text, names, len(rows)) for text, names in sorted(found.items())]


def _refusal_notes(rows: Sequence[AccuracyRow]) -> list[str]:
    """Pictures without a score by reason, rows that agree in one line."""
    found: dict[str, list[str]] = {}
    for row in rows:
        reasons = ", ".join(f"{count} {name}" for name, count in sorted(row.refusals.items()))
        if reasons:
            found.setdefault(f"Not scored: {reasons}.", []).append(row.entrant.name)
    return [_of_rows(text, names, len(rows)) for text, names in found.items()]


def _of_rows(text: str, names: Sequence[str], all_rows: int) -> str:
    return text if len(names) == all_rows else f"{', '.join(names)}: {text}"


def _runtime_versions(entrants: Sequence[Entrant]) -> dict[str, str]:
    """Of runtimes that live in other environments too, where they differ from this one's."""
    packages = {"litert": "ai-edge-litert"}
    return {packages.get(e.runtime, e.runtime): e.version for e in entrants if e.version}


def _peer_versions(rows: Sequence[ContenderRow]) -> dict[str, str]:
    versions: dict[str, str] = {}
    for row in rows:
        versions |= row.versions
    return versions


def _origin(taken: Taken, machine: Machine, more: Mapping[str, str] | None = None) -> str:
    versions = {"python": machine.python} | dict(taken.versions) | dict(more or {})
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    load = "" if taken.load is None else f", load {taken.load:g} when begun"
    partial = "" if taken.complete else " **Interrupted: only what was done.**"
    return (
        f"{taken.model_id} on {machine}{load}; {listed}; {taken.at[:10]}. "
        f"Again: `{taken.command}`.{partial}"
    )


def _figure(figure: Figure | None, digits: int = 3) -> str:
    if figure is None:
        return NONE
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f}–{figure.high:.{digits}f})"


def _signed(figure: Figure) -> str:
    return f"{figure.value:+.4f} ({figure.low:+.4f} to {figure.high:+.4f})"


def _percent(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    value, low, high = (100 * part for part in (figure.value, figure.low, figure.high))
    return f"{value:.1f}% ({low:.1f}–{high:.1f})"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    # A pipe inside of a cell would end it.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
