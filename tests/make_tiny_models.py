"""Make `tests/data/tiny.*`: networks of a few kilobytes with the shipped network's interface.

    python -m tests.make_tiny_models        (needs the export and dev extras)

They are no models of anything: fixed random weights, so that the tests of the edge app need no
TensorFlow. `tiny.tflite` is static int8, `tiny.onnx` float32 with the same weights.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf2onnx.convert

SIDE = 64
CHANNELS = 8
FOLDER = Path(__file__).parent / "data"


class TinyNetwork(tf.Module):
    """uint8 (1, 64, 64, 1) to logit, activation map (8, 8), embedding (8,), subtype logit."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(20)
        # Arrays, not tensors: a captured tensor would become an input of the ONNX graph.
        self.stem = rng.normal(0, 0.25, (8, 8, 1, CHANNELS)).astype(np.float32)
        self.head = rng.normal(0, 2, (1, 1, CHANNELS, 1)).astype(np.float32)
        self.subtype = rng.normal(0, 1, (CHANNELS, 1)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 1), tf.uint8, name="image")])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.cast(image, tf.float32) / 127.5 - 1
        features = tf.nn.relu6(tf.nn.conv2d(values, self.stem, 8, "VALID"))
        activation_map = tf.nn.conv2d(features, self.head, 1, "VALID")
        embedding = tf.reduce_mean(features, (1, 2))
        return {
            "logit": tf.reduce_mean(activation_map, (1, 2)),
            "activation_map": activation_map,
            "embedding": embedding,
            "subtype_logit": tf.matmul(embedding, self.subtype),
        }


def representative_pictures() -> Iterator[dict[str, np.ndarray]]:
    """Smooth random pictures over the whole grey range."""
    rng = np.random.default_rng(7)
    for _ in range(64):
        coarse = rng.integers(0, 256, (8, 8)).astype(np.uint8)
        yield {"image": np.kron(coarse, np.ones((8, 8), np.uint8))[np.newaxis, ..., np.newaxis]}


def make_tflite(folder: str) -> bytes:
    """Static int8, uint8 in, float32 out."""
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_pictures
    return converter.convert()


def make_onnx(network: TinyNetwork) -> bytes:
    """Float32 with a batch of one."""
    model, _ = tf2onnx.convert.from_function(
        network.serve, input_signature=network.serve.input_signature, opset=17
    )
    return model.SerializeToString()


def main() -> None:
    network = TinyNetwork()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(network, folder, signatures={"serving_default": network.serve})
        (FOLDER / "tiny.tflite").write_bytes(make_tflite(folder))
        (FOLDER / "tiny.onnx").write_bytes(make_onnx(network))


if __name__ == "__main__":
    main()
