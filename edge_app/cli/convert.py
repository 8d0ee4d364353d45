"""`pneumoscope convert results.jsonl results.parquet`: the same rows in the other form."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.cli.model_options import positive
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "convert",
        help="results.jsonl to Parquet and back",
        description="Write a run's results as Parquet, or Parquet as results.jsonl: from either "
        "form the other comes out byte for byte. Needs: pip install 'pneumoscope[parquet]'",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="a run's folder, its results.jsonl, a Parquet file or a folder of shards",
    )
    parser.add_argument(
        "target", type=Path, metavar="TARGET", help="a new file that ends in .parquet or .jsonl"
    )
    parser.add_argument(
        "--rows-a-shard",
        type=positive,
        metavar="N",
        help="make TARGET a folder of Parquet files with so many rows each",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert, and name what was written."""
    from edge_app.results.convert import convert_results
    from edge_app.results.folder import RunFolder

    results = RunFolder(args.source).results
    source = results if results.is_file() else args.source
    convert_results(source, args.target, args.rows_a_shard)
    print(one_line(str(args.target)))
    return EXIT_OK
