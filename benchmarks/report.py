"""One `report.html` of all figures, and several machines side by side.

`Results` enter; HTML without outside assets (plots are embedded) and Markdown leave.
"""

import base64
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from benchmarks.record import Accuracy, Results, Section
from benchmarks.tables import NONE, Table, all_tables, markdown, throughput_ratio

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
       color: #111; background: #fff; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { border: 1px solid #bbb; padding: 0.25rem 0.5rem; text-align: left; white-space: nowrap; }
td:first-child { white-space: normal; min-width: 12rem; }
th { background: #eee; }
p.note { color: #444; font-size: 0.8rem; margin: 0.3rem 0; }
img { max-width: 100%; height: auto; }
@media print { .scroll { overflow: visible; } table { font-size: 0.6rem; }
               td, th { white-space: normal; } }
"""


def html_report(results: Results, plots: Sequence[Path]) -> str:
    """One machine's report."""
    body = [f"<h1>Pneumoscope benchmarks</h1><p>{escape(str(results.machine))}</p>"]
    body += [_html_table(table) for table in all_tables(results)]
    body += [_html_plot(path) for path in plots]
    return _page(body)


def markdown_report(results: Results) -> str:
    """The same tables for a terminal."""
    tables = all_tables(results)
    return "\n".join(f"## {table.title}\n\n{markdown(table)}" for table in tables)


def side_by_side(named: Mapping[str, Results]) -> list[Table]:
    """Several machines' figures in common tables; a column each, a dash where one has none.

    Under each table, for each column: the machine, the model and the versions that it is of.
    """
    makers: list[tuple[str, str, Callable[[Results], dict[str, str]]]] = [
        ("accuracy", "AUROC (95% interval), n scored", _accuracy_cells),
        ("latency", "Inference, p50 / p90 in ms", _latency_cells),
        ("throughput", "Folder to results, ms an image (ours is faster by)", _throughput_cells),
        ("scale", "As work grows, seconds (peak MB)", _scale_cells),
        ("startup", "From cold, median ms (peak MB)", _startup_cells),
        ("compare", "Recommended", _choice_cells),
    ]
    tables = []
    for name, title, cells_of in makers:
        columns = [cells_of(results) for results in named.values()]
        keys = _union(columns)
        if not keys:
            continue
        rows = tuple((key, *(column.get(key, NONE) for column in columns)) for key in keys)
        notes = tuple(_column_note(column, named[column], name) for column in named)
        tables.append(Table(name, title, ("", *named), rows, notes))
    return tables


def html_tables(tables: Sequence[Table]) -> str:
    """A page of tables only."""
    return _page(["<h1>Pneumoscope benchmarks, side by side</h1>", *map(_html_table, tables)])


def _column_note(column: str, results: Results, name: str) -> str:
    """What a column is of; only the machine where the section was not measured there."""
    section: Section | None = getattr(results, name)
    if section is None:
        return f"{column}: {results.machine}: not measured"
    versions = {"python": results.machine.python} | dict(section.taken.versions)
    listed = ", ".join(f"{package} {version}" for package, version in versions.items())
    data = f" on {section.data.name}" if isinstance(section, Accuracy) else ""
    return (
        f"{column}: {section.taken.model_id}{data}, {results.machine}; {listed}; "
        f"{section.taken.at[:10]}"
    )


def _accuracy_cells(results: Results) -> dict[str, str]:
    rows = () if results.accuracy is None else results.accuracy.rows
    return {
        row.entrant.name: (
            f"{row.auroc.value:.4f} ({row.auroc.low:.4f}–{row.auroc.high:.4f}), {row.n_scored}"
        )
        for row in rows
        if row.auroc is not None
    }


def _scale_cells(results: Results) -> dict[str, str]:
    curves = () if results.scale is None else results.scale.curves
    return {
        f"{point.x:g} {curve.unit}": f"{point.seconds:.3f}{_megabytes(point.peak_memory_mb)}"
        for curve in curves
        for point in curve.points
    }


def _megabytes(peak: float | None) -> str:
    return "" if peak is None else f" ({peak:.0f})"


def _latency_cells(results: Results) -> dict[str, str]:
    rows = () if results.latency is None else results.latency.rows
    return {
        f"{row.entrant.name}, {row.threads} threads": (
            f"{row.figures.single_stream.p50:.2f} / {row.figures.single_stream.p90:.2f}"
        )
        for row in rows
        if row.figures is not None
    }


def _throughput_cells(results: Results) -> dict[str, str]:
    section = results.throughput
    if section is None:
        return {}
    ours = next((row for row in section.rows if row.name == section.ours), None)
    cells = {}
    for row in section.rows:
        if not row.seconds:
            continue
        # Machines differ in their number of cores; the row must not.
        share = section.cores if row.name == section.floor else 1
        name = "pneumoscope batch, most workers" if row is ours else row.name
        times = None if ours is None or row is ours else throughput_ratio(row, ours, section)
        ms = statistics.median(row.ms_per_image()) / share
        cells[name] = f"{ms:.2f}" if times is None else f"{ms:.2f} ({times.value:.2f})"
    return cells


def _startup_cells(results: Results) -> dict[str, str]:
    rows = () if results.startup is None else results.startup.rows
    return {
        row.name: f"{1000 * statistics.median(row.seconds):.0f} ({max(row.peak_memory_mb):.0f})"
        for row in rows
        if row.seconds
    }


def _choice_cells(results: Results) -> dict[str, str]:
    section = results.compare
    if section is None:
        return {}
    names = [row.entrant.name for row in section.rows if row.choice == "recommended"]
    return {"recommended": names[0] if names else NONE}


def _union(columns: Iterable[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(key for column in columns for key in column))


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in table.headers)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    notes = "".join(f'<p class="note">{_inline(note)}</p>' for note in table.notes)
    return (
        f'<h2>{escape(table.title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{notes}"
    )


def _inline(text: str) -> str:
    """The two marks that the tables use, bold and code, as HTML."""
    for mark, tag in (("**", "strong"), ("`", "code")):
        parts = text.split(mark)
        if len(parts) % 2:
            text = parts[0] + "".join(
                f"\x00{tag}\x01{part}" if index % 2 == 0 else f"\x00/{tag}\x01{part}"
                for index, part in enumerate(parts[1:])
            )
    return escape(text).replace("\x00", "<").replace("\x01", ">")


def _html_plot(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{escape(path.stem)}" src="data:image/png;base64,{data}"></p>'


def _page(body: Sequence[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Pneumoscope benchmarks</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )
