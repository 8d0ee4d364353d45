"""`pneumoscope validate results.jsonl`: does a file follow the results format?"""

import argparse
from pathlib import Path
from typing import Any

from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "validate",
        help="check a results file against the format",
        description="Check every line of a results.jsonl; exit code 1 where one is wrong.",
    )
    parser.add_argument("file", type=Path, metavar="RESULTS")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print each problem with its line, then the verdict."""
    from edge_app.results.validate import validate_results

    validation = validate_results(args.file)
    for problem in validation.problems:
        print(f"{args.file}: {problem}")
    verdict = f"{len(validation.problems)} problems" if validation.problems else "valid"
    print(f"{args.file}: {validation.rows} rows, {verdict}")
    return EXIT_SOME_FAILED if validation.problems else EXIT_OK
