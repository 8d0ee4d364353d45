"""`pneumoscope deidentify FILM... -o DIR`: copies of DICOM films without whom they are of."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edge_app.cli.streams import one_line, say
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED

_UNCHECKED = (
    "Pixels were not looked at: a name that is burnt into a film is still there. Look at each copy "
    "before it is passed on."
)


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "deidentify",
        help="copy DICOM films without whom they are of",
        description="Copy DICOM films by the Basic Application Level Confidentiality Profile of "
        "PS3.15 (table E.1-1, edition 2026c) into DIR. UIDs get pseudonyms by this device's key: "
        "films of one study stay together. What is burnt into the pixels is NOT checked. Needs: "
        "pip install 'pneumoscope[deidentify]'.",
    )
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="FILM", help="files, folders or patterns"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Copy what is named, and say what could not be."""
    from edge_app.dicom_out.deidentified import deidentify, require_table
    from edge_app.errors import InputError
    from edge_app.files.pseudonyms import device_pseudonyms
    from edge_app.files.whole import make_folder, write_whole
    from edge_app.images.read import read_bytes
    from edge_app.runs.discovery import Inputs

    require_table()
    files = Inputs(tuple(args.inputs), excluded=args.out)
    pseudonyms = device_pseudonyms()
    make_folder(args.out)
    copied = failed = 0
    for file in files:
        try:
            uid, copy = deidentify(read_bytes(file.path), file.path.name, pseudonyms)
        except InputError as error:
            failed += 1
            say(f"pneumoscope: {one_line(str(error))}", sys.stderr)
            continue
        write_whole(args.out / f"{uid}.dcm", copy)
        copied += 1
    print(f"{copied} copies in {args.out}, {failed} files were not copied. {_UNCHECKED}")
    return EXIT_SOME_FAILED if failed else EXIT_OK
