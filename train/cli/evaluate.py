"""`evaluate`: discrimination, calibration, operating point and skew of checkpoints."""

import argparse
from pathlib import Path

from edge_app.cli.labelling_options import labelling_of
from edge_app.errors import EXIT_OK
from edge_app.images.labelled_pictures import LabelledPicture, find_copies
from train.cli.options import (
    Commands,
    add_checkpoint,
    add_command,
    add_data,
    add_output,
    held_out_by_all,
    samples_of,
    scorer_of,
)
from train.samples import read_samples


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    text = "discrimination, calibration, operating point and skew on what was not trained on"
    parser = add_command(commands, "evaluate", run, text)
    add_checkpoint(parser)
    add_data(parser)
    add_output(parser)
    text = "class folders with other copies of the same pictures; may be given again"
    parser.add_argument("--copies", type=Path, action="append", default=[], help=text)
    text = "another site's CSV or folder of classes; may be given again"
    parser.add_argument("--external", type=Path, action="append", default=[], help=text)
    text = "degrade as this configuration does; needed for one that trains on clean pictures"
    parser.add_argument("--degrade", metavar="CONFIG", help=text)
    parser.add_argument("--adult", type=Path, help="the adult NIH development set's folder")
    text = "a CSV of other sites' films (file, site, label, finding): how each site's are answered"
    parser.add_argument("--sites", type=Path, help=text)


def run(options: argparse.Namespace) -> int:
    """Write `evaluation.json`, print the tables."""
    from edge_app.files.codec import encode
    from train import sites
    from train.checkpoint import read_checkpoint
    from train.config import ConfigError, load_config
    from train.devices import require_packages
    from train.evaluate import evaluate, in_words
    from train.external import check_judgeable, check_readable, check_unseen, distinct_names
    from train.record import new_folder, write_json

    degradation = load_config(options.degrade).degrade if options.degrade else None
    if options.degrade and degradation is None:
        raise ConfigError(f"--degrade {options.degrade}: this configuration has no degrade table")
    checkpoints = [read_checkpoint(path) for path in options.checkpoint]
    samples = samples_of(options)
    validation, training = held_out_by_all(checkpoints, samples)
    copies = {
        name: find_copies(path, samples) for name, path in distinct_names(options.copies).items()
    }
    external = _external(options)
    check_unseen(external, training)
    check_judgeable(external)
    require_packages("keras")
    others = [sample.path for chosen in external.values() for sample in chosen]
    check_readable([*others, *(path for found in copies.values() for path in found.values())])
    films = sites.read_films(options.sites) if options.sites else []
    output = new_folder(options.output)
    scorer = scorer_of(options, checkpoints)
    evaluation = evaluate(scorer, validation, training, copies, external, degradation)
    write_json(encode(evaluation), output / "evaluation.json")
    print(in_words(evaluation))
    if films:
        answers = sites.answer(scorer, films, evaluation.threshold)
        write_json(encode(answers), output / "sites.json")
        print(f"\n{sites.in_words(answers)}")
    return EXIT_OK


def _external(options: argparse.Namespace) -> dict[str, list[LabelledPicture]]:
    from train.adult_nih import read_adult_nih
    from train.external import distinct_names

    external = {
        name: read_samples(path, labelling=labelling_of(options))
        for name, path in distinct_names(options.external).items()
    }
    if options.adult is not None:
        adults, other = read_adult_nih(options.adult)
        external["adults"] = adults
        for view in sorted({sample.view for sample in adults}):
            chosen = [sample for sample in adults if sample.view == view]
            # Few patients of one view are no reason to refuse the set.
            if min(len({s.patient_id for s in chosen if s.label == y}) for y in (0, 1)) > 1:
                external[f"adults, {view}"] = chosen
        sick = [sample for sample in adults if sample.label]
        if other:
            external["adults, opacity against other findings"] = [*sick, *other]
    return external
