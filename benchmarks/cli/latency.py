"""`latency`: one inference of every contender."""

import argparse
from dataclasses import replace
from typing import Any

from benchmarks.cli.options import (
    add_contender_options,
    add_effort_options,
    add_measuring_options,
    contenders,
    thread_counts,
)
from benchmarks.cli.recorded import measure
from benchmarks.latency import FULL, measure_latency
from benchmarks.record import Latency
from benchmarks.store import Recording
from edge_app.bundle.manifest import Bundle


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "one inference: load, first, percentiles, memory"
    parser = commands.add_parser("latency", help=text, description=text)
    add_measuring_options(parser)
    add_contender_options(parser)
    add_effort_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure the section."""
    return measure(
        args, "latency", Latency, lambda bundle, recording: time(args, bundle, recording)
    )


def time(args: argparse.Namespace, bundle: Bundle, recording: Recording[Latency]) -> Latency:
    """Time the contenders of the options."""
    effort = replace(FULL, runs=args.runs, max_s=args.seconds)
    return measure_latency(contenders(bundle, args), thread_counts(args), effort, recording)
