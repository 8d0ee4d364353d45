"""Multiply-adds of a model file, counted from its own graph.

Convolutions and matrix products count, as is customary; additions, activations and resizes do
not. TFLite graphs are read through the installed interpreter, ONNX graphs through the package
`onnx`; without it, the count of an ONNX file is unknown (None).
"""

import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from edge_app.runtimes import RUNTIMES


def count_multiply_adds(path: Path) -> int | None:
    """Multiply-adds of one inference; None where nothing installed can read the graph."""
    if path.suffix == ".tflite":
        return _count_tflite(path)
    return _count_onnx(path)


def _count_tflite(path: Path) -> int | None:
    module = _tflite_module()
    if module is None:
        return None
    # With the delegate, XNNPACK's one node would stand beside those that it replaced.
    interpreter = module.Interpreter(
        model_path=str(path),
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    try:
        operations = interpreter._get_ops_details()  # the only way to the graph
        shapes = {
            entry["index"]: [int(size) for size in entry["shape"]]
            for entry in interpreter.get_tensor_details()
        }
    except (AttributeError, ValueError):
        return None
    return sum(_tflite_operation(operation, shapes) for operation in operations)


def _tflite_operation(operation: dict[str, Any], shapes: dict[int, list[int]]) -> int:
    """Kernels are (out, h, w, in), depthwise ones (1, h, w, channels), weights (out, in)."""
    kind = operation["op_name"]
    if kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    output = shapes[int(operation["outputs"][0])]
    weights = shapes[int(operation["inputs"][1])]
    if kind == "CONV_2D":
        return math.prod(output) * math.prod(weights[1:])
    if kind == "DEPTHWISE_CONV_2D":
        return math.prod(output) * weights[1] * weights[2]
    return math.prod(output) * weights[-1]


def _tflite_module() -> Any | None:
    for engine in RUNTIMES:
        if engine.format != "tflite" or not engine.is_installed:
            continue
        try:
            return import_module(engine.module)
        except (ImportError, AttributeError):
            continue
    return None


def _count_onnx(path: Path) -> int | None:
    try:
        onnx = import_module("onnx")
    except ImportError:
        return None
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        # A dynamic batch axis has no value: one picture.
        dimensions = value.type.tensor_type.shape.dim
        shapes.setdefault(value.name, [size.dim_value or 1 for size in dimensions])
    shapes |= _dequantized_shapes(graph, shapes)
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm"):
            continue
        names = (*node.input[:2], node.output[0])
        if not all(name in shapes for name in names):
            return None
        operands = [shapes[name] for name in names]
        total += _onnx_operation(node.op_type, operands)
    return total


def _dequantized_shapes(graph: Any, shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    """QDQ models feed weights through DequantizeLinear, which shape inference may leave out."""
    return {
        node.output[0]: shapes[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in shapes
    }


def _onnx_operation(kind: str, operands: Sequence[list[int]]) -> int:
    """Conv weights are (out, in / groups, h, w); Gemm and MatMul contract the inner axis."""
    first, second, output = operands
    if kind == "Conv":
        return math.prod(output) * math.prod(second[1:])
    return math.prod(output) * first[-1]
