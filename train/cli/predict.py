"""`predict`: what a finished run says of single pictures."""

import argparse
from pathlib import Path

from edge_app.cli.streams import one_line
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED
from train.cli.options import Commands, add_command, scorer_of


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "what a finished run says of single pictures, by its own held-out pictures' calibration"
    parser = add_command(commands, "predict", run, text)
    parser.add_argument("checkpoint", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    text = "a locator's run, for networks that are shown the lungs alone"
    parser.add_argument("--locator", type=Path, help=text)
    parser.set_defaults(mirror=False)


def run(options: argparse.Namespace) -> int:
    """Print a line a picture; one that cannot be read does not stop the others."""
    from edge_app.decision import show_probability
    from edge_app.errors import InputError
    from train.checkpoint import read_checkpoint, read_file
    from train.decision import fit_point, note_on_spread
    from train.folds import read_held_out

    checkpoint = read_checkpoint(options.checkpoint)
    held_out = read_held_out(checkpoint.path.parent)
    point = fit_point(held_out.labels, held_out.logits, held_out.patients)
    scorer = scorer_of(options, [checkpoint])
    if note := note_on_spread(held_out.logits):
        print(note)
    failed = False
    for path in options.images:
        try:
            logits = scorer.logits([path], read_file)
        except InputError as error:
            failed = True
            print(one_line(f"{path}: {error}"))
            continue
        logit, probability = float(logits[0]), float(point.calibration.probability(logits)[0])
        answer = "like pneumonia" if logit >= point.threshold else "like no pneumonia"
        print(
            f"{one_line(str(path))}: {answer}, probability {show_probability(probability)} "
            f"(logit {logit:+.3f}, threshold {point.threshold:+.3f})"
        )
    return EXIT_SOME_FAILED if failed else EXIT_OK
