"""The model bundle: the contract between export, which writes it, and the edge, which reads it.

A folder enters, a checked `Bundle` leaves. Every file is hashed, every key is required, nothing
has a default; a calibration or an operating point that belongs to another model file stops the
load. The classes below are the schema of `bundle.json`; export writes it with
`Manifest.to_json`. Nothing here runs a model.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Literal

from edge_app.bundle.research import RESEARCH_FILE, RESEARCH_PREFIX, Research
from edge_app.bundle.signature import SIGNATURE_FILE
from edge_app.errors import (
    BundleFormatError,
    BundleIntegrityError,
    UsageError,
)
from edge_app.files.codec import CodecError, canonical_json, decode, parse_json
from edge_app.images.lung_box_spec import LungBoxSpec
from edge_app.images.preprocess_spec import PreprocessSpec
from edge_app.statistics.intervals import Figure as Figure
from edge_app.statistics.logistic import sigmoid

FORMAT_VERSION = 3
MANIFEST_FILE = "bundle.json"

ModelFormat = Literal["tflite", "onnx"]
Recipe = Literal["float32", "float16", "dynamic_int8", "static_int8"]

# Below it nothing is called suspected, and above 1 minus it nothing is called healthy.
LEAST_PROBABILITY = 0.01

_LONGEST_NAME_BYTES = 255  # of one part of a path: the limit of ext4, APFS and NTFS


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the bundle: its SHA-256 in lower-case hexadecimal and its size."""

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        """Raises ValueError for a malformed hash or a negative size."""
        _check_sha256(self.sha256)
        if self.bytes < 0:
            raise ValueError(f"bytes {self.bytes} must not be negative")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One exported network. The first of a format is the default for that format's runtimes."""

    file: str
    format: ModelFormat
    recipe: Recipe
    sha256: str


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The network's input tensor: (1, height, width, 1) uint8."""

    name: str
    shape: tuple[int, int, int, int]
    dtype: Literal["uint8"]


@dataclass(frozen=True, slots=True)
class OutputNames:
    """Names of the network's output tensors; null where the network has no such output.

    Attributes:
        logit: float32 (1, 1), the raw score, unbounded.
        activation_map: float32 (1, h, w, 1), its mean is the logit.
        embedding: float32 (1, d), what the input gate looks at.
        subtype_logit: float32 (1, 1), above 0 bacterial and below 0 viral, given pneumonia.
    """

    logit: str
    activation_map: str | None
    embedding: str | None
    subtype_logit: str | None

    def roles(self) -> dict[str, str]:
        """Tensor names by role, for the outputs that the network has."""
        named = {
            "logit": self.logit,
            "activation_map": self.activation_map,
            "embedding": self.embedding,
            "subtype_logit": self.subtype_logit,
        }
        return {role: name for role, name in named.items() if name is not None}


@dataclass(frozen=True, slots=True)
class Split:
    """The images that something was fitted or measured on.

    `sha256` is the `split_hash` of their names, labels and patients, whatever form they are in.
    """

    name: str
    n_images: int
    n_patients: int
    n_positive: int
    sha256: str

    def __post_init__(self) -> None:
        """Raises ValueError for a malformed hash or counts that contradict each other."""
        _check_sha256(self.sha256)
        if not 0 <= self.n_positive <= self.n_images:
            raise ValueError(f"n_positive {self.n_positive} must lie in 0..{self.n_images}")
        if not 0 <= self.n_patients <= self.n_images:
            raise ValueError(f"n_patients {self.n_patients} must lie in 0..{self.n_images}")


@dataclass(frozen=True, slots=True)
class LocatorOutputs:
    """Names of the locator's output tensors, all of them logits.

    Attributes:
        lungs: float32 (1, h, w, 1), a coarse map: lung here.
        orientation: float32 (1, 4); class k says that the picture is `np.rot90(upright, k)`.
        view: float32 (1, 3): frontal chest film, lateral chest film, neither.
        cut_off: float32 (1, 4): lungs are cut off at the left, top, right, bottom edge.
    """

    lungs: str
    orientation: str
    view: str
    cut_off: str

    def roles(self) -> dict[str, str]:
        """Tensor names by role."""
        return {name: getattr(self, name) for name in ("lungs", "orientation", "view", "cut_off")}


