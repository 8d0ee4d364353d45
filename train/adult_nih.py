"""The adult development set: NIH ChestX-ray14 frontal images with the RSNA re-reading.

A folder with `labels.csv` enters, samples leave: `Lung Opacity` is positive, `Normal` negative;
`No Lung Opacity / Not Normal` (other findings) stands apart, since it is neither.
Wang et al. 2017 (CVPR); RSNA Pneumonia Detection Challenge 2018. Not for training.
"""

import csv
from pathlib import Path

from train.samples import DataError, Sample

_LABELS = {"Lung Opacity": 1, "Normal": 0}
OTHER = "No Lung Opacity / Not Normal"


def read_adult_nih(folder: Path) -> tuple[list[Sample], list[Sample]]:
    """Samples of the two classes, and those with other findings (labelled 0).

    Raises:
        DataError: not that folder, a class that is not known, or a missing file.
    """
    path = folder / "labels.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    columns = ("file", "patient_id", "view", "rsna_class")
    missing = set(columns) - set(rows[0] if rows else ())
    if missing:
        raise DataError(f"{path}: missing columns {sorted(missing)}")
    for line, row in enumerate(rows, start=2):
        empty = [name for name in columns if not row[name]]
        if empty:
            raise DataError(f"{path}:{line}: {', '.join(empty)} is empty")
    wanted = [_sample(folder, row) for row in rows if row["rsna_class"] != OTHER]
    other = [_sample(folder, row) for row in rows if row["rsna_class"] == OTHER]
    return wanted, other


def _sample(folder: Path, row: dict[str, str]) -> Sample:
    label = _LABELS.get(row["rsna_class"], 0 if row["rsna_class"] == OTHER else None)
    path = folder / row["file"]
    if label is None:
        raise DataError(f"{folder}: {row['file']} has the unknown class {row['rsna_class']!r}")
    if not path.is_file():
        raise DataError(f"{path} is not there")
    return Sample(
        path=path,
        name=row["file"],
        label=label,
        subtype="",
        patient_id=row["patient_id"],
        view=row["view"],
    )
