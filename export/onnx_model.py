"""Keras to ONNX: `float32` by tf2onnx, `static_int8` in QDQ form by ONNX Runtime's quantizer.

A `Network` enters, the bytes of an `.onnx` file leave: input `image` uint8
(batch, height, width, 1) with a dynamic batch, float32 outputs named by role. Both files pass
`onnx.checker` with full shape inference.
"""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.checkpoint import Network
from export.errors import ExportError
from export.recipe import StaticSpec
from export.tflite_model import INPUT

OPSET = 17
_WIDE_OPERATORS = ("Conv", "Gemm", "MatMul")


def convert_float32(network: Network, height: int, width: int) -> bytes:
    """Convert without quantization; batch normalisation is folded into the convolutions."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, height, width, 1), tf.uint8, name=INPUT)]
    # tf2onnx orders outputs as TensorFlow flattens them: by key.
    roles = sorted(network.roles)
    function = tf.function(
        lambda image: {role: network.call(image)[role] for role in roles},
        input_signature=signature,
    )
    with _quietly():
        try:
            model, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
        except Exception as error:  # whatever the graph's rewriting happens to raise
            text = " ".join(str(error).split())[:300]
            raise ExportError(f"tf2onnx cannot convert this network: {text}") from error
    _rename_outputs(model, roles)
    return _finished(model)


def quantize_static(float32: bytes, pictures: npt.NDArray[np.uint8], spec: StaticSpec) -> bytes:
    """int8 weights per channel and int8 activations in QDQ form, ranges from `pictures`."""
    import onnx
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder, _quietly():
        source, prepared, target = (Path(folder) / f"{name}.onnx" for name in ("f", "p", "q"))
        source.write_bytes(float32)
        quantization.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            target,
            _reader(pictures),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_tail_nodes(onnx.load(prepared)) if spec.float_tail else [],
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        model = onnx.load(target)
    return _finished(model)


def _finished(model: Any) -> bytes:
    """Check a model, take off what differs from run to run, and serialize it."""
    import onnx

    model.producer_name, model.producer_version = "pneumoscope", ""
    model.graph.name, model.graph.doc_string, model.doc_string = "pneumoscope", "", ""
    del model.metadata_props[:]
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    try:
        onnx.checker.check_model(inferred, full_check=True)
    except Exception as error:
        raise ExportError(f"the ONNX file does not pass onnx.checker: {error}") from error
    return bytes(model.SerializeToString(deterministic=True))


def _rename_outputs(model: Any, roles: list[str]) -> None:
    """Name the graph's outputs by role, wherever the old names are used."""
    if len(model.graph.output) != len(roles):
        raise ExportError(f"tf2onnx gave {len(model.graph.output)} outputs for {roles}")
    for value, role in zip(model.graph.output, roles, strict=True):
        old, value.name = value.name, role
        for node in model.graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == old:
                        names[index] = role


def _tail_nodes(model: Any) -> list[str]:
    """Nodes after the last one with weights and more than one channel, in graph order."""
    weights = [w for w in model.graph.initializer if len(w.dims) > 1]
    channels = {w.name: w.dims[0] if len(w.dims) == 4 else w.dims[-1] for w in weights}
    wide = [
        index
        for index, node in enumerate(model.graph.node)
        if node.op_type in _WIDE_OPERATORS and channels.get(node.input[1], 1) > 1
    ]
    if not wide:
        return []
    # What the wide one's activation needs stays with it: only readers of it and on are the tail.
    after = [n for n in model.graph.node[wide[-1] + 1 :] if n.op_type not in ("Clip", "Relu")]
    return [node.name for node in after]


def _reader(pictures: npt.NDArray[np.uint8]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self._rest = iter(pictures)

        def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
            picture = next(self._rest, None)
            return None if picture is None else {INPUT: picture[np.newaxis]}

    return Reader()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Hold back tf2onnx's and ONNX Runtime's informative log lines."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