@dataclass(frozen=True, slots=True)
class LocatorRules:
    """From what the locator says to what is done: probabilities and shares in 0..1.

    Attributes:
        box: how the lungs' box is read off the map.
        least_certainty, least_area: below either, of the map or of the box, no lungs were found.
        least_frontal: below this probability it is not a frontal chest film.
        turned: from this probability of another orientation on, the picture is put right.
        least_upright: below this probability, of a picture that was not put right, it is refused.
        cut_off: from this probability at any edge on, it is refused.
        touches_edge: from this probability on, that is a flag.
        chosen_on: the sets of pictures that these numbers were chosen on; no figure of theirs is a
            test of them.
    """

    box: LungBoxSpec
    least_certainty: float
    least_area: float
    least_frontal: float
    turned: float
    least_upright: float
    cut_off: float
    touches_edge: float
    chosen_on: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for a number outside of 0..1."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in ("float", float) and not 0 <= value <= 1:
                raise ValueError(f"{field.name} {value} must lie in 0..1")


@dataclass(frozen=True, slots=True)
class Locator:
    """The first look: the network that finds the lungs in the whole picture.

    Attributes:
        models, input, preprocess, outputs: as of the reader.
        rules: what is done with what it says.
        margin: of the reader's frame around the lungs' box, as a fraction of the box's sides.
        pairs: by the SHA-256 of each reader file, that of the locator file whose boxes its
            calibration and its operating points were fitted with; no other may find its lungs.
    """

    models: tuple[ModelFile, ...]
    input: InputSpec
    preprocess: PreprocessSpec
    outputs: LocatorOutputs
    rules: LocatorRules
    margin: float
    pairs: Mapping[str, str]

    def __post_init__(self) -> None:
        """Raises ValueError for a margin that cuts into the lungs."""
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin {self.margin} must lie in [0, 1)")

    def model_for(self, reader: ModelFile) -> ModelFile:
        """The locator file that a reader file belongs with."""
        return next(model for model in self.models if model.sha256 == self.pairs[reader.sha256])


