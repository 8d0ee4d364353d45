"""`gate`: what the input gate refuses, what it lets pass, and what it costs."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.gate import cost_ms, make_table, measure_gate
from benchmarks.marked import put_between
from edge_app.bundle.load import load_bundle
from edge_app.errors import EXIT_OK
from edge_app.images.read import read_image
from edge_app.screening.screener import Screener


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "what the input gate refuses, what it lets pass, and what it costs"
    parser = commands.add_parser("gate", help=text, description=text)
    parser.add_argument("data", type=Path, help="folder with not_chest, originals and the others")
    parser.add_argument("--split", type=Path, required=True, help="split.csv of the reader's run")
    parser.add_argument("--bundle", type=Path, help="default: the one that ships")
    parser.add_argument(
        "--into", type=Path, metavar="FILE.md", help="put the table between its <!-- gate --> marks"
    )
    parser.add_argument("--short", action="store_true", help="without single kinds and sites")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the pictures and print the table, or put it into a document."""
    screener = Screener(load_bundle(args.bundle))
    answers = measure_gate(args.data, args.split, screener)
    if args.short:
        answers = [answer for answer in answers if not answer.is_detail]
    files = sorted((args.data / "originals").rglob("*.jpeg"))
    spec = screener.bundle.manifest.preprocess
    cost = cost_ms(screener, [read_image(path, spec=spec) for path in files])
    table = make_table(answers, cost, screener, args.again)
    if args.into is None:
        print(table, end="")
    else:
        put_between(args.into, "gate", table)
    return EXIT_OK
