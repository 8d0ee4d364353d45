"""`pneumoscope score FILE...`: one line a file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.model_options import add_model_options, open_screener
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from edge_app.results.rows import ResultRow


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "score",
        help="score single pictures",
        description="Score pictures and print one line a file. A suspicion is no failure: the "
        "exit code is 1 only where a file could not be read.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the files in the order in which they are named."""
    from edge_app.decision import Status
    from edge_app.files.codec import compact_json
    from edge_app.screening.score_file import score_file

    screener = open_screener(args)
    code = EXIT_OK
    for path in args.files:
        name = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
        row = score_file(screener, path, name)
        if row.status is Status.FAILED:
            code = EXIT_SOME_FAILED
        print(compact_json(row) if args.json else describe(row), flush=True)
    return code


def describe(row: "ResultRow") -> str:
    """A row as one line for people."""
    if row.raw_score is None:
        return f"{row.file}: {row.decision} ({row.reason}): {row.message}"
    return (
        f"{row.file}: {row.decision}, probability {row.probability:.3f}, "
        f"raw score {row.raw_score:+.3f}, operating point {row.operating_point}"
    )
