"""`pneumoscope audit`: who did what, and whether the log of it is as it was written."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_app.cli.record_options import add_record_options, open_record
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from edge_app.record.head import Head


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command and its two own to the command line."""
    text = "check or show a clinic's audit log"
    parser = commands.add_parser("audit", help=text, description=text)
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    verify = actions.add_parser(
        "verify",
        help="find what was changed, removed or put in",
        description="Check every entry of the audit log, and what the record holds against it. "
        "That its end was cut off only a witness shows. Exit code 1 where something is wrong.",
    )
    verify.add_argument(
        "--witness",
        action="append",
        default=[],
        metavar="SLIP",
        help="what stands on a slip, such as 137-9f2c41aa07bed3c5, or an export's or a backup's "
        "folder or .json; may be repeated",
    )
    add_record_options(verify)
    verify.set_defaults(run=run_verify)
    show = actions.add_parser("show", help="print entries", description="Print the log's entries.")
    show.add_argument("--from", dest="first", type=int, default=1, metavar="N", help="default: 1")
    add_record_options(show)
    show.set_defaults(run=run_show)


def run_verify(args: argparse.Namespace) -> int:
    """Print each problem, then the verdict and the head."""
    witnesses = [head for text in args.witness for head in _heads(text)]
    with open_record(args) as record:
        found = record.audit.verify(witnesses)
    for problem in found.problems:
        print(one_line(problem))
    verdict = "NOT as it was written" if found.problems else "as it was written"
    seen = f", {found.witnesses} witnesses" if found.witnesses else ", no witness"
    print(f"audit log: {found.entries} entries{seen}: {verdict}; it ends at {found.head}")
    return EXIT_SOME_FAILED if found.problems else EXIT_OK


def run_show(args: argparse.Namespace) -> int:
    """Print entries, oldest first, one a line."""
    first = args.first
    with open_record(args) as record:
        while entries := record.audit.entries(first):
            for entry in entries:
                time = entry.at if entry.clock_is_trusted else f"{entry.at}?"
                words = (str(entry.counter), time, entry.actor or "-", entry.action, entry.subject)
                print(one_line("  ".join(words)))
            first = entries[-1].counter + 1
    return EXIT_OK


def _heads(text: str) -> "list[Head]":
    """What `--witness` names: a head as it is printed, or a file that holds one."""
    import json

    from edge_app.record.head import read_head

    path = Path(text)
    if path.is_dir():
        found = [path / name for name in ("export.json", "backup.json") if (path / name).is_file()]
        path = found[0] if found else path / "export.json"
    try:
        if path.is_file():
            return [read_head(str(json.loads(path.read_bytes())["audit_head"]))]
        return [read_head(text)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{text}: is no witness: the number on a slip has the form 137-9f2c41aa07bed3c5; an "
            "export or a backup has it in its .json"
        ) from error
