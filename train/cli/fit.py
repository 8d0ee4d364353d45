"""`fit`: train a configuration, or go on with an interrupted run."""

import argparse
import sys

from edge_app.errors import EXIT_OK
from train.cli.options import (
    Commands,
    add_command,
    add_config,
    add_data,
    add_outlines,
    add_output,
    add_training,
    outlines_of,
    samples_of,
)


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = add_command(commands, "fit", run, "train, or go on with an interrupted run")
    add_config(parser)
    add_data(parser)
    add_outlines(parser)
    add_output(parser, "the run's folder; that of an interrupted run goes on")
    add_training(parser)


def run(options: argparse.Namespace) -> int:
    """Check everything, then train."""
    from train.checkpoint import read_checkpoint
    from train.config import load_config
    from train.decision import note_on_spread
    from train.folds import read_held_out
    from train.plan import execute, plan_run
    from train.record import VALIDATION

    config = load_config(options.config)
    teachers = [read_checkpoint(path) for path in options.teacher]
    outlines = outlines_of(options)
    plan = plan_run(config, samples_of(options), options.output, teachers, outlines)
    best = execute(plan, options.cache, options.workers)["best"]
    print(f"{options.output}: {', '.join(f'{name} {value}' for name, value in best.items())}")
    # Only what answers for a whole picture writes logits of the held-out ones.
    answers = (options.output / VALIDATION).is_file()
    if answers and (note := note_on_spread(read_held_out(options.output).logits)):
        print(note, file=sys.stderr)
    return EXIT_OK
