"""Labelled pictures: a folder with one sub-folder a class, or a CSV, becomes frozen `Sample`s.

Pixels are not read here. What would make a run worthless (a class without pictures, a file that
is not there, a picture that stands twice) is a `DataError` before any time is spent.
"""

import csv
import filecmp
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_app.images.formats import SUFFIXES

SUBTYPES = ("bacteria", "virus")
NAMES_OF_LABELS = ("normal", "pneumonia")
# How folders and CSV columns name the parts of a split that somebody else made.
_GIVEN_SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
# File names of the Kermany set: person12_bacteria_47, NORMAL2-IM-0587-0001, IM-0115-0001.
_PATIENT = re.compile(r"^(person\d+|(?:NORMAL2-)?IM-\d+)")


class DataError(ValueError):
    """The folder or the CSV cannot be used; the message says what and where."""


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Names of the class folders or of the CSV's labels; upper and lower case are alike."""

    positive: str = "PNEUMONIA"
    negative: str = "NORMAL"

    def label_of(self, name: str) -> int | None:
        """1, 0, or None where `name` is no class."""
        known = {self.positive.casefold(): 1, self.negative.casefold(): 0, "1": 1, "0": 0}
        return known.get(name.casefold())


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
        given_split: "train", "validation" or "test" where the data itself is divided, else "".
        original_size: (width, height) of the file that this copy was made from, where known.
        view: "AP", "PA" or "" (unknown).
    """

    path: Path
    name: str
    label: int
    subtype: str
    patient_id: str
    duplicate_group: str = ""
    larger: Path | None = None
    given_split: str = ""
    original_size: tuple[int, int] | None = None
    view: str = ""


def read_samples(
    root: Path, larger: Path | None = None, classes: ClassNames | None = None
) -> list[Sample]:
    """Read labelled pictures from a CSV file or a folder with one sub-folder a class.

    Args:
        root: a CSV with columns `file,label,patient_id` (optional: `subtype`,
            `duplicate_group`, `split`, `original_width`, `original_height`, `view`; `file`
            relative to the CSV's folder or its parent), or a folder that holds the class folders
            at any depth, as the Kaggle set does when it is unpacked.
        larger: a folder with the same class folders that holds some pictures again, larger.
        classes: names of the classes; the Kaggle set's where not given.

    Raises:
        DataError: nothing there, a class without pictures, a missing file or column, a label
            that is no class, a file that stands twice, no larger picture that fits.
    """
    classes = classes or ClassNames()
    read = _from_csv if root.suffix.lower() == ".csv" else _from_folder
    samples = read(root, classes)
    for label, name in ((1, classes.positive), (0, classes.negative)):
        if not any(sample.label == label for sample in samples):
            raise DataError(f"{root}: no picture of class {name}")
    if larger is not None:
        samples = _with_larger(samples, larger)
    return sorted(samples, key=lambda sample: sample.name)


def patient_of(path: Path) -> str | None:
    """Patient that a file names: by DICOM's (0010,0020), or the Kermany set's pattern.

    None where neither does: then each file counts as a patient; a CSV says it better.
    """
    if path.suffix.lower() in (".dcm", ".dicom") and (patient := _dicom_patient(path)):
        return patient
    match = _PATIENT.match(path.name)
    return match[1] if match else None


def patient_is_unknown(sample: Sample) -> bool:
    """Whether nobody told the patient, so that the file counts as one of its own."""
    return sample.patient_id == sample.name


def _dicom_patient(path: Path) -> str:
    try:
        import pydicom
    except ModuleNotFoundError:
        raise DataError(
            f"{path}: patients of DICOM files are read with pydicom: pip install "
            "'pneumoscope[dicom]', or give a CSV with patient_id"
        ) from None
    try:
        header = pydicom.dcmread(path, specific_tags=["PatientID"], stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError) as error:
        raise DataError(f"{path}: {error}") from error
    return str(header.get("PatientID", ""))


def _from_csv(path: Path, classes: ClassNames) -> list[Sample]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"file", "label", "patient_id"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path}: missing columns {sorted(missing)}")
            rows = list(reader)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}") from error
    samples = [_from_row(path, line, row, classes) for line, row in enumerate(rows, start=2)]
    lines: dict[str, int] = {}
    for line, sample in enumerate(samples, start=2):
        # By the file, since `a.png` and `./a.png` are one.
        first = lines.setdefault(os.path.normpath(sample.path), line)
        if first != line:
            raise DataError(f"{path}:{line}: {sample.name} stands in line {first} already")
    return _mark_identical(samples)


def _from_row(csv_path: Path, line: int, row: dict[str, str], classes: ClassNames) -> Sample:
    where = f"{csv_path}:{line}"
    label = classes.label_of(row["label"] or "")
    if label is None:
        raise DataError(
            f"{where}: label {row['label']!r} is neither {classes.negative} nor {classes.positive}"
        )
    # A blank behind a number, as spreadsheets leave it, makes no other patient.
    patient = (row["patient_id"] or "").strip()
    if not patient:
        raise DataError(f"{where}: patient_id is empty; without it patients can't be kept apart")
    split = (row.get("split") or "").casefold()
    if split and split not in _GIVEN_SPLITS:
        raise DataError(f"{where}: split {row['split']!r} is none of {sorted(_GIVEN_SPLITS)}")
    subtype = row.get("subtype") or ""
    if subtype not in ("", *SUBTYPES):
        raise DataError(f"{where}: subtype {subtype!r} is none of {SUBTYPES}")
    return Sample(
        path=_find(csv_path, row["file"], where),
        name=row["file"],
        label=label,
        subtype=subtype,
        patient_id=patient,
        duplicate_group=row.get("duplicate_group") or "",
        given_split=_GIVEN_SPLITS.get(split, ""),
        original_size=_original_size(row, where),
        view=(row.get("view") or "").upper(),
    )


def _find(csv_path: Path, name: str, where: str) -> Path:
    for base in (csv_path.parent, csv_path.parent.parent):
        if name and (base / name).is_file():
            return base / name
    raise DataError(f"{where}: {name or 'an empty file name'} is not there")


def _original_size(row: dict[str, str], where: str) -> tuple[int, int] | None:
    width, height = row.get("original_width") or "", row.get("original_height") or ""
    if not width and not height:
        return None
    if not (width.isdecimal() and height.isdecimal() and int(width) > 0 < int(height)):
        raise DataError(f"{where}: original size {width!r} x {height!r} is no size in pixels")
    return int(width), int(height)


def _from_folder(root: Path, classes: ClassNames) -> list[Sample]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    visible = [path for path in root.rglob("*") if not _is_hidden(path.relative_to(root))]
    files = [path for path in visible if path.is_file() and path.suffix.lower() in SUFFIXES]
    _check_class_folders(root, visible, files, classes)
    # The shallower one first: the Kaggle archive holds a second copy of itself inside itself.
    files.sort(key=lambda path: (len(path.parts), path))
    samples: dict[tuple[str, int, str, int], list[Sample]] = defaultdict(list)
    for path in files:
        sample = _from_file(root, path, classes)
        alike = samples[sample.given_split, sample.label, path.name, path.stat().st_size]
        # Two sites may number their pictures alike: only the very same file is a second copy.
        if not any(filecmp.cmp(path, other.path, shallow=False) for other in alike):
            alike.append(sample)
    return _mark_identical([sample for alike in samples.values() for sample in alike])


def _is_hidden(relative: Path) -> bool:
    """Names that an operating system adds: `.DS_Store`, `._x.jpeg`, `__MACOSX/`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)


