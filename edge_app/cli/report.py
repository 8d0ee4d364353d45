"""`pneumoscope report OUT`: table and report once more, from the results alone."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edge_app.cli.run_options import DEFAULT_FORMATS, note
from edge_app.cli.streams import say
from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="make table and report again",
        description="Write results.csv and report.html anew from what is in OUT, of an interrupted "
        "run too. Nothing is scored, and the pictures themselves may have gone: the report shows "
        "the small ones that were kept in thumbnails.jsonl.",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="a run's folder")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="the model that scored (default: the one in use)",
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="let others on this machine read what is written (default: its owner only)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make both, and say whether the run had come to its end."""
    from edge_app.results.folder import RunFolder
    from edge_app.runs.rederived import derive_again

    folder = RunFolder(args.out)
    end = derive_again(folder, args.bundle, DEFAULT_FORMATS, note, shared=args.shared)
    if not end.complete:
        note("this run had not come to its end; the command that began it goes on")
    say(f"{end.rows} rows\nReport:  {folder.report}\nTable:   {folder.table}", sys.stdout)
    return EXIT_OK
