"""The record of a network that was trained elsewhere: what `python -m export bundle` needs of it.

A Keras file and its labelled pictures enter; `run.json` and `split.csv`, as a training run leaves
them, leave. What cannot be read off the file is asked for, never guessed: how pictures were
resized, which numbers the network is fed with, which class is the sick one.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from edge_app.errors import DataError
from edge_app.files.codec import encode
from edge_app.images.labelled_pictures import LabelledPicture, SplitName, split_hash
from edge_app.images.preprocess_spec import PreprocessSpec, ResizeFilter
from export.checkpoint import Feed, load_model
from export.errors import CheckpointError

# What a network takes in place of greys of 0 to 255, by the names of `keras.applications`: "tf" is
# MobileNet's -1 to 1, "torch" DenseNet's, "caffe" that of ResNet and VGG, whose colours stand in
# the order blue, green, red.
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FEEDS = {
    "0-255": ((1.0,), (0.0,)),
    "0-1": ((1 / 255,), (0.0,)),
    "tf": ((1 / 127.5,), (-1.0,)),
    "torch": (
        tuple(1 / (255 * deviation) for deviation in _DEVIATIONS),
        tuple(-mean / deviation for mean, deviation in zip(_MEANS, _DEVIATIONS, strict=True)),
    ),
    "caffe": ((1.0,), (-103.939, -116.779, -123.68)),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What whoever trained the network is asked.

    Attributes:
        name: of the model.
        size: height and width where the file leaves them open, else None.
        resize: how pictures were brought to that size.
        feed: a name of `FEEDS`.
        stretch: whether each picture's greys were stretched to its own range, as training here
            does; elsewhere hardly ever.
        positive_output: as of `Feed`.
        held_out: the split of the data that the network has not seen.
    """

    name: str
    size: tuple[int, int] | None
    resize: ResizeFilter
    feed: str
    stretch: bool
    positive_output: Literal[0, 1]
    held_out: SplitName


def describe(
    model: Path, pictures: Sequence[LabelledPicture], answers: Answers
) -> tuple[bytes, bytes]:
    """The bytes of `run.json` and of `split.csv`.

    Raises:
        CheckpointError: Keras cannot load the model, or its input is no picture.
        DataError: nothing was held out, or a patient was trained on too.
    """
    height, width = _size(model, answers.size)
    divided = list(_divide(pictures, answers.held_out))
    scale, offset = FEEDS[answers.feed]
    spec = PreprocessSpec(
        height=height,
        width=width,
        grey="rec601",
        resize_filter=answers.resize,
        aspect="stretch",
        range_low_percentile=0.5,
        range_high_percentile=99.5,
        range_region=0.8 if answers.stretch else 0.0,
        jpeg_draft_ratio=0,
    )
    hashes = {
        f"{split}_sha256": split_hash(p.identity for p in divided if p.split == split)
        for split in ("train", "validation")
    }
    document = {
        "config": {
            "name": answers.name,
            "seed": 0,
            "preprocess": encode(spec),
            "feed": encode(Feed(scale, offset, answers.positive_output)),
        },
        "started": datetime.fromtimestamp(model.stat().st_mtime, UTC).isoformat(timespec="seconds"),
        "versions": {"keras": keras_version(model)},
        "finished": True,
        **hashes,
    }
    return (json.dumps(document, indent=2) + "\n").encode("utf-8"), _table(divided)


def keras_version(model: Path) -> str:
    """The version that wrote a `.keras` or `.h5` file; "unknown" where it does not say."""
    try:
        if zipfile.is_zipfile(model):
            with zipfile.ZipFile(model) as archive:
                return str(json.loads(archive.read("metadata.json"))["keras_version"])
        import h5py

        with h5py.File(model) as file:
            return str(file.attrs["keras_version"])
    except (OSError, KeyError, ValueError):
        return "unknown"


def _size(path: Path, asked: tuple[int, int] | None) -> tuple[int, int]:
    model: Any = load_model(path)
    shape = tuple(getattr(getattr(model, "input", None), "shape", ()))
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise CheckpointError(
            f"{path}: the input {list(shape)} is not (batch, height, width, 1 or 3)"
        )
    found = shape[1:3]
    if None in found:
        if asked is None:
            raise CheckpointError(f"{path}: takes pictures of any size: name one with --size")
        return asked
    if asked is not None and asked != found:
        raise CheckpointError(f"{path}: takes pictures of {found[0]} x {found[1]} pixels")
    return int(found[0]), int(found[1])


def _divide(pictures: Sequence[LabelledPicture], held_out: SplitName) -> Iterator[LabelledPicture]:
    """Training pictures and those that were held out; other splits are left alone."""
    trained = {p.patient_id for p in pictures if p.split == "train"}
    unseen = [p for p in pictures if p.split == held_out]
    if not unseen:
        raise DataError(
            f"no picture of the split {held_out!r}: the data says by folders (train, validation, "
            "test) or by the column split what the network has not seen; --held-out names it"
        )
    if shared := sorted(trained & {p.patient_id for p in unseen}):
        raise DataError(
            f"{len(shared)} patients were trained on and held out, such as {shared[0]}: nothing "
            "fitted on such pictures would hold"
        )
    yield from (p for p in pictures if p.split == "train")
    yield from (replace(p, split="validation") for p in unseen)


def _table(pictures: Sequence[LabelledPicture]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("file", "label", "subtype", "patient_id", "split"))
    for p in pictures:
        writer.writerow((p.name, p.label, p.subtype, p.patient_id, p.split))
    return text.getvalue().encode("utf-8")