def _check_class_folders(
    root: Path, visible: Sequence[Path], files: Sequence[Path], classes: ClassNames
) -> None:
    holding = {path.parent for path in files}
    for path in visible:
        if path.is_dir() and classes.label_of(path.name) is not None and path not in holding:
            raise DataError(f"{path}: a class folder without pictures")
    foreign = [path for path in files if classes.label_of(path.parent.name) is None]
    if foreign:
        raise DataError(
            f"{root}: {len(foreign)} pictures lie in no class folder, such as {foreign[0]}; the "
            f"classes are {classes.negative} and {classes.positive} (--negative, --positive)"
        )


def _from_file(root: Path, path: Path, classes: ClassNames) -> Sample:
    label = classes.label_of(path.parent.name)
    assert label is not None, "checked by _check_class_folders"
    subtype = next((name for name in SUBTYPES if f"_{name}_" in path.name), "")
    relative = path.relative_to(root)
    # The folders between the root and the class; `test/site/NORMAL` is of the test part too.
    above = (part.casefold() for part in relative.parts[:-2])
    return Sample(
        path=path,
        name=relative.as_posix(),
        label=label,
        subtype=subtype if label else "",
        patient_id=patient_of(path) or relative.as_posix(),
        given_split=next((_GIVEN_SPLITS[part] for part in above if part in _GIVEN_SPLITS), ""),
    )


