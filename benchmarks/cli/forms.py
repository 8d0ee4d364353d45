"""`forms`: how many answers are right, in every form in which clinics send a film."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.forms import answer_forms, count_answers, make_table
from benchmarks.marked import put_between
from edge_app.bundle.load import load_bundle
from edge_app.errors import EXIT_OK
from edge_app.screening.screener import Screener


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "how many answers are right, in every form in which clinics send a film"
    parser = commands.add_parser("forms", help=text, description=text)
    parser.add_argument("data", type=Path, help="the folder that the reader's run was given")
    parser.add_argument("--run", type=Path, required=True, dest="folder", help="of the reader")
    parser.add_argument(
        "--larger", type=Path, help="folder with larger copies of the pictures", metavar="FOLDER"
    )
    parser.add_argument("--bundle", type=Path, help="default: the one that ships")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE.md",
        help="put the table between its <!-- forms --> marks",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the pictures and print the table, or put it into a document."""
    from export.checkpoint import read_record
    from export.pictures import find_sources, read_split

    screener = Screener(load_bundle(args.bundle))
    record = read_record(args.folder / "run.json")
    entries = read_split(args.folder / "split.csv", args.data, record)
    sources = find_sources(entries, {} if args.larger is None else {"larger": args.larger})
    held_out = [entry for entry in entries if entry.split == "validation"]
    answers = answer_forms(held_out, sources, screener, record.seed)
    table = make_table(count_answers(answers), screener, args.again)
    if args.into is None:
        print(table, end="")
    else:
        put_between(args.into, "forms", table)
    return EXIT_OK
