"""`pack`: a bundle as one file, as it travels on a USB stick."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.errors import EXIT_OK


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "write a bundle as one file, for `pneumoscope model install`"
    parser = commands.add_parser("pack", help=text, description=text)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.pneumo")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the bundle, then pack it."""
    from edge_app.bundle.archive import pack_bundle
    from edge_app.bundle.load import load_bundle

    bundle = load_bundle(args.bundle)
    pack_bundle(bundle.folder, args.output)
    signed = "" if bundle.signed_by else ", which nobody has signed"
    print(f"{args.output}: {bundle.manifest.model_id}{signed}")
    return EXIT_OK
