"""Made-up benchmark results: for the tests of what is done with figures, never figures."""

from benchmarks.machine import Machine, Sensors
from benchmarks.record import (
    FORMAT_VERSION,
    Accuracy,
    AccuracyRow,
    ContenderRow,
    DataFacts,
    Entrant,
    Latency,
    LatencyFigures,
    LatencyRow,
    PointRow,
    Results,
    Startup,
    StartupRow,
    Taken,
    Throughput,
)
from benchmarks.timing import percentiles
from edge_app.statistics.intervals import Figure

MACHINE = Machine("Test CPU", None, "x86_64", 2, 4000, "Linux 6", "3.11.7")
TAKEN = Taken(
    "python -m benchmarks x", "2026-11-23T00:00:00Z", 1.0, 0.0, "tiny-1", {"numpy": "2"}, True
)
STILL = Sensors(None, None, None, None)


def figure(value: float) -> Figure:
    return Figure(value, value - 0.01, min(1.0, value + 0.01), 0.95, "wilson", 100)


def entrant(
    recipe: str, runtime: str = "litert", missing: str = "", *, foreign: bool = False
) -> Entrant:
    name = f"{recipe} {runtime}"
    version = "" if missing else "1.0"
    sha256 = recipe * 4
    file = f"{recipe}.bin"
    return Entrant(name, foreign, file, sha256, recipe, runtime, version, (), missing)


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
        single_stream=percentiles(samples),
        offline_per_s=per_s,
        offline_rates=rates or (() if per_s is None else (per_s,) * 3),
        offline_samples=100,
        peak_memory_mb=memory,
        joules_per_run=None,
        energy_source=None,
        before=STILL,
        after=STILL,
        samples_us=samples,
    )
    of = entrant(recipe, missing=missing, foreign=foreign)
    return LatencyRow(of, threads, 1_000_000, 277_000_000, None if missing else figures)


def accuracy_row(
    recipe: str, auroc: float, flipped: float | None = 0.0, *, foreign: bool = False
) -> AccuracyRow:
    share = None if flipped is None else Figure(flipped, 0.0, 1.0, 0.95, "wilson", 100)
    half = figure(0.5)
    point = PointRow("balanced", 0.1, 40, 10, 40, 10, half, half, half, half, half, share, 1.0)
    return AccuracyRow(
        entrant=entrant(recipe, foreign=foreign),
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
    data = DataFacts("pictures", 2, 1, 2, "0" * 64, "0" * 64, ())
    return Accuracy(TAKEN, data, reference, (1, 0), (0, 1), rows)


def latency(*rows: LatencyRow) -> Latency:
    return Latency(TAKEN, rows)


def contender(name: str, images: int, *seconds: float, missing: str = "") -> ContenderRow:
    return ContenderRow(name, f"what {name} does", 1, images, {}, missing, None, None, seconds)


def throughput() -> Throughput:
    """Ours 2 ms an image, Keras 60 ms, the floor 3 ms on one core of two."""
    rows = (
        contender("ours", 1000, 2.0, 2.02, 1.98),
        contender("keras", 100, 6.0, 6.06, 5.94),
        contender("openvino", 100, missing="not installed"),
        contender("floor", 100, 0.3, 0.3, 0.3),
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
    names = ("accuracy", "latency", "throughput", "compare", "scale", "startup", "article")
    given = {name: sections.get(name) for name in names}
    return Results(FORMAT_VERSION, MACHINE, **given)  # type: ignore[arg-type]
