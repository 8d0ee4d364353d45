"""Which of the pictures to be scored the network was trained on, by its checkpoint's split.

The record of the bundle's checkpoint (`train/checkpoints/CONFIG` with `run.json` and `split.csv`)
and labelled pictures enter, a number leaves. Figures on pictures that were trained on promise
nothing, so `accuracy` and `compare` say how many there are.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.processes import REPOSITORY
from edge_app.bundle.manifest import Provenance
from edge_app.images.labelled_pictures import LabelledPicture, split_hash

CHECKPOINTS = REPOSITORY / "train" / "checkpoints"


def trained_on(
    provenance: Provenance, cases: Sequence[LabelledPicture], checkpoints: Path = CHECKPOINTS
) -> int | None:
    """How many of the pictures the network was trained on; None where its split is not here.

    A picture is told by its file's name without its suffix, and its patient: the folders above it
    and its bytes are other ones in another copy or resolution of the same data set.
    """
    if split_hash(case.identity for case in cases) == provenance.data_sha256:
        return len(cases)
    folder = checkpoints / provenance.config
    if not _is_record_of(folder, provenance.checkpoint_sha256):
        return None
    trained = set(_trained(folder / "split.csv"))
    return sum((_stem(case.name), case.patient_id) in trained for case in cases)


def _is_record_of(folder: Path, checkpoint_sha256: str) -> bool:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return record.get("checkpoint_sha256") == checkpoint_sha256 and (folder / "split.csv").exists()


def _trained(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["split"] == "train":
                yield _stem(row["file"]), row["patient_id"]


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]