@dataclass(frozen=True, slots=True)
class Calibration:
    """probability = sigmoid(scale * raw_score + offset), for one model file only."""

    model_sha256: str
    method: Literal["platt", "temperature"]
    scale: float
    offset: float
    ece: Figure
    fitted_on: Split

    def __post_init__(self) -> None:
        """Raises ValueError where a higher raw score would mean a lower probability."""
        if self.scale <= 0:
            raise ValueError(f"scale {self.scale} must be positive")

    def probability(self, raw_score: float) -> float:
        """Of pneumonia, 0 to 1, for a raw score."""
        return sigmoid(self.scale * raw_score + self.offset)

    def raw_score(self, probability: float) -> float:
        """The raw score that has this probability, between 0 and 1."""
        return (math.log(probability / (1 - probability)) - self.offset) / self.scale


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Cut-offs in raw-score units, for one model file only.

    A raw score below `refer_low` is `no_pneumonia_seen`, one of `refer_high` or more is
    `pneumonia_suspected`, what lies between is `indeterminate`. `threshold` is the single cut
    that `sensitivity` and `specificity` were measured with.
    """

    name: str
    model_sha256: str
    threshold: float
    refer_low: float
    refer_high: float
    purpose: str
    fitted_on: Split
    sensitivity: Figure
    specificity: Figure

    def __post_init__(self) -> None:
        """Raises ValueError unless refer_low <= threshold <= refer_high."""
        if not self.refer_low <= self.threshold <= self.refer_high:
            raise ValueError(
                f"operating point {self.name!r}: refer_low {self.refer_low} <= threshold "
                f"{self.threshold} <= refer_high {self.refer_high} does not hold"
            )


@dataclass(frozen=True, slots=True)
class GatePart:
    """One of the things that the gate compares with the training pictures.

    Attributes:
        values: how many numbers it has.
        directions: along how many of them the training pictures' variation is known.
        center, spread: mean and deviation of the logarithm of the distance, on validation pictures.
    """

    values: int
    directions: int
    center: float
    spread: float

    def __post_init__(self) -> None:
        """Raises ValueError for numbers out of which no distance can be made."""
        if self.values < 1 or not 0 <= self.directions <= self.values:
            raise ValueError(f"{self.directions} directions of {self.values} values")
        if self.spread <= 0:
            raise ValueError(f"spread {self.spread} must be positive")


@dataclass(frozen=True, slots=True)
class GateFit:
    """The gate of one model file.

    Attributes:
        model_sha256: of the reader's file.
        file: float32 array: for "lungs", "frame" and "embedding" in this order the mean, the
            directions, their weights and the rest's weight.
        parts: by these names.
        most_distance: a picture whose joined distance is larger is refused.
        inverted_below: a frame whose correlation with the mean one is lower is a negative.
        usual: by measure of quality, the range in which most validation pictures lie.
    """

    model_sha256: str
    file: str
    parts: Mapping[str, GatePart]
    most_distance: float
    inverted_below: float
    usual: Mapping[str, tuple[float, float]]

    @property
    def n_numbers(self) -> int:
        """How many numbers `file` holds."""
        return sum(
            part.values * (1 + part.directions) + part.directions + 1
            for part in self.parts.values()
        )


@dataclass(frozen=True, slots=True)
class InputGate:
    """How pictures that are no frontal chest films, or none of the validated kind, are recognized.

    Attributes:
        kind: "joined_distance", see `edge_app.screening.gate`.
        fits: one for each reader file.
        fitted_on: the pictures that mean and directions come from.
        chosen_on: those that center, spread, limit and usual ranges come from.
        most_refused: share of these, each patient counting once, that the limit lets it refuse.
    """

    kind: Literal["joined_distance"]
    fits: tuple[GateFit, ...]
    fitted_on: Split
    chosen_on: Split
    most_refused: float

    def fit_of(self, model: ModelFile) -> GateFit:
        """The gate of a reader file."""
        return next(fit for fit in self.fits if fit.model_sha256 == model.sha256)


@dataclass(frozen=True, slots=True)
class Population:
    """Whom the model was validated on; `age_years` is the closed range of whole years."""

    description: str
    age_years: tuple[float, float] | None
    views: tuple[str, ...]
    sites: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for an age range that runs backwards."""
        if self.age_years is not None and self.age_years[0] > self.age_years[1]:
            raise ValueError(f"age_years {self.age_years} runs backwards")


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of one model file on one split, at an operating point where it needs one."""

    name: str
    split: Split
    model_sha256: str
    value: Figure
    operating_point: str | None


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """An input (.npy) and what each model file must give for it, by the file's SHA-256.

    Attributes:
        file: a picture, or a ready input of the reader.
        logits: raw scores.
        distances: of the input gate; empty where there is none, or for a ready input.
    """

    file: str
    logits: Mapping[str, float]
    distances: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Golden:
    """The self-test's inputs.

    Attributes:
        tolerance: the largest allowed |difference| in raw score.
        distance_tolerance: the same of the input gate's distance.
        cases: the inputs.
    """

    tolerance: float
    distance_tolerance: float
    cases: tuple[GoldenCase, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for a tolerance that nothing could meet."""
        if min(self.tolerance, self.distance_tolerance) < 0:
            raise ValueError("a tolerance must not be negative")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the model comes from: the checkpoint's hash, its data, seed, versions, terms."""

    checkpoint_sha256: str
    config: str
    data_sha256: str
    seed: int
    versions: Mapping[str, str]
    licence: str
    citation: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`bundle.json`, format version 3.

    `models`, `input`, `preprocess` and `outputs` are the reader's, the network that scores;
    `created` is a date (YYYY-MM-DD) that the exporter gives.
    """

    format_version: int
    model_id: str
    created: str
    files: Mapping[str, FileEntry]
    models: tuple[ModelFile, ...]
    input: InputSpec
    preprocess: PreprocessSpec
    outputs: OutputNames
    locator: Locator | None
    calibration: tuple[Calibration, ...]
    operating_points: tuple[OperatingPoint, ...]
    default_operating_point: str
    input_gate: InputGate | None
    population: Population
    metrics: tuple[Metric, ...]
    golden: Golden
    provenance: Provenance

    @classmethod
    def from_json(cls, content: bytes) -> "Manifest":
        """Parse and cross-check the bytes of a `bundle.json`.

        Raises:
            BundleFormatError: not JSON, a key unknown, missing or of the wrong kind, another
                format version, or parts that contradict each other.
            BundleIntegrityError: a calibration, operating point or metric names a model file
                that the bundle does not hold.
        """
        try:
            document = parse_json(content)
            _check_format_version(document)
            manifest = decode(cls, document)
        except CodecError as error:
            raise BundleFormatError(f"{MANIFEST_FILE}: {error}") from error
        manifest.check()
        return manifest

    def to_json(self) -> bytes:
        """The bytes of this manifest's `bundle.json`: the same on every machine."""
        return canonical_json(self)

    def check(self) -> None:
        """Check that the parts fit each other.

        Raises:
            BundleFormatError: parts contradict each other.
            BundleIntegrityError: something belongs to a model file that is not here.
        """
        _check_date(self.created)
        check_file_names(self.files)
        self._check_research()
        self._check_models("models", self.models)
        _check_input("input", self.input, self.preprocess)
        self._check_locator()
        self._check_gate()
        self._check_model_hashes()
        self._check_operating_points()
        self._check_cut_offs()
        self._check_golden()

    @property
    def is_research(self) -> bool:
        """Whether it lacks something that a release must show; `Bundle.lacks` says what."""
        return RESEARCH_FILE in self.files

    def _check_research(self) -> None:
        if self.is_research != self.model_id.startswith(RESEARCH_PREFIX):
            raise BundleFormatError(
                f"{MANIFEST_FILE}: model_id: {RESEARCH_PREFIX!r} begins the names of the bundles "
                f"that have a {RESEARCH_FILE}, and of no other"
            )

    def _check_models(self, place: str, models: tuple[ModelFile, ...]) -> None:
        if not models:
            raise BundleFormatError(f"{MANIFEST_FILE}: {place}: the bundle holds no model")
        for model in models:
            entry = self.files.get(model.file)
            if entry is None:
                raise BundleFormatError(f"{MANIFEST_FILE}: files lacks the model {model.file!r}")
            if entry.sha256 != model.sha256:
                raise BundleIntegrityError(
                    f"{MANIFEST_FILE}: {model.file} has two different hashes"
                )
        _require_distinct(place, [model.sha256 for model in models])

    def _check_locator(self) -> None:
        locator = self.locator
        if locator is None:
            return
        self._check_models("locator.models", locator.models)
        _check_input("locator.input", locator.input, locator.preprocess)
        readers = {model.sha256: model for model in self.models}
        if set(locator.pairs) != set(readers):
            raise BundleIntegrityError(
                f"{MANIFEST_FILE}: locator.pairs: the reader files are others than the bundle's"
            )
        finders = {model.sha256: model for model in locator.models}
        for reader, finder in locator.pairs.items():
            if finder not in finders or finders[finder].format != readers[reader].format:
                raise BundleIntegrityError(
                    f"{MANIFEST_FILE}: locator.pairs: {readers[reader].file} was fitted with a "
                    f"locator ({finder[:12]}...) that this bundle does not hold in its format"
                )

    def _check_gate(self) -> None:
        gate = self.input_gate
        if gate is None:
            return
        if self.locator is None or self.outputs.embedding is None:
            raise BundleFormatError(
                f"{MANIFEST_FILE}: input_gate: it needs a locator and a reader with an embedding"
            )
        _require_distinct("input_gate.fits", [fit.model_sha256 for fit in gate.fits])
        if {fit.model_sha256 for fit in gate.fits} != {model.sha256 for model in self.models}:
            raise BundleIntegrityError(
                f"{MANIFEST_FILE}: input_gate: the reader files are others than the bundle's"
            )
        for fit in gate.fits:
            if fit.file not in self.files:
                raise BundleFormatError(f"{MANIFEST_FILE}: files lacks the gate {fit.file!r}")
            if set(fit.parts) != {"lungs", "frame", "embedding"}:
                raise BundleFormatError(f"{MANIFEST_FILE}: input_gate: a part is missing")

    def _check_model_hashes(self) -> None:
        known = {model.sha256 for model in self.models}
        named = [(f"calibration[{i}]", c.model_sha256) for i, c in enumerate(self.calibration)]
        named += [
            (f"operating point {point.name!r}", point.model_sha256)
            for point in self.operating_points
        ]
        named += [(f"metric {metric.name!r}", metric.model_sha256) for metric in self.metrics]
        named += [(f"golden case {c.file!r}", key) for c in self.golden.cases for key in c.logits]
        for place, sha256 in named:
            if sha256 not in known:
                raise BundleIntegrityError(
                    f"{MANIFEST_FILE}: {place} belongs to another model ({sha256[:12]}...), "
                    "which this bundle does not hold"
                )
        calibrated = [c.model_sha256 for c in self.calibration]
        _require_distinct("calibration", calibrated)
        if set(calibrated) != known:
            raise BundleFormatError(f"{MANIFEST_FILE}: calibration: a model file has none")

    def _check_operating_points(self) -> None:
        pairs = [f"{point.name} of {point.model_sha256}" for point in self.operating_points]
        _require_distinct("operating_points", pairs)
        names = self.operating_point_names()
        for name in names:
            for model in self.models:
                if f"{name} of {model.sha256}" not in pairs:
                    raise BundleFormatError(
                        f"{MANIFEST_FILE}: operating point {name!r} is missing for {model.file}"
                    )
        wanted = [("default_operating_point", self.default_operating_point)]
        wanted += [
            (f"metric {metric.name!r}", metric.operating_point)
            for metric in self.metrics
            if metric.operating_point is not None
        ]
        for place, name in wanted:
            if name not in names:
                raise BundleFormatError(
                    f"{MANIFEST_FILE}: {place} names the operating point {name!r}, "
                    f"there are {', '.join(names) or 'none'}"
                )

    def _check_cut_offs(self) -> None:
        """No answer may contradict its own probability: "nothing seen" beside 0.993."""
        calibrations = {c.model_sha256: c for c in self.calibration}
        for point in self.operating_points:
            calibration = calibrations[point.model_sha256]
            low, high = (calibration.probability(x) for x in (point.refer_low, point.refer_high))
            if low > 1 - LEAST_PROBABILITY or high < LEAST_PROBABILITY:
                raise BundleFormatError(
                    f"{MANIFEST_FILE}: operating point {point.name!r}: its cut-offs lie at the "
                    f"probabilities {low:.3f} and {high:.3f}, so its answers would contradict "
                    "the calibration"
                )

    def _check_golden(self) -> None:
        hashes = {model.sha256 for model in self.models}
        for case in self.golden.cases:
            if case.file not in self.files:
                raise BundleFormatError(f"{MANIFEST_FILE}: files lacks {case.file!r}")
            if set(case.logits) != hashes:
                raise BundleFormatError(
                    f"{MANIFEST_FILE}: golden case {case.file!r} lacks the score of a model file"
                )
            if case.distances and (self.input_gate is None or set(case.distances) != hashes):
                raise BundleFormatError(
                    f"{MANIFEST_FILE}: golden case {case.file!r}: its distances are not those of "
                    "the model files' gates"
                )

    def operating_point_names(self) -> tuple[str, ...]:
        """Names of the operating points in the order of the document, each once."""
        return tuple(dict.fromkeys(point.name for point in self.operating_points))


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every file has been checked.

    Attributes:
        folder: where it lies.
        manifest: its `bundle.json`.
        signed_by: identifier of the trusted key that signed it, None where it is unsigned.
    """

    folder: Path
    manifest: Manifest
    signed_by: str | None

    def path(self, file: str) -> Path:
        """Where a file of the bundle lies."""
        return self.folder / file

    def model(self, format: ModelFormat) -> ModelFile | None:
        """The default model file of a format, None where the bundle has none."""
        return next((m for m in self.manifest.models if m.format == format), None)

    def calibration(self, model: ModelFile) -> Calibration:
        """The calibration of a model file."""
        found = (c for c in self.manifest.calibration if c.model_sha256 == model.sha256)
        return next(found)

    def operating_point(self, model: ModelFile, name: str | None = None) -> OperatingPoint:
        """The operating point of a model file by name; None takes the bundle's default.

        Raises:
            UsageError: the bundle has no operating point of this name.
        """
        name = self.manifest.default_operating_point if name is None else name
        for point in self.manifest.operating_points:
            if (point.name, point.model_sha256) == (name, model.sha256):
                return point
        names = ", ".join(self.manifest.operating_point_names())
        raise UsageError(f"{self.folder}: no operating point {name!r}; there are: {names}")

    @property
    def lacks(self) -> tuple[str, ...]:
        """What could not be shown of a research model; nothing of any other.

        Raises:
            BundleFormatError: its `research.json` does not fit.
        """
        if not self.manifest.is_research:
            return ()
        return Research.from_json(self.path(RESEARCH_FILE).read_bytes()).lacks

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever uses its answers must know of where it comes from, in sentences."""
        found = []
        if self.manifest.is_research:
            found.append(
                f"{self.folder}: a research model, whose answers are for study alone. It lacks: "
                + "; ".join(self.lacks)
            )
        if self.signed_by is None:
            found.append(
                f"{self.folder}: nobody has signed this model, so nobody vouches for its answers"
            )
        if self.manifest.input_gate is None:
            found.append(NO_GATE)
        return tuple(found)

    def to_json(self) -> bytes:
        """The bytes of `bundle.json`."""
        return self.manifest.to_json()


