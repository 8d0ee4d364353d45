"""The bundle's `metrics`: every figure with its interval, split, model and operating point."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_app.bundle.manifest import Figure, Metric, OperatingPoint, Split
from edge_app.errors import InputError
from edge_app.images.labelled_pictures import (
    Labelling,
    note_unknown_patients,
    read_labelled_pictures,
    split_hash,
)
from edge_app.images.preprocess import PreprocessSpec
from edge_app.images.read import read_image
from edge_app.progress import step, track
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import wilson
from edge_app.statistics.observations import BoolArray, patient_weights
from export.errors import ExportError
from export.fitting import rounded, share_at
from export.pictures import Pictures
from export.scores import Logits


def split_of(name: str, pictures: Pictures) -> Split:
    """Name, counts and hash of a set of pictures; their form does not change the hash."""
    columns = (pictures.files.tolist(), pictures.labels.tolist(), pictures.patients.tolist())
    return Split(
        name=name,
        n_images=len(pictures),
        n_patients=len(set(pictures.patients.tolist())),
        n_positive=int(pictures.labels.sum()),
        sha256=split_hash(zip(*columns, strict=True)),
    )


def measure(
    split: Split,
    pictures: Pictures,
    logits: Logits,
    points: Sequence[OperatingPoint],
    model_sha256: str,
) -> list[Metric]:
    """AUROC, and at each operating point sensitivity, specificity and the share left open.

    What pictures of one class, or of one patient, cannot show is left out, and that is said: a
    view or another site may well hold nobody who is healthy.
    """
    found = []
    try:
        area = metrics.auroc_delong(pictures.labels, logits, groups=pictures.patients)
        found.append(Metric("auroc", split, model_sha256, rounded(area), None))
    except ValueError as error:
        step(f"{split.name}: no AUROC: {error}")
    classes = (("sensitivity", 1), ("specificity", 0))
    there = [(name, label) for name, label in classes if (pictures.labels == label).any()]
    for point in points:
        figures = {n: share_at(point.threshold, pictures, logits, label) for n, label in there}
        figures["indeterminate"] = _open_share(point, pictures, logits)
        found += [Metric(n, split, model_sha256, f, point.name) for n, f in figures.items()]
    return found


def refused_share(split: Split, pictures: Pictures, refused: BoolArray, sha256: str) -> Metric:
    """Share that the first look refuses, each patient counting once."""
    weights = patient_weights(pictures.patients)
    total = float(weights.sum())
    share = wilson(min(float(weights[refused].sum()), total), total)
    return Metric("refused", split, sha256, rounded(share), None)


def area_under_precision(
    split: Split, pictures: Pictures, logits: Logits, model_sha256: str
) -> Metric:
    """AUPRC with its interval over patients; it depends on the split's prevalence."""
    groups = pictures.patients
    figure = metrics.auprc_bootstrap(pictures.labels, logits, groups, n_resamples=300)
    return Metric("auprc", split, model_sha256, rounded(figure), None)


def _open_share(point: OperatingPoint, pictures: Pictures, logits: Logits) -> Figure:
    """Share between the cut-offs, each patient counting once."""
    weights = patient_weights(pictures.patients)
    inside = (logits >= point.refer_low) & (logits < point.refer_high)
    total = float(weights.sum())
    return rounded(wilson(min(float(weights[inside].sum()), total), total))


def read_external(name: str, path: Path, labelling: Labelling, spec: PreprocessSpec) -> Pictures:
    """Labelled pictures of another site: a CSV or a folder of classes.

    A CSV's `view` goes into the form, so that views can be told apart: in the adult set the sick
    lie (AP) and the healthy stand (PA).

    Raises:
        NoInputError, DataError: there is no such data, or it cannot be used.
        ExportError: an unreadable picture.
    """
    entries = read_labelled_pictures(path, labelling)
    if note := note_unknown_patients(entries):
        step(f"{name}: {note}")
    pixels = []
    for entry in track(entries, name):
        try:
            pixels.append(read_image(entry.path, spec=spec).pixels)
        except InputError as error:
            raise ExportError(f"{path}: {error}") from error
    return Pictures(
        pixels=tuple(pixels),
        labels=np.array([entry.label for entry in entries], np.intp),
        patients=np.array([entry.patient_id for entry in entries]),
        forms=np.array([entry.view or name for entry in entries]),
        files=np.array([entry.name for entry in entries]),
    )
