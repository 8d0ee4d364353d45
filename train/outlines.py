"""Outlines of lungs beside labelled pictures, and pictures without a label that training may use.

A CSV enters; frozen `Outline`s and `Other`s leave. `python -m train outlines` writes such a CSV
for the folders beside the project; any other set can be described by the same columns.

Columns: `file` and `mask` (relative to the CSV's folder or to `--root`; `mask` may be empty),
`left, top, right, bottom` (the outline's box as fractions of the picture, empty without a mask),
`view` (frontal, lateral, none), `site`, `use` (`labelled`: the picture stands in `--data`, whose
split decides; `train` or `test`), `licence`.
"""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.errors import DataError

View = Literal["frontal", "lateral", "none"]
Use = Literal["labelled", "train", "test"]
COLUMNS = (
    "file", "mask", "left", "top", "right", "bottom", "view", "site", "use", "licence",
)  # fmt: skip
# What a mask is kept at: finer than any cell of the locator's map, small enough for memory.
MASK_SIDE = 224

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Outline:
    """One row.

    Attributes:
        path: the picture's file.
        name: its path relative to the CSV's root, as a sample is named.
        mask: file of the outline, None where there is none.
        box: left, top, right, bottom as fractions of the picture; None where nobody drew one.
        view, site, use, licence: see the module.
    """

    path: Path
    name: str
    mask: Path | None
    box: Box | None
    view: View
    site: str
    use: Use
    licence: str


@dataclass(frozen=True, slots=True)
class Outlines:
    """All rows of one CSV.

    Attributes:
        by_name: of labelled pictures, by the sample's name.
        others: pictures that have no label here.
        sha256: of the CSV's content.
    """

    by_name: dict[str, Outline]
    others: tuple[Outline, ...]
    sha256: str

    def used(self, use: Use) -> list[Outline]:
        """The unlabelled pictures for training, or for testing."""
        return [other for other in self.others if other.use == use]


def read_outlines(path: Path, root: Path | None = None) -> Outlines:
    """Read the CSV; files are looked for below `root`, the CSV's folder where None.

    Raises:
        DataError: no such file, a missing column, a value that is none, a file that is not there.
    """
    root = root or path.parent
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    rows = csv.DictReader(content.decode("utf-8-sig").splitlines())
    missing = set(COLUMNS) - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"{path}: missing columns {sorted(missing)}")
    outlines = [_from_row(row, root, f"{path}:{line}") for line, row in enumerate(rows, 2)]
    labelled = {outline.name: outline for outline in outlines if outline.use == "labelled"}
    return Outlines(
        labelled,
        tuple(outline for outline in outlines if outline.use != "labelled"),
        hashlib.sha256(content).hexdigest(),
    )


def read_mask(path: Path) -> Mask:
    """An outline as bool (MASK_SIDE, MASK_SIDE), stretched over the picture whatever its size.

    Raises:
        DataError: the file cannot be read, or holds no lung.
    """
    try:
        with Image.open(path) as image:
            grey = image.convert("L").resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    mask = np.asarray(grey) > 127
    if not mask.any():
        raise DataError(f"{path}: an outline without a lung")
    return mask


def box_of(mask: Mask) -> Box:
    """Left, top, right and bottom of an outline, as fractions of the picture."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    height, width = mask.shape
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def require(names: Iterable[str], outlines: Outlines) -> None:
    """Raises DataError where none of the named pictures has an outline."""
    if not any(name in outlines.by_name for name in names):
        raise DataError("none of the pictures has an outline in --outlines")


def _from_row(row: dict[str, str], root: Path, where: str) -> Outline:
    def file(column: str) -> Path | None:
        name = row[column] or ""
        if name and not (root / name).is_file():
            raise DataError(f"{where}: {column} {name} is not there")
        return root / name if name else None

    path = file("file")
    if path is None:
        raise DataError(f"{where}: an empty file name")
    for column, known in (("view", get_args(View)), ("use", get_args(Use))):
        if row[column] not in known:
            raise DataError(f"{where}: {column} {row[column]!r} is none of {known}")
    return Outline(
        path=path,
        name=row["file"],
        mask=file("mask"),
        box=_box(row, where),
        view=row["view"],  # type: ignore[arg-type]
        site=row["site"],
        use=row["use"],  # type: ignore[arg-type]
        licence=row["licence"],
    )


def _box(row: dict[str, str], where: str) -> Box | None:
    texts = [row[side] or "" for side in ("left", "top", "right", "bottom")]
    if not any(texts):
        return None
    try:
        left, top, right, bottom = map(float, texts)
    except ValueError:
        raise DataError(f"{where}: the box {texts} is not four numbers") from None
    if not (left < right and top < bottom):
        raise DataError(f"{where}: the box {texts} has no area")
    return left, top, right, bottom
