"""`pneumoscope batch FOLDER -o OUT`: a folder of pictures to a folder of results."""

import argparse
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.model_options import add_model_options, open_screener
from edge_app.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from edge_app.batch import BatchSummary


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "batch",
        help="score a folder",
        description="Score every picture below a folder. OUT gets results.jsonl (one line a "
        "file, failures included) and results.csv (the same as a table).",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the folder and print what came of it."""
    from edge_app.batch import plan_batch, run_batch
    from edge_app.progress import open_progress

    plan = plan_batch(args.folder, args.out)
    screener = open_screener(args)
    try:
        with open_progress(plan.total, sys.stderr) as progress:
            summary = run_batch(plan, screener, progress.update)
    except KeyboardInterrupt:
        print(
            f"pneumoscope: interrupted; {progress.done} of {plan.total} files are in "
            f"{plan.results}",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED
    print(describe(summary))
    print(f"Table:   {plan.table}")
    print(f"Results: {plan.results}")
    return EXIT_SOME_FAILED if summary.failed else EXIT_OK


def describe(summary: "BatchSummary") -> str:
    """A few lines for people: decisions first, then what has none and why."""
    rate = summary.total / max(summary.seconds, 1e-9)
    lines = [f"{summary.total} files in {summary.seconds:.1f} s ({rate:.1f} files/s)"]
    lines.append(f"  decisions: {_counts(summary.decisions)}")
    if summary.refused:
        lines.append(f"  refused:   {_counts(summary.refused)}")
    if summary.failed:
        lines.append(f"  failed:    {_counts(summary.failed)}")
    return "\n".join(lines)


def _counts(counts: "Counter[Any]") -> str:
    ordered: list[tuple[StrEnum, int]] = sorted(counts.items(), key=lambda item: (-item[1], item))
    return ", ".join(f"{name} {count}" for name, count in ordered)
