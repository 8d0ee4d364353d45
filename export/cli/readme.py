"""`readme`: write a bundle's figures into a document, between its markers."""

import argparse
from pathlib import Path
from typing import Any

from edge_app.errors import EXIT_OK, UsageError


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "write the figures of a bundle into a document, between its markers"
    parser = commands.add_parser("readme", help=text, description=text)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("document", type=Path, metavar="DOCUMENT", help="docs/formats.md")
    parser.add_argument("--report", type=Path, required=True, help="from an export's --report")
    text = "operating points that the export was given"
    parser.add_argument("--points", type=Path, metavar="FILE.toml", help=text)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replace what stands between the markers."""
    from edge_app.bundle.load import load_bundle
    from edge_app.files.whole import write_whole
    from export.fitting import POINTS_FILE, load_points
    from export.readme import formats_section, read_report, replace_section

    text = _read_text(args.document)
    report, points = read_report(args.report), load_points(args.points or POINTS_FILE)
    section = formats_section(load_bundle(args.bundle), report, points)
    write_whole(args.document, replace_section(text, section).encode("utf-8"))
    return EXIT_OK


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
