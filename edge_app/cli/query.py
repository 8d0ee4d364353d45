"""`pneumoscope query --pacs AET@HOST:PORT`: which series a PACS has."""

import argparse
from typing import Any

from edge_app.cli.archive_options import add_archive_options, archive_of, query_of
from edge_app.cli.run_options import note
from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "query",
        help="list the films of a PACS",
        description="Ask a PACS (C-FIND, study root) for series by date, modality and body part, "
        "and print each: date, modality, body part, objects, UID. No patient's name is asked for. "
        "Needs: pip install 'pneumoscope[dicom-net]'.",
    )
    add_archive_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is found."""
    archive = archive_of(args)
    n_series = 0
    for found in archive.find(query_of(args)):
        n_series += 1
        instances = "?" if found.instances is None else str(found.instances)
        columns = (found.date or "-", found.modality, found.body_part or "-", instances)
        print(one_line("\t".join((*columns, found.series_uid))))
    note(f"{n_series} series")
    return EXIT_OK
