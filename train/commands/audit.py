"""`audit`: what in a data set gives the label away, and what stands twice."""

import argparse
from pathlib import Path

from train.commands.options import Commands, add_classes, add_command, add_output, samples_of


def add(commands: Commands) -> None:
    """Add the command."""
    text = "report what tells the classes apart without a look at the lungs, and what stands twice"
    parser = add_command(commands, "audit", run, text)
    parser.add_argument("data", type=Path, help="a CSV, or a folder of classes")
    add_classes(parser)
    parser.add_argument("--config", help="look at this configuration's split, not at the given one")
    add_output(parser)


def run(options: argparse.Namespace) -> None:
    """Write `audit.json` and `labels.csv`, print the tables."""
    from edge_app.files.codec import encode
    from train.audit import audit, in_words, write_labels
    from train.config import load_config
    from train.record import new_folder, write_json
    from train.splits import given_parts, make_split

    config = load_config(options.config) if options.config else None
    samples = samples_of(options)
    if config is None:
        parts = given_parts(samples)
    else:
        split = make_split(samples, config.split, config.seed)
        parts = {"train": split.train, "validation": split.validation}
    output = new_folder(options.output)
    findings, group_of = audit(samples, parts)
    write_json(encode(findings), output / "audit.json")
    write_labels(samples, group_of, output / "labels.csv")
    print(in_words(findings))
