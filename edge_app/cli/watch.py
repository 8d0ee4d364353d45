"""`pneumoscope watch FOLDER -o OUT`: scores what arrives until it is stopped."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.cli.run_options import (
    add_answer_option,
    add_run_options,
    note,
    run_options,
    say_outcome,
    say_stopped,
    seconds,
    silent,
)


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "watch",
        help="score what arrives in a folder",
        description="Score what is in a folder and what arrives there, once it has stopped "
        "growing, until Ctrl-C or a service manager stops it. OUT gets the same files as of "
        "`batch`. A folder that goes away, as an unmounted share, is waited for.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--poll",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="between two looks (default: %(default)g)",
    )
    parser.add_argument(
        "--settle",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="how long a file must have stood still (default: %(default)g)",
    )
    parser.add_argument(
        "--patience",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how much longer for a file that fails, which may be a transfer that stalled, "
        "before its row is written (default: %(default)g)",
    )
    add_answer_option(parser)
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch until stopped, then say what came of it."""
    from edge_app.runs.interruption import Interruption
    from edge_app.runs.watch import WatchPlan, watch_folder

    options = run_options(args, answers=args.dicom_out)
    plan = WatchPlan(args.folder, args.out, args.poll, args.settle, args.patience, options)
    on_outcome = silent if args.quiet else say_outcome
    if not args.quiet:
        note(f"watching {args.folder}; Ctrl-C stops")
    with Interruption() as interruption:
        summary = watch_folder(plan, on_outcome, on_note=note, check=interruption.check)
    return say_stopped(args, summary)
