"""Sections of `results.json` become tables: in Markdown for terminals and documents, in HTML.

Each table is one Jinja2 template, `templates/NAME.md.jinja`: a table of cells, then notes, a
paragraph each. A figure never travels alone: intervals stand in the cells, and under each table
the machine, the versions, n and the command that gives it again. The HTML report and the tables of
several machines side by side are made from the Markdown.
"""

import base64
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import check
from benchmarks.compare import MARGINS
from benchmarks.machine import Machine, describe_sensors
from benchmarks.record import (
    Accuracy,
    AccuracyRow,
    CompareRow,
    LatencyRow,
    Results,
    Section,
    Taken,
    Throughput,
    ThroughputRow,
)
from benchmarks.scale import linearity, scaling
from benchmarks.startup import BARE
from benchmarks.timing import Ratio, ratio
from edge_app.errors import RuntimeUnavailableError
from edge_app.statistics.intervals import Figure

if TYPE_CHECKING:
    from jinja2 import Environment

NONE = "–"
# More of the cores' time in other hands than this, and times are called too high.
BUSY = 0.1
_FIGURES = {"auroc": "AUROC", "auprc": "AUPRC", "ece": "ECE"}
_CELLS = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Kind:
    """A table that can be made of a section; `name` is its template and its marker in documents."""

    name: str
    section: str
    title: str


