"""Labelled pictures to measure accuracy on; pixels are not read here.

A folder with one sub-folder a class (as the Kaggle set is downloaded), or a CSV with a column of
files and one of labels, enters; frozen `Case`s leave, each with the subgroups that it belongs to.
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_app.errors import NoInputError, UsageError
from edge_app.images.formats import SUFFIXES

POSITIVE = "PNEUMONIA"
NEGATIVE = "NORMAL"
# File names of the Kermany set: person12_bacteria_47, NORMAL2-IM-0587-0001, IM-0115-0001.
_PATIENT = re.compile(r"^(person\d+|(?:NORMAL2-)?IM-\d+)")
_SUBTYPE = re.compile(r"_(bacteria|virus)_")
_AGE_BANDS = ((1, "under 1"), (6, "1 to 5"), (18, "6 to 17"), (40, "18 to 39"), (65, "40 to 64"))
_SUBGROUP_COLUMNS = ("subtype", "view", "sex")


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled picture.

    Attributes:
        path: its file.
        name: relative to the data's root, with forward slashes: its identity across machines.
        label: 1 pneumonia, 0 normal.
        patient_id: pictures of one patient share it.
        groups: subgroup by kind, such as {"view": "AP", "subtype": "virus"}.
    """

    path: Path
    name: str
    label: int
    patient_id: str
    groups: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Labels:
    """Which names mean what: the class folders, or the values of the CSV's label column."""

    positive: str = POSITIVE
    negative: str = NEGATIVE
    column: str = "label"

    def number(self, name: str) -> int | None:
        """1, 0, or None for a name that is neither class; "1" and "0" stand for themselves."""
        numbers = {"1": 1, "0": 0, self.positive.lower(): 1, self.negative.lower(): 0}
        return numbers.get(name.lower())


def read_cases(
    source: Path,
    labels: Labels | None = None,
    *,
    root: Path | None = None,
    part: str | None = None,
) -> list[Case]:
    """Read labelled pictures, sorted by name.

    Args:
        source: a folder that holds the class folders at any depth, or a CSV with `file`, a label
            column, and where known `patient_id`, `subtype`, `view`, `sex`, `age`; `file` is
            relative to the CSV's folder or to that folder's parent. Rows of another label are
            left out.
        labels: names of the classes; NORMAL and PNEUMONIA by default; in a CSV 0 and 1 as well.
        root: where the file names of a CSV start instead.
        part: only the rows of a CSV whose column `part` says this.

    Raises:
        NoInputError: no such folder or file, or no picture of either class in it.
        UsageError: a column is missing, or a picture that a row names.
    """
    labels = labels or Labels()
    if source.is_dir():
        cases = _from_folder(source, labels)
    elif source.is_file():
        bases = (source.parent, source.parent.parent) if root is None else (root,)
        cases = _from_csv(source, labels, bases, part)
    else:
        raise NoInputError(f"{source}: no such folder or CSV file")
    if not cases:
        raise NoInputError(
            f"{source}: no picture of class {labels.positive!r} or {labels.negative!r}; pictures "
            "must lie in folders of these names, or name others with --positive and --negative"
        )
    return sorted(cases, key=lambda case: case.name)


def list_pictures(folder: Path) -> list[Path]:
    """Files of a folder tree that are named like pictures, sorted; links count as files.

    Raises:
        NoInputError: no such folder.
    """
    if not folder.is_dir():
        raise NoInputError(f"{folder}: no such folder")
    # macOS archives carry "._picture.jpeg" twins that are no pictures.
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def cases_hash(cases: Sequence[Case]) -> str:
    """SHA-256 of the sorted names, labels and patients, as the bundle names its splits by."""
    lines = sorted(f"{case.name}\t{case.label}\t{case.patient_id}\n" for case in cases)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sizes_hash(cases: Sequence[Case]) -> str:
    """SHA-256 of the sorted names and sizes in bytes: tells other copies of the pictures apart."""
    lines = sorted(f"{case.name}\t{case.path.stat().st_size}\n" for case in cases)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def age_band(years: float) -> str:
    """Name of the age group of an age in years."""
    return next((name for below, name in _AGE_BANDS if years < below), "65 and over")


def _from_folder(root: Path, labels: Labels) -> list[Case]:
    cases = []
    for path in list_pictures(root):
        label = labels.number(path.parent.name)
        if label is not None:
            name = path.relative_to(root).as_posix()
            cases.append(Case(path, name, label, _patient_of(name), _groups_of(path, {})))
    return cases


def _from_csv(
    source: Path, labels: Labels, bases: tuple[Path, ...], part: str | None
) -> list[Case]:
    wanted = ("file", labels.column, *(["part"] if part is not None else []))
    rows = [row for row in _read_rows(source, wanted) if part is None or row["part"] == part]
    numbered = [(row, labels.number(row[labels.column] or "")) for row in rows]
    return [_case_of_row(source, bases, row, label) for row, label in numbered if label is not None]


def _read_rows(source: Path, wanted: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV that has the wanted columns.

    Raises:
        UsageError: it lacks a column, is no UTF-8 or no CSV.
    """
    try:
        with source.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            for column in wanted:
                if column not in (reader.fieldnames or ()):
                    known = ", ".join(reader.fieldnames or ())
                    raise UsageError(f"{source}: no column {column!r}; there are {known}")
            return list(reader)
    except UnicodeDecodeError as error:
        raise UsageError(f"{source}: not a CSV in UTF-8 ({error.reason})") from error
    except csv.Error as error:
        raise UsageError(f"{source}: not a CSV: {error}") from error


def _case_of_row(source: Path, bases: tuple[Path, ...], row: Mapping[str, str], label: int) -> Case:
    name = row["file"]
    if not name:
        raise UsageError(f"{source}: a row names no file: {','.join(map(str, row.values()))}")
    path = next((base / name for base in bases if (base / name).is_file()), None)
    if path is None:
        raise UsageError(f"{source}: {name}: no such file below {' or '.join(map(str, bases))}")
    patient = row.get("patient_id") or _patient_of(name)
    return Case(path, name, label, patient, _groups_of(path, row))


def _groups_of(path: Path, row: Mapping[str, str]) -> dict[str, str]:
    groups = {kind: row[kind].strip() for kind in _SUBGROUP_COLUMNS if row.get(kind)}
    subtype = _SUBTYPE.search(path.name)
    if subtype is not None:
        groups.setdefault("subtype", subtype[1])
    age = _age(row.get("age") or "")
    if age is not None:
        groups["age"] = age_band(age)
    return groups


def _age(text: str) -> float | None:
    """Years from "54", "54.5" or DICOM's "054Y"; None for what is none of these."""
    try:
        return float(text.strip().upper().removesuffix("Y"))
    except ValueError:
        return None


def _patient_of(name: str) -> str:
    """Patient that a file name of the Kermany set names; elsewhere each file is a patient.

    The whole relative path then: "001.png" of two folders are two patients.
    """
    match = _PATIENT.match(name.rpartition("/")[2])
    return match[1] if match else name
