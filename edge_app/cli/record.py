"""`pneumoscope record`: export studies, delete what is old; `backup` and `restore` beside it."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.cli.model_options import positive
from edge_app.cli.record_options import (
    ACTOR,
    add_record_options,
    open_record,
    record_location,
    require_record_packages,
)
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK, UsageError


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add `record`, `backup` and `restore` to the command line."""
    text = "export a clinic's studies, and delete what is old"
    parser = commands.add_parser("record", help=text, description=text)
    actions = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    export = actions.add_parser(
        "export",
        help="write studies into a new folder",
        description="Write studies, pictures, and the outcomes that are known (pictures/truth.csv, "
        "for `pneumoscope calibrate`) into a new folder, which also is a witness of the audit log.",
    )
    export.add_argument("output", type=Path, metavar="EXPORT", help="is not there yet")
    export.add_argument(
        "--only-new", action="store_true", help="what changed since it was exported"
    )
    export.set_defaults(run=run_export)
    retain = actions.add_parser(
        "retain",
        help="delete what is old and was exported",
        description="Delete studies that are older than so many days, with their pictures. What "
        "was not exported, or changed since, always stays.",
    )
    retain.add_argument("--days", type=positive, required=True, metavar="N", help="that are kept")
    retain.set_defaults(run=run_retain)
    backup = commands.add_parser(
        "backup",
        help="copy the clinic's record while it is used",
        description="Copy the record into a folder, such as one on a USB stick; a later backup "
        "there adds what is new. It holds patients' pictures and hashed passwords: lock it away.",
    )
    backup.add_argument("output", type=Path, metavar="BACKUP")
    backup.set_defaults(run=run_backup)
    for command in (export, retain, backup):
        add_record_options(command)
    restore = commands.add_parser(
        "restore",
        help="make the clinic's record from a backup",
        description="Check a backup (every picture, the whole audit log) and make a record of it. "
        "Accounts come back, log-ins do not.",
    )
    restore.add_argument("backup", type=Path, metavar="BACKUP")
    restore.add_argument(
        "--record",
        metavar="FOLDER",
        help="must be empty (default: PNEUMOSCOPE_RECORD, else below the user's data folder)",
    )
    restore.set_defaults(run=run_restore)


def run_export(args: argparse.Namespace) -> int:
    """Print what was written."""
    with open_record(args) as record:
        from edge_app.record.export import export_studies

        export = export_studies(record, args.output, ACTOR, only_new=args.only_new)
    print(
        f"{one_line(str(args.output))}: {export.studies} studies, {export.labelled} of them with a "
        f"known outcome; witness {export.audit_head}"
    )
    return EXIT_OK


def run_retain(args: argparse.Namespace) -> int:
    """Print what went and what stayed."""
    with open_record(args) as record:
        from edge_app.record.retention import apply_retention

        done = apply_retention(record, args.days, ACTOR)
    print(f"{done.deleted} studies and {done.pictures} pictures deleted")
    if done.kept:
        print(f"{done.kept} old studies stay: they were not exported, or changed since")
    return EXIT_OK


def run_backup(args: argparse.Namespace) -> int:
    """Print what was copied."""
    with open_record(args) as record:
        from edge_app.record.backup import make_backup

        backup = make_backup(record, args.output, ACTOR)
    name = one_line(str(args.output))
    print(f"{name}: {backup.studies} studies; witness {backup.audit_head}")
    return EXIT_OK


def run_restore(args: argparse.Namespace) -> int:
    """Print what came back."""
    require_record_packages()
    from edge_app.record.backup import restore_backup

    location = record_location(args)
    if "://" in location:
        raise UsageError("a backup is restored into a folder; a server has its own tools")
    found = restore_backup(args.backup, Path(location))
    print(f"{one_line(location)}: restored; audit log of {found.entries} entries verified")
    return EXIT_OK
