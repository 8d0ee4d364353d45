"""Who is labelled how: a folder with one sub-folder a class, or a CSV, becomes `LabelledPicture`s.

Training, export and benchmarks all read labelled data here, so that one folder gives all three the
same pictures, labels and patients, and one hash. The edge app's commands that measure at a site
read a CSV of labels with it. Pixels are not read. What would make a figure worthless (a picture of
no class, a file that is not there, a picture listed twice) is a `DataError`.
"""

import csv
import filecmp
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from edge_app.errors import DataError, NoInputError, RuntimeUnavailableError
from edge_app.images.dicom_library import load_pydicom
from edge_app.images.formats import SUFFIXES

SplitName = Literal["train", "validation", "test"]
# What a CSV may say of a picture. Any other name of a column is given by `Labelling.columns`.
FIELDS = (
    "file",
    "label",
    "patient_id",
    "subtype",
    "duplicate_group",
    "split",
    "original_width",
    "original_height",
    "view",
    "sex",
    "age",
)
_REQUIRED = ("file", "label")
# How folders and CSVs name the splits of data that is divided already.
_SPLITS: dict[str, SplitName] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_DICOM_SUFFIXES = (".dcm", ".dicom")
# File names of the Kermany set: person12_bacteria_47, NORMAL2-IM-0587-0001, IM-0115-0001.
_PATIENT = re.compile(r"^(person\d+|(?:NORMAL2-)?IM-\d+)")
_SUBTYPE = re.compile(r"_(bacteria|virus)_")
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([YMWD]?)", re.IGNORECASE)
_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.1786, "D": 365.25}


