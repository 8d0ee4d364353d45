"""Labelled pictures to train on: what `edge_app` reads, held to what a run needs besides.

Both classes are there, every patient of a CSV is told, sub-types are ones that the network learns,
and larger copies are found. Anything else is a `DataError` before any time is spent.
"""

from dataclasses import replace
from pathlib import Path

from edge_app.errors import DataError
from edge_app.images.labelled_pictures import (
    LabelledPicture,
    Labelling,
    find_copies,
    read_labelled_pictures,
)

SUBTYPES = ("bacteria", "virus")
NAMES_OF_LABELS = ("normal", "pneumonia")


def read_samples(
    root: Path, larger: Path | None = None, labelling: Labelling | None = None
) -> list[LabelledPicture]:
    """Read labelled pictures from a CSV file or a folder with one sub-folder a class.

    Args:
        root: as `read_labelled_pictures` takes it.
        larger: a folder with the same class folders that holds some pictures again, larger.
        labelling: names of classes and columns; the Kaggle set's where not given.

    Raises:
        NoInputError: nothing there.
        DataError: it cannot be read, a class without pictures, a row of a CSV without a patient,
            an unknown sub-type, no larger picture that fits.
    """
    labelling = labelling or Labelling()
    samples = read_labelled_pictures(root, labelling)
    for label, names in ((1, labelling.positive), (0, labelling.negative)):
        if not any(sample.label == label for sample in samples):
            raise DataError(f"{root}: no picture of class {' or '.join(names)}")
    for sample in samples:
        if root.is_file() and sample.patient_is_unknown:
            raise DataError(
                f"{root}: {sample.name} has no patient_id; without it patients can't be kept apart"
            )
        if sample.subtype not in ("", *SUBTYPES):
            raise DataError(
                f"{root}: {sample.name}: subtype {sample.subtype!r} is none of "
                f"{', '.join(SUBTYPES)}"
            )
    if larger is None:
        return samples
    copies = find_copies(larger, samples)
    return [replace(sample, larger=copies.get(sample.name)) for sample in samples]
