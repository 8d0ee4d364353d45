"""`compare`: finished runs side by side, AUROC against multiply-adds."""

import argparse
import sys
from pathlib import Path

from edge_app.errors import EXIT_OK
from train.cli.options import Commands, add_command


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "compare finished runs that held out the same pictures"
    parser = add_command(commands, "compare", run, text)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    parser.add_argument("-o", "--output", type=Path, help="a PNG file for the curve")


def run(options: argparse.Namespace) -> int:
    """Print the table, draw the curve."""
    from train.config import ConfigError
    from train.search import compare, degraded_alike, draw, in_words

    if options.output is not None and options.output.exists():
        raise ConfigError(f"{options.output} exists; choose a new file")
    entries = compare(options.runs)
    if options.output is not None:
        draw(entries, options.output)
    print(in_words(entries))
    if not degraded_alike(options.runs):
        print(
            "note: these configurations degrade differently, so their degraded AUROCs do not "
            "compare; evaluate --degrade CONFIG degrades all alike",
            file=sys.stderr,
        )
    return EXIT_OK
