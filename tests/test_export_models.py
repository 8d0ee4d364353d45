"""Every format against the Keras network that it was made from, and the same bytes twice."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="exporting needs the extra: export")
onnx = pytest.importorskip("onnx")

from edge_app.images.preprocess import preprocess
from export import onnx_model, tflite_model
from export.checkpoint import Network, load_network
from export.recipe import StaticSpec
from export.scores import file_logits, keras_logits
from export.tflite_model import Range, observe_ranges, read_graph, round_up
from tests.conftest import REPOSITORY
from tests.export_inputs import SIDE, SPEC, build_network, dense_network, ramp

STATIC = StaticSpec(representative_images=40, bias_correction=False, float_tail=True)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    path = tmp_path_factory.mktemp("network") / "model.keras"
    build_network().save(path)
    return load_network(path, SPEC)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.concatenate([preprocess(ramp(i, i % 2), SPEC) for i in range(60)])


@pytest.fixture(scope="module")
def float32(network: Network) -> bytes:
    return tflite_model.convert(network, SIDE, SIDE, "float32")


@pytest.fixture(scope="module")
def onnx32(network: Network) -> bytes:
    return onnx_model.convert_float32(network, SIDE, SIDE)


def changes(content: bytes, format: str, network: Network, pictures: np.ndarray) -> np.ndarray:
    return np.abs(file_logits(content, format, pictures) - keras_logits(network, pictures))


def test_float32_files_give_keras_s_logits(
    float32: bytes, onnx32: bytes, network: Network, pictures: np.ndarray
) -> None:
    assert changes(float32, "tflite", network, pictures).max() < 1e-4
    assert changes(onnx32, "onnx", network, pictures).max() < 1e-4


def test_float16_is_half_as_large_in_weights_and_close(
    float32: bytes, network: Network, pictures: np.ndarray
) -> None:
    content = tflite_model.convert(network, SIDE, SIDE, "float16")
    assert 0 < changes(content, "tflite", network, pictures).max() < 0.05


def test_int8_files_are_close(
    float32: bytes, onnx32: bytes, network: Network, pictures: np.ndarray
) -> None:
    dynamic = tflite_model.convert(network, SIDE, SIDE, "dynamic_int8")
    assert changes(dynamic, "tflite", network, pictures).mean() < 0.1
    static = tflite_model.quantize_static(float32, pictures[:40], STATIC)
    assert 0 < changes(static, "tflite", network, pictures).mean() < 0.15
    qdq = onnx_model.quantize_static(onnx32, pictures[:40], STATIC)
    assert 0 < changes(qdq, "onnx", network, pictures).mean() < 0.15


def test_static_int8_is_int8_but_for_the_tail(float32: bytes, pictures: np.ndarray) -> None:
    from ai_edge_litert.interpreter import Interpreter

    content = tflite_model.quantize_static(float32, pictures[:40], STATIC)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    kinds = {
        op["op_name"] + ":" + np.dtype(interpreter._get_tensor_details(i, 0)["dtype"]).name
        for op in interpreter._get_ops_details()
        for i in op["outputs"]
    }
    assert "DEPTHWISE_CONV_2D:int8" in kinds
    assert "DEPTHWISE_CONV_2D:float32" not in kinds
    assert "MEAN:float32" in kinds
    signature = interpreter.get_signature_runner("serving_default")
    (source,) = signature.get_input_details().values()
    assert source["dtype"] == np.uint8
    assert source["shape"].tolist() == [1, SIDE, SIDE, 1]
    outputs = signature.get_output_details()
    assert {n: o["dtype"] for n, o in outputs.items()} == dict.fromkeys(
        ("logit", "activation_map", "embedding", "subtype_logit"), np.float32
    )


def test_a_float_tail_gives_a_logit_without_steps(float32: bytes, pictures: np.ndarray) -> None:
    """With an int8 tail the logit is one of 256 numbers, so pictures tie at the threshold."""
    rounded = StaticSpec(representative_images=40, bias_correction=False, float_tail=False)
    tail = tflite_model.quantize_static(float32, pictures[:40], STATIC)
    none = tflite_model.quantize_static(float32, pictures[:40], rounded)
    distinct = [len(set(file_logits(f, "tflite", pictures).tolist())) for f in (tail, none)]
    assert distinct[0] > distinct[1]


def test_onnx_files_pass_the_checker_with_a_dynamic_batch(
    onnx32: bytes, pictures: np.ndarray
) -> None:
    import onnxruntime

    for content in (onnx32, onnx_model.quantize_static(onnx32, pictures[:40], STATIC)):
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        for value in (*model.graph.input, *model.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        alone = [session.run(["logit"], {"image": p[np.newaxis]})[0] for p in pictures[:7]]
        together = session.run(["logit"], {"image": pictures[:7]})[0]
        assert np.allclose(np.concatenate(alone), together, atol=1e-5)


def test_onnx_static_is_in_qdq_form(onnx32: bytes, pictures: np.ndarray) -> None:
    model = onnx.load_from_string(onnx_model.quantize_static(onnx32, pictures[:40], STATIC))
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
    assert not any("Integer" in kind or kind.startswith("QLinear") for kind in kinds)


def test_batch_normalisation_is_folded(float32: bytes, onnx32: bytes) -> None:
    kinds = [operator.kind for operator in read_graph(float32).operators]
    # The input's own scale and offset are the one MUL and the one ADD.
    assert kinds.count("MUL") == 1
    assert kinds.count("ADD") == 1
    nodes = [node.op_type for node in onnx.load_from_string(onnx32).graph.node]
    assert "BatchNormalization" not in nodes
    assert nodes.count("Mul") == 1
    assert nodes.count("Add") == 1


def test_the_tail_begins_after_the_last_wide_operator(float32: bytes) -> None:
    graph = read_graph(float32)
    tail = [op.kind for op in graph.operators if op.outputs[0][1] in graph.tail]
    assert sorted(tail) == ["CONV_2D", "CONV_2D", "MEAN", "MEAN", "MEAN"]
    assert "DELEGATE" not in {op.kind for op in graph.operators}


def test_ranges_hold_every_value(float32: bytes, pictures: np.ndarray) -> None:
    """A ReLU6 lies within 0 and 6, and more pictures never give a narrower range."""
    few, all_of_them = (observe_ranges(float32, pictures[:n]) for n in (3, 60))
    assert few.keys() == all_of_them.keys()
    for name, found in all_of_them.items():
        assert found.low <= few[name].low <= few[name].high <= found.high
        if "re_lu" in name:
            assert 0 <= found.low <= found.high <= 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.2341, 1.24), (1.23, 1.23), (-1.2391, -1.23), (0.0, 0.0), (99950.0, 100000.0), (6.0, 6.0)],
)
def test_rounding_up(value: float, expected: float) -> None:
    assert round_up(value) == pytest.approx(expected)
    assert round_up(value) >= value


def test_a_range_is_rounded_outwards(float32: bytes, pictures: np.ndarray) -> None:
    for found in observe_ranges(float32, pictures[:5]).values():
        assert isinstance(found, Range)
        assert found.low == -round_up(-found.low)
        assert found.high == round_up(found.high)


def test_a_foreign_network_is_exported_too(tmp_path: Path, pictures: np.ndarray) -> None:
    dense_network("sigmoid", 3).save(tmp_path / "model.keras")
    network = load_network(tmp_path / "model.keras", SPEC)
    float32 = tflite_model.convert(network, SIDE, SIDE, "float32")
    onnx32 = onnx_model.convert_float32(network, SIDE, SIDE)
    assert changes(float32, "tflite", network, pictures).max() < 1e-4
    assert changes(onnx32, "onnx", network, pictures).max() < 1e-4
    static = tflite_model.quantize_static(float32, pictures, STATIC)
    assert changes(static, "tflite", network, pictures).max() < 0.3
    qdq = onnx_model.quantize_static(onnx32, pictures, STATIC)
    assert changes(qdq, "onnx", network, pictures).max() < 0.3


_TWICE = """
import hashlib, sys
from pathlib import Path
from export.tflite_model import quiet_tensorflow
quiet_tensorflow()
import numpy as np
from export import onnx_model, tflite_model
from export.checkpoint import load_network
from tests.export_inputs import SIDE, SPEC
from tests.test_export_models import STATIC
folder = Path(sys.argv[1])
network = load_network(folder / "model.keras", SPEC)
pictures = np.load(folder / "pictures.npy")
tflite = tflite_model.convert(network, SIDE, SIDE, "float32")
onnx = onnx_model.convert_float32(network, SIDE, SIDE)
for content in (
    tflite,
    tflite_model.convert(network, SIDE, SIDE, "float16"),
    tflite_model.convert(network, SIDE, SIDE, "dynamic_int8"),
    tflite_model.quantize_static(tflite, pictures, STATIC),
    onnx,
    onnx_model.quantize_static(onnx, pictures, STATIC),
):
    print(hashlib.sha256(content).hexdigest())
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path, pictures: np.ndarray) -> None:
    """Python's hash seed differs between them, and with it the order of every set."""
    build_network().save(tmp_path / "model.keras")
    np.save(tmp_path / "pictures.npy", pictures[:20])
    found = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _TWICE, str(tmp_path)],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split())
    assert found[0] == found[1]
    assert len(set(found[0])) == 6


def test_bias_correction_takes_back_the_mean_error(float32: bytes, pictures: np.ndarray) -> None:
    """Of every channel of the map: int8's mean moves towards float32's."""
    from export.bias_correction import channel_means

    corrected = StaticSpec(representative_images=40, bias_correction=True, float_tail=True)
    name = next(n for n in read_graph(float32).tail if n == "StatefulPartitionedCall:0")
    wanted = channel_means(float32, [name], pictures)[name]
    plain, better = (
        channel_means(tflite_model.quantize_static(float32, pictures, spec), [name], pictures)[name]
        for spec in (STATIC, corrected)
    )
    assert abs(plain - wanted).max() > 1e-4  # there is an error to take back
    assert abs(better - wanted).max() < 0.2 * abs(plain - wanted).max()


def test_bias_correction_leaves_the_network_otherwise_alone(
    float32: bytes, pictures: np.ndarray
) -> None:
    """A quantizer that changes nothing needs no correction."""
    from export.bias_correction import correct_biases

    again = correct_biases(float32, lambda model: model, pictures[:10])
    before, after = (file_logits(f, "tflite", pictures) for f in (float32, again))
    assert np.abs(before - after).max() < 1e-4
