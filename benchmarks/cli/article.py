"""`article`: the article's network, image-wise and patient-wise, beside ours."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.article import known_records, read_article, train_records
from benchmarks.cli.options import add_measuring_options
from benchmarks.cli.recorded import measure
from benchmarks.record import Article
from benchmarks.store import Recording
from edge_app.bundle.manifest import Bundle


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "the article's network, image-wise and patient-wise"
    parser = commands.add_parser("article", help=text, description=text)
    add_measuring_options(parser)
    parser.add_argument(
        "records", nargs="*", type=Path, help="folders of training runs (default: train/records)"
    )
    parser.add_argument("--train", type=Path, metavar="DATA", help="train the two networks first")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where --train puts them")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the records, trained first where that was asked for."""

    def read(bundle: Bundle, recording: Recording[Article]) -> Article:
        records: list[Path] = list(args.records)
        if args.train is not None:
            records += train_records(args.train, args.runs)
        if not records or args.train is not None:
            records += known_records([bundle.manifest.provenance.config])
        return read_article(records, bundle, recording)

    return measure(args, "article", Article, read)
