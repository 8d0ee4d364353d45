"""`kfold`: hold out each fold once, and pool what the networks say of what they never saw."""

import argparse

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
    text = "train every fold, or go on, and pool their held-out pictures"
    parser = add_command(commands, "kfold", run, text)
    add_config(parser)
    add_data(parser)
    add_outlines(parser)
    add_output(parser, "folder of the folds; an interrupted one goes on")
    add_training(parser)


def run(options: argparse.Namespace) -> int:
    """Check every fold, then train them."""
    from train.config import load_config
    from train.evaluate import NOT_DEGRADED, performance_table
    from train.folds import plan_folds, run_folds

    config = load_config(options.config)
    plans = plan_folds(
        config, samples_of(options), options.output, options.teacher, outlines_of(options)
    )
    folds = run_folds(plans, options.output, options.cache, options.workers)
    print(performance_table(folds.pooled))
    if folds.aurocs_degraded is None:
        print(NOT_DEGRADED)
    return EXIT_OK
