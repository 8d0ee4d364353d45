"""Make `tests/data/tiny*`: the network of `tests.tiny_network` in the formats that ship.

    python -m tests.make_tiny_models        (needs the export and dev extras)

`tiny.tflite` is static int8, `tiny.onnx` and both `tiny_locator`s are float32.
`tiny_xnnpack_refuses.tflite` is the first
with one scale changed so that a requantization scale leaves XNNPACK's range (below 256): the
delegate fails to prepare it as it does with a published int8 MobileNetV3, the built-in kernels
run it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import flatbuffers
import numpy as np
import tensorflow as tf
import tf2onnx.convert
from ai_edge_litert import schema_py_generated as schema

from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import preprocess
from tests.tiny_bundle import SPEC
from tests.tiny_network import (
    CELLS,
    FOLDER,
    HEAD,
    LUNG_GREY,
    LUNG_WIDTH,
    PATCH,
    SIDE,
    STEM,
    SUBTYPE,
)


class TinyNetwork(tf.Module):
    """uint8 (1, 64, 64, 1) to logit, activation map (8, 8), embedding (8,), subtype logit."""

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 1), tf.uint8, name="image")])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.cast(image, tf.float32) / 127.5 - 1
        features = tf.nn.relu6(tf.nn.conv2d(values, STEM, PATCH, "VALID"))
        activation_map = tf.nn.conv2d(features, HEAD, 1, "VALID")
        embedding = tf.reduce_mean(features, (1, 2))
        return {
            "logit": tf.reduce_mean(activation_map, (1, 2)),
            "activation_map": activation_map,
            "embedding": embedding,
            "subtype_logit": tf.matmul(embedding, SUBTYPE),
        }


class TinyLocator(tf.Module):
    """`tests.tiny_network.locate` in TensorFlow: uint8 (1, 64, 64, 1) to four outputs."""

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 1), tf.uint8, name="image")])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        cells = tf.nn.avg_pool2d(tf.cast(image, tf.float32), 2, 2, "VALID")
        lungs = (LUNG_WIDTH - tf.abs(cells - LUNG_GREY)) / 5
        third = CELLS // 3

        def mean(part: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(part, (1, 2))

        left, right = mean(cells[:, :, :third]), mean(cells[:, :, -third:])
        top, bottom = mean(cells[:, :third]), mean(cells[:, -third:])
        turns = tf.concat([bottom - top, right - left, top - bottom, left - right], 1) / 4
        shares = tf.sigmoid(lungs)
        edges = (shares[:, :, :2], shares[:, :2], shares[:, :, -2:], shares[:, -2:])
        bright = (mean(cells) - 170) / 4
        return {
            "lungs": lungs,
            "orientation": turns,
            "view": tf.concat([0 * bright + 4, 0 * bright - 20, bright], 1),
            "cut_off": 20 * tf.concat([mean(edge) for edge in edges], 1) - 6,
        }


def representative_pictures() -> Iterator[dict[str, np.ndarray]]:
    """Prepared phantoms, clear and clouded, and noise, so that no activation is cut off."""
    rng = np.random.default_rng(7)
    for seed in range(24):
        picture = draw_phantom(Phantom(seed, opacity=seed % 3 / 2), 192, 192)
        yield {"image": preprocess(picture, SPEC)}
        yield {"image": rng.integers(0, 256, (1, SIDE, SIDE, 1)).astype(np.uint8)}


def make_tflite(network: TinyNetwork | TinyLocator, *, int8: bool = True) -> bytes:
    """Static int8 or float32, uint8 in, float32 out."""
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(network, folder, signatures={"serving_default": network.serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = representative_pictures
        return converter.convert()


def make_onnx(network: TinyNetwork | TinyLocator) -> bytes:
    """Float32 with a batch of one."""
    model, _ = tf2onnx.convert.from_function(
        network.serve, input_signature=network.serve.input_signature, opset=17
    )
    return model.SerializeToString()


def make_onnx_int8(float32: bytes) -> bytes:
    """Static int8 in QDQ form, uint8 activations and int8 weights, as the export's recipe."""
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(float32)
        pictures = representative_pictures()

        class Reader(quantization.CalibrationDataReader):
            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(pictures, None)

        quantization.quantize_static(
            source,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return target.read_bytes()


def make_refused_by_xnnpack(tflite: bytes) -> bytes:
    """Shrink the scale of the activation map's quantized tensor by 2**20."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(tflite, 0))
    convolutions = [
        operator
        for operator in model.subgraphs[0].operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
    ]
    quantization = model.subgraphs[0].tensors[convolutions[-1].outputs[0]].quantization
    quantization.scale = [float(scale) / 2**20 for scale in quantization.scale]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    network = TinyNetwork()
    tflite = make_tflite(network)
    (FOLDER / "tiny.tflite").write_bytes(tflite)
    (FOLDER / "tiny_xnnpack_refuses.tflite").write_bytes(make_refused_by_xnnpack(tflite))
    onnx = make_onnx(network)
    (FOLDER / "tiny.onnx").write_bytes(onnx)
    (FOLDER / "tiny_int8.onnx").write_bytes(make_onnx_int8(onnx))
    locator = TinyLocator()
    (FOLDER / "tiny_locator.tflite").write_bytes(make_tflite(locator, int8=False))
    (FOLDER / "tiny_locator.onnx").write_bytes(make_onnx(locator))


if __name__ == "__main__":
    main()
