"""From two runs' folders to a bundle that looks twice, on drawn pictures in every framing.

A picture is a body with two bright lungs. Between them stand a strip that is white above and black
below, by which the locator tells which way up it is, and a field that is brighter above than below
in the sick and the other way round in the healthy, which alone the reader looks at, where the
lungs' frame has it. So whoever frames, turns or resamples wrongly gets other answers. Both
networks' weights are set by hand; nothing is trained.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="exporting needs the extra: export")

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.decision import Decision, Reason
from edge_app.files.codec import encode
from edge_app.images.framing import FRAMINGS
from edge_app.images.radiograph import Radiograph
from edge_app.runtimes import open_runtime
from edge_app.screening.screener import Screener, ScreeningResult
from edge_app.screening.selftest import run_self_test
from export.cli import main
from export.looks import load_rules
from tests.export_inputs import SIDE, SPEC, Run, write_run

MARGIN = 0.03
WHOLE = 96  # the locator's input, in pixels a side
# What the locator tells up by is a small part of a picture with wide margins.
LOCATOR_SPEC = dataclasses.replace(
    SPEC, height=WHOLE, width=WHOLE, range_low_percentile=0.1, range_high_percentile=99.9
)
RECIPES = ["--recipe", "tflite_static_int8", "--recipe", "onnx_float32"]
BODY, BETWEEN, LUNG = 80, 128, 205


def chest(seed: int, label: int, side: int = 200) -> np.ndarray:
    """(side, side + 4) uint8; both classes are framed alike."""
    rng = np.random.default_rng([seed, label])
    strength = 0.6 * (1 if label else -1) + 0.24 * rng.standard_normal()
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : (side + 4) * 1j]
    picture = np.full(x.shape, BODY, np.float64)
    inside = (y > 0.24) & (y < 0.72)
    picture[inside & (x > 0.22) & (x < 0.78)] = LUNG
    picture[inside & (x > 0.36) & (x < 0.64)] = BETWEEN
    strip = (x > 0.40) & (x < 0.48) & (y > 0.36) & (y < 0.60)
    picture[strip] = np.where(y < 0.48, 255, 0)[strip]
    field = inside & (x > 0.52) & (x < 0.62)
    picture[field] = (BODY + 45 * np.where(y < 0.48, strength, -strength))[field]
    picture += 4 * rng.standard_normal(picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def build_reader() -> Any:
    """Its logit is how much brighter the field is above than below, in the lungs' frame."""
    import keras
    from keras import layers

    image = keras.Input((SIDE, SIDE, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(image)
    features = layers.Conv2D(2, SIDE, activation="relu", name="field")(x)
    activation_map = layers.Conv2D(1, 1, name="activation_map")(features)
    logit = layers.GlobalAveragePooling2D(name="logit")(activation_map)
    model = keras.Model(image, {"logit": logit, "activation_map": activation_map})
    weights = np.zeros((SIDE, SIDE, 1, 2), np.float32)
    weights[3:14, 18:21] = 1
    weights[18:29, 18:21] = -1
    weights *= 128 / (11 * 3) / 10  # a brightness difference of ten grey levels is 1
    weights[..., 1] *= -1
    model.get_layer("field").set_weights([weights, np.zeros(2, np.float32)])
    ends = np.array([1, -1], np.float32).reshape(1, 1, 2, 1)
    model.get_layer("activation_map").set_weights([ends, np.zeros(1, np.float32)])
    return model


def build_locator() -> Any:
    """Lungs are bright; up is where a sharp edge is white; cut off where the rim is bright."""
    import keras
    from keras import layers

    image = keras.Input((WHOLE, WHOLE, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(image)
    cells = layers.Conv2D(2, 3, strides=3, activation="relu", name="cells")(x)
    lungs = layers.Conv2D(1, 1, name="lungs")(cells)
    edges = layers.Conv2D(4, 3, activation="relu", name="edges")(x)
    seen = layers.GlobalAveragePooling2D()(edges)
    bright = layers.Conv2D(2, 1, activation="relu", name="bright")(x)
    rest = WHOLE - 1
    rims = [
        layers.GlobalAveragePooling2D()(layers.Cropping2D(cut)(bright))
        for cut in (
            ((0, 0), (0, rest)),
            ((0, rest), (0, 0)),
            ((0, 0), (rest, 0)),
            ((rest, 0), (0, 0)),
        )
    ]
    model = keras.Model(
        image,
        {
            "lungs": lungs,
            "orientation": layers.Dense(4, name="orientation")(seen),
            "view": layers.Dense(3, name="view")(seen),
            "cut_off": layers.Dense(4, name="cut_off")(layers.Concatenate()(rims)),
        },
    )
    # Two layers, since the last one stays in float32: how far a cell lies above and below lung.
    means = np.stack([np.full((3, 3, 1), sign / 9) for sign in (1, -1)], axis=-1)
    level = (165 - 127) / 128  # lungs from 165 on
    model.get_layer("cells").set_weights([_array(means), _array([-level, level])])
    ends = _array([128 / 5, -128 / 5]).reshape(1, 1, 2, 1)  # a logit of 1 for five grey levels
    model.get_layer("lungs").set_weights([ends, _array([0])])
    down = np.array([[1, 1, 1], [0, 0, 0], [-1, -1, -1]]) / 3  # white above, black below
    # Of a picture that was turned k times counter-clockwise the edge is turned with it.
    kernels = np.stack([np.rot90(down, k) for k in range(4)], axis=-1)[:, :, np.newaxis]
    model.get_layer("edges").set_weights([_array(kernels), _array([-1.25] * 4)])
    model.get_layer("orientation").set_weights([_array(30000 * np.eye(4)), _array([0] * 4)])
    view = np.zeros((4, 3))
    view[:, 0] = 30000
    model.get_layer("view").set_weights([_array(view), _array([-2, -9, 2])])
    model.get_layer("bright").set_weights([_array([[[[4, 0.1]]]]), _array([-1.2, 0])])
    sides = np.zeros((8, 4))
    sides[0::2] = 60 * np.eye(4)
    model.get_layer("cut_off").set_weights([_array(sides), _array([-8] * 4)])
    return model


def _array(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The reader's run, and beside it the locator's in `locator`."""
    root = tmp_path_factory.mktemp("run")
    # So large that the tightest framing leaves 128 pixels a side, which the edge asks for.
    drawn = {"draw": chest, "side": 200}
    made = write_run(root, n_validation=600, network=build_reader(), margin=MARGIN, **drawn)
    locator = locator_of(made)
    locator.mkdir()
    record = json.loads((made.folder / "run.json").read_text())
    del record["config"]["read"]
    record["config"]["preprocess"] = encode(LOCATOR_SPEC)
    (locator / "run.json").write_text(json.dumps(record))
    build_locator().save(locator / "model.keras")
    return made


def locator_of(run: Run) -> Path:
    return run.folder.parent / "locator"


def export(run: Run, target: Path, *more: str) -> int:
    larger = ("--larger", f"large={run.larger}")
    return main(
        [
            "bundle",
            str(run.folder),
            "-o",
            str(target),
            "--data",
            str(run.labels),
            "--about",
            "chest_xray",
            *larger,
            *RECIPES,
            *more,
        ]
    )


@pytest.fixture(scope="module")
def bundle(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    target = tmp_path_factory.mktemp("out") / "bundle"
    assert export(run, target, "--locator", str(locator_of(run))) == 0
    return load_bundle(target)


def answer(screener: Screener, pixels: np.ndarray) -> ScreeningResult:
    pixels = np.ascontiguousarray(pixels)
    return screener.score(Radiograph(pixels, 255, "PNG", "0" * 64, pixels.shape[::-1]))


def test_each_reader_file_comes_with_the_locator_file_of_its_recipe(bundle: Bundle) -> None:
    locator = bundle.manifest.locator
    assert locator is not None
    pairs = {model.file: locator.model_for(model).file for model in bundle.manifest.models}
    assert pairs == {
        "model_static_int8.tflite": "locator_static_int8.tflite",
        "model_float32.onnx": "locator_float32.onnx",
    }
    assert locator.margin == MARGIN
    assert locator.preprocess == LOCATOR_SPEC
    assert bundle.manifest.preprocess == SPEC


def test_how_a_picture_is_framed_or_turned_changes_no_answer(bundle: Bundle) -> None:
    """Figures of every form; whole pictures, or frames that lie elsewhere, would give others."""
    metrics = [m for m in bundle.manifest.metrics if "validation" in m.split.name]
    framings = {framing.name for framing in FRAMINGS} | {"turned"}
    for model in bundle.manifest.models:
        found = {
            (m.split.name.rpartition(", ")[2], m.name): m.value.value
            for m in metrics
            if m.model_sha256 == model.sha256
            and m.operating_point in (None, bundle.manifest.default_operating_point)
        }
        assert framings < {form for form, _ in found}
        for form in framings:
            assert found[form, "refused"] == 0
            assert found[form, "sensitivity"] >= 0.98
            assert found[form, "specificity"] >= 0.98


def test_parity_is_that_of_both_looks(bundle: Bundle) -> None:
    report = json.loads(bundle.path("parity.json").read_bytes())
    rows = {row["recipe"]: row for row in report["locator_rows"]}
    assert set(rows) == {"tflite_static_int8", "onnx_float32"}
    for row in rows.values():
        assert row["turned_otherwise"] == 0
        assert row["n"] == report["rows"][0]["comparisons"][1]["n"] > 600 * 13
    # int8 rounds, float32 in another runtime does not.
    assert 0 < rows["tflite_static_int8"]["mean_edge_change"] < 0.002
    assert rows["onnx_float32"]["max_edge_change"] < 1e-4


def test_the_card_says_what_the_first_look_refuses(bundle: Bundle) -> None:
    card = bundle.path("model_card.md").read_text(encoding="utf-8")
    section = card.partition("## The first look")[2].partition("\n## ")[0]
    for file in ("locator_static_int8.tflite", "locator_float32.onnx"):
        assert f"`{file}`" in section
    for framing in FRAMINGS:
        assert f"validation, {framing.name} | 600, 600 | 0.000 (0.000-" in section
    rules = load_rules()
    assert f"with {rules.cut_off:g} or more refused" in section
    assert f"certainty is under {rules.least_certainty:g}" in section


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime"])
def test_the_edge_reads_as_export_did(bundle: Bundle, runtime: str) -> None:
    opened = open_runtime(bundle, runtime)
    assert len(run_self_test(bundle, opened)) == 8
    screener = Screener(bundle, opened)
    sick, healthy = chest(100, 1), chest(101, 0)
    assert answer(screener, sick).decision is Decision.PNEUMONIA_SUSPECTED
    assert answer(screener, healthy).decision is Decision.NO_PNEUMONIA_SEEN
    upright = answer(screener, sick)
    for turns in (1, 2, 3):
        turned = answer(screener, np.rot90(sick, turns))
        assert turned.quality["turned_upright"]
        assert turned.raw_score == upright.raw_score
    for picture in (spot(), soft()):
        assert answer(screener, picture).decision is Decision.NOT_ASSESSABLE


def spot() -> np.ndarray:
    """One bright square, too small for lungs."""
    picture = np.full((132, 136), BODY, np.uint8)
    picture[40:60, 40:60] = LUNG
    return picture


def soft() -> np.ndarray:
    """No edge anywhere."""
    return np.tile(np.linspace(0, 255, 200), (200, 1)).astype(np.uint8)


def test_what_is_refused_is_refused_for_its_reason(bundle: Bundle) -> None:
    # In float32: int8 ranges are read off training pictures, among which is nothing like these.
    screener = Screener(bundle, open_runtime(bundle, "onnxruntime"))
    cut = chest(100, 1, side=180)[:, 50:]  # through the lung at the left
    assert answer(screener, cut).reason is Reason.LUNGS_CUT_OFF
    assert answer(screener, spot()).reason is Reason.LUNGS_NOT_FOUND
    assert answer(screener, soft()).reason is Reason.NOT_CHEST_RADIOGRAPH


def test_a_reader_of_lungs_is_not_exported_without_what_finds_them(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(run, tmp_path / "bundle") == 2
    assert "name what finds it: --locator" in capsys.readouterr().err
    whole = tmp_path / "whole"
    shutil.copytree(run.folder, whole)
    record = json.loads((whole / "run.json").read_text())
    del record["config"]["read"]
    (whole / "run.json").write_text(json.dumps(record))
    reader = Run(whole, run.labels, run.larger)
    assert export(reader, tmp_path / "bundle", "--locator", str(locator_of(run))) == 2
    assert "takes no --locator" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_reader_is_no_locator(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(run, tmp_path / "bundle", "--locator", str(run.folder)) == 3
    assert "no locator" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
