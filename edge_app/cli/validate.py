"""`pneumoscope validate results.jsonl`: does a file follow the results format?"""

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
        description="Check every line of a results.jsonl; exit code 1 where one is wrong.",
    )
    parser.add_argument(
        "results", type=Path, metavar="OUT", help="a run's folder, or its results.jsonl"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print each problem with its line, then the verdict."""
    from edge_app.results.folder import RunFolder
    from edge_app.results.validate import validate_results

    path = RunFolder(args.results).results if args.results.is_dir() else args.results
    validation = validate_results(path)
    name = one_line(str(path))
    for problem in validation.problems:
        print(f"{name}: {one_line(problem)}")
    verdict = f"{len(validation.problems)} problems" if validation.problems else "valid"
    print(f"{name}: {validation.rows} rows, {verdict}")
    return EXIT_SOME_FAILED if validation.problems else EXIT_OK
