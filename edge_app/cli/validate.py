"""`pneumoscope validate OUT`: do results follow their format?"""

import argparse
from pathlib import Path
from typing import Any

from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "validate",
        help="check results against their format",
        description="Check every row of a results.jsonl, or of its Parquet form; exit code 1 where "
        "one is wrong.",
    )
    parser.add_argument(
        "results",
        type=Path,
        metavar="OUT",
        help="a run's folder, its results.jsonl, a Parquet file or a folder of shards",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print each problem with its line, then the verdict."""
    from edge_app.results.folder import RunFolder
    from edge_app.results.parquet import is_parquet
    from edge_app.results.validate import validate_results

    path = args.results
    if path.is_dir() and not is_parquet(path):
        path = RunFolder(path).results
    validation = validate_results(path)
    name = one_line(str(path))
    for problem in validation.problems:
        print(f"{name}: {one_line(problem)}")
    verdict = f"{len(validation.problems)} problems" if validation.problems else "valid"
    print(f"{name}: {validation.rows} rows, {verdict}")
    return EXIT_SOME_FAILED if validation.problems else EXIT_OK
