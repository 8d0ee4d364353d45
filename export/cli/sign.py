"""`sign`: sign a bundle that has no signature yet."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "sign a bundle that has no signature yet"
    parser = commands.add_parser("sign", help=text, description=text)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    add_key_options(parser, required=True)
    parser.set_defaults(run=run)


def add_key_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add --key and --public-key."""
    parser.add_argument("--key", type=Path, required=required, help="private key to sign with")
    parser.add_argument("--public-key", type=Path, help="its public half, to be sure of the pair")


def run(args: argparse.Namespace) -> int:
    """Sign, and name the key."""
    from export.keys import sign_bundle

    identifier = sign_bundle(args.bundle, args.key, args.public_key)
    print(f"{args.bundle}: signed with the key {identifier}")
    return EXIT_OK
