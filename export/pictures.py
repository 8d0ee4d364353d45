"""The run's pictures in the forms that clinics send.

`split.csv` (which picture is in which split) and the folders of the pictures enter; pictures with
label, patient and form leave. Nothing is drawn at random that the seed, the picture's name and the
form's name do not fix.

The forms, and what each stands for:

* `stored`        the file as the data set holds it;
* a larger copy   (`448`, `original`) the same picture at a higher resolution, where there is one;
* `recompressed`  saved again as JPEG at quality 30 to 75: sent by messenger, exported by a viewer;
* `resampled`     reduced to 120 to 200 pixels with another filter and up to 12% another aspect
                  ratio: a thumbnail, a screenshot, another digitizer;
* `exposed`       another gamma, window, blur and noise: another machine or exposure;
* `handed_on`     exposed, then resampled and recompressed: a print photographed and sent on.

Where a locator finds the lungs, the same picture as others would have framed it is added
(`edge_app.images.framing`): `tight`, one side cut (`below`, `left`, `right`, `above`), a margin of
20% (`black`, `grey`, `mirrored`), and `turned` by one to three quarter circles.

All but the stored and larger ones work on the largest copy at hand. They are the ways in which the
same patient's picture differs between sites, so that cut-offs fitted on all forms together hold on
each.
"""

import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edge_app.errors import InputError
from edge_app.images.framing import FRAMINGS, Framing, frame_picture
from edge_app.images.labelled_pictures import (
    LabelledPicture,
    Labelling,
    find_copies,
    read_labelled_pictures,
    split_hash,
)
from edge_app.images.preprocess import PreprocessSpec
from edge_app.images.read import read_image
from edge_app.progress import track
from export.checkpoint import Record
from export.errors import CheckpointError, ExportError

Grey = npt.NDArray[np.uint8]
Change = Callable[[Grey, np.random.Generator], Grey]
STORED = "stored"

