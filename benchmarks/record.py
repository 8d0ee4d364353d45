"""`results.json`, format version 2: what was measured, on which machine, with the raw samples.

Frozen dataclasses are the schema, written and read strictly by `edge_app.files.codec`. A file holds
one machine's figures; each command fills in its own section and keeps the others. What a table
shows is worked out from here by `benchmarks.tables`.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import (
    Machine,
    Sensors,
    package_versions,
    read_sensors,
    this_machine,
)
from benchmarks.timing import Percentiles
from edge_app.errors import StorageError, UsageError
from edge_app.files.codec import CodecError, decode, encode, parse_json
from edge_app.statistics.intervals import Figure

FORMAT_VERSION = 2
FILE = "results.json"
PARTIAL_FILE = "interrupted.json"
_NUMBERS = re.compile(r"\[\s+(?:(?:-?[0-9][0-9.eE+-]*|null),?\s+)+\]")


@dataclass(frozen=True, slots=True)
class Taken:
    """How a section came about.

    Attributes:
        command: that gives it again.
        at: when it was begun, ISO 8601, UTC.
        seconds: how long it took.
        load: processes that ran or waited when it was begun, mean of the minute before.
        model_id: of the bundle.
        versions: of the packages of the benchmark's own environment.
        complete: False where it was interrupted; what is there is what was done.
    """

    command: str
    at: str
    seconds: float
    load: float | None
    model_id: str
    versions: Mapping[str, str]
    complete: bool


@dataclass(frozen=True, slots=True)
class Entrant:
    """What a row is about: a model file in a runtime, or why it is not measured.

    Attributes:
        name: such as "static_int8 litert".
        foreign: whether it came with --model instead of being one of the bundle's own files.
        model_sha256, recipe, runtime: as in the bundle.
        version: of the runtime, "" where it is missing.
        notes: what the runtime warns of, such as a slower fallback.
        missing: why there are no figures, "" where there are.
    """

    name: str
    foreign: bool
    file: str
    model_sha256: str
    recipe: str
    runtime: str
    version: str
    notes: tuple[str, ...]
    missing: str

    @property
    def key(self) -> tuple[bool, str, str]:
        """What it is, whatever it is called: two files may bear one name."""
        return (self.foreign, self.model_sha256, self.runtime)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The pictures that were scored.

    Attributes:
        name: what tables call them.
        n, n_positive, n_patients: counts.
        sha256: of names, labels and patients, as the bundle names its splits.
        sizes_sha256: of names and bytes a file: other copies of the same pictures differ in it.
        fitted_here: what was fitted on these very pictures.
    """

    name: str
    n: int
    n_positive: int
    n_patients: int
    sha256: str
    sizes_sha256: str
    fitted_here: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PointRow:
    """A fixed operating point on these data.

    Attributes:
        name, threshold: as in the bundle; threshold in raw-score units.
        tp, fp, tn, fn: counts of scored pictures at score >= threshold.
        sensitivity, specificity, ppv, npv: with Wilson intervals, null where undefined.
        indeterminate: share of scored pictures between the two cut-offs, null without them.
        flipped: share of pictures called otherwise than by the float32 reference at its own
            threshold, null for the reference itself.
        mcnemar_p: exact p-value of erring as often as the reference.
    """

    name: str
    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int
    sensitivity: Figure | None
    specificity: Figure | None
    ppv: Figure | None
    npv: Figure | None
    indeterminate: Figure | None
    flipped: Figure | None
    mcnemar_p: float | None


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A subgroup at the default operating point; "bacteria" counts against all normals."""

    kind: str
    value: str
    n: int
    n_positive: int
    auroc: Figure | None
    sensitivity: Figure | None
    specificity: Figure | None


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """A bin of the reliability diagram."""

    n: int
    mean_probability: float
    observed: Figure


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """One candidate on the data.

    Attributes:
        entrant: what it is.
        n_scored, n_refused, n_failed: pictures by status.
        refused: share of pictures that were refused.
        refusals: pictures by reason, failures among them.
        auroc: with DeLong's interval over patients.
        auprc, ece: with bootstrap intervals over patients.
        undefined: why a figure above is null, by its name.
        versus: AUROC minus the float32 reference's, with DeLong's paired interval.
        versus_p: p-value of that difference.
        points, groups, reliability: see there.
        scores: raw score of each case in the data's order, null where there is none.
    """

    entrant: Entrant
    n_scored: int
    n_refused: int
    n_failed: int
    refused: Figure | None
    refusals: Mapping[str, int]
    auroc: Figure | None
    auprc: Figure | None
    ece: Figure | None
    undefined: Mapping[str, str]
    versus: Figure | None
    versus_p: float | None
    points: tuple[PointRow, ...]
    groups: tuple[GroupRow, ...]
    reliability: tuple[ReliabilityPoint, ...]
    scores: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """`accuracy`: every candidate on one set of labelled pictures.

    Attributes:
        labels: 1 pneumonia, 0 normal, in the order of the rows' scores.
        patients: number of each picture's patient, in the same order.
    """

    taken: Taken
    data: DataFacts
    reference: str
    labels: tuple[int, ...]
    patients: tuple[int, ...]
    rows: tuple[AccuracyRow, ...]


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """One candidate with one number of threads.

    Attributes:
        load_ms: opening the model in a process that has loaded Python and numpy; the runtime's
            import is part of it.
        first_ms: the first inference.
        warmup_runs: before the samples.
        single_stream: MLPerf's single-stream scenario.
        offline_per_s: its offline scenario: pictures a second, all cores, one process a core
            with one thread each; null with more threads.
        offline_rates: of each of its rounds, which ran interleaved with the other candidates'.
        offline_samples: inferences behind it, over all rounds.
        peak_memory_mb: of the process, Python and numpy included.
        joules_per_run: energy of the whole sensor domain, idle part included.
        energy_source: "RAPL" or "INA".
        before, after: the machine's sensors.
        samples_us: every run in order, in microseconds.
    """

    load_ms: float
    first_ms: float
    warmup_runs: int
    single_stream: Percentiles
    offline_per_s: float | None
    offline_rates: tuple[float, ...]
    offline_samples: int
    peak_memory_mb: float | None
    joules_per_run: float | None
    energy_source: str | None
    before: Sensors
    after: Sensors
    samples_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """A candidate and its figures; `gops` counts two operations a multiply-add, at the median."""

    entrant: Entrant
    threads: int
    file_bytes: int
    multiply_adds: int | None
    figures: LatencyFigures | None

    @property
    def gops(self) -> float | None:
        """Achieved 10^9 operations a second."""
        if self.multiply_adds is None or self.figures is None:
            return None
        return 2 * self.multiply_adds / self.figures.single_stream.p50 / 1e6


@dataclass(frozen=True, slots=True)
class Latency:
    """`latency`: inference alone, no decoding, no preprocessing."""

    taken: Taken
    rows: tuple[LatencyRow, ...]


@dataclass(frozen=True, slots=True)
class ContenderRow:
    """A way from a folder to scores.

    Attributes:
        name: short.
        what: what it does, in a sentence.
        workers: processes that work side by side.
        images: pictures of one pass.
        versions: of what it runs on.
        missing: why it did not run, "" where it did.
        auroc: of its scores over the pictures, null where it gives none.
        peak_memory_mb: of its processes together, null where not read.
        seconds: wall time of each pass, by round.
    """

    name: str
    what: str
    workers: int
    images: int
    versions: Mapping[str, str]
    missing: str
    auroc: float | None
    peak_memory_mb: float | None
    seconds: tuple[float, ...]

    def ms_per_image(self) -> tuple[float, ...]:
        """Milliseconds a picture, by round."""
        return tuple(1000 * seconds / self.images for seconds in self.seconds)


@dataclass(frozen=True, slots=True)
class Throughput:
    """`throughput`: contenders in interleaved passes over the same pictures.

    Attributes:
        data: name of the folder.
        pictures: different pictures in it.
        left_out: files of it that no loop can read, in words, "" where there is none.
        megapixels: median size of a picture.
        ours: name of the row that the ratios compare with.
        floor: name of the row of entropy decoding and inference on one core; divided by `cores`.
        floor_parts_ms: what the floor is made of, median milliseconds a picture on one core.
        cores: that the contenders could use.
        before, after: the machine's sensors.
    """

    taken: Taken
    data: str
    pictures: int
    left_out: str
    megapixels: float
    ours: str
    floor: str
    floor_parts_ms: Mapping[str, float]
    cores: int
    before: Sensors
    after: Sensors
    rows: tuple[ContenderRow, ...]


@dataclass(frozen=True, slots=True)
class ScalePoint:
    """Cost at one size; `unit` of x is that of its curve.

    Attributes:
        x: what was really done, such as the number of files in the folder.
        seconds: median of the runs.
        peak_memory_mb: of the first run.
        runs: seconds of each.
    """

    x: float
    seconds: float
    peak_memory_mb: float | None
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ScaleCurve:
    """Cost as one thing grows.

    Attributes:
        name: "files", "megapixels" or "workers".
        unit: of x.
        points: by rising x.
        note: what was held fixed.
    """

    name: str
    unit: str
    points: tuple[ScalePoint, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Scale:
    """`scale`: how time and memory grow."""

    taken: Taken
    curves: tuple[ScaleCurve, ...]


@dataclass(frozen=True, slots=True)
class StartupRow:
    """A command in fresh processes: every run's wall time and peak resident memory."""

    name: str
    command: str
    seconds: tuple[float, ...]
    peak_memory_mb: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Startup:
    """`startup`: what a command costs before and beside its work."""

    taken: Taken
    rows: tuple[StartupRow, ...]


