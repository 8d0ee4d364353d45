"""`startup`: commands from cold."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.cli.options import add_measuring_options, add_resume_option
from benchmarks.cli.recorded import measure
from benchmarks.record import Startup
from benchmarks.startup import measure_startup
from edge_app.cli.model_options import positive


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "commands from cold: wall and memory"
    parser = commands.add_parser("startup", help=text, description=text)
    add_measuring_options(parser)
    parser.add_argument("--file", type=Path, help="picture to score (default: a drawn phantom)")
    parser.add_argument("--runs", type=positive, default=20, help="(default: %(default)s)")
    add_resume_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure the section."""
    return measure(
        args,
        "startup",
        Startup,
        lambda bundle, recording: measure_startup(bundle.folder, args.file, args.runs, recording),
    )
