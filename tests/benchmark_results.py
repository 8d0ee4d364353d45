"""Made-up benchmark results: for the tests of what is done with figures, never figures."""

from benchmarks.machine import Machine, Processor, Sensors
from benchmarks.record import (
    FORMAT_VERSION,
    Accuracy,
    AccuracyRow,
    ContenderFacts,
    DataFacts,
    Latency,
    LatencyFigures,
    LatencyRow,
    PointRow,
    Results,
    Startup,
    StartupRow,
    Taken,
    Throughput,
    ThroughputRow,
)
from edge_app.statistics.discrimination import Confusion
from edge_app.statistics.intervals import Figure

PROCESSOR = Processor("Test CPU", "26", "2", "1", ("avx2", "avx512_vnni"))
MACHINE = Machine(PROCESSOR, None, "x86_64", 2, 4000, "Linux 6", "3.11.7")
TAKEN = Taken(
    "python -m benchmarks x", "2026-11-23T00:00:00Z", 1.0, 0.0, 0.0, "tiny-1", {"numpy": "2"}, True
)
STILL = Sensors(None, None, None, None)


def figure(value: float) -> Figure:
    return Figure(value, value - 0.01, min(1.0, value + 0.01), 0.95, "wilson", 100)


def facts(
    recipe: str, runtime: str = "litert", missing: str = "", *, foreign: bool = False
) -> ContenderFacts:
    name = f"{recipe} {runtime}"
    version = "" if missing else "1.0"
    sha256 = recipe * 4
    file = f"{recipe}.bin"
    return ContenderFacts(name, foreign, file, sha256, recipe, runtime, version, (), missing)


def latency_row(
    recipe: str,
    ms: float,
    *,
    per_s: float | None = None,
    memory: float = 50.0,
    threads: int = 1,
    missing: str = "",
    rates: tuple[float, ...] = (),
    foreign: bool = False,
) -> LatencyRow:
    samples = tuple(round(1000 * ms) + step for step in range(64))
    figures = LatencyFigures(
        load_ms=10.0,
        first_ms=5.0,
        warmup_runs=3,
        offline_rates=rates or (() if per_s is None else (per_s,) * 3),
        offline_samples=100,
        peak_memory_mb=memory,
        joules_per_run=None,
        energy_source=None,
        before=STILL,
        after=STILL,
        samples_us=samples,
    )
    of = facts(recipe, missing=missing, foreign=foreign)
    return LatencyRow(of, threads, 1_000_000, 277_000_000, None if missing else figures)


def accuracy_row(
    recipe: str, auroc: float, flipped: float | None = 0.0, *, foreign: bool = False
) -> AccuracyRow:
    share = None if flipped is None else Figure(flipped, 0.0, 1.0, 0.95, "wilson", 100)
    half = figure(0.5)
    point = PointRow("balanced", 0.1, Confusion(40, 10, 40, 10), half, share, 1.0)
    return AccuracyRow(
        contender=facts(recipe, foreign=foreign),
        n_scored=100,
        n_refused=0,
        n_failed=0,
        refused=half,
        refusals={},
        auroc=figure(auroc),
        auprc=None,
        ece=None,
        undefined={},
        versus=None,
        versus_p=None,
        points=(point,),
        groups=(),
        reliability=(),
        scores=(1.0, -1.0),
    )


def accuracy(*rows: AccuracyRow, reference: str = "float32 litert") -> Accuracy:
    data = DataFacts("pictures", 2, 1, 2, "0" * 64, "0" * 64, (), 0)
    return Accuracy(TAKEN, data, reference, (1, 0), (0, 1), rows)


def latency(*rows: LatencyRow) -> Latency:
    return Latency(TAKEN, rows)


def row(name: str, images: int, *seconds: float, missing: str = "") -> ThroughputRow:
    return ThroughputRow(name, f"what {name} does", 1, images, {}, missing, None, None, seconds)


def throughput() -> Throughput:
    """Ours 2 ms an image, Keras 60 ms, the floor 3 ms on one core of two."""
    rows = (
        row("ours", 1000, 2.0, 2.02, 1.98),
        row("keras", 100, 6.0, 6.06, 5.94),
        row("openvino", 100, missing="not installed"),
        row("floor", 100, 0.3, 0.3, 0.3),
    )
    parts = {"entropy decoding": 1.0, "inference": 2.0}
    return Throughput(
        TAKEN, "pictures", 100, "", 1.2, "ours", "floor", parts, 2, STILL, STILL, rows
    )


def startup() -> Startup:
    rows = (
        StartupRow("python -c pass", "python -c pass", (0.010, 0.011), (9.0, 9.0)),
        StartupRow("pneumoscope --version", "pneumoscope --version", (0.020, 0.022), (10.0, 10.0)),
    )
    return Startup(TAKEN, rows)


def results(**sections: object) -> Results:
    """Results with these sections, the others not measured."""
    return Results(FORMAT_VERSION, MACHINE, **sections)  # type: ignore[arg-type]