@dataclass(frozen=True, slots=True)
class CompareRow:
    """A candidate in the table that a user decides by; null where it was not measured.

    Attributes:
        name: of the candidate; `threads` of one inference.
        auroc: on the data of `accuracy`.
        flipped: share of decisions flipped against float32 at the default operating point.
        p50_ms, p90_ms, offline_per_s, peak_memory_mb, file_bytes: from `latency`.
        rates: images a second, of each round of the offline scenario, or of consecutive blocks of
            the single stream where that is all there is.
        choice: "recommended", "" or why it is not.
    """

    entrant: Entrant
    threads: int
    file_bytes: int
    auroc: Figure | None
    flipped: Figure | None
    p50_ms: float | None
    p90_ms: float | None
    offline_per_s: float | None
    rates: tuple[float, ...]
    peak_memory_mb: float | None
    choice: str


@dataclass(frozen=True, slots=True)
class Compare:
    """`compare`: which format to run on this machine, and why."""

    taken: Taken
    data: str
    why: str
    rows: tuple[CompareRow, ...]


@dataclass(frozen=True, slots=True)
class ArticleRow:
    """A network as it was trained and split, beside what was claimed for such a one.

    Attributes:
        name: of the configuration.
        split: "image" or "patient".
        n: validation pictures.
        auroc, auroc_degraded: on them as they are, and all degraded alike, so that their
            compression and sharpness give nothing away; null where the record has none.
        sensitivity, specificity, accuracy: at a sigmoid of 0.5, the article's own threshold.
        source: the record, or where the claim stands.
    """

    name: str
    split: str
    n: int
    auroc: Figure | None
    auroc_degraded: Figure | None
    sensitivity: Figure | None
    specificity: Figure | None
    accuracy: Figure | None
    source: str