# Said wherever an answer is given: report, `score`, `batch`, `watch`, `info`.
NO_GATE = (
    "this model does not surely tell a chest X-ray from another picture: whatever seems to show "
    "lungs gets a score, so look at every picture that is suspected"
)


def _check_format_version(document: object) -> None:
    """Name a bundle from the future as such, before its unknown keys do."""
    version = document.get("format_version") if isinstance(document, dict) else None
    if type(version) is int and version != FORMAT_VERSION:
        raise BundleFormatError(
            f"{MANIFEST_FILE}: format version {version} is not {FORMAT_VERSION}: "
            "this bundle needs another version of pneumoscope"
        )


def check_file_names(names: Iterable[str]) -> None:
    """Check the names of a bundle's files beside `bundle.json` and `SIGNATURE`.

    Raises:
        BundleFormatError: one leaves the folder, is too long for a disk, means something else on
            another system, or is the folder of another.
    """
    names = list(names)
    for name in names:
        _check_file_name(name)
    # Windows and macOS take names that differ in case for one.
    files = {name.casefold() for name in (*names, MANIFEST_FILE, SIGNATURE_FILE)}
    for name in names:
        parents = {str(parent) for parent in PurePosixPath(name.casefold()).parents}
        if parents & files:
            raise BundleFormatError(f"{MANIFEST_FILE}: files: {name!r} lies below another file")