@dataclass(frozen=True, slots=True)
class Labelling:
    """How data names its classes and what a CSV calls its columns; case does not matter.

    Attributes:
        positive, negative: names of class folders, or values of the CSV's label column. "1" and
            "0" always count as well.
        left_out: classes that are neither; their pictures are not read.
        columns: a CSV's own name for a field of `FIELDS`, where it is another one.

    Raises:
        DataError: a name is of two classes, or a field is unknown.
    """

    positive: tuple[str, ...] = ("PNEUMONIA",)
    negative: tuple[str, ...] = ("NORMAL",)
    left_out: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [n.casefold() for n in (*self.positive, *self.negative, *self.left_out)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"class {twice[0]!r} is given twice")
        if unknown := sorted(set(self.columns) - set(FIELDS)):
            raise DataError(f"no column {unknown[0]!r} is read; there are: {', '.join(FIELDS)}")

    def label_of(self, name: str) -> int | None:
        """1, 0, or None where `name` is of neither class."""
        known = dict.fromkeys(map(str.casefold, self.left_out))
        known |= dict.fromkeys(map(str.casefold, (*self.negative, "0")), 0)
        known |= dict.fromkeys(map(str.casefold, (*self.positive, "1")), 1)
        return known.get(name.casefold())

    def leaves_out(self, name: str) -> bool:
        """Whether pictures of this class are passed over."""
        return name.casefold() in map(str.casefold, self.left_out)

    def __str__(self) -> str:
        return f"{' or '.join(self.negative)} (negative), {' or '.join(self.positive)} (positive)"


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One labelled picture.

    Attributes:
        path: its file.
        name: path relative to the data's root, with forward slashes: identity across machines.
        label: 1 pneumonia, 0 normal.
        patient_id: pictures of one patient share it; `name` where nobody told the patient.
        subtype: "bacteria", "virus", or what a CSV says; "" unknown or normal.
        duplicate_group: pictures of one content share it; "" for the others.
        split: "train", "validation" or "test" where the data itself is divided, else "".
        original_size: (width, height) of the file that this copy was made from, where known.
        view, sex: as a CSV says, in capitals; "" unknown.
        age_years: None where unknown.
        larger: the same picture at a higher resolution, where the caller looked for one.
    """

    path: Path
    name: str
    label: int
    patient_id: str
    subtype: str = ""
    duplicate_group: str = ""
    split: SplitName | Literal[""] = ""
    original_size: tuple[int, int] | None = None
    view: str = ""
    sex: str = ""
    age_years: float | None = None
    larger: Path | None = None

    @property
    def identity(self) -> tuple[str, int, str]:
        """What `split_hash` knows of a picture."""
        return self.name, self.label, self.patient_id

    @property
    def patient_is_unknown(self) -> bool:
        """Whether nobody told the patient, so that the file counts as a patient of its own."""
        return self.patient_id == self.name


def read_labelled_pictures(
    source: Path,
    labelling: Labelling | None = None,
    *,
    roots: Sequence[Path] | None = None,
    split: str = "",
) -> list[LabelledPicture]:
    """Read labelled pictures, sorted by name.

    Patients come from a CSV's `patient_id`; without such a column and in a folder, from DICOM's
    Patient ID (0010,0020) or a file name of the Kermany set's pattern.

    Args:
        source: a folder that holds the class folders at any depth, as the Kaggle set does when it
            is unpacked, or a CSV with columns of `FIELDS`, of which `file` and `label` are needed.
        labelling: names of classes and columns; the Kaggle set's by default.
        roots: where a CSV's file names start, tried in turn; its own folder and that folder's
            parent by default.
        split: read only this split of data that is divided.

    Raises:
        NoInputError: no such folder or file, or no picture of either class.
        DataError: a picture of no class, a missing file or column, a picture listed twice.
        RuntimeUnavailableError: DICOM files, and pydicom is not installed.
    """
    labelling = labelling or Labelling()
    if split and split.casefold() not in _SPLITS:
        raise DataError(f"split {split!r} is none of {', '.join(_SPLITS)}")
    wanted = _SPLITS[split.casefold()] if split else ""
    if source.is_dir():
        found = _from_folder(source, labelling)
        pictures = [picture for picture in found if not wanted or picture.split == wanted]
    elif source.is_file():
        roots = (source.parent, source.parent.parent) if roots is None else roots
        pictures = list(_from_csv(source, labelling, roots, wanted))
    else:
        raise NoInputError(f"{source}: no such folder or CSV file")
    if not pictures:
        where = f"{source}, split {wanted}" if wanted else f"{source}"
        raise NoInputError(
            f"{where}: no picture of class {labelling}; pictures must lie in folders of "
            "these names, or name others with --positive and --negative"
        )
    return sorted(_mark_identical(pictures), key=lambda picture: picture.name)


def read_label_table(table: Path, labelling: Labelling) -> list[tuple[int, dict[str, str]]]:
    """(line, cells by field) of a CSV; only fields whose columns are there.

    A blank behind a value, as spreadsheets leave it, makes no other patient, so it is cut off.

    Raises:
        DataError: no CSV in UTF-8, or a column that is needed is missing.
        NoInputError: it cannot be read.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            columns = {name: labelling.columns.get(name, name) for name in FIELDS}
            for name in (*_REQUIRED, *labelling.columns):
                if columns[name] not in header:
                    raise DataError(
                        f"{table}: no column {columns[name]!r}; there are {', '.join(header)} "
                        f"(name the right one: --column {name}=NAME)"
                    )
            there = {name: column for name, column in columns.items() if column in header}
            return [
                (line, {name: (row[column] or "").strip() for name, column in there.items()})
                for line, row in enumerate(reader, start=2)
            ]
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: not a CSV in UTF-8 ({error.reason})") from error
    except OSError as error:
        raise NoInputError(f"{table}: {error.strerror or error}") from error
    except csv.Error as error:
        raise DataError(f"{table}: not a CSV: {error}") from error


def split_hash(identities: Iterable[tuple[str, int, str]]) -> str:
    """SHA-256 over distinct (name, label, patient): which pictures, in any order, not their bytes.

    The one hash by which runs, bundles and benchmarks say which pictures they mean.
    """
    lines = sorted(f"{name}\t{label}\t{patient}\n" for name, label, patient in set(identities))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sizes_hash(files: Mapping[str, Path]) -> str:
    """SHA-256 over the names and the files' sizes in bytes: tells other copies of them apart."""
    lines = sorted(f"{name}\t{path.stat().st_size}\n" for name, path in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def note_unknown_patients(pictures: Sequence[LabelledPicture]) -> str:
    """A sentence for people where patients are unknown; "" where each is told."""
    unknown = sum(picture.patient_is_unknown for picture in pictures)
    if not unknown:
        return ""
    return (
        f"note: {unknown} of {len(pictures)} pictures tell no patient, so each of them counts as "
        "one; a CSV with patient_id keeps the pictures of a patient together"
    )


def list_pictures(folder: Path) -> list[Path]:
    """Files of a folder tree that are named like pictures, sorted; links count as files.

    Raises:
        NoInputError: no such folder.
    """
    if not folder.is_dir():
        raise NoInputError(f"{folder}: no such folder")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not _is_hidden(path.relative_to(folder))
    )


