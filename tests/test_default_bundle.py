"""The bundle that ships: it loads, passes its self-test, and the way through it is whole."""

from pathlib import Path

import pytest

from edge_app import Screener, load_bundle
from edge_app.decision import Decision
from edge_app.runtimes import RUNTIMES, open_runtime
from edge_app.screening.score_file import score_file
from edge_app.screening.selftest import run_self_test
from edge_app.statistics.discrimination import auroc

INSTALLED = [engine.name for engine in RUNTIMES if engine.is_installed]


def test_it_says_what_it_is_for() -> None:
    manifest = load_bundle().manifest
    assert {model.format for model in manifest.models} == {"tflite", "onnx"}
    assert manifest.models[0].recipe == "static_int8"
    assert manifest.population.age_years == (1, 5)
    assert manifest.population.views == ("AP",)
    assert manifest.golden.cases
    for point in manifest.operating_points:
        assert point.sensitivity.n > 100
        assert point.specificity.n > 100
    by_file = {(metric.name, metric.model_sha256) for metric in manifest.metrics}
    assert {("auroc", model.sha256) for model in manifest.models} <= by_file


@pytest.mark.parametrize("name", INSTALLED)
def test_its_golden_inputs_pass_here(name: str) -> None:
    bundle = load_bundle()
    assert len(run_self_test(bundle, open_runtime(bundle, name))) >= 3


def test_the_way_is_whole_on_real_originals_and_runtimes_agree(shared_data: Path) -> None:
    """100 training images: this shows that no step is missing, not that the model is good."""
    if not {"litert", "onnxruntime"} <= set(INSTALLED):
        pytest.skip("needs LiteRT and ONNX Runtime")
    bundle = load_bundle()
    files = sorted((shared_data / "originals").rglob("*.jpeg"))
    assert len(files) == 100
    labels = [path.parent.name == "PNEUMONIA" for path in files]
    answers: list[list[Decision]] = []
    for name in ("litert", "onnxruntime"):
        screener = Screener(bundle, name, threads=2)
        rows = [score_file(screener, path, path.name) for path in files]
        scores = [row.raw_score for row in rows if row.raw_score is not None]
        assert len(scores) == 100
        assert auroc(labels, scores) >= 0.98
        answers.append([row.decision for row in rows])
    assert answers[0] == answers[1]
