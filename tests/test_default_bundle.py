"""The bundle that ships: it loads, passes its self-test, and the way through it is whole."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from edge_app import Screener, load_bundle
from edge_app.decision import Decision
from edge_app.errors import SelfTestError
from edge_app.images.preprocess_spec import Antialiasing
from edge_app.images.read import read_image
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


@pytest.mark.parametrize("name", INSTALLED)
def test_its_golden_inputs_tell_every_filter_from_its_own(name: str) -> None:
    bundle = load_bundle()
    runtime = open_runtime(bundle, name)
    manifest = bundle.manifest
    assert manifest.locator is not None
    for other in get_args(Antialiasing):
        reader = replace(manifest.preprocess, resize_filter=other)
        locator = replace(
            manifest.locator,
            preprocess=replace(manifest.locator.preprocess, resize_filter=other),
        )
        changed = replace(bundle, manifest=replace(manifest, preprocess=reader, locator=locator))
        if other == manifest.preprocess.resize_filter:
            run_self_test(changed, runtime)
        else:
            with pytest.raises(SelfTestError, match="gave other scores"):
                run_self_test(changed, runtime)


def test_what_is_no_frontal_chest_film_is_refused(shared_data: Path) -> None:
    """Laterals, CT, MR, ultrasound, other bones, photographs: the development half."""
    screener = Screener(load_bundle())
    files = [p for p in (shared_data / "not_chest").rglob("*") if p.suffix == ".jpeg"]
    read = [p.name for p in files if score_file(screener, p, p.name).reason is None]
    assert len(files) > 150
    assert len(read) <= 0.01 * len(files), read


def test_negatives_are_put_right_and_keep_their_answer(shared_data: Path) -> None:
    screener = Screener(load_bundle())
    for path in sorted((shared_data / "originals").rglob("*.jpeg"))[::10]:
        film = read_image(path, spec=screener.bundle.manifest.preprocess)
        assert film.pixels.dtype == np.uint8
        negative = screener.score(replace(film, pixels=np.uint8(255) - film.pixels))
        upright = screener.score(film)
        assert negative.quality["greys_inverted"]
        assert (negative.decision, negative.raw_score) == (upright.decision, upright.raw_score)


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