@dataclass(frozen=True, slots=True)
class Article:
    """`article`: the network that the project began from, image-wise and patient-wise."""

    taken: Taken
    rows: tuple[ArticleRow, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """All sections of one machine; null where its command has not been run."""

    format_version: int
    machine: Machine
    accuracy: Accuracy | None
    latency: Latency | None
    throughput: Throughput | None
    compare: Compare | None
    scale: Scale | None
    startup: Startup | None
    article: Article | None


SECTIONS = ("accuracy", "latency", "throughput", "compare", "scale", "startup", "article")
Section = Accuracy | Latency | Throughput | Compare | Scale | Startup | Article


class Store:
    """The output folder's `results.json`: opened once, written after every step.

    A section that is whole is replaced by a whole one only: what a run has done of another waits
    in `interrupted.json` until it is finished.
    """

    def __init__(self, folder: Path, machine: Machine | None = None) -> None:
        """Open what is there, or begin.

        Raises:
            StorageError: the folder cannot be made or written.
            UsageError: it holds another machine's results, or a file that does not fit.
        """
        self.folder = folder
        machine = machine or this_machine()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made: {error.strerror}") from error
        self.path = folder / FILE
        self.changed: dict[str, bool] = {}
        if not self.path.exists():
            self.results = Results(FORMAT_VERSION, machine, *([None] * len(SECTIONS)))
            return
        self.results = read_results(self.path)
        if self.results.machine != machine:
            raise UsageError(
                f"{self.path}: holds figures of {self.results.machine}; this is {machine}. "
                "Name another folder with -o"
            )

    def put(self, name: str, section: Section) -> None:
        """Replace a section and write the file, atomically.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        sections: dict[str, Any] = {name: section}
        self.changed[name] = section.taken.complete
        held: Section | None = getattr(self.results, name)
        if held is not None and held.taken.complete and not section.taken.complete:
            write_file(self.partial_path, to_json(replace(self.results, **sections)))
            return
        self.results = replace(self.results, **sections)
        write_file(self.path, to_json(self.results))
        if section.taken.complete:
            self.partial_path.unlink(missing_ok=True)

    @property
    def partial_path(self) -> Path:
        """Where a section waits that would replace a whole one."""
        return self.folder / PARTIAL_FILE

    def left(self, name: str) -> list[Section]:
        """What earlier runs left of a section: interrupted first, since that is the newer one."""
        files = [self.results]
        if self.partial_path.exists():
            files.insert(0, read_results(self.partial_path))
        found: list[Section | None] = [getattr(results, name) for results in files]
        return [section for section in found if section is not None]

    def kept(self) -> str:
        """What an interruption leaves of this run, in words."""
        parts = [f"{name} is finished" for name, complete in self.changed.items() if complete]
        for name in (name for name, complete in self.changed.items() if not complete):
            held: Section | None = getattr(self.results, name)
            if held is not None and held.taken.complete:
                parts.append(
                    f"what was done of {name} is in {PARTIAL_FILE}, the earlier, whole {name} "
                    f"stays in {FILE}"
                )
            else:
                parts.append(f"what was done of {name} is in {FILE}")
        return "; ".join(parts) or f"nothing was finished, nothing was written to {FILE}"


class Stopwatch:
    """Makes the `Taken` of a section that grows."""

    def __init__(self, command: str, model_id: str) -> None:
        self._command, self._model_id = command, model_id
        self._at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._started = time.monotonic()
        self._load = read_sensors().load

    def taken(self, *, complete: bool) -> Taken:
        """How the section came about, up to now."""
        return Taken(
            command=self._command,
            at=self._at,
            seconds=round(time.monotonic() - self._started, 1),
            load=self._load,
            model_id=self._model_id,
            versions=package_versions(),
            complete=complete,
        )


def read_results(path: Path) -> Results:
    """Read a `results.json`.

    Raises:
        UsageError: no such file, another format version, or a key that does not fit.
    """
    try:
        document = parse_json(path.read_bytes())
        version = document.get("format_version") if isinstance(document, dict) else None
        if version != FORMAT_VERSION:
            raise CodecError(f"format version {version!r} is not {FORMAT_VERSION}")
        return decode(Results, document)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except CodecError as error:
        raise UsageError(f"{path}: not a results.json of this version: {error}") from error


def to_json(results: Results) -> bytes:
    """UTF-8 JSON with each list of numbers on one line, so that a thousand samples are one."""
    text = json.dumps(encode(results), indent=2, ensure_ascii=False, allow_nan=False)
    return (_NUMBERS.sub(_on_one_line, text) + "\n").encode()


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: the disk is full, or the place cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def _on_one_line(match: re.Match[str]) -> str:
    return " ".join(match[0].split()).replace("[ ", "[").replace(" ]", "]")
