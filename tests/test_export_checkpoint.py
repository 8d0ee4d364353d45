"""What may be exported: our networks in full, any other with one output, nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="exporting needs the extra: export")

import keras
from keras import layers

from edge_app.errors import BundleError
from export.checkpoint import Network, load_network, read_checkpoint, read_record
from export.errors import CheckpointError
from tests.export_inputs import (
    SIDE,
    SPEC,
    build_network,
    dense_network,
    record_document,
    write_record,
)


def save(model: Any, folder: Path) -> Path:
    path = folder / "model.keras"
    model.save(path)
    return path


def call(network: Network, pictures: np.ndarray) -> np.ndarray:
    return np.asarray(network.call(keras.ops.convert_to_tensor(pictures))["logit"])


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 1)).astype(np.uint8)


def test_our_network_has_all_outputs(tmp_path: Path, pictures: np.ndarray) -> None:
    model = build_network()
    write_record(tmp_path / "run.json", [])
    save(model, tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.network.roles == ("logit", "activation_map", "embedding", "subtype_logit")
    outputs = checkpoint.network.call(keras.ops.convert_to_tensor(pictures))
    assert np.allclose(np.mean(outputs["activation_map"], axis=(1, 2)), outputs["logit"], atol=1e-5)
    assert np.allclose(outputs["logit"], model.predict_on_batch(pictures)["logit"], atol=1e-6)
    assert checkpoint.record.preprocess == SPEC


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sigmoid_is_taken_off(tmp_path: Path, pictures: np.ndarray, channels: int) -> None:
    model = dense_network("sigmoid", channels)
    expected = model.predict_on_batch(np.repeat(pictures, channels, axis=-1).astype(np.float32))
    network = load_network(save(model, tmp_path), SPEC)
    assert network.roles == ("logit",)
    assert np.allclose(1 / (1 + np.exp(-call(network, pictures))), expected, atol=1e-6)


def test_a_sigmoid_of_its_own_layer_is_taken_off(tmp_path: Path, pictures: np.ndarray) -> None:
    plain = dense_network("linear")
    expected = plain.predict_on_batch(pictures.astype(np.float32))
    model = keras.Model(plain.input, layers.Activation("sigmoid")(plain.output))
    network = load_network(save(model, tmp_path), SPEC)
    assert np.allclose(call(network, pictures), expected, atol=1e-6)


def nested_functional() -> Any:
    image, x = small()
    inner = keras.Model(image, layers.Dense(1, activation="sigmoid")(x))
    outer = keras.Input((SIDE, SIDE, 1))
    return keras.Model(outer, inner(outer))


def nested_sequential() -> Any:
    image, x = small()
    inner = keras.Model(image, layers.Dense(1, activation="sigmoid")(x))
    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), inner])


def plain_sequential() -> Any:
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def dropped_out() -> Any:
    image, x = small()
    return keras.Model(image, layers.Dropout(0.1)(layers.Dense(1, activation="sigmoid")(x)))


def reshaped() -> Any:
    image, x = small()
    x = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(image, layers.Flatten()(layers.Reshape((1, 1))(x)))


def behind_an_identity() -> Any:
    """As mixed precision asks for: the last activation in float32, by itself."""
    image, x = small()
    x = layers.Activation("sigmoid")(layers.Dense(1)(x))
    return keras.Model(image, layers.Activation("linear", dtype="float32")(x))


@pytest.mark.parametrize(
    "make",
    [
        nested_functional,
        nested_sequential,
        plain_sequential,
        dropped_out,
        reshaped,
        behind_an_identity,
    ],
)
def test_a_sigmoid_further_back_is_taken_off(
    tmp_path: Path, pictures: np.ndarray, make: Callable[[], Any]
) -> None:
    """What stands behind it changes nothing, and hid it: probabilities were taken for logits."""
    model = make()
    probability = np.asarray(model(pictures.astype(np.float32), training=False), np.float64)
    assert np.ptp(probability) > 0
    found = call(load_network(save(model, tmp_path), SPEC), pictures)
    assert np.allclose(found, np.log(probability / (1 - probability)), atol=1e-4)


def test_the_average_of_a_linear_map_is_a_logit(tmp_path: Path, pictures: np.ndarray) -> None:
    image = keras.Input((SIDE, SIDE, 1))
    found = layers.Conv2D(1, 3, strides=8)(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.Dropout(0.1)(found)))
    expected = model.predict_on_batch(pictures.astype(np.float32))
    assert np.allclose(call(load_network(save(model, tmp_path), SPEC), pictures), expected)


def test_a_logit_stays_as_it_is(tmp_path: Path, pictures: np.ndarray) -> None:
    model = dense_network("linear")
    expected = model.predict_on_batch(pictures.astype(np.float32))
    network = load_network(save(model, tmp_path), SPEC)
    assert np.allclose(call(network, pictures), expected, atol=1e-6)


def three_classes() -> Any:
    image = keras.Input((SIDE, SIDE, 1))
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(image)))


def two_inputs() -> Any:
    left, right = (keras.Input((SIDE, SIDE, 1)) for _ in range(2))
    return keras.Model([left, right], layers.Dense(1)(layers.Flatten()(left + right)))


def unknown_output() -> Any:
    image = keras.Input((SIDE, SIDE, 1))
    flat = layers.Flatten()(image)
    return keras.Model(image, {"logit": layers.Dense(1)(flat), "age": layers.Dense(1)(flat)})


def flat_map() -> Any:
    image = keras.Input((SIDE, SIDE, 1))
    flat = layers.Dense(1)(layers.Flatten()(image))
    return keras.Model(image, {"logit": flat, "activation_map": flat})


def larger_input() -> Any:
    image = keras.Input((SIDE + 8, SIDE, 1))
    return keras.Model(image, layers.Dense(1)(layers.Flatten()(image)))


def tanh_end() -> Any:
    return dense_network("tanh")


def small() -> tuple[Any, Any]:
    """Input and features (batch, 8)."""
    image = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(8, 3, strides=8)(layers.Rescaling(1 / 255)(image))
    return image, layers.GlobalAveragePooling2D()(x)


def sigmoid_operation() -> Any:
    image, x = small()
    return keras.Model(image, keras.ops.sigmoid(layers.Dense(1)(x)))


def softmax_layer() -> Any:
    image, x = small()
    return keras.Model(image, layers.Softmax()(layers.Dense(1)(x)))


def normalized() -> Any:
    image, x = small()
    return keras.Model(image, layers.BatchNormalization()(layers.Dense(1)(x)))


def pooled_probabilities() -> Any:
    """The mean of probabilities is not the probability of any logit that the network has."""
    image = keras.Input((SIDE, SIDE, 1))
    found = layers.Conv2D(1, 3, strides=8, activation="sigmoid")(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, layers.GlobalAveragePooling2D()(found))


def named_probability() -> Any:
    image, x = small()
    return keras.Model(image, {"logit": layers.Dense(1, activation="sigmoid")(x)})


def shared_sigmoid() -> Any:
    """The same layer inside of the network and at its end."""
    image = keras.Input((SIDE, SIDE, 1))
    squash = layers.Activation("sigmoid")
    x = squash(layers.Dense(4, kernel_initializer="ones")(layers.Flatten()(image)))
    return keras.Model(image, squash(layers.Dense(1, kernel_initializer="ones")(x)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (three_classes, "unknown layout: outputs named"),
        (two_inputs, "exactly one input"),
        (unknown_output, "unknown layout: outputs .'age'."),
        (flat_map, "unknown layout: output activation_map"),
        (larger_input, "is not .batch, 32, 32, 1 or 3."),
        (tanh_end, r"ends in the layer '.*' \(Dense, tanh\)"),
        (sigmoid_operation, r"ends in the layer '.*' \(Sigmoid\)"),
        (softmax_layer, r"ends in the layer '.*' \(Softmax"),
        (normalized, r"\(BatchNormalization\)"),
        (pooled_probabilities, r"\(Conv2D, sigmoid\), pooled"),
        (named_probability, r"output logit ends in the layer '.*' \(Dense, sigmoid\)"),
        (shared_sigmoid, "computes something else"),
    ],
)
def test_an_unknown_layout_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_network(save(make(), tmp_path), SPEC)
    assert issubclass(CheckpointError, BundleError)
    assert CheckpointError.exit_code == 3


def test_a_layer_with_code_inside_is_refused(tmp_path: Path) -> None:
    """A Lambda would run what its author wrote, on the machine of whoever exports it."""
    image = keras.Input((SIDE, SIDE, 1))
    mean = layers.Lambda(lambda x: keras.ops.mean(x, axis=(1, 2)))(image)
    with pytest.raises(CheckpointError, match="cannot load"):
        load_network(save(keras.Model(image, mean), tmp_path), SPEC)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot load"):
        load_network(path, SPEC)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_checkpoint(tmp_path)
    save(dense_network(), tmp_path)
    with pytest.raises(CheckpointError, match="record is missing"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("started"), "started: missing key"),
        (lambda d: d.pop("config"), "config: missing key"),
        (lambda d: d["config"].pop("seed"), "seed: missing key"),
        (lambda d: d["config"]["preprocess"].pop("grey"), r"preprocess\.grey: missing"),
        (lambda d: d["config"]["preprocess"].update(clahe=1), r"preprocess\.clahe: unknown"),
        (lambda d: d["config"].update(seed="five"), "seed: expected a whole number"),
    ],
)
def test_a_record_that_lacks_something_is_refused(
    tmp_path: Path, change: Any, message: str
) -> None:
    document = record_document([])
    change(document)
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=message):
        read_record(tmp_path / "run.json")


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record_document([]) | {"finished": False}))
    with pytest.raises(CheckpointError, match="this run is not finished"):
        read_record(tmp_path / "run.json")


def test_what_export_does_not_need_may_be_in_the_record(tmp_path: Path) -> None:
    document = record_document([]) | {"finished": True, "history": [1, 2, 3]}
    (tmp_path / "run.json").write_text(json.dumps(document))
    assert read_record(tmp_path / "run.json").name == "ramps"
