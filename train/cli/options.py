"""Options that several commands share, and what they stand for."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edge_app.cli.labelling_options import add_labelling_options, labelling_of
from edge_app.cli.model_options import positive
from edge_app.images.labelled_pictures import LabelledPicture, note_unknown_patients
from train.samples import read_samples
from train.splits import shared_values

if TYPE_CHECKING:
    from train.checkpoint import Checkpoint, Scorer
    from train.outlines import Outlines

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """A parser for one command; `options.run` is what to call."""
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    """CONFIG."""
    parser.add_argument("config", help="a TOML file, or a name in train/configs")


def add_data(parser: argparse.ArgumentParser) -> None:
    """--data and what belongs to it."""
    parser.add_argument("--data", type=Path, required=True, help="a CSV, or a folder of classes")
    add_classes(parser)


def add_classes(parser: argparse.ArgumentParser) -> None:
    """--larger, and what the data calls its classes."""
    parser.add_argument("--larger", type=Path, help="the same class folders with larger copies")
    add_labelling_options(parser)


def add_output(parser: argparse.ArgumentParser, text: str = "a new folder") -> None:
    """-o."""
    parser.add_argument("-o", "--output", type=Path, required=True, help=text)


def add_outlines(parser: argparse.ArgumentParser) -> None:
    """--outlines and --root."""
    parser.add_argument(
        "--outlines", type=Path, help="a CSV of lungs' outlines, as `train outlines` writes it"
    )
    parser.add_argument(
        "--root", type=Path, help="where its files lie; the CSV's folder if left out"
    )


def outlines_of(options: argparse.Namespace) -> "Outlines | None":
    """What `--outlines` names."""
    from train.outlines import read_outlines

    return read_outlines(options.outlines, options.root) if options.outlines else None


def add_training(parser: argparse.ArgumentParser) -> None:
    """How a run is carried out; nothing here changes its result."""
    parser.add_argument("--cache", type=Path, help="where decoded pictures are kept")
    parser.add_argument("--workers", type=positive, default=2, help="threads that prepare batches")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        help="a finished run to distil from; several are averaged",
    )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """CHECKPOINT... and how it is asked."""
    text = "a run's folder, or the .keras file in it; the logits of several are averaged"
    parser.add_argument("checkpoint", type=Path, nargs="+", help=text)
    parser.add_argument("--mirror", action="store_true", help="average with the mirrored picture")
    parser.add_argument(
        "--locator", type=Path, help="a locator's run, for networks that are shown the lungs alone"
    )


def scorer_of(options: argparse.Namespace, checkpoints: "Sequence[Checkpoint]") -> "Scorer":
    """The checkpoints with their locator, ready to score."""
    from train.checkpoint import Scorer, read_checkpoint

    locator = read_checkpoint(options.locator) if options.locator else None
    return Scorer(checkpoints, mirror=options.mirror, locator=locator)


def samples_of(options: argparse.Namespace) -> list[LabelledPicture]:
    """What `--data` and `--larger` hold."""
    samples = read_samples(options.data, options.larger, labelling_of(options))
    if note := note_unknown_patients(samples):
        print(note, file=sys.stderr)
    test = [sample for sample in samples if sample.split == "test"]
    others = [sample for sample in samples if sample.split != "test"]
    for attribute, what in (("patient_id", "patients"), ("duplicate_group", "pictures")):
        # No error: the test split is never trained on, and its numbering may start anew.
        if both := shared_values(test, others, attribute):
            print(
                f"note: {len(both)} {what} of the data's test split are also in the splits that "
                f"are trained and validated on, such as {both[0]}; figures on that test split "
                "would flatter",
                file=sys.stderr,
            )
    return samples


def held_out_by_all(
    checkpoints: "Sequence[Checkpoint]", samples: Sequence[LabelledPicture]
) -> tuple[list[LabelledPicture], list[LabelledPicture]]:
    """Pictures that no checkpoint was trained on, and those that any of them was trained on.

    Raises:
        ConfigError: a checkpoint was trained on other data, or nothing is left.
    """
    from edge_app.errors import ConfigError
    from train.checkpoint import held_out

    found = [held_out(checkpoint, samples) for checkpoint in checkpoints]
    seen = {sample.name for splits in found for sample in splits.train}
    # Of the networks that keep patients together, none may have seen another picture of one.
    patients = {
        sample.patient_id
        for checkpoint, splits in zip(checkpoints, found, strict=True)
        if checkpoint.config.split.unit != "image"
        for sample in splits.train
    }
    validation = [
        sample
        for sample in found[0].validation
        if sample.name not in seen and sample.patient_id not in patients
    ]
    if {sample.label for sample in validation} != {0, 1}:
        raise ConfigError("these checkpoints were trained on each other's held-out pictures")
    return validation, [sample for sample in samples if sample.name in seen]
