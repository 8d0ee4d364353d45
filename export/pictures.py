"""The run's pictures in the forms that clinics send, ready for the network.

`split.csv` (which picture is in which part) and the folders of the pictures enter; arrays of
network inputs with label, patient and form leave. Nothing is drawn at random that the seed, the
picture's name and the form's name do not fix.

The forms, and what each stands for:

* `stored`        the file as the data set holds it;
* a larger copy   (`448`, `original`) the same picture at a higher resolution, where there is one;
* `recompressed`  saved again as JPEG at quality 30 to 75: sent by messenger, exported by a viewer;
* `resampled`     reduced to 120 to 200 pixels with another filter and up to 12% another aspect
                  ratio: a thumbnail, a screenshot, another digitizer;
* `exposed`       another gamma, window, blur and noise: another machine or exposure;
* `handed_on`     exposed, then resampled and recompressed: a print photographed and sent on.

The last four work on the largest copy at hand. They are the ways in which the same patient's
picture differs between sites, so that cut-offs fitted on all forms together hold on each.
"""

import csv
import hashlib
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edge_app.errors import InputError, UsageError
from edge_app.images.preprocess import PreprocessSpec, preprocess
from edge_app.images.read import read_image
from export.checkpoint import Record
from export.errors import CheckpointError, ExportError
from export.progress import track

Grey = npt.NDArray[np.uint8]
Part = Literal["train", "validation"]
STORED = "stored"

