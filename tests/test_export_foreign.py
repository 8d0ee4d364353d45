"""A stranger's network: docs/export.md run as it stands, and what is refused with a reason."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="exporting needs the extra: export")

import keras
from keras import layers

from edge_app.bundle.load import load_bundle
from edge_app.cli import main as pneumoscope
from edge_app.screening.screener import Screener
from export.checkpoint import Feed, load_network, read_checkpoint, read_record
from export.cli import main as export
from export.description import FEEDS, keras_version
from export.errors import CheckpointError
from tests.conftest import REPOSITORY
from tests.export_inputs import SIDE, SPEC, ramp

PAGE = (REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8")
ONE_RECIPE = ["--recipe", "onnx_float32", "--ship", "onnx_float32"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def write_pictures(root: Path, n: int) -> None:
    for split, first in (("train", 0), ("val", 5000)):
        for i in range(first, first + n):
            folder = root / split / ("PNEUMONIA" if i % 2 else "NORMAL")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(ramp(i, i % 2)).save(folder / f"s{i}.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page is run, up to the bundle."""
    folder = tmp_path_factory.mktemp("foreign")
    write_pictures(folder / "data", 120)
    film = folder / "data" / "val" / "PNEUMONIA" / "s5001.png"
    film.rename(film.with_name("film.png"))
    (folder / "mine_points.toml").write_text(blocks("toml")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (code,) = blocks("python")
        exec(compile(code, "docs/export.md", "exec"), {})
        for line in "".join(blocks("sh")).splitlines():
            if line.startswith("python -m export"):
                assert export([*shlex.split(line)[3:], *extra(line)]) == 0, line
    return folder


def extra(line: str) -> list[str]:
    """One recipe in place of all six: the others are tried in test_export_bundle."""
    return ONE_RECIPE if "export bundle" in line else []


def test_the_page_ends_in_an_answer(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    for line in "".join(blocks("sh")).splitlines():
        if line.startswith("pneumoscope"):
            assert pneumoscope(shlex.split(line)[1:]) == 0, line
    said = capsys.readouterr().out
    assert "a research model, for study alone; it lacks: too few validation pictures: 120" in said
    assert "Adults, one clinic" in said  # its own card, not the shipped model's
    assert "film.png: pneumonia_suspected" in said
    assert said.endswith("clinic); a research model\n")


def test_the_edge_gives_the_probabilities_of_the_stranger_s_own_program(home: Path) -> None:
    data = keras.utils.image_dataset_from_directory(
        home / "data" / "val",
        image_size=(64, 64),
        color_mode="grayscale",
        batch_size=200,
        shuffle=False,
        verbose=False,
    )
    ((pictures, _),) = data.as_numpy_iterator()
    expected = keras.models.load_model(home / "mine.h5").predict(pictures / 255, verbose=0)[:, 1]
    screener = Screener(load_bundle(home / "mine"))
    scores = [screener.score(path).raw_score for path in data.file_paths]
    found = 1 / (1 + np.exp(-np.array(scores, np.float64)))
    # Greys on the edge are whole numbers, in Keras they are not.
    assert np.abs(found - expected).max() < 0.01
    assert np.ptp(expected) > 0.5


def test_the_bundle_says_what_it_lacks(home: Path) -> None:
    bundle = load_bundle(home / "mine")
    assert bundle.manifest.model_id.startswith("research-")
    assert bundle.manifest.operating_point_names() == ("clinic",)
    card = bundle.path("model_card.md").read_text()
    assert "not for decisions about patients" in card
    assert all(text in card for text in bundle.lacks)


def test_a_release_is_refused_and_nothing_is_written(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model, data, about = home / "mine.h5", home / "data", home / "mine.toml"
    line = ["bundle", str(model), "--data", str(data), "--about", str(about)]
    assert export([*line, "-o", str(tmp_path / "b"), *ONE_RECIPE]) == 3
    assert "too few validation pictures: 120" in capsys.readouterr().err
    assert export([*line, "-o", str(tmp_path / "b"), "--model-id", "research-x"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_record_is_written_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = read_record(home / "run.json")
    assert (record.preprocess.height, record.preprocess.range_region) == (64, 0.0)
    assert record.feed == Feed((1 / 255,), (0.0,), 1)
    line = ["describe", str(home / "mine.h5"), "--data", str(home / "data")]
    assert export([*line, "--feed", "0-1", "--resize", "nearest"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_patient_on_both_sides_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "m.h5"
    model.write_bytes((home / "mine.h5").read_bytes())
    names = ["data/train/NORMAL/s0.png", "data/val/PNEUMONIA/s5003.png"]
    lines = ("file,label,patient_id,split", f"{names[0]},0,ann,train", f"{names[1]},1,ann,test")
    table = home / "labels.csv"
    table.write_text("\n".join(lines))
    line = ["describe", str(model), "--data", str(table), "--feed", "0-1", "--resize", "nearest"]
    assert export(line) == 2
    assert "no picture of the split 'validation'" in capsys.readouterr().err
    assert export([*line, "--held-out", "test"]) == 2
    assert "1 patients were trained on and held out, such as ann" in capsys.readouterr().err
    assert not (tmp_path / "run.json").exists()


def test_a_saved_model_is_refused_for_the_right_reason(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"SavedModel.*model\.save\('model\.keras'\)"):
        read_checkpoint(folder)


def two_outputs(activation: str | None) -> keras.Model:
    keras.utils.set_random_seed(2)
    image = keras.Input((SIDE, SIDE, 1))
    x = layers.Flatten()(layers.Conv2D(2, 5, strides=5)(image))
    return keras.Model(image, layers.Dense(2, activation=activation)(x))


def logits_of(path: Path, pictures: np.ndarray, feed: Feed) -> np.ndarray:
    tensor = keras.ops.convert_to_tensor(pictures)
    return np.asarray(load_network(path, SPEC, feed).call(tensor)["logit"])[:, 0]


@pytest.mark.parametrize("ending", ["m.keras", "m.h5"])
def test_softmax_of_two_classes_is_the_sigmoid_of_a_difference(tmp_path: Path, ending: str) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 1)).astype(np.uint8)
    model = two_outputs("softmax")
    model.save(tmp_path / ending)
    expected = model.predict_on_batch(pictures.astype(np.float32) / 255)
    scale = (1 / 255,)
    for sick in (0, 1):
        found = logits_of(tmp_path / ending, pictures, Feed(scale, (0.0,), sick))  # type: ignore[arg-type]
        assert np.allclose(1 / (1 + np.exp(-found)), expected[:, sick], atol=1e-5)
    assert keras_version(tmp_path / ending) == keras.__version__
    two_outputs(None).save(tmp_path / ending)
    assert np.allclose(logits_of(tmp_path / ending, pictures, Feed(scale, (0.0,), 0)), -found)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_two_outputs_that_are_no_softmax_are_refused(tmp_path: Path, activation: str) -> None:
    two_outputs(activation).save(tmp_path / "m.keras")
    with pytest.raises(CheckpointError, match="neither a logit nor a softmax of two"):
        load_network(tmp_path / "m.keras", SPEC)


@pytest.mark.parametrize(("name", "mode"), [("tf", "tf"), ("torch", "torch"), ("caffe", "caffe")])
def test_feeds_are_those_of_keras_applications(name: str, mode: str) -> None:
    from keras.src.applications.imagenet_utils import preprocess_input

    picture = np.repeat(np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1), 3, axis=-1)
    scale, offset = FEEDS[name]
    expected = preprocess_input(picture.copy(), mode=mode)
    assert np.allclose(picture * scale + offset, expected, atol=1e-4)


def test_a_recipe_that_does_not_ship_stops_nothing(
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from export import onnx_model
    from export.errors import ExportError

    def fails(*_: object) -> bytes:
        raise ExportError("no such operator")

    monkeypatch.setattr(onnx_model, "quantize_static", fails)
    line = ["bundle", str(home / "mine.h5"), "--data", str(home / "data"), "--research"]
    line += ["--about", str(home / "mine.toml"), "--recipe", "onnx_static_int8"]
    assert export([*line, "-o", str(tmp_path / "b"), "--ship", "onnx_float32"]) == 0
    assert "onnx_static_int8 is left out: no such operator" in capsys.readouterr().err
    assert export([*line, "-o", str(tmp_path / "c"), "--ship", "onnx_static_int8"]) == 3
    assert not (tmp_path / "c").exists()
