"""`outlines`: list the outlines and unlabelled pictures of a data folder as one CSV."""

import argparse
from pathlib import Path

from edge_app.errors import EXIT_OK
from train.cli.options import Commands, add_command


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "list the outlines of lungs and the unlabelled pictures of a data folder"
    parser = add_command(commands, "outlines", run, text)
    parser.add_argument("folder", type=Path, help="with lungs, other_sites, adult_nih, not_chest")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the CSV")


def run(options: argparse.Namespace) -> int:
    """Look at every outline, and write the list."""
    from train.outline_sets import gather
    from train.record import write_rows

    rows = gather(options.folder)
    write_rows(rows, options.output)
    print(f"{options.output}: {len(rows)} pictures, {sum(bool(r['mask']) for r in rows)} outlined")
    return EXIT_OK