_SPLITS = ("train", "validation")
_FILTERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Larger copies by form, then by the picture's name.

    The last form that has a copy of a picture is the largest.
    """

    larger: Mapping[str, Mapping[str, Path]]

    def copies(self, entry: LabelledPicture) -> dict[str, Path]:
        """Files of a picture by form, `stored` first."""
        larger = {
            form: found[entry.name] for form, found in self.larger.items() if entry.name in found
        }
        return {STORED: entry.path, **larger}


def find_sources(entries: Sequence[LabelledPicture], larger: Mapping[str, Path]) -> Sources:
    """Look for the pictures' larger copies in a folder for each form.

    Raises:
        DataError: a folder holds no copy, or one that might be of several pictures.
    """
    return Sources({form: find_copies(folder, entries) for form, folder in larger.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures and what is known about each.

    Attributes:
        pixels: n arrays (height, width), uint8 or uint16.
        labels: (n,) int, 1 is pneumonia.
        patients: (n,) str.
        forms: (n,) str.
        files: (n,) str, names as in `split.csv`.
    """

    pixels: tuple[npt.NDArray[np.generic], ...]
    labels: npt.NDArray[np.intp]
    patients: npt.NDArray[np.str_]
    forms: npt.NDArray[np.str_]
    files: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, members: npt.NDArray[np.bool_]) -> "Pictures":
        """The pictures at which `members` (n,) is true."""
        return Pictures(
            tuple(p for p, is_in in zip(self.pixels, members, strict=True) if is_in),
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


def read_split(path: Path, data: Path, record: Record) -> tuple[LabelledPicture, ...]:
    """Read the `split.csv` of a run, sorted by name.

    Args:
        path: the file.
        data: the CSV or the folder that the run was given; the names in the split are relative to
            it, to its folder or to that folder's parent.
        record: of the run; its hashes say which pictures the splits must hold.

    Raises:
        CheckpointError: no such file, a patient in both splits, or other pictures than the
            record's.
        DataError: not such a CSV, or a picture is not there.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: the run's split is missing; it says what was held out")
    columns = {"patient_id": "patient_id", "split": "split"}
    roots = (data, data.parent, data.parent.parent)
    entries = read_labelled_pictures(path, Labelling(columns=columns), roots=roots)
    if other := [e for e in entries if e.split not in _SPLITS]:
        raise CheckpointError(
            f"{path}: {other[0].name} has split {other[0].split!r}; a run has train and validation"
        )
    train, validation = ({e.patient_id for e in entries if e.split == s} for s in _SPLITS)
    if train & validation:
        raise CheckpointError(
            f"{path}: {len(train & validation)} patients stand in training and in validation; "
            "nothing fitted on such a split would hold"
        )
    expected = (("train", record.train_sha256), ("validation", record.validation_sha256))
    for split, sha256 in expected:
        if split_hash(e.identity for e in entries if e.split == split) != sha256:
            raise CheckpointError(f"{path}: {split}: other pictures than the record's")
    return tuple(entries)


def all_forms(
    entries: Sequence[LabelledPicture],
    sources: Sources,
    spec: PreprocessSpec,
    seed: int,
    *,
    framings: bool = False,
) -> Pictures:
    """Each picture in every form that it has.

    Args:
        entries, sources: the pictures, and larger copies of them.
        spec: what will prepare them; JPEGs are decoded no larger than it needs.
        seed: of the run.
        framings: also as others would have framed it.

    Raises:
        ExportError: a picture is missing or unreadable.
    """
    rows = []
    for entry in track(entries, "validation pictures"):
        copies = sources.copies(entry)
        for form, path in copies.items():
            rows.append((entry, form, _read(path, spec)))
        largest = _largest(copies, spec)
        for form, change in _changes(framings).items():
            rows.append((entry, form, change(largest, _rng(seed, entry, form))))
    return _collect(rows)


def representative(
    entries: Sequence[LabelledPicture],
    sources: Sources,
    spec: PreprocessSpec,
    n: int,
    seed: int,
    *,
    framings: bool = False,
) -> list[npt.NDArray[np.generic]]:
    """`n` training pictures, half of each class, each in one form, the forms in turn.

    The classes stand in random order, so that the first ones are a sample of both too. Arguments
    as of `all_forms`.
    """
    rng = np.random.default_rng([seed, n])
    chosen: list[LabelledPicture] = []
    for label, count in ((0, n // 2), (1, n - n // 2)):
        members = [e for e in entries if e.split == "train" and e.label == label]
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
    forms = [STORED, *sources.larger, *_changes(framings)]
    return [
        _in_form(entry, forms[index % len(forms)], sources, spec, seed)
        for index, entry in enumerate(track(chosen, "representative pictures"))
    ]


def training_forms(
    entries: Sequence[LabelledPicture], sources: Sources, spec: PreprocessSpec, seed: int
) -> Iterator[npt.NDArray[np.generic]]:
    """Each training picture as it is stored and in one other form, the forms in turn.

    Arguments as of `all_forms`; with framings, since a locator alone asks for these.
    """
    forms = [*sources.larger, *_changes(framings=True)]
    training = [entry for entry in entries if entry.split == "train"]
    for index, entry in enumerate(track(training, "training pictures")):
        yield _in_form(entry, STORED, sources, spec, seed)
        yield _in_form(entry, forms[index % len(forms)], sources, spec, seed)


def _in_form(
    entry: LabelledPicture, form: str, sources: Sources, spec: PreprocessSpec, seed: int
) -> npt.NDArray[np.generic]:
    copies = sources.copies(entry)
    if (change := _changes(framings=True).get(form)) is not None:
        return change(_largest(copies, spec), _rng(seed, entry, form))
    return _read(copies.get(form, copies[STORED]), spec)


def _rng(seed: int, entry: LabelledPicture, form: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(f"{form}/{entry.name}".encode())])


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
        pixels = _eight_bits(pixels)
    image = Image.fromarray(np.asarray(pixels, np.uint8), mode="L")
    scale = 512 / max(image.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(image)


def _eight_bits(pixels: npt.NDArray[np.generic]) -> Grey:
    """16 bits reduced over the range that is used: of 12 bits in 16, the upper 8 hold 4."""
    values = np.asarray(pixels, np.float64)
    low, high = float(values.min()), float(values.max())
    return np.rint((values - low) * (255 / max(high - low, 1))).astype(np.uint8)


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


def _framed(framing: Framing) -> Change:
    return lambda pixels, rng: frame_picture(pixels, framing)


def _turn(pixels: Grey, rng: np.random.Generator) -> Grey:
    return np.ascontiguousarray(np.rot90(pixels, int(rng.integers(1, 4))))


def _changes(framings: bool) -> dict[str, Change]:
    """How each form is made of the largest copy."""
    if not framings:
        return _CHANGES
    return {**_CHANGES, **{framing.name: _framed(framing) for framing in FRAMINGS}, "turned": _turn}


_CHANGES: dict[str, Change] = {
    "recompressed": _recompress,
    "resampled": _resample,
    "exposed": _expose,
    "handed_on": _hand_on,
}


def _collect(rows: Sequence[tuple[LabelledPicture, str, npt.NDArray[np.generic]]]) -> Pictures:
    if not rows:
        raise ExportError("no picture to validate on")
    return Pictures(
        pixels=tuple(row[2] for row in rows),
        labels=np.array([row[0].label for row in rows], np.intp),
        patients=np.array([row[0].patient_id for row in rows]),
        forms=np.array([row[1] for row in rows]),
        files=np.array([row[0].name for row in rows]),
    )
