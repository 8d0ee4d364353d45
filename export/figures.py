"""The bundle's `metrics`: every figure with its interval, split, model and operating point."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_app.bundle.manifest import Figure, Metric, OperatingPoint, Split
from edge_app.errors import InputError
from edge_app.images.preprocess import PreprocessSpec, preprocess
from edge_app.images.read import read_image
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import wilson
from edge_app.statistics.observations import patient_weights
from export.errors import ExportError
from export.fitting import rounded, share_at
from export.pictures import Pictures
from export.progress import step, track
from export.scores import Logits

# RSNA's re-reading of NIH pictures: an opacity may be pneumonia; the rest is not.
_LABELS = {
    "PNEUMONIA": 1,
    "NORMAL": 0,
    "1": 1,
    "0": 0,
    "Lung Opacity": 1,
    "Normal": 0,
    "No Lung Opacity / Not Normal": 0,
}


def split_of(name: str, pictures: Pictures) -> Split:
    """Name, counts and hash of a set of pictures."""
    rows = zip(pictures.files, pictures.labels, pictures.forms, strict=True)
    lines = sorted(f"{file}\t{label}\t{form}\n" for file, label, form in rows)
    return Split(
        name=name,
        n_images=len(pictures),
        n_patients=len(set(pictures.patients.tolist())),
        n_positive=int(pictures.labels.sum()),
        sha256=hashlib.sha256("".join(lines).encode()).hexdigest(),
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


def area_under_precision(
    split: Split, pictures: Pictures, logits: Logits, model_sha256: str
) -> Metric:
    """AUPRC with its interval over patients; it depends on the split's prevalence."""
    groups = pictures.patients
    figure = metrics.bootstrap(metrics.auprc, pictures.labels, logits, groups, n_resamples=300)
    return Metric("auprc", split, model_sha256, rounded(figure), None)


def _open_share(point: OperatingPoint, pictures: Pictures, logits: Logits) -> Figure:
    """Share between the cut-offs, each patient counting once."""
    weights = patient_weights(pictures.patients)
    inside = (logits >= point.refer_low) & (logits < point.refer_high)
    total = float(weights.sum())
    return rounded(wilson(min(float(weights[inside].sum()), total), total))


def read_external(name: str, path: Path, spec: PreprocessSpec) -> Pictures:
    """Labelled pictures of another site: a CSV with `file`, `patient_id` and `label`.

    `rsna_class` may stand in place of `label`. `view`, where given, goes into the form, so that
    views can be told apart: in the adult set the sick lie (AP) and the healthy stand (PA).

    Raises:
        ExportError: a missing file or column, an unknown label, an unreadable picture.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ExportError(f"{path}: cannot be read: {error}") from error
    if not rows or not {"file", "patient_id"} <= set(rows[0]):
        raise ExportError(f"{path}: has no rows, or lacks the columns file and patient_id")
    inputs, labels = [], []
    for row in track(rows, name):
        label = _LABELS.get(row.get("label") or row.get("rsna_class") or "")
        if label is None:
            raise ExportError(f"{path}: {row['file']}: no known label")
        labels.append(label)
        try:
            inputs.append(preprocess(read_image(path.parent / row["file"], spec=spec).pixels, spec))
        except InputError as error:
            raise ExportError(f"{path}: {error}") from error
    return Pictures(
        inputs=np.concatenate(inputs),
        labels=np.array(labels, np.intp),
        patients=np.array([row["patient_id"] for row in rows]),
        forms=np.array([row.get("view") or name for row in rows]),
        files=np.array([row["file"] for row in rows]),
    )
