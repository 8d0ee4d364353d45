"""`throughput`: a folder of files to results, beside the loops that people write."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.cli.options import (
    add_measuring_options,
    add_python_option,
    add_resume_option,
    add_workers_option,
    worker_counts,
)
from benchmarks.cli.recorded import measure
from benchmarks.contenders import parse_pythons
from benchmarks.record import Throughput
from benchmarks.throughput import LOOPS, Options, measure_throughput
from edge_app.cli.model_options import positive
from edge_app.errors import UsageError


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "a folder of files to results, beside other people's loops"
    parser = commands.add_parser("throughput", help=text, description=text)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    add_measuring_options(parser)
    add_python_option(parser)
    parser.add_argument("--pictures", type=positive, default=100, help="(default: %(default)s)")
    parser.add_argument(
        "--files",
        type=positive,
        default=2000,
        help="names under which ours gets the pictures (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=positive, default=7, help="(default: %(default)s)")
    add_workers_option(parser)
    parser.add_argument(
        "--contenders",
        type=_names,
        default=tuple(LOOPS),
        metavar="NAME,...",
        help=f"loops that race against ours (default: {','.join(LOOPS)})",
    )
    parser.add_argument("--checkpoint", type=Path, help="the Keras loop's .keras file")
    add_resume_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure the section."""
    unknown = [name for name in args.contenders if name not in LOOPS]
    if unknown:
        raise UsageError(f"no contender {unknown[0]!r}; there are: {', '.join(LOOPS)}")
    options = Options(
        pictures=args.pictures,
        files=args.files,
        rounds=args.rounds,
        workers=worker_counts(args),
        loops=args.contenders,
        pythons=parse_pythons(args.python),
        checkpoint=args.checkpoint,
    )
    return measure(
        args,
        "throughput",
        Throughput,
        lambda bundle, recording: measure_throughput(bundle, args.folder, options, recording),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
