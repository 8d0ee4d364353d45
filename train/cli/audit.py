"""`audit`: what in a data set gives the label away, and what stands twice."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_app.errors import EXIT_OK
from edge_app.images.labelled_pictures import LabelledPicture
from train.cli.options import (
    Commands,
    add_classes,
    add_command,
    add_outlines,
    add_output,
    outlines_of,
    samples_of,
)


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "report what tells the classes apart without a look at the lungs, and what stands twice"
    parser = add_command(commands, "audit", run, text)
    parser.add_argument("data", type=Path, help="a CSV, or a folder of classes")
    add_classes(parser)
    parser.add_argument("--config", help="look at this configuration's split, not at the given one")
    add_outlines(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Write `audit.json`, `labels.csv` and, with outlines, `place.json`; print the tables."""
    from edge_app.files.codec import encode
    from train import place
    from train.audit import audit, in_words, write_labels
    from train.config import load_config
    from train.outlines import require
    from train.record import new_folder, write_json
    from train.splits import given_splits, make_splits

    config = load_config(options.config) if options.config else None
    samples = samples_of(options)
    if config is None:
        splits: Mapping[str, Sequence[LabelledPicture]] = given_splits(samples)
    else:
        made = make_splits(samples, config.split, config.seed)
        splits = {"train": made.train, "validation": made.validation}
    outlines = outlines_of(options)
    if outlines is not None:
        require((sample.name for sample in samples), outlines)
    output = new_folder(options.output)
    findings, group_of = audit(samples, splits)
    write_json(encode(findings), output / "audit.json")
    write_labels(samples, group_of, output / "labels.csv")
    print(in_words(findings))
    if outlines is not None:
        places = place.predict_by_place(samples, outlines)
        write_json(encode(places), output / "place.json")
        print(f"\n{place.in_words(places)}")
    return EXIT_OK