# In the order in which a reader asks.
KINDS = (
    Kind("compare", "compare", "What to run here?"),
    Kind("accuracy", "accuracy", "Accuracy"),
    Kind("operating_points", "accuracy", "Fixed operating points"),
    Kind("subgroups", "accuracy", "Subgroups, default operating point"),
    Kind("latency", "latency", "Latency of one inference"),
    Kind("throughput", "throughput", "Folder to results"),
    Kind("scale_megapixels", "scale", "Cost by megapixels"),
    Kind("scale_workers", "scale", "Cost by workers"),
    Kind("scale_files", "scale", "Cost by files"),
    Kind("startup", "startup", "From cold"),
    Kind("article", "article", "The article's network beside ours"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table in Markdown, with its notes and without its title."""

    name: str
    title: str
    markdown: str

    def rows(self) -> list[dict[str, str]]:
        """The cells by their header."""
        lines = [line for line in self.markdown.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in _CELLS.split(line)[1:-1]] for line in lines]
        return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def require_tables() -> None:
    """Raise RuntimeUnavailableError unless Jinja2 and markdown-it-py are installed."""
    if find_spec("jinja2") is None or find_spec("markdown_it") is None:
        raise RuntimeUnavailableError(
            "tables need Jinja2 and markdown-it-py: pip install 'pneumoscope[benchmarks]'"
        )


def can_make_tables() -> bool:
    """Whether they are installed; says so where not, as the figures are kept all the same."""
    try:
        require_tables()
    except RuntimeUnavailableError as error:
        print(f"benchmarks: tables are left out: {error}", file=sys.stderr)
        return False
    return True


def make_tables(results: Results, sections: Iterable[str] = ()) -> list[Table]:
    """Every table of what has been measured, or of these sections only."""
    wanted = set(sections) or {kind.section for kind in KINDS}
    found = []
    for kind in KINDS:
        section: Section | None = getattr(results, kind.section)
        if kind.section in wanted and section is not None:
            text = _table(kind, section, results.machine)
            if text is not None:
                found.append(Table(kind.name, kind.title, text))
    return found


def verdict_table(verdicts: Sequence[check.Verdict], baseline: check.Baseline, hint: str) -> Table:
    """The guard's verdicts; `hint` is what `check.only_a_hint` says."""
    text = _render(
        "check",
        verdicts=verdicts,
        baseline=baseline,
        hint=hint,
        drift=check.DRIFT,
        fill_full=check.FILL_FULL,
    )
    return Table("check", "Against the landed state", text)


def as_markdown(tables: Sequence[Table]) -> str:
    """Tables with their titles, for a terminal."""
    return "\n".join(f"\n## {table.title}\n\n{table.markdown}" for table in tables)


def as_html(tables: Sequence[Table], machine: str, plots: Sequence[Path] = ()) -> str:
    """One page without outside assets; what names hold is text there, never markup."""
    from markdown_it import MarkdownIt

    converter = MarkdownIt("commonmark", {"html": False}).enable("table")
    page = _environment().get_template("report.html.jinja")
    return page.render(machine=machine, tables=converter.render(as_markdown(tables)), plots=plots)


def side_by_side(named: Mapping[str, Results]) -> list[Table]:
    """Several machines' figures in common tables; a column each, a dash where one has none.

    Under each table, for each column: the machine, the model and the versions that it is of.
    """
    made = {name: {t.name: t for t in make_tables(results)} for name, results in named.items()}
    tables = []
    for section, title, names, cells_of in _SIDE_BY_SIDE:
        columns = {
            column: dict(cell for name in names if name in of for cell in cells_of(of[name]))
            for column, of in made.items()
        }
        keys = list(dict.fromkeys(key for column in columns.values() for key in column))
        if keys:
            rows = [[key, *(cells.get(key) for cells in columns.values())] for key in keys]
            notes = {column: _column_note(column, named[column], section) for column in columns}
            text = _render(
                "side_by_side", columns=list(columns), rows=rows, column_note=notes.__getitem__
            )
            tables.append(Table(section, title, text))
    return tables


_Cells = Iterator[tuple[str, str]]


def _side_accuracy(table: Table) -> _Cells:
    for row in table.rows():
        if row["AUROC"] != NONE:
            yield row["contender"], f"{row['AUROC']}, {row['n scored']}"


def _side_latency(table: Table) -> _Cells:
    for row in table.rows():
        yield f"{row['contender']}, {row['threads']} threads", f"{row['p50']} / {row['p90']}"


def _side_throughput(table: Table) -> _Cells:
    for row in table.rows():
        name, ms = row["contender"].partition(":")[0], row["ms an image"]
        times = row["ours is faster by"].partition(" ")[0]
        # Machines differ in their number of cores; the row must not.
        if name.startswith("**"):
            yield "pneumoscope batch, most workers", ms
        elif name.startswith("floor / "):
            yield "floor", ms
        else:
            yield name, ms if times == NONE else f"{ms} ({times})"


def _side_scale(table: Table) -> _Cells:
    for row in table.rows():
        (unit, x), (_, seconds), *_ = row.items()
        if "speed-up" in row:
            # How many files such a run takes is not the same everywhere; the speed-up may be held
            # against another's.
            seconds = f"{row['speed-up']} times as fast as 1"
        memory = row["memory MB"]
        yield f"{x} {unit}", seconds if memory == NONE else f"{seconds} ({memory})"


def _side_startup(table: Table) -> _Cells:
    for row in table.rows():
        yield row["command"], f"{row['median']} ({row['memory']})"


def _side_compare(table: Table) -> _Cells:
    for row in table.rows():
        if row[""] == "**recommended**":
            yield "recommended", row["contender"].strip("*")


_SIDE_BY_SIDE: tuple[tuple[str, str, tuple[str, ...], Callable[[Table], _Cells]], ...] = (
    ("accuracy", "AUROC (95% interval), n scored", ("accuracy",), _side_accuracy),
    ("latency", "Inference, p50 / p90 in ms", ("latency",), _side_latency),
    (
        "throughput",
        "Folder to results, ms an image (ours is faster by)",
        ("throughput",),
        _side_throughput,
    ),
    (
        "scale",
        "As work grows, seconds (peak MB)",
        ("scale_megapixels", "scale_workers", "scale_files"),
        _side_scale,
    ),
    ("startup", "From cold, median ms (peak MB)", ("startup",), _side_startup),
    ("compare", "Recommended", ("compare",), _side_compare),
)


def _column_note(column: str, results: Results, name: str) -> str:
    """What a column is of; only the machine where the section was not measured there."""
    section: Section | None = getattr(results, name)
    if section is None:
        return f"{column}: {results.machine}: not measured"
    data = f" on {section.data.name}" if isinstance(section, Accuracy) else ""
    versions = _listed(results.machine, section.taken)
    return (
        f"{column}: {section.taken.model_id}{data}, {results.machine}; {versions}; "
        f"{section.taken.at[:10]}"
    )


def _table(kind: Kind, section: Any, machine: Machine) -> str | None:
    """The table of a section; None for what it does not hold."""
    if kind.section == "scale":
        curves = (c for c in section.curves if kind.name == f"scale_{c.name}")
        curve = next(curves, None)
        if curve is None:
            return None
        return _render("scale", section=section, machine=machine, curve=curve)
    if kind.name == "subgroups" and not any(row.groups for row in section.rows):
        return None
    return _render(kind.name, section=section, machine=machine)


def _render(name: str, **context: Any) -> str:
    """A template as Markdown: its lines of cells, a blank line, its paragraphs as notes."""
    machine = context.get("machine")

    def origin(taken: Taken, more: Mapping[str, str] | None = None) -> str:
        assert isinstance(machine, Machine)
        return _origin(taken, machine, more or {})

    text = _environment().get_template(f"{name}.md.jinja").render(**context, origin=origin)
    cells = [line for line in text.splitlines() if line.startswith("|")]
    rest = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", rest))
    notes = list(dict.fromkeys(filter(None, paragraphs)))
    return "\n".join(cells) + "\n\n" + "  \n".join(notes) + "\n"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        autoescape=select_autoescape(("html.jinja",)),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": _figure,
        "signed_figure": _signed,
        "percent": _percent,
        "number": _number,
        "bold_if": lambda text, condition: f"**{text}**" if condition else text,
        "row": _line,
        "header": lambda cells: f"{_line(cells)}\n{_line(['---'] * len(cells))}",
    }
    environment.globals |= {
        "margins": MARGINS,
        "bare_name": BARE,
        "ratio": ratio,
        "median": statistics.median,
        "linearity": linearity,
        "scaling": scaling,
        "sensors": describe_sensors,
        "faster_by": faster_by,
        "runtime_versions": _runtime_versions,
        "loop_versions": _loop_versions,
        "trained_note": _trained_note,
        "undefined_notes": _undefined_notes,
        "refusal_notes": _refusal_notes,
        "of_rows": _of_rows,
        "base64": lambda path: base64.b64encode(path.read_bytes()).decode(),
    }
    return environment


def faster_by(section: Throughput, row: ThroughputRow) -> Ratio | None:
    """How many times as long a contender takes a picture as ours; None for ours itself."""
    ours = section.our_row
    if ours is None or row == ours or not row.seconds or len(row.seconds) != len(ours.seconds):
        return None
    return ratio(section.ms_per_image(row), section.ms_per_image(ours))


def _trained_note(trained_on: int | None, n: int | None = None) -> str:
    """What a reader must know of figures on pictures that the network has seen."""
    if trained_on is None:
        return (
            "Whether the network was trained on any of these pictures is not known here: the "
            "split of its checkpoint is not in train/checkpoints."
        )
    if not trained_on:
        return ""
    these = "these" if n is None else f"these {n}"
    seen = f"{trained_on} of {these} pictures"
    return f"**The network was trained on {seen}, so their figures flatter.**"


def _undefined_notes(rows: Sequence[AccuracyRow]) -> list[tuple[str, list[str]]]:
    """Why a figure is missing, and in which rows."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, why in row.undefined.items():
            text = f"{_FIGURES[name]} is undefined: {why}."
            found.setdefault(text, []).append(row.contender.name)
    return sorted(found.items())


def _refusal_notes(rows: Sequence[AccuracyRow]) -> list[tuple[str, list[str]]]:
    """Pictures without a score by reason, rows that agree in one line."""
    found: dict[str, list[str]] = {}
    for row in rows:
        reasons = ", ".join(f"{count} {name}" for name, count in sorted(row.refusals.items()))
        if reasons:
            found.setdefault(f"Not scored: {reasons}.", []).append(row.contender.name)
    return list(found.items())


def _of_rows(text: str, names: Sequence[str], all_rows: Sequence[AccuracyRow]) -> str:
    return text if len(names) == len(all_rows) else f"{', '.join(names)}: {text}"


def _runtime_versions(
    rows: Sequence[AccuracyRow] | Sequence[LatencyRow] | Sequence[CompareRow],
) -> dict[str, str]:
    """Of runtimes that live in other environments too, where they differ from this one's."""
    packages = {"litert": "ai-edge-litert"}
    contenders = [row.contender for row in rows]
    return {packages.get(c.runtime, c.runtime): c.version for c in contenders if c.version}


def _loop_versions(rows: Sequence[ThroughputRow]) -> dict[str, str]:
    return {name: version for row in rows for name, version in row.versions.items()}


def _origin(taken: Taken, machine: Machine, more: Mapping[str, str]) -> str:
    load = "" if taken.load is None else f", load {taken.load:g} when begun"
    busy = ""
    if taken.busy is not None and taken.busy > BUSY:
        busy = f" **Others took {100 * taken.busy:.0f}% of the cores' time: times are too high.**"
    partial = "" if taken.complete else " **Interrupted: only what was done.**"
    return (
        f"{taken.model_id} on {machine}{load}; {_listed(machine, taken, more)}; {taken.at[:10]}. "
        f"Again: `{taken.command}`.{busy}{partial}"
    )


def _listed(machine: Machine, taken: Taken, more: Mapping[str, str] | None = None) -> str:
    versions = {"python": machine.python} | dict(taken.versions) | dict(more or {})
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _figure(figure: Figure | None, digits: int = 3) -> str:
    if figure is None:
        return NONE
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f}–{figure.high:.{digits}f})"


def _signed(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    return f"{figure.value:+.4f} ({figure.low:+.4f} to {figure.high:+.4f})"


def _percent(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    value, low, high = (100 * part for part in (figure.value, figure.low, figure.high))
    return f"{value:.1f}% ({low:.1f}–{high:.1f})"


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _line(cells: Sequence[object]) -> str:
    # A pipe inside of a cell would end it.
    texts = (NONE if cell is None else str(cell).replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(texts) + " |"