def patient_of(path: Path) -> str:
    """Patient that a file names: by DICOM's (0010,0020), or the Kermany set's file names.

    "" where neither does.

    Raises:
        RuntimeUnavailableError: a DICOM file, and pydicom is not installed.
    """
    if path.suffix.lower() in _DICOM_SUFFIXES and (patient := _dicom_patient(path)):
        return patient
    match = _PATIENT.match(path.name)
    return match[1] if match else ""


def find_copies(folder: Path, pictures: Sequence[LabelledPicture]) -> dict[str, Path]:
    """Other copies of the pictures in `folder`, by name; the pictures' own files are none.

    A copy has the picture's own path below the data's root, or else its class folder and file name.

    Raises:
        DataError: there is none, or one file would be the copy of several pictures, which only
            look alike in name.
    """
    found: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for picture in pictures:
        places = (folder / picture.name, folder / picture.path.parent.name / picture.path.name)
        own = picture.path.resolve()
        path = next((p for p in places if p.is_file() and p.resolve() != own), None)
        if path is None:
            continue
        other = taken.setdefault(path, picture.name)
        if other != picture.name:
            raise DataError(
                f"{path} would be a copy of both {other} and {picture.name}; lay the copies out "
                "in the same sub-folders as the pictures"
            )
        found[picture.name] = path
    if not found:
        raise DataError(
            f"{folder}: holds none of the pictures again; it needs the same class folders and "
            "file names"
        )
    return found


def join_duplicates(
    pictures: Sequence[LabelledPicture], groups: Mapping[str, Sequence[LabelledPicture]]
) -> dict[str, str]:
    """Duplicate group of each picture that has one: as given, and joined by `groups`.

    Args:
        pictures: all of them.
        groups: pictures that were found to be one, by the name of a group that is new.
    """
    names = {p.name: p.duplicate_group for p in pictures if p.duplicate_group}
    for new, group in groups.items():
        known = sorted({names[p.name] for p in group if p.name in names})
        joined = known[0] if known else new
        # A group that was given stays whole when the content joins it to another one.
        for name, value in list(names.items()):
            if value in known:
                names[name] = joined
        names.update((p.name, joined) for p in group)
    return names


def _from_folder(root: Path, labelling: Labelling) -> list[LabelledPicture]:
    files = list_pictures(root)
    _check_class_folders(root, files, labelling)
    # The shallower one first: the Kaggle archive holds a second copy of itself inside itself.
    files.sort(key=lambda path: (len(path.parts), path))
    pictures: dict[tuple[str, int, str, int], list[LabelledPicture]] = defaultdict(list)
    for path in files:
        label = labelling.label_of(path.parent.name)
        if label is None:  # a class that is left out
            continue
        picture = _from_file(root, path, label)
        alike = pictures[picture.split, label, path.name, path.stat().st_size]
        # Two sites may number their pictures alike: only the very same file is a second copy.
        if not any(filecmp.cmp(path, other.path, shallow=False) for other in alike):
            alike.append(picture)
    return [picture for alike in pictures.values() for picture in alike]


