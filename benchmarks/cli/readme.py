"""`readme`: the documents' tables from the committed results."""

import argparse
from typing import Any

from benchmarks.readme import RESULTS, other_models, stale_documents, write_documents
from benchmarks.store import read_results
from benchmarks.tables import require_tables
from edge_app.bundle.load import load_bundle
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "fill in the documents' tables"
    parser = commands.add_parser("readme", help=text, description=text)
    parser.add_argument("--check", action="store_true", help="only say which are stale (exit 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fill in the tables, or say which differ."""
    require_tables()
    results = read_results(RESULTS)
    if not args.check:
        for name in write_documents(results):
            print(f"{name}: tables filled in")
        return EXIT_OK
    stale = stale_documents(results)
    others = other_models(results, load_bundle().manifest)
    for name in stale:
        print(f"{name}: its tables are not those of results.json: python -m benchmarks readme")
    for name in others:
        print(f"results.json: {name} was measured on another model than the one that ships")
    return EXIT_SOME_FAILED if stale or others else EXIT_OK
