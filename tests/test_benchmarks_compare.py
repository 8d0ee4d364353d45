"""The choice of a format, and the recommendation that the edge app reads."""

import argparse
import os
import platform
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.cli.compare import only_elsewhere
from benchmarks.compare import MARGINS, compare, recommend
from benchmarks.machine import this_machine
from benchmarks.plots import pareto_front
from benchmarks.record import Compare
from benchmarks.store import Recording
from benchmarks.tables import make_tables
from edge_app.bundle.load import load_bundle
from edge_app.cli import main
from edge_app.models.recommendation import (
    describe_recommendation,
    read_recommendation,
    write_recommendation,
)
from tests.benchmark_results import accuracy, accuracy_row, latency, latency_row, results
from tests.tiny_bundle import write_tiny_bundle

WATCH: Recording[Compare] = Recording("compare", "python -m benchmarks compare", "tiny-1")


def choices(section: Compare) -> dict[str, str]:
    return {row.contender.recipe: row.choice for row in section.rows}


def test_fastest_that_holds_its_accuracy_is_recommended() -> None:
    section = compare(
        accuracy(
            accuracy_row("float32", 0.98, None),
            accuracy_row("float16", 0.9795),
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
        latency_row("float32", 1, per_s=1000, memory=90, rates=(950.0, 1000.0, 1050.0)),
        latency_row("static_int8", 1, per_s=940, memory=50, rates=(900.0, 940.0, 980.0)),
    )
    section = compare(None, latency(*rows), WATCH)
    assert choices(section) == {
        "float32": "as fast within the noise, more memory",
        "static_int8": "recommended",
    }
    assert "parity gate" in section.why


def test_difference_beyond_the_noise_is_none_too_small() -> None:
    rows = (
        latency_row("float32", 1, per_s=1000, memory=90, rates=(999.0, 1000.0, 1001.0)),
        latency_row("static_int8", 1, per_s=980, memory=50, rates=(979.0, 980.0, 981.0)),
    )
    section = compare(None, latency(*rows), WATCH)
    assert choices(section) == {"float32": "recommended", "static_int8": "1.02 times slower"}


def test_foreign_model_is_shown_and_never_recommended(tiny_bundle_folder: Path) -> None:
    section = compare(
        accuracy(
            accuracy_row("static_int8", 0.95),
            accuracy_row("static_int8", 0.99, None, foreign=True),
        ),
        latency(
            latency_row("static_int8", 2, per_s=500),
            latency_row("static_int8", 1, per_s=1000, foreign=True),
        ),
        WATCH,
    )
    own, foreign = section.rows
    # Neither does its better AUROC put the bundle's own out of the question.
    assert own.choice == "recommended"
    assert "foreign" in foreign.choice
    # Same file, same name: each has its own figures.
    assert own.auroc is not None
    assert own.auroc.value == 0.95


def test_runtime_of_another_interpreter_is_shown_and_never_recommended() -> None:
    fast = latency_row("static_int8", 1, per_s=1000)
    fast = replace(fast, contender=replace(fast.contender, runtime="tflite-runtime"))
    slow = latency_row("float32", 4, per_s=250)
    section = compare(None, latency(fast, slow), WATCH, {"tflite-runtime"})
    assert choices(section) == {
        "static_int8": "only with --python: not installed where the app runs",
        "float32": "recommended",
    }
    assert section.rows[0].p50_ms is not None
    alone = compare(None, latency(fast), WATCH, {"tflite-runtime"})
    assert recommend(alone, load_bundle(), this_machine()) is None
    # Installed here as well: the app can run it.
    assert choices(compare(None, latency(fast, slow), WATCH))["static_int8"] == "recommended"


def test_only_a_runtime_that_is_missing_here_counts_as_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pythons = [f"{name}={sys.executable}" for name in ("litert", "tflite-runtime")]
    options = argparse.Namespace(python=pythons)
    engines = [SimpleNamespace(name="litert", is_installed=True)]
    monkeypatch.setattr("benchmarks.cli.compare.RUNTIMES", engines)
    assert only_elsewhere(options) == {"tflite-runtime"}


def test_why_claims_only_what_was_measured() -> None:
    timed = latency(latency_row("static_int8", 2, per_s=500))
    row = replace(
        accuracy_row("static_int8", 0.9), auroc=None, undefined={"auroc": "only one class"}
    )
    unflipped = replace(row, points=(replace(row.points[0], flipped=None),))
    why = compare(accuracy(unflipped, reference=""), timed, WATCH).why
    assert "AUROC undefined: only one class" in why
    assert "flips not measured: no float32 ran here" in why
    assert "within" not in why
    measured = compare(accuracy(accuracy_row("static_int8", 0.98, 0.001)), timed, WATCH).why
    assert "AUROC 0.9800, within 0.001 of the best" in measured
    assert "0.10% of float32's decisions flipped" in measured


def test_margins_are_the_loosest_limits_of_the_exports_recipes() -> None:
    recipes = (Path(__file__).parents[1] / "export" / "recipes").glob("*.toml")
    limits = [tomllib.loads(recipe.read_text(encoding="utf-8"))["limits"] for recipe in recipes]
    assert MARGINS.auroc == max(limit["auroc_change"] for limit in limits)
    assert MARGINS.flipped == max(limit["flipped_share"] for limit in limits)


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


def test_table_says_on_how_many_images() -> None:
    section = compare(
        accuracy(accuracy_row("float32", 0.98, None)), latency(latency_row("float32", 8)), WATCH
    )
    (table,) = make_tables(results(compare=section))
    assert "on pictures (100 images)" in table.markdown
    bare = compare(None, latency(latency_row("float32", 8)), WATCH)
    (table,) = make_tables(results(compare=bare))
    assert "on nothing" in table.markdown


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
    assert [row.contender.recipe for row in pareto_front(section.rows)] == [
        "float32",
        "static_int8",
    ]


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
    assert "--runtime litert --threads 1" in shown
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


def test_recommendation_of_a_runtime_that_is_not_here_is_called_out_of_date(
    written: Path, tiny_bundle_folder: Path
) -> None:
    """The benchmarks' environment may hold more than the app's."""
    elsewhere = replace(read_recommendation(), runtime="onnxruntime-of-another-venv")
    found = " ".join(describe_recommendation(elsewhere, load_bundle(tiny_bundle_folder)))
    assert "onnxruntime-of-another-venv is not installed where this command runs" in found


def test_recommendation_that_gives_other_scores_here_is_called_unusable(
    written: Path, tmp_path: Path
) -> None:
    """As int8 files do whose kernels saturate on this processor and not where they were made."""

    def promise(document: dict[str, Any]) -> None:
        for logits in (case["logits"] for case in document["golden"]["cases"]):
            logits.update({key: value + 1 for key, value in logits.items()})

    bundle = load_bundle(write_tiny_bundle(tmp_path / "other", change=promise))
    found = replace(read_recommendation(), model_sha256=bundle.manifest.models[0].sha256)
    lines = list(describe_recommendation(found, bundle))
    assert "cannot be used here" in lines[0]
    assert "golden inputs gave other scores" in lines[0]


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
