"""`describe`: the record of a network that was trained elsewhere."""

import argparse
from pathlib import Path
from typing import Any, get_args

from edge_app.cli.labelling_options import add_labelling_options, labelling_of
from edge_app.errors import EXIT_OK, UsageError
from edge_app.images.labelled_pictures import SplitName
from edge_app.images.preprocess_spec import ResizeFilter

FEED_NAMES = ("0-255", "0-1", "tf", "torch", "caffe")


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command to the command line."""
    text = "write the record that the export of a network from elsewhere needs"
    more = (
        "Writes run.json and split.csv beside MODEL. What the file does not say is asked for: see "
        "docs/export.md."
    )
    parser = commands.add_parser("describe", help=text, description=f"{text}. {more}")
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="a .keras or .h5 file")
    text = "its pictures: class folders below train, validation or test, or a CSV with split"
    add("--data", type=Path, required=True, help=text)
    text = "what it is fed with, of greys of 0 to 255: these (also where it rescales them itself), "
    text += "0 to 1, or as preprocess_input of keras.applications does in this mode"
    add("--feed", required=True, choices=FEED_NAMES, help=text)
    text = "how pictures were brought to its size; bilinear_without_antialiasing is the default of "
    text += "image_dataset_from_directory and tf.image.resize, nearest that of load_img and "
    text += "flow_from_directory"
    add("--resize", required=True, choices=get_args(ResizeFilter), help=text)
    text = "each picture's greys were stretched to its own range, as train does here"
    add("--stretch", action="store_true", help=text)
    text = "which class is the sick one (default 1: the second in the alphabet); 0 for a sigmoid "
    text += "that gives the probability of the healthy"
    add("--positive-output", type=int, choices=(0, 1), default=1, help=text)
    text = "the split that it has not seen (default: validation)"
    add("--held-out", choices=get_args(SplitName), default="validation", help=text)
    text = "where the file leaves it open"
    add("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help=text)
    add("--name", help="of the model (default: that of the file)")
    add_labelling_options(parser.add_argument_group("what the data calls its classes"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write both files, over nothing that is there."""
    from edge_app.files.whole import write_whole
    from edge_app.images.labelled_pictures import note_unknown_patients, read_labelled_pictures
    from export.checkpoint import checkpoint_file
    from export.tflite_model import quiet_tensorflow

    model = checkpoint_file(options.model)
    folder = model.parent
    for name in ("run.json", "split.csv"):
        if (folder / name).exists():
            raise UsageError(f"{folder / name}: is there already")
    pictures = read_labelled_pictures(options.data, labelling_of(options))
    quiet_tensorflow()
    from export.description import Answers, describe

    answers = Answers(
        name=options.name or model.stem,
        size=None if options.size is None else tuple(options.size),
        resize=options.resize,
        feed=options.feed,
        stretch=options.stretch,
        positive_output=options.positive_output,
        held_out=options.held_out,
    )
    record, split = describe(model, pictures, answers)
    write_whole(folder / "split.csv", split)
    write_whole(folder / "run.json", record)
    if note := note_unknown_patients(pictures):
        print(note)
    print(f"{folder / 'run.json'}, split.csv: now python -m export bundle {model} --data ...")
    return EXIT_OK
