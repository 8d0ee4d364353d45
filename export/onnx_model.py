"""Keras to ONNX: `float32` by tf2onnx, `static_int8` in QDQ form by ONNX Runtime's quantizer.

A `Network` enters, the bytes of an `.onnx` file leave: input `image` uint8
(batch, height, width, 1) with a dynamic batch, float32 outputs named by role. Both files pass
`onnx.checker` with full shape inference.
"""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
    function = tf.function(network.call, input_signature=signature)
    with _quietly():
        try:
            model, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
        except Exception as error:  # whatever the graph's rewriting happens to raise
            text = " ".join(str(error).split())[:300]
            raise ExportError(f"tf2onnx cannot convert this network: {text}") from error
    _rename_outputs(model, roles)
    fold_scales(model.graph)
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
    """Bring a model into canonical form, check it and serialize it.

    Raises:
        ExportError: it does not pass `onnx.checker` with shape inference.
    """
    import onnx

    canonical = canonical_model(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(canonical, check_type=True, strict_mode=True)
        onnx.checker.check_model(inferred, full_check=True)
    except Exception as error:  # its exception classes share no base but Exception
        raise ExportError(f"the ONNX file does not pass onnx.checker: {error}") from error
    return bytes(canonical.SerializeToString(deterministic=True))


def fold_scales(graph: Any) -> None:
    """Fold a channel's scale and offset into the convolution before it, in place.

    tf2onnx folds batch normalisation into plain convolutions, and leaves it behind depthwise ones
    as a Mul and an Add of shape (1, channels, 1, 1).
    """
    weights = {weight.name: weight for weight in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    outputs = {value.name for value in graph.output}
    for node in list(graph.node):
        if node.op_type not in ("Mul", "Add"):
            continue
        conv = makers.get(node.input[0])
        values = _channel_values(weights.get(node.input[1]), conv, weights)
        readers = [n for n in graph.node if node.input[0] in n.input]
        if conv is None or values is None or len(readers) > 1 or node.input[0] in outputs:
            continue
        _fold(graph, weights, conv, node.op_type, values)
        del makers[conv.output[0]]
        conv.output[0] = node.output[0]
        makers[conv.output[0]] = conv
        graph.node.remove(node)


def _channel_values(constant: Any, conv: Any, weights: Mapping[str, Any]) -> Any:
    """(channels,) numbers of a constant that acts on a convolution's channels, else None."""
    import onnx

    if constant is None or conv is None or conv.op_type != "Conv":
        return None
    kernel = weights.get(conv.input[1])
    if kernel is None or list(constant.dims) != [1, kernel.dims[0], 1, 1]:
        return None
    if len(conv.input) > 2 and conv.input[2] and conv.input[2] not in weights:
        return None
    return onnx.numpy_helper.to_array(constant).reshape(-1)


def _fold(graph: Any, weights: dict[str, Any], conv: Any, operator: str, values: Any) -> None:
    """Scale (Mul) or shift (Add) a convolution's channels by changing its own numbers."""
    import onnx

    kernel = onnx.numpy_helper.to_array(weights[conv.input[1]])
    has_bias = len(conv.input) > 2 and conv.input[2]
    bias = onnx.numpy_helper.to_array(weights[conv.input[2]]) if has_bias else 0 * values
    if operator == "Mul":
        kernel, bias = kernel * values.reshape(-1, 1, 1, 1), bias * values
    else:
        bias = bias + values
    # New tensors: another convolution may read the old ones.
    base = f"{conv.output[0]}/folded_{operator}"
    for role, array in (("kernel", kernel), ("bias", bias)):
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array), f"{base}_{role}")
        graph.initializer.append(tensor)
        weights[tensor.name] = tensor
    del conv.input[1:]
    conv.input.extend([f"{base}_kernel", f"{base}_bias"])


def canonical_model(model: Any) -> Any:
    """The same network with the names and the order that its structure alone gives.

    tf2onnx walks sets, so names, and the order of weights, change from process to process.
    """
    import onnx

    old = model.graph
    kept = {value.name for value in (*old.input, *old.output)}
    names = {name: name for name in kept}
    weights = {weight.name: weight for weight in old.initializer}
    nodes: list[Any] = []
    initializers: list[Any] = []
    for index, source in enumerate(_in_order(old)):
        node = onnx.NodeProto()
        node.CopyFrom(source)
        node.name, node.doc_string = f"{index:03}_{node.op_type}", ""
        for place, name in enumerate(node.input):
            if name in weights and name not in names:
                names[name] = f"weight_{len(initializers):03}"
                weight = onnx.TensorProto()
                weight.CopyFrom(weights[name])
                weight.name, weight.doc_string = names[name], ""
                initializers.append(weight)
            node.input[place] = names[name] if name else ""
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_{place}")
            node.output[place] = names[name] if name else ""
        nodes.append(node)
    for value in (*old.input, *old.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    graph = onnx.helper.make_graph(nodes, "pneumoscope", old.input, old.output, initializers)
    versions = sorted(model.opset_import, key=lambda entry: str(entry.domain))
    made = onnx.helper.make_model(graph, opset_imports=versions, producer_name="pneumoscope")
    made.ir_version = model.ir_version
    return made


def _in_order(graph: Any) -> list[Any]:
    """Nodes in the order of a depth-first walk from the outputs: inputs before their readers."""
    maker = {name: node for node in graph.node for name in node.output}
    ordered: list[Any] = []
    done: set[str] = set()
    # A stack of its own: a deep network would exceed Python's recursion limit.
    waiting = [(value.name, False) for value in reversed(graph.output)]
    while waiting:
        name, inputs_are_done = waiting.pop()
        node = maker.get(name)
        if node is None or node.output[0] in done:
            continue
        if inputs_are_done:
            done.add(node.output[0])
            ordered.append(node)
            continue
        waiting.append((name, True))
        waiting += [(source, False) for source in reversed(node.input)]
    return ordered


def _rename_outputs(model: Any, roles: Sequence[str]) -> None:
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
