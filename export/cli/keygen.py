"""`keygen`: a pair of keys to sign bundles with."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "make a pair of keys to sign bundles with"
    parser = commands.add_parser("keygen", help=text, description=text)
    parser.add_argument("name", type=Path, metavar="NAME", help="writes NAME.key and NAME.pub")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the pair, say what each half is for."""
    from edge_app.bundle.private_key import generate_keys

    private, public = generate_keys(args.name)
    print(f"{private}: keep it secret and out of every repository")
    print(f"{public}: install it as edge_app/trusted_keys/{public.name} on the edge")
    return EXIT_OK
