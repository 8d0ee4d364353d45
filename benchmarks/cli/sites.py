"""`sites`: how films of other sites are answered, site by site."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.marked import put_between
from benchmarks.sites import answer_sites, make_table
from edge_app.bundle.load import load_bundle
from edge_app.errors import EXIT_OK
from edge_app.screening.screener import Screener


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "how films of other sites are answered, site by site"
    parser = commands.add_parser("sites", help=text, description=text)
    parser.add_argument("table", type=Path, help="CSV with file, site, label and finding")
    parser.add_argument("--bundle", type=Path, help="default: the one that ships")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE.md",
        help="put the table between its <!-- sites --> marks",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the films and print the table, or put it into a document."""
    screener = Screener(load_bundle(args.bundle))
    table = make_table(answer_sites(args.table, screener), screener, args.again)
    if args.into is None:
        print(table, end="")
        return EXIT_OK
    put_between(args.into, "sites", table)
    return EXIT_OK