def _is_hidden(relative: Path) -> bool:
    """Names that an operating system adds: `.DS_Store`, `._x.jpeg`, `__MACOSX/`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)


def _check_class_folders(root: Path, files: Sequence[Path], labelling: Labelling) -> None:
    holding = {path.parent for path in files}
    for path in root.rglob("*"):
        is_class = path.is_dir() and labelling.label_of(path.name) is not None
        if is_class and path not in holding and not _is_hidden(path.relative_to(root)):
            raise DataError(f"{path}: a class folder without pictures")
    foreign = [p for p in files if not _is_of_a_class(p.parent.name, labelling)]
    if len(foreign) == len(files):  # no class at all: the caller says what is missing
        return
    if foreign:
        raise DataError(
            f"{root}: {len(foreign)} pictures lie in no class folder, such as {foreign[0]}; the "
            f"classes are {labelling}: name others with --positive and --negative, and what "
            "shall not be read with --leave-out"
        )


def _is_of_a_class(name: str, labelling: Labelling) -> bool:
    return labelling.label_of(name) is not None or labelling.leaves_out(name)


def _from_file(root: Path, path: Path, label: int) -> LabelledPicture:
    name = path.relative_to(root).as_posix()
    # The folders between the root and the class; `test/site/NORMAL` is of the test split too.
    above = (part.casefold() for part in path.relative_to(root).parts[:-2])
    return LabelledPicture(
        path=path,
        name=name,
        label=label,
        patient_id=patient_of(path) or name,
        subtype=_subtype_of(path, label),
        split=next((_SPLITS[part] for part in above if part in _SPLITS), ""),
    )


def _subtype_of(path: Path, label: int) -> str:
    match = _SUBTYPE.search(path.name)
    return match[1] if match and label else ""


def _dicom_patient(path: Path) -> str:
    try:
        load_pydicom()
        from pydicom import dcmread
    except ImportError:
        raise RuntimeUnavailableError(
            f"{path}: the patients of DICOM files are read with pydicom: pip install "
            "'pneumoscope[dicom]', or give a CSV with patient_id"
        ) from None
    try:
        header = dcmread(path, specific_tags=["PatientID"], stop_before_pixels=True, force=True)
        return str(header.get("PatientID") or "").strip(" \0")
    except Exception:  # pydicom raises what the damage happens to raise; decoding will say it
        return ""


def _from_csv(
    table: Path, labelling: Labelling, roots: Sequence[Path], wanted: str
) -> Iterator[LabelledPicture]:
    lines: dict[str, int] = {}
    for line, row in read_label_table(table, labelling):
        where = f"{table}:{line}"
        if labelling.leaves_out(row["label"]):
            continue
        label = labelling.label_of(row["label"])
        if label is None:
            raise DataError(
                f"{where}: label {row['label']!r} is none of {labelling}; name others with "
                "--positive and --negative, and what shall not be read with --leave-out"
            )
        split = _split_of(row.get("split", ""), where)
        if wanted and split != wanted:
            continue
        picture = _from_row(_find(row["file"], roots, where), label, split, row, where)
        # By the file, since `a.png` and `./a.png` are one.
        first = lines.setdefault(os.path.normpath(picture.path), line)
        if first != line:
            raise DataError(f"{where}: {picture.name} stands in line {first} already")
        yield picture


def _from_row(
    path: Path,
    label: int,
    split: SplitName | Literal[""],
    row: Mapping[str, str],
    where: str,
) -> LabelledPicture:
    patient = row["patient_id"] if "patient_id" in row else patient_of(path)
    return LabelledPicture(
        path=path,
        name=row["file"],
        label=label,
        patient_id=patient or row["file"],
        subtype=row["subtype"] if "subtype" in row else _subtype_of(path, label),
        duplicate_group=row.get("duplicate_group", ""),
        split=split,
        original_size=_original_size(row, where),
        view=row.get("view", "").upper(),
        sex=row.get("sex", "").upper(),
        age_years=_age_years(row.get("age", "")),
    )


def _split_of(name: str, where: str) -> SplitName | Literal[""]:
    if not name:
        return ""
    if name.casefold() not in _SPLITS:
        raise DataError(f"{where}: split {name!r} is none of {', '.join(_SPLITS)}")
    return _SPLITS[name.casefold()]


def _find(name: str, roots: Sequence[Path], where: str) -> Path:
    for root in roots:
        if name and (root / name).is_file():
            return root / name
    below = " or ".join(str(root) for root in roots)
    raise DataError(f"{where}: {name or 'an empty file name'} is not there, below {below}")


def _original_size(row: Mapping[str, str], where: str) -> tuple[int, int] | None:
    width, height = row.get("original_width", ""), row.get("original_height", "")
    if not width and not height:
        return None
    if not (width.isdecimal() and height.isdecimal() and int(width) > 0 < int(height)):
        raise DataError(f"{where}: original size {width!r} x {height!r} is no size in pixels")
    return int(width), int(height)


def _age_years(text: str) -> float | None:
    """Years of "54", "54.5", or DICOM's "054Y", "006M"; None for what is none of these."""
    match = _AGE.fullmatch(text)
    return float(match[1]) / _PER_YEAR[match[2].upper() or "Y"] if match else None


def _mark_identical(pictures: Sequence[LabelledPicture]) -> list[LabelledPicture]:
    """Give pictures whose files are equal byte for byte one duplicate group."""
    by_size: dict[int, list[LabelledPicture]] = defaultdict(list)
    for picture in pictures:
        by_size[picture.path.stat().st_size].append(picture)
    by_content: dict[str, list[LabelledPicture]] = defaultdict(list)
    # Only files of equal size can be equal, so few are read at all.
    for group in (group for group in by_size.values() if len(group) > 1):
        for picture in group:
            by_content[hashlib.sha256(picture.path.read_bytes()).hexdigest()].append(picture)
    identical = {
        f"sha256:{content[:16]}": group for content, group in by_content.items() if len(group) > 1
    }
    names = join_duplicates(pictures, identical)
    return [replace(p, duplicate_group=names.get(p.name, "")) for p in pictures]
