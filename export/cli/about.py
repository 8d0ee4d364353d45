"""`about`: a template of the texts that a bundle needs."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.errors import EXIT_OK, UsageError
from edge_app.files.whole import write_whole
from export.about import TEMPLATE


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "write a template of what a bundle says about itself"
    parser = commands.add_parser("about", help=text, description=text)
    parser.add_argument("file", type=Path, metavar="NEW.toml")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write it, over nothing that is there."""
    if options.file.exists():
        raise UsageError(f"{options.file}: is there already")
    write_whole(options.file, [TEMPLATE.read_text(encoding="utf-8")])
    print(f"{options.file}: fill it in; every key is needed")
    return EXIT_OK
