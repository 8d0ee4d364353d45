"""Runtimes behind one interface: the same numbers, named failures, and a fallback that is told."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import InputSpec
from edge_app.errors import (
    BundleError,
    BundleFormatError,
    RuntimeUnavailableError,
    UsageError,
)
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import preprocess
from edge_app.runtimes import RUNTIMES, open_network, open_runtime
from edge_app.runtimes.base import NetworkFile
from tests.conftest import REPOSITORY
from tests.tiny_bundle import SPEC, TOLERANCE, write_tiny_bundle
from tests.tiny_network import FOLDER, SIDE, forward

INSTALLED = [engine.name for engine in RUNTIMES if engine.is_installed]
BATCHES = [preprocess(draw_phantom(Phantom(seed)), SPEC) for seed in range(4)]


def require(name: str) -> None:
    if name not in INSTALLED:
        pytest.skip(f"{name} is not installed here")


@pytest.mark.parametrize(
    ("name", "tolerance"), [("litert", TOLERANCE), ("onnxruntime", 1e-4), ("tflite-runtime", 0.05)]
)
def test_outputs_are_those_of_the_numpy_reference(
    name: str, tolerance: float, tiny_bundle_folder: Path
) -> None:
    require(name)
    bundle = load_bundle(tiny_bundle_folder)
    runtime = open_runtime(bundle, name, threads=2)
    assert runtime.name == name
    assert runtime.version[0].isdigit()
    assert runtime.notes == ()
    assert runtime.model in bundle.manifest.models
    for batch in BATCHES:
        found, expected = runtime.run(batch), forward(batch)
        assert found.logit == pytest.approx(expected.logit, abs=tolerance)
        assert found.activation_map is not None
        assert found.activation_map.shape == (8, 8)
        assert found.activation_map.dtype == np.float32
        assert found.activation_map.mean() == pytest.approx(found.logit, abs=tolerance)
        assert found.embedding == pytest.approx(expected.embedding, abs=tolerance)
        assert found.subtype_logit == pytest.approx(expected.subtype_logit, abs=tolerance)


def test_int8_in_onnx_is_right_on_every_processor(tmp_path: Path) -> None:
    """Without VNNI onnxruntime's sums of uint8 x int8 saturated: wrong scores, no error.

    `make test-no-vnni` runs this on such a processor.
    """
    require("onnxruntime")
    content = (FOLDER / "tiny_int8.onnx").read_bytes()
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    roles = {"logit": "logit"}
    described = NetworkFile(
        file, "static_int8", InputSpec("image", (1, SIDE, SIDE, 1), "uint8"), roles
    )
    network = open_network(described, "onnx", import_module("onnxruntime"), 1)
    for batch in BATCHES:
        logit = float(network.run(batch)["logit"].item())
        assert logit == pytest.approx(forward(batch).logit, abs=0.1)


def test_an_earlier_answer_is_not_overwritten_by_a_later_one(tiny_bundle_folder: Path) -> None:
    runtime = open_runtime(load_bundle(tiny_bundle_folder))
    first = runtime.run(BATCHES[0])
    assert first.activation_map is not None
    kept = first.activation_map.copy()
    runtime.run(BATCHES[1])
    assert np.array_equal(first.activation_map, kept)


def test_where_xnnpack_fails_the_built_in_kernels_run_and_a_note_says_so(tmp_path: Path) -> None:
    require("litert")
    folder = write_tiny_bundle(tmp_path / "b", tflite="tiny_xnnpack_refuses.tflite")
    runtime = open_runtime(load_bundle(folder), "litert")
    assert len(runtime.notes) == 1
    assert "XNNPACK" in runtime.notes[0]
    embedding = runtime.run(BATCHES[0]).embedding
    assert embedding == pytest.approx(forward(BATCHES[0]).embedding, abs=TOLERANCE)


def test_the_first_installed_runtime_with_a_model_is_taken(
    tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    assert open_runtime(load_bundle(tiny_bundle_folder)).name == INSTALLED[0]
    require("onnxruntime")

    def without_tflite(document: dict) -> None:
        gone = document["models"].pop(0)["sha256"]
        for part in ("calibration", "operating_points", "metrics"):
            document[part] = [p for p in document[part] if p["model_sha256"] != gone]
        for case in document["golden"]["cases"]:
            del case["logits"][gone]

    bundle = load_bundle(write_tiny_bundle(tmp_path / "onnx_only", change=without_tflite))
    assert open_runtime(bundle).name == "onnxruntime"
    with pytest.raises(BundleError, match="no tflite model"):
        open_runtime(bundle, "litert")


def test_what_is_missing_is_named_with_its_extra(
    tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    for module in ("ai_edge_litert", "tflite_runtime", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, f"{module}.interpreter", None)
    for name, extra in [
        ("litert", "litert"),
        ("tflite-runtime", "tflite"),
        ("onnxruntime", "onnx"),
    ]:
        with pytest.raises(RuntimeUnavailableError, match=rf"pneumoscope\[{extra}\]"):
            open_runtime(bundle, name)
    with pytest.raises(RuntimeUnavailableError, match=r"\[litert\].*\[tflite\].*\[onnx\]"):
        open_runtime(bundle)


def test_wrong_arguments_are_usage_errors(tiny_bundle_folder: Path) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    with pytest.raises(UsageError, match="litert, tflite-runtime, onnxruntime"):
        open_runtime(bundle, "openvino")
    with pytest.raises(UsageError, match="threads"):
        open_runtime(bundle, threads=0)


@pytest.mark.parametrize("name", ["litert", "onnxruntime"])
def test_a_network_that_is_not_what_the_bundle_says_does_not_open(
    name: str, tmp_path: Path
) -> None:
    require(name)

    def other_output(document: dict) -> None:
        document["outputs"]["embedding"] = "features"

    def other_input(document: dict) -> None:
        document["input"]["name"] = "picture"

    def other_size(document: dict) -> None:
        document["input"]["shape"] = [1, 32, 32, 1]
        document["preprocess"] |= {"height": 32, "width": 32}

    for index, (change, text) in enumerate(
        [(other_output, "features"), (other_input, "picture"), (other_size, "promises")]
    ):
        bundle = load_bundle(write_tiny_bundle(tmp_path / str(index), change=change))
        with pytest.raises(BundleFormatError, match=text):
            open_runtime(bundle, name)


@pytest.mark.parametrize("name", ["litert", "onnxruntime"])
def test_outputs_that_the_bundle_does_not_name_are_left_alone(name: str, tmp_path: Path) -> None:
    require(name)

    def only_logit(document: dict) -> None:
        document["outputs"] |= dict.fromkeys(("activation_map", "embedding", "subtype_logit"))

    bundle = load_bundle(write_tiny_bundle(tmp_path / "b", change=only_logit))
    outputs = open_runtime(bundle, name).run(BATCHES[0])
    assert outputs.logit == pytest.approx(forward(BATCHES[0]).logit, abs=TOLERANCE)
    rest = (outputs.activation_map, outputs.embedding, outputs.subtype_logit)
    assert rest == (None, None, None)


@pytest.mark.parametrize("name", ["litert", "onnxruntime"])
def test_a_file_that_is_no_model_is_a_bundle_error(name: str, tiny_bundle_folder: Path) -> None:
    require(name)
    bundle = load_bundle(tiny_bundle_folder)
    for model in bundle.manifest.models:
        bundle.path(model.file).write_bytes(b"no model")
    with pytest.raises(BundleError, match="cannot load this model"):
        open_runtime(bundle, name)


def test_tflite_s_announcement_stays_off_the_terminal(tiny_bundle_folder: Path) -> None:
    require("litert")
    script = (
        "import sys; from edge_app.bundle.load import load_bundle\n"
        "from edge_app.runtimes import open_runtime\n"
        "from edge_app.runtimes.native_log import info_lines_dropped\n"
        "import os\n"
        "open_runtime(load_bundle(sys.argv[1]), 'litert')\n"
        "with info_lines_dropped(): os.write(2, b'INFO: chatter\\nERROR: kept\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny_bundle_folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "ERROR: kept\n"


def test_tflite_runtime_in_its_own_environment(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    """The whole way with tflite-runtime 2.14, numpy 1 and neither LiteRT nor ONNX Runtime."""
    python = REPOSITORY / ".venv-tflite" / "bin" / "python"
    if not python.exists():
        pytest.skip("no .venv-tflite (make test builds it where there is Python 3.11)")
    from PIL import Image

    picture = tmp_path / "phantom.png"
    Image.fromarray(draw_phantom(Phantom(5), 160, 192, bits=12)).save(picture)
    command = [str(python), "-m", "edge_app"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for arguments in (
        ["info", "--self-test", "--bundle", str(tiny_bundle_folder)],
        ["score", "--json", "--bundle", str(tiny_bundle_folder), str(picture)],
    ):
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "tflite-runtime" in done.stdout