def _check_file_name(name: str) -> None:
    path = PurePosixPath(name)
    clean = str(path) == name and not path.is_absolute() and ".." not in path.parts
    # The folder itself, ".", has no parts; lone surrogates are not text that a disk could hold.
    if not clean or not path.parts or re.search(r'[\\:*?"<>|\x00-\x1f\ud800-\udfff]', name):
        raise BundleFormatError(f"{MANIFEST_FILE}: files: {name!r} is not a plain relative path")
    if any(len(part.encode("utf-8")) > _LONGEST_NAME_BYTES for part in path.parts):
        raise BundleFormatError(
            f"{MANIFEST_FILE}: files: {name[:40]!r}... has more than {_LONGEST_NAME_BYTES} bytes"
        )
    if name in (MANIFEST_FILE, SIGNATURE_FILE):
        raise BundleFormatError(f"{MANIFEST_FILE}: files: {name!r} cannot list itself")


def _check_input(place: str, found: InputSpec, preprocess: PreprocessSpec) -> None:
    expected = (1, preprocess.height, preprocess.width, 1)
    if found.shape != expected:
        raise BundleFormatError(
            f"{MANIFEST_FILE}: {place}.shape {list(found.shape)} contradicts the preprocessing, "
            f"which gives {list(expected)}"
        )


def _check_date(text: str) -> None:
    try:
        valid = date.fromisoformat(text).isoformat() == text
    except ValueError:
        valid = False
    if not valid:
        raise BundleFormatError(f"{MANIFEST_FILE}: created: {text!r} is not a date YYYY-MM-DD")


def _check_sha256(text: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{text!r} is not a SHA-256 in lower-case hexadecimal")


def _require_distinct(place: str, items: list[str]) -> None:
    if len(set(items)) != len(items):
        raise BundleFormatError(f"{MANIFEST_FILE}: {place}: the same entry stands twice")
