"""The choice of a format, and the recommendation that the edge app reads."""

import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.compare import compare, recommend
from benchmarks.machine import this_machine
from benchmarks.plots import pareto_front
from benchmarks.record import Compare, Stopwatch
from edge_app.bundle import load_bundle
from edge_app.cli import main
from edge_app.recommend import describe_recommendation, read_recommendation, write_recommendation
from tests.benchmark_results import accuracy, accuracy_row, latency, latency_row

WATCH = Stopwatch("python -m benchmarks compare", "tiny-1")


def choices(section: Compare) -> dict[str, str]:
    return {row.entrant.recipe: row.choice for row in section.rows}


def test_fastest_that_holds_its_accuracy_is_recommended() -> None:
    section = compare(
        accuracy(
            accuracy_row("float32", 0.98, None),
            accuracy_row("float16", 0.979),
            accuracy_row("static_int8", 0.974),
            accuracy_row("dynamic_int8", 0.98, 0.02),
        ),
        latency(
            latency_row("float32", 8, per_s=200),
            latency_row("float16", 4, per_s=400),
            latency_row("static_int8", 1, per_s=1600),
            latency_row("dynamic_int8", 2, per_s=800),
        ),
        WATCH,
    )
    assert choices(section) == {
        "float32": "2.0 times slower",
        "float16": "recommended",
        "static_int8": "AUROC 0.0060 below the best",
        "dynamic_int8": "flips 2.00% of float32's decisions",
    }


def test_as_fast_means_the_one_with_less_memory() -> None:
    rows = (
        latency_row("float32", 1, per_s=1000, memory=90),
        latency_row("static_int8", 1, per_s=980, memory=50),
    )
    section = compare(None, latency(*rows), WATCH)
    assert choices(section) == {"float32": "as fast, more memory", "static_int8": "recommended"}
    assert "parity gate" in section.why


def test_what_cannot_run_or_was_not_scored_is_not_recommended() -> None:
    section = compare(
        accuracy(accuracy_row("float32", 0.98, None)),
        latency(
            latency_row("float32", 8, per_s=100),
            latency_row("static_int8", 1, per_s=900),
            latency_row("float16", 1, missing="litert is not installed"),
        ),
        WATCH,
    )
    assert choices(section) == {
        "float32": "recommended",
        "static_int8": "accuracy not measured",
        "float16": "litert is not installed",
    }


def test_nothing_that_runs_gives_no_recommendation(tiny_bundle_folder: Path) -> None:
    section = compare(None, latency(latency_row("float32", 1, missing="broken")), WATCH)
    assert recommend(section, load_bundle(tiny_bundle_folder), this_machine()) is None


def test_pareto_front_leaves_out_what_is_beaten_in_both() -> None:
    section = compare(
        accuracy(
            accuracy_row("float32", 0.98, None),
            accuracy_row("float16", 0.97),
            accuracy_row("static_int8", 0.979),
        ),
        latency(
            latency_row("float32", 8), latency_row("float16", 6), latency_row("static_int8", 3)
        ),
        WATCH,
    )
    assert [row.entrant.recipe for row in pareto_front(section.rows)] == ["float32", "static_int8"]


@pytest.fixture
def written(tiny_bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recommendation for the tiny bundle's int8 file, where `info --recommend` looks."""
    monkeypatch.setenv("PNEUMOSCOPE_STATE", str(tmp_path / "state"))
    bundle = load_bundle(tiny_bundle_folder)
    section = compare(None, latency(latency_row("static_int8", 2, per_s=500)), WATCH)
    found = recommend(section, bundle, this_machine())
    assert found is not None
    return write_recommendation(replace(found, model_sha256=bundle.manifest.models[0].sha256))


def test_info_shows_the_recommendation(
    written: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", "--bundle", str(tiny_bundle_folder), "--recommend"]) == 0
    shown = capsys.readouterr().out
    assert "static_int8.bin with litert" in shown
    assert "500 images/s" in shown
    assert "Out of date" not in shown
    assert (read_recommendation().architecture, read_recommendation().cores) == (
        platform.machine(),
        os.cpu_count(),
    )


def test_recommendation_of_another_machine_or_model_is_called_out_of_date(
    written: Path, tiny_bundle_folder: Path
) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    moved = replace(read_recommendation(), architecture="riscv64", model_sha256="0" * 64)
    lines = list(describe_recommendation(moved, bundle))
    assert "another machine" in lines[0]
    assert "another model" in lines[1]


def test_info_without_a_measurement_says_how_to_make_one(
    tmp_path: Path,
    tiny_bundle_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_STATE", str(tmp_path / "empty"))
    assert main(["info", "--bundle", str(tiny_bundle_folder), "--recommend"]) == 4
    assert "python -m benchmarks compare" in capsys.readouterr().err


def test_damaged_recommendation(
    written: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written.write_text("{}")
    assert main(["info", "--bundle", str(tiny_bundle_folder), "--recommend", str(written)]) == 2
    assert "missing key" in capsys.readouterr().err