def _mark_identical(samples: Sequence[Sample]) -> list[Sample]:
    """Give pictures whose files are equal byte for byte one duplicate group."""
    by_size: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_size[sample.path.stat().st_size].append(sample)
    by_content: dict[str, list[Sample]] = defaultdict(list)
    # Only files of equal size can be equal, so few are read at all.
    for group in (group for group in by_size.values() if len(group) > 1):
        for sample in group:
            by_content[hashlib.sha256(sample.path.read_bytes()).hexdigest()].append(sample)
    identical = {
        f"sha256:{content[:16]}": group for content, group in by_content.items() if len(group) > 1
    }
    names = join_duplicates(samples, identical)
    return [replace(s, duplicate_group=names.get(s.name, "")) for s in samples]


def join_duplicates(
    samples: Sequence[Sample], groups: Mapping[str, Sequence[Sample]]
) -> dict[str, str]:
    """Duplicate group of each picture that has one: as given, and joined by `groups`.

    Args:
        samples: all pictures.
        groups: pictures that were found to be one, by the name of a group that is new.
    """
    names = {s.name: s.duplicate_group for s in samples if s.duplicate_group}
    for new, group in groups.items():
        known = sorted({names[s.name] for s in group if s.name in names})
        joined = known[0] if known else new
        # A group that was given stays whole when the content joins it to another one.
        for name, value in list(names.items()):
            if value in known:
                names[name] = joined
        names.update((s.name, joined) for s in group)
    return names


def find_copies(folder: Path, samples: Sequence[Sample]) -> dict[str, Path]:
    """Other copies of the samples in `folder`, by sample name; the samples' own files are none.

    A copy has the sample's own path below the data's root, or else its class folder and file name.

    Raises:
        DataError: one file would be the copy of several pictures, which only look alike in name.
    """
    found: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for sample in samples:
        places = (folder / sample.name, folder / sample.path.parent.name / sample.path.name)
        own = sample.path.resolve()
        path = next((p for p in places if p.is_file() and p.resolve() != own), None)
        if path is None:
            continue
        other = taken.setdefault(path, sample.name)
        if other != sample.name:
            raise DataError(
                f"{path} would be a copy of both {other} and {sample.name}; lay the copies out in "
                "the same sub-folders as the pictures"
            )
        found[sample.name] = path
    return found


def _with_larger(samples: Sequence[Sample], folder: Path) -> list[Sample]:
    copies = find_copies(folder, samples)
    if not copies:
        raise DataError(
            f"{folder}: holds none of the pictures again; it needs the same class folders and "
            "file names"
        )
    return [replace(sample, larger=copies.get(sample.name)) for sample in samples]
