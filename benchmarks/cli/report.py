"""`report`: tables and report.html from results.json; several machines side by side."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cli.options import add_out_option
from benchmarks.plots import draw_plots
from benchmarks.record import Results
from benchmarks.store import read_results
from benchmarks.tables import as_html, as_markdown, make_tables, require_tables, side_by_side
from edge_app.errors import EXIT_OK
from edge_app.files.whole import make_folder, write_whole


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "tables and report.html from results.json; machines side by side"
    parser = commands.add_parser("report", help=text, description=text)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS.json")
    add_out_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the tables and write the page."""
    require_tables()
    named = _named_results(args.results)
    make_folder(args.out)
    if len(named) == 1:
        (results,) = named.values()
        tables = make_tables(results)
        page = as_html(tables, str(results.machine), draw_plots(results, args.out))
    else:
        tables = side_by_side(named)
        page = as_html(tables, "Several machines side by side")
    print(as_markdown(tables))
    write_whole(args.out / "report.html", [page])
    print(f"Report: {args.out / 'report.html'}")
    return EXIT_OK


def _named_results(paths: Sequence[Path]) -> dict[str, Results]:
    """Results by a short name: the file's, its folder's, or the whole path where those repeat."""
    for name_of in (lambda p: p.stem, lambda p: p.resolve().parent.name, str):
        names = [name_of(path) for path in paths]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, map(read_results, paths), strict=True))
