"""`pneumoscope examples FOLDER`: pictures to try the program with."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "examples",
        help="write example pictures",
        description="Write drawn phantoms and, where the package pydicom-data is installed, one "
        "real adult chest radiograph (DICOM) into a folder, with a README.txt that says what "
        "each is.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the examples and say what each is."""
    from edge_app.images.examples import write_examples

    for example in write_examples(args.folder):
        print(f"{args.folder / example.file}: {example.what}")
    return EXIT_OK
