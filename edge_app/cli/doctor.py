"""`pneumoscope doctor`: is this machine fit to screen with?"""

import argparse
from pathlib import Path
from typing import Any

from edge_app.cli.model_options import default_threads
from edge_app.cli.record_options import add_record_options, record_location
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED, StorageError


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="examine this machine, and say what to do",
        description="Examine disk, clock, temperature, throttling, power, camera, the model's "
        "self-test and accelerators, and say what to do. Exit code 1 where there is a problem.",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON a part")
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="model bundle (default: the one that ships)"
    )
    add_record_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print each finding when it is there."""
    from edge_app.device.doctor import examine
    from edge_app.device.finding import Verdict
    from edge_app.files.codec import compact_json

    code = EXIT_OK
    for finding in examine(_record_folder(args), args.bundle, default_threads()):
        if args.json:
            print(compact_json(finding), flush=True)
        else:
            print(f"{finding.verdict:9}  {finding.part}: {one_line(finding.found)}", flush=True)
            if finding.advice:
                print(f"{'':11}-> {finding.advice}", flush=True)
        if finding.verdict is Verdict.PROBLEM:
            code = EXIT_SOME_FAILED
    return code


def _record_folder(args: argparse.Namespace) -> Path:
    """Where the pictures lie, whose disk is looked at; this folder where there is no home."""
    try:
        location = record_location(args)
    except StorageError:
        return Path()
    return args.folder or Path() if "://" in location else Path(location)
