"""Labelled pictures and their division into splits that share no patient.

A folder with one sub-folder a class, or a CSV, enters; frozen `Sample` records and named splits
leave. Pixels are not read here.
"""

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np

POSITIVE = "PNEUMONIA"
NEGATIVE = "NORMAL"
SUBTYPES = ("bacteria", "virus")
_SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm"}
# File names of the Kermany set: person12_bacteria_47, NORMAL2-IM-0587-0001, IM-0115-0001.
_PATIENT = re.compile(r"^(person\d+|(?:NORMAL2-)?IM-\d+)")


class DataError(ValueError):
    """The folder or the CSV cannot be trained on; the message says what and where."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture.

    Attributes:
        path: the picture's file.
        name: path relative to the data's root, with forward slashes: identity across machines.
        label: 1 pneumonia, 0 normal.
        subtype: "bacteria", "virus" or "" (unknown or normal).
        patient_id: pictures of one patient share it.
        duplicate_group: pictures that stand twice share it; "" for the others.
        larger: the same picture at a higher resolution, where the data has one.
    """

    path: Path
    name: str
    label: int
    subtype: str
    patient_id: str
    duplicate_group: str = ""
    larger: Path | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Training and validation pictures; no patient and no duplicate stands in both."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]


def read_samples(root: Path, larger: Path | None = None) -> list[Sample]:
    """Read labelled pictures from a CSV file or a folder with one sub-folder a class.

    Args:
        root: a CSV with columns `file,label,patient_id` (optional: `subtype`,
            `duplicate_group`; `file` relative to the CSV's folder's parent or folder), or a
            folder that holds NORMAL and PNEUMONIA at any depth, as the Kaggle set does.
        larger: a folder with the same class folders that holds some pictures again, larger.

    Raises:
        DataError: nothing there, a class without pictures, a missing file or column.
    """
    samples = _from_csv(root) if root.suffix.lower() == ".csv" else _from_folder(root)
    for label, name in ((1, POSITIVE), (0, NEGATIVE)):
        if not any(sample.label == label for sample in samples):
            raise DataError(f"{root}: no picture of class {name}")
    if larger is not None:
        samples = [_with_larger(sample, larger) for sample in samples]
    return sorted(samples, key=lambda sample: sample.name)


def patient_of(path: Path) -> str:
    """Patient that a file name of the Kermany set names; elsewhere each file is a patient."""
    match = _PATIENT.match(path.name)
    return match[1] if match else path.stem


def split_by_patient(samples: Sequence[Sample], folds: int, fold: int, seed: int) -> Split:
    """Hold out one of `folds` parts, stratified by class and sub-type, whole patients only.

    Patients that share a duplicate count as one, so a picture never stands on both sides.

    Raises:
        DataError: fewer patients of a class than folds, or `fold` outside of [0, folds).
    """
    if folds < 2 or not 0 <= fold < folds:
        raise DataError(f"fold {fold} of {folds} does not exist")
    strata: dict[tuple[int, str], list[list[Sample]]] = defaultdict(list)
    for group in _linked_groups(samples):
        strata[(max(s.label for s in group), max(s.subtype for s in group))].append(group)
    rng = np.random.default_rng([seed, folds])
    train: list[Sample] = []
    validation: list[Sample] = []
    for key in sorted(strata):
        groups = strata[key]
        if len(groups) < folds:
            raise DataError(f"only {len(groups)} patients of stratum {key} for {folds} folds")
        for position, index in enumerate(rng.permutation(len(groups))):
            (validation if position % folds == fold else train).extend(groups[index])
    by_name = attrgetter("name")
    return Split(tuple(sorted(train, key=by_name)), tuple(sorted(validation, key=by_name)))


def split_by_image(samples: Sequence[Sample], share: float, seed: int) -> Split:
    """The article's split: images at random, patients on both sides. Only to show its price."""
    order = np.random.default_rng(seed).permutation(len(samples))
    held_out = set(order[: round(share * len(samples))].tolist())
    return Split(
        tuple(s for i, s in enumerate(samples) if i not in held_out),
        tuple(s for i, s in enumerate(samples) if i in held_out),
    )


def check_disjoint(split: Split) -> None:
    """Raises DataError when a patient or a duplicate stands on both sides."""
    for attribute in ("patient_id", "duplicate_group"):
        left = {getattr(s, attribute) for s in split.train} - {""}
        both = sorted(left & {getattr(s, attribute) for s in split.validation})
        if both:
            raise DataError(
                f"{len(both)} values of {attribute} stand in training and validation: {both[:3]}"
            )


def data_hash(samples: Iterable[Sample]) -> str:
    """SHA-256 over the sorted names and labels: which pictures, not their bytes."""
    lines = sorted(f"{s.name}\t{s.label}\t{s.patient_id}\n" for s in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _from_csv(path: Path) -> list[Sample]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"file", "label", "patient_id"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"{path}: missing columns {sorted(missing)}")
        rows = list(reader)
    return [_from_row(path, line, row) for line, row in enumerate(rows, start=2)]


def _from_row(csv_path: Path, line: int, row: dict[str, str]) -> Sample:
    label = row["label"]
    if label not in (POSITIVE, NEGATIVE, "0", "1"):
        raise DataError(f"{csv_path}:{line}: label {label!r} is neither NORMAL nor PNEUMONIA")
    for base in (csv_path.parent, csv_path.parent.parent):
        if (base / row["file"]).is_file():
            path = base / row["file"]
            break
    else:
        raise DataError(f"{csv_path}:{line}: {row['file']} is not there")
    return Sample(
        path=path,
        name=row["file"],
        label=int(label in (POSITIVE, "1")),
        subtype=row.get("subtype") or "",
        patient_id=row["patient_id"],
        duplicate_group=row.get("duplicate_group") or "",
    )


def _from_folder(root: Path) -> list[Sample]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    samples = []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES or path.parent.name not in (POSITIVE, NEGATIVE):
            continue
        subtype = next((name for name in SUBTYPES if f"_{name}_" in path.name), "")
        samples.append(
            Sample(
                path=path,
                name=path.relative_to(root).as_posix(),
                label=int(path.parent.name == POSITIVE),
                subtype=subtype,
                patient_id=patient_of(path),
            )
        )
    return samples


def _with_larger(sample: Sample, folder: Path) -> Sample:
    candidate = folder / sample.path.parent.name / sample.path.name
    return replace(sample, larger=candidate) if candidate.is_file() else sample


def _linked_groups(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Groups of pictures joined by a patient or a duplicate, in the order of their first name."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for sample in samples:
        if sample.duplicate_group:
            parent[find(f"p:{sample.patient_id}")] = find(f"d:{sample.duplicate_group}")
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.name):
        groups[find(f"p:{sample.patient_id}")].append(sample)
    return list(groups.values())