_COLUMNS = ("file", "label", "subtype", "patient_id", "part")
_FILTERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of the run: a row of `split.csv`; `label` is 1 for pneumonia."""

    file: str
    label: int
    patient_id: str
    part: Part


@dataclass(frozen=True, slots=True)
class Sources:
    """Where pictures lie.

    Attributes:
        root: the folder that the names in `split.csv` are relative to.
        larger: folders with larger copies by form name, below which a copy has the picture's
            class folder and file name; the last one that has a copy is the largest.
    """

    root: Path
    larger: Mapping[str, Path]

    def copies(self, entry: Entry) -> dict[str, Path]:
        """Files of a picture by form, `stored` first."""
        stored = self.root / entry.file
        found = {STORED: stored}
        for form, folder in self.larger.items():
            copy = folder / stored.parent.name / stored.name
            if copy.is_file():
                found[form] = copy
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Network inputs and what is known about each.

    Attributes:
        inputs: uint8 (n, height, width, 1).
        labels: (n,) int, 1 is pneumonia.
        patients: (n,) str.
        forms: (n,) str.
        files: (n,) str, as in `split.csv`.
    """

    inputs: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.intp]
    patients: npt.NDArray[np.str_]
    forms: npt.NDArray[np.str_]
    files: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, members: npt.NDArray[np.bool_]) -> "Pictures":
        """The pictures at which `members` (n,) is true."""
        return Pictures(
            self.inputs[members],
            self.labels[members],
            self.patients[members],
            self.forms[members],
            self.files[members],
        )

    def of_form(self, form: str) -> "Pictures":
        """The pictures of one form."""
        return self.select(self.forms == form)

    def in_common_forms(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a picture is in a form that at least half of the pictures have."""
        _, index, counts = np.unique(self.forms, return_inverse=True, return_counts=True)
        return np.asarray(2 * counts >= len(np.unique(self.files)))[index]

    def form_names(self) -> tuple[str, ...]:
        """The forms that occur, in the order of their first picture."""
        return tuple(dict.fromkeys(self.forms.tolist()))


def read_split(path: Path, record: Record) -> tuple[Entry, ...]:
    """Read the `split.csv` of a run, sorted by file.

    Args:
        path: the file.
        record: of the run; its hashes say which pictures the parts must hold.

    Raises:
        CheckpointError: no such file, a column or value that does not fit, a patient in both
            parts, or other pictures than the record's.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: the run's split is missing; it says what was held out")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise CheckpointError(f"{path}: the columns are not {','.join(_COLUMNS)}")
        entries = [_entry(path, line, row) for line, row in enumerate(reader, start=2)]
    entries.sort(key=attrgetter("file"))
    train, validation = ({e.patient_id for e in entries if e.part == p} for p in _PARTS)
    if train & validation:
        raise CheckpointError(
            f"{path}: {len(train & validation)} patients stand in training and in validation; "
            "nothing fitted on such a split would hold"
        )
    expected = (("train", record.train_sha256), ("validation", record.validation_sha256))
    for part, sha256 in expected:
        if split_hash([e for e in entries if e.part == part]) != sha256:
            raise CheckpointError(f"{path}: {part}: other pictures than the record's")
    return tuple(entries)


_PARTS: tuple[Part, ...] = ("train", "validation")


def _entry(path: Path, line: int, row: Mapping[str, str]) -> Entry:
    label, part = row["label"], row["part"]
    if label not in ("0", "1") or part not in _PARTS:
        raise CheckpointError(f"{path}:{line}: label {label!r} or part {part!r} is not known")
    return Entry(row["file"], int(label), row["patient_id"], "train" if part == "train" else part)


def split_hash(entries: Sequence[Entry]) -> str:
    """SHA-256 over the sorted names, labels and patients, as in the run's record."""
    lines = sorted(f"{e.file}\t{e.label}\t{e.patient_id}\n" for e in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def find_root(data: Path, entries: Sequence[Entry]) -> Path:
    """The folder that the names in a split are relative to.

    Args:
        data: the CSV or the folder that the run was given.
        entries: of the split.

    Raises:
        UsageError: the pictures are not there.
    """
    name = entries[0].file
    for base in (data, data.parent, data.parent.parent):
        if (base / name).is_file():
            return base
    raise UsageError(f"{data}: {name}, the first picture of the split, is not there")


def all_forms(
    entries: Sequence[Entry], sources: Sources, spec: PreprocessSpec, seed: int
) -> Pictures:
    """Each picture in every form that it has.

    Raises:
        ExportError: a picture is missing or unreadable.
    """
    rows = []
    for entry in track(entries, "validation pictures"):
        copies = sources.copies(entry)
        for form, path in copies.items():
            rows.append((entry, form, preprocess(_read(path, spec), spec)))
        largest = _largest(copies, spec)
        for form, change in _CHANGES.items():
            changed = change(largest, _rng(seed, entry, form))
            rows.append((entry, form, preprocess(changed, spec)))
    return _collect(rows)


def representative(
    entries: Sequence[Entry], sources: Sources, spec: PreprocessSpec, n: int, seed: int
) -> npt.NDArray[np.uint8]:
    """Inputs of `n` training pictures, half of each class, each in one form, the forms in turn.

    The classes stand in random order, so that the first ones are a sample of both too.

    Returns:
        uint8 (n, height, width, 1).
    """
    rng = np.random.default_rng([seed, n])
    chosen: list[Entry] = []
    for label, count in ((0, n // 2), (1, n - n // 2)):
        members = [e for e in entries if e.part == "train" and e.label == label]
        if len(members) < count:
            raise ExportError(f"{count} training pictures of class {label} are needed, not there")
        # Pictures that exist larger come first: only they can stand for the larger forms.
        order = rng.permutation(len(members)).tolist()
        ranked = sorted(order, key=lambda i: -len(sources.copies(members[i])))
        most = max(1, min(len(ranked), 2 * count))
        picked = rng.permutation(most)[:count].tolist()
        chosen += [members[ranked[i]] for i in picked]
    # Who takes only the first ones, as bias correction does, must see both classes, in every form.
    chosen = [chosen[i] for i in rng.permutation(len(chosen)).tolist()]
    forms = [STORED, *sources.larger, *_CHANGES]
    pictures = []
    for index, entry in enumerate(track(chosen, "representative pictures")):
        pictures.append(_in_form(entry, forms[index % len(forms)], sources, spec, seed))
    return np.concatenate(pictures)


def _in_form(
    entry: Entry, form: str, sources: Sources, spec: PreprocessSpec, seed: int
) -> npt.NDArray[np.uint8]:
    copies = sources.copies(entry)
    if form in _CHANGES:
        changed = _CHANGES[form](_largest(copies, spec), _rng(seed, entry, form))
        return preprocess(changed, spec)
    return preprocess(_read(copies.get(form, copies[STORED]), spec), spec)


def _rng(seed: int, entry: Entry, form: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(f"{form}/{entry.file}".encode())])


def _read(path: Path, spec: PreprocessSpec) -> npt.NDArray[np.generic]:
    try:
        return read_image(path, spec=spec).pixels
    except InputError as error:
        raise ExportError(f"{path.parent.name}/{error}") from error


def _largest(copies: Mapping[str, Path], spec: PreprocessSpec) -> Grey:
    """The largest copy, 8 bits, decoded at no more than about 512 pixels a side."""
    path = list(copies.values())[-1]
    pixels = _read(path, spec)
    if pixels.dtype != np.uint8:
        pixels = np.right_shift(np.asarray(pixels, np.uint16), 8)
    image = Image.fromarray(np.asarray(pixels, np.uint8), mode="L")
    scale = 512 / max(image.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(image)


def _recompress(pixels: Grey, rng: np.random.Generator) -> Grey:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode="L").save(buffer, "JPEG", quality=int(rng.integers(30, 76)))
    with Image.open(buffer) as image:
        return np.asarray(image)


def _resample(pixels: Grey, rng: np.random.Generator) -> Grey:
    side = float(rng.uniform(120, 200))
    stretch = float(np.exp(rng.uniform(-0.12, 0.12)))
    height, width = pixels.shape
    scale = side / max(height, width)
    size = (max(16, round(width * scale * stretch)), max(16, round(height * scale / stretch)))
    chosen = _FILTERS[int(rng.integers(len(_FILTERS)))]
    return _recompress(np.asarray(Image.fromarray(pixels, mode="L").resize(size, chosen)), rng)


def _expose(pixels: Grey, rng: np.random.Generator) -> Grey:
    low, high = rng.uniform(0, 0.05), 1 - rng.uniform(0, 0.05)
    curve = np.clip((np.arange(256) / 255 - low) / (high - low), 0, 1)
    curve = 255 * curve ** float(np.exp(rng.uniform(-0.35, 0.35)))
    image = Image.fromarray(np.rint(curve).astype(np.uint8)[pixels], mode="L")
    unit = max(image.size) / 224
    blurred = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 0.8)) * unit))
    noise = rng.normal(0, float(rng.uniform(0, 4)), pixels.shape)
    return np.clip(np.rint(np.asarray(blurred, np.float64) + noise), 0, 255).astype(np.uint8)


def _hand_on(pixels: Grey, rng: np.random.Generator) -> Grey:
    return _resample(_expose(pixels, rng), rng)


_CHANGES: dict[str, Callable[[Grey, np.random.Generator], Grey]] = {
    "recompressed": _recompress,
    "resampled": _resample,
    "exposed": _expose,
    "handed_on": _hand_on,
}


def _collect(rows: Sequence[tuple[Entry, str, npt.NDArray[np.uint8]]]) -> Pictures:
    if not rows:
        raise ExportError("no picture to validate on")
    return Pictures(
        inputs=np.concatenate([row[2] for row in rows]),
        labels=np.array([row[0].label for row in rows], np.intp),
        patients=np.array([row[0].patient_id for row in rows]),
        forms=np.array([row[1] for row in rows]),
        files=np.array([row[0].file for row in rows]),
    )
