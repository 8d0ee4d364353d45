"""`results.json`, format version 3: what was measured, on which machine, with the raw samples.

Frozen dataclasses are the schema, written and read strictly by `edge_app.files.codec`. A file holds
one machine's figures; each command fills in its own section and keeps the others
(`benchmarks.store`). What races is a contender everywhere: a model file in a runtime, or a loop
over files. Properties work out from the samples what tables show (`benchmarks.tables`).
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from benchmarks.machine import Machine, Sensors
from benchmarks.timing import Percentiles, percentiles
from edge_app.statistics.calibration import ReliabilityBin
from edge_app.statistics.discrimination import Confusion
from edge_app.statistics.intervals import Figure

FORMAT_VERSION = 3


@dataclass(frozen=True, slots=True)
class Taken:
    """How a section came about.

    Attributes:
        command: that gives it again.
        at: when it was begun, ISO 8601, UTC.
        seconds: how long it took.
        load: processes that ran or waited when it was begun, mean of the minute before.
        busy: share of the cores' time that others took then; null where nothing was timed, or
            where it cannot be read.
        model_id: of the bundle.
        versions: of the packages of the benchmark's own environment.
        complete: False where it was interrupted; what is there is what was done.
    """

    command: str
    at: str
    seconds: float
    load: float | None
    busy: float | None
    model_id: str
    versions: Mapping[str, str]
    complete: bool


@dataclass(frozen=True, slots=True)
class ContenderFacts:
    """A model file in a runtime, or why it is not measured.

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

    def opened(self, ready: Mapping[str, Any]) -> "ContenderFacts":
        """The same with what a worker said of the opened runtime."""
        return replace(self, version=ready["version"], notes=tuple(ready["notes"]))


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The pictures that were scored.

    Attributes:
        name: what tables call them.
        n, n_positive, n_patients: counts.
        sha256: of names, labels and patients, as the bundle names its splits.
        sizes_sha256: of names and bytes a file: other copies of the same pictures differ in it.
        fitted_here: what was fitted on these very pictures.
        trained_on: how many of them the network was trained on; null where its training split is
            not known here.
    """

    name: str
    n: int
    n_positive: int
    n_patients: int
    sha256: str
    sizes_sha256: str
    fitted_here: tuple[str, ...]
    trained_on: int | None


@dataclass(frozen=True, slots=True)
class PointRow:
    """A fixed operating point on these data.

    Attributes:
        name, threshold: as in the bundle; threshold in raw-score units.
        counts: of scored pictures at score >= threshold, with their shares.
        indeterminate: share of scored pictures between the two cut-offs, null without them.
        flipped: share of pictures called otherwise than by the float32 reference at its own
            threshold, null for the reference itself.
        mcnemar_p: exact p-value of erring as often as the reference.
    """

    name: str
    threshold: float
    counts: Confusion
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
    counts: Confusion | None


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """One contender on the data; a missing one has counts of 0 and no figures.

    Attributes:
        refusals: pictures without a score by reason, failures among them.
        auroc: with DeLong's interval over patients.
        auprc, ece: with bootstrap intervals over patients.
        undefined: why a figure above is null, by its name.
        versus: AUROC minus the float32 reference's, with DeLong's paired interval.
        versus_p: p-value of that difference.
        reliability: bins of the reliability diagram.
        scores: raw score of each picture in the data's order, null where there is none.
    """

    contender: ContenderFacts
    n_scored: int = 0
    n_refused: int = 0
    n_failed: int = 0
    refused: Figure | None = None
    refusals: Mapping[str, int] = field(default_factory=dict)
    auroc: Figure | None = None
    auprc: Figure | None = None
    ece: Figure | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)
    versus: Figure | None = None
    versus_p: float | None = None
    points: tuple[PointRow, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    scores: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Accuracy:
    """`accuracy`: every contender on one set of labelled pictures.

    Attributes:
        reference: name of the float32 contender that flips are counted against, "" without one.
        labels: 1 pneumonia, 0 normal, in the order of the rows' scores.
        patients: number of each picture's patient, in the same order.
    """

    taken: Taken
    data: DataFacts
    reference: str
    labels: tuple[int, ...]
    patients: tuple[int, ...]
    rows: tuple[AccuracyRow, ...]


@dataclass(frozen=True)
class LatencyFigures:
    """One contender with one number of threads.

    Attributes:
        load_ms: opening the model in a process that has loaded Python and numpy; the runtime's
            import is part of it.
        first_ms: the first inference.
        warmup_runs: before the samples.
        offline_rates: MLPerf's offline scenario: pictures a second on all cores, one process a
            core with one thread each, by round; rounds ran interleaved with the other contenders'.
            Empty with more threads.
        offline_samples: inferences behind it, over all rounds.
        peak_memory_mb: of the process, Python and numpy included.
        joules_per_run: energy of the whole sensor domain, idle part included.
        energy_source: "RAPL" or "INA".
        before, after: the machine's sensors.
        samples_us: the single-stream scenario: every run in order, in microseconds.
    """

    load_ms: float
    first_ms: float
    warmup_runs: int
    offline_rates: tuple[float, ...]
    offline_samples: int
    peak_memory_mb: float | None
    joules_per_run: float | None
    energy_source: str | None
    before: Sensors
    after: Sensors
    samples_us: tuple[int, ...]

    @cached_property
    def single_stream(self) -> Percentiles:
        """MLPerf's single-stream scenario."""
        return percentiles(self.samples_us)

    @property
    def offline_per_s(self) -> float | None:
        """Geometric mean of the rounds' rates; None with several threads."""
        return statistics.geometric_mean(self.offline_rates) if self.offline_rates else None


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """A contender and its figures; `gops` counts two operations a multiply-add, at the median."""

    contender: ContenderFacts
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
class ThroughputRow:
    """A contender from a folder to scores: our command, a loop that people write, or the floor.

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
    rows: tuple[ThroughputRow, ...]

    @property
    def our_row(self) -> ThroughputRow | None:
        """The row that the ratios compare with."""
        return next((row for row in self.rows if row.name == self.ours), None)

    def ms_per_image(self, row: ThroughputRow) -> list[float]:
        """Milliseconds a picture, by round; the floor's divided by the cores."""
        share = self.cores if row.name == self.floor else 1
        return [1000 * seconds / row.images / share for seconds in row.seconds]


