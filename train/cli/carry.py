"""`carry`: each fold, in every framing, at the threshold that the other folds give."""

import argparse
from pathlib import Path

from edge_app.errors import EXIT_OK, ConfigError
from train.cli.options import Commands, add_command, add_data, add_output, samples_of


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "judge each fold in every framing at the threshold of the other folds"
    parser = add_command(commands, "carry", run, text)
    parser.add_argument("folds", type=Path, help="a finished k-fold's folder")
    text = "a locator's run, for networks that are shown the lungs alone"
    parser.add_argument("--locator", type=Path, help=text)
    add_data(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Write `carried.json`, print the table."""
    from edge_app.files.codec import encode
    from edge_app.progress import track
    from train.carried import carry, in_words, score_folds
    from train.checkpoint import read_checkpoint
    from train.devices import require_packages
    from train.record import new_folder, write_json

    require_packages("keras")
    runs = sorted(options.folds.glob("fold*/"))
    if not runs:
        raise ConfigError(f"{options.folds}: no folds; `train kfold` makes them")
    checkpoints = [read_checkpoint(path) for path in runs]
    locator = read_checkpoint(options.locator) if options.locator else None
    samples = samples_of(options)
    output = new_folder(options.output)
    found = carry(list(track(score_folds(checkpoints, locator, samples), "folds", len(runs))))
    write_json([encode(row) for row in found], output / "carried.json")
    print(in_words(found))
    return EXIT_OK
