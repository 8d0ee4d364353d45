"""`fleet`: what a merge of many devices costs."""

import argparse
from typing import Any

from edge_app.cli.model_options import positive
from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "what a merge of many devices' packs costs, in time and memory, on made-up packs"
    parser = commands.add_parser("fleet", help=text, description=text)
    parser.add_argument(
        "--packs", type=positive, default=1000, metavar="N", help="each of a device (default: 1000)"
    )
    parser.add_argument(
        "--answers", type=positive, default=2000, metavar="N", help="in each (default: 2000)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from benchmarks.fleet import describe, measure_merge
    from edge_app.files.codec import canonical_json

    cost = measure_merge(args.packs, args.answers)
    print(canonical_json(cost).decode("utf-8") if args.json else describe(cost))
    return EXIT_OK