@dataclass(frozen=True, slots=True)
class ScalePoint:
    """Cost at one size.

    Attributes:
        x: what was really done, such as the number of files in the folder.
        peak_memory_mb: of the first run.
        runs: seconds of each.
    """

    x: float
    peak_memory_mb: float | None
    runs: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Median of the runs."""
        return statistics.median(self.runs)


@dataclass(frozen=True, slots=True)
class ScaleCurve:
    """Cost as one thing grows.

    Attributes:
        name: "files", "megapixels" or "workers", which is the unit of x, too.
        points: by rising x.
        note: what was held fixed.
    """

    name: str
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
    """A contender in the table that a user decides by; null where it was not measured.

    Attributes:
        auroc: on the data of `accuracy`.
        flipped: share of decisions flipped against float32 at the default operating point.
        p50_ms, p90_ms, offline_per_s, peak_memory_mb, file_bytes: from `latency`.
        rates: images a second, of each round of the offline scenario, or of consecutive blocks of
            the single stream where that is all there is.
        choice: "recommended", "" or why it is not.
    """

    contender: ContenderFacts
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

    @property
    def images_per_s(self) -> float | None:
        """Offline throughput; with several threads one stream has the machine to itself."""
        if self.offline_per_s is not None or self.p50_ms is None:
            return self.offline_per_s
        return 1000 / self.p50_ms


@dataclass(frozen=True, slots=True)
class Compare:
    """`compare`: what to run on this machine, and why; `trained_on` as in `DataFacts`."""

    taken: Taken
    data: str
    trained_on: int | None
    why: str
    rows: tuple[CompareRow, ...]


@dataclass(frozen=True, slots=True)
class ArticleRow:
    """A network as it was trained and split, beside what was claimed for such a one.

    Attributes:
        name: of the configuration.
        split: "by image" or "by patient".
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
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    throughput: Throughput | None = None
    compare: Compare | None = None
    scale: Scale | None = None
    startup: Startup | None = None
    article: Article | None = None


SECTIONS = ("accuracy", "latency", "throughput", "compare", "scale", "startup", "article")
Section = Accuracy | Latency | Throughput | Compare | Scale | Startup | Article
AnySection = TypeVar("AnySection", bound=Section)
