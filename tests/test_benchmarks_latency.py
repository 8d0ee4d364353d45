"""Latency end to end with the tiny bundle, and multiply-adds counted by hand."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.contenders import bundle_contenders
from benchmarks.latency import Effort, measure_latency, spread_counts
from benchmarks.operations import count_multiply_adds
from benchmarks.record import Latency
from benchmarks.store import Recording
from benchmarks.timing import percentiles
from benchmarks.worker import _multiply_adds, ready_looks
from edge_app.bundle.load import load_bundle
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_network import CHANNELS, FOLDER, PATCH, SIDE

EFFORT = Effort(
    warmup_runs=3, warmup_s=0.0, runs=60, max_s=10.0, offline_samples=40, offline_rounds=2
)
CELLS = (SIDE // PATCH) ** 2
# Stem, activation map, sub-type.
TINY_MULTIPLY_ADDS = CELLS * CHANNELS * PATCH**2 + CELLS * CHANNELS + CHANNELS


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Latency:
    bundle = load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("tiny")))
    contenders = bundle_contenders(bundle, ["litert", "onnxruntime"])
    return measure_latency(contenders, (1,), EFFORT, Recording("latency", "t", "m"))


def test_every_run_is_kept_and_summarized(measured: Latency) -> None:
    assert [row.contender.name for row in measured.rows] == [
        "static_int8 litert",
        "float32 onnxruntime",
    ]
    for row in measured.rows:
        assert row.figures is not None
        assert len(row.figures.samples_us) == 60
        assert row.figures.single_stream == percentiles(row.figures.samples_us)
        assert row.figures.warmup_runs >= 3
        assert row.figures.load_ms > 0
        assert row.figures.offline_per_s is not None
        assert len(row.figures.offline_rates) == EFFORT.offline_rounds
        low, high = min(row.figures.offline_rates), max(row.figures.offline_rates)
        assert low <= row.figures.offline_per_s <= high
        assert row.contender.version


def test_operations_a_second_count_two_a_multiply_add(measured: Latency) -> None:
    row = replace(measured.rows[0], multiply_adds=1_000_000)
    assert row.figures is not None
    assert row.gops == pytest.approx(2e6 / (row.figures.single_stream.p50 * 1e-3) / 1e9)


def test_single_stream_ends_at_its_bound_in_time(tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path))
    effort = replace(EFFORT, runs=10**9, max_s=0.2, offline_samples=0)
    section = measure_latency(
        bundle_contenders(bundle, ["litert"]), (1,), effort, Recording("latency", "t", "m")
    )
    assert section.rows[0].figures is not None
    assert 1 <= section.rows[0].figures.single_stream.n < 10**6
    assert section.rows[0].figures.offline_per_s is None


def test_tflite_multiply_adds() -> None:
    assert count_multiply_adds(FOLDER / "tiny.tflite") == TINY_MULTIPLY_ADDS


@pytest.mark.skipif(find_spec("onnx") is None, reason="needs the package onnx (extra export)")
def test_onnx_multiply_adds() -> None:
    assert count_multiply_adds(FOLDER / "tiny.onnx") == TINY_MULTIPLY_ADDS


def test_count_of_one_format_serves_the_same_network_in_another(measured: Latency) -> None:
    rows = [
        replace(measured.rows[0], multiply_adds=7),
        replace(measured.rows[1], multiply_adds=None),
    ]
    assert [row.multiply_adds for row in spread_counts(rows)] == [7, 7]
    foreign = replace(rows[1], contender=replace(rows[1].contender, foreign=True))
    assert spread_counts([rows[0], foreign])[1].multiply_adds is None


class Recorder:
    """A runtime that notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...]]] = []

    def run(self, batch: Any) -> None:
        self.calls.append(("run", batch.shape))

    def locate(self, batch: Any) -> None:
        self.calls.append(("locate", batch.shape))


@pytest.mark.parametrize("locator", [False, True])
def test_a_picture_s_inference_is_all_that_it_is_looked_at_with(
    tmp_path: Path, locator: bool
) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path, locator=locator))
    recorder = Recorder()
    ready_looks(bundle)(cast(Any, recorder))(3)
    shape = (1, SIDE, SIDE, 1)
    assert recorder.calls == [("locate", shape)] * locator + [("run", shape)]
    (contender,) = bundle_contenders(bundle, ["litert"])
    files = ["model.tflite", *(["locator.tflite"] * locator)]
    counts = [count_multiply_adds(bundle.path(file)) for file in files]
    assert None not in counts
    assert _multiply_adds(contender, bundle) == sum(cast(list[int], counts))
