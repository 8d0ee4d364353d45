"""`accuracy`: every contender and operating point on labelled pictures."""

import argparse
from typing import Any

from benchmarks.accuracy import measure_accuracy
from benchmarks.cli.options import (
    add_contender_options,
    add_data_options,
    add_measuring_options,
    cases,
    contenders,
)
from benchmarks.cli.recorded import measure
from benchmarks.record import Accuracy
from benchmarks.store import Recording
from edge_app.bundle.manifest import Bundle


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "every contender and operating point, with intervals"
    parser = commands.add_parser("accuracy", help=text, description=text)
    add_measuring_options(parser)
    add_contender_options(parser)
    add_data_options(parser, required=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure the section."""
    return measure(
        args, "accuracy", Accuracy, lambda bundle, recording: score(args, bundle, recording)
    )


def score(args: argparse.Namespace, bundle: Bundle, recording: Recording[Accuracy]) -> Accuracy:
    """Score the pictures of --data with the contenders of the options."""
    pictures = cases(args)
    name = args.name or args.data.name
    return measure_accuracy(bundle, contenders(bundle, args), pictures, name, recording)
