"""Keras to TFLite: `float32`, `float16`, `dynamic_int8` and `static_int8`.

A `Network` enters, the bytes of a `.tflite` file leave: input `image` uint8 (1, height, width, 1),
float32 outputs named by role, signature `serving_default`. The conversions are TensorFlow's
TFLiteConverter's, dynamic int8 among them; static int8 is ai-edge-quantizer's, applied to the
float32 file (measured: docs/decisions, export). It lets single operators stay in float32, takes
ranges from us, and has no clock or random number in it: the same checkpoint gives the same bytes.
"""

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_app.progress import track
from export.bias_correction import correct_biases
from export.checkpoint import Network
from export.errors import ExportError
from export.interpreter import open_interpreter
from export.recipe import StaticSpec

ConvertedRecipe = Literal["float32", "float16", "dynamic_int8"]

SIGNATURE = "serving_default"
INPUT = "image"

_WIDE_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest and largest value of a tensor over the representative pictures."""

    low: float
    high: float


def convert(network: Network, height: int, width: int, recipe: ConvertedRecipe) -> bytes:
    """What TensorFlow's converter makes: `float32`; `float16`, weights stored in half precision
    and computed in float32; `dynamic_int8`, weights in int8 and activations quantized at run time.

    Raises:
        ExportError: the converter cannot convert this network.
    """
    with _saved_model(network, height, width) as folder:
        return _convert(folder, recipe)


def quantize_static(float32: bytes, pictures: npt.NDArray[np.uint8], spec: StaticSpec) -> bytes:
    """int8 weights and activations, ranges from `pictures` uint8 (n, height, width, 1)."""
    graph = read_graph(float32)
    ranges = observe_ranges(float32, pictures)

    def quantize(model: bytes) -> bytes:
        return _quantize_with(model, graph, ranges, spec.float_tail)

    if spec.bias_correction:
        float32 = correct_biases(float32, quantize, pictures)
    return quantize(float32)


def _quantize_with(
    float32: bytes, graph: "Graph", ranges: dict[str, Range], float_tail: bool
) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer

    every, nothing = qtyping.TFLOperationName.ALL_SUPPORTED, "no_quantize"
    with _quietly():
        quant = quantizer.Quantizer(bytearray(float32))
        quant.add_static_config(".*", every, activation_num_bits=8, weight_num_bits=8)
        # Later rules win. Input and outputs keep their own types: uint8 in, float32 out.
        for name in graph.tail if float_tail else ():
            quant.update_quantization_recipe(_exactly(name), every, algorithm_key=nothing)
        for operation in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            quant.update_quantization_recipe(".*", operation, algorithm_key=nothing)
        result = quant.quantize(
            _as_calibration(ranges, graph), enable_progress_bar=False, enable_progress_report=False
        )
    return bytes(result.quantized_model)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a TFLite graph; `outputs` are (tensor index, name, shape)."""

    kind: str
    outputs: tuple[tuple[int, str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """What quantization needs to know of a float32 TFLite graph.

    Attributes:
        operators: in the order of execution.
        tail: names of the tensors that are made after the last operator with weights and more
            than one channel: the logit's (and the map's) own small operators.
    """

    operators: tuple[Operator, ...]
    tail: tuple[str, ...]


def read_graph(model: bytes) -> Graph:
    """Read operators and tensor names of a TFLite file."""
    interpreter = open_interpreter(model, delegates=False)
    operators = tuple(_operator(interpreter, entry) for entry in interpreter._get_ops_details())
    wide = [
        index
        for index, operator in enumerate(operators)
        if operator.kind in _WIDE_OPERATORS and operator.outputs[0][2][-1] > 1
    ]
    after = operators[wide[-1] + 1 :] if wide else ()
    return Graph(operators, tuple(name for op in after for _, name, _ in op.outputs))


def observe_ranges(model: bytes, pictures: npt.NDArray[np.uint8]) -> dict[str, Range]:
    """Smallest and largest value of every operator's output over `pictures`.

    Over all pictures, not as a moving average: an average forgets the pictures that it saw
    first and clips what is rare, and what is rare is the sick (mean |change of logit| 0.096
    against 0.085 here). Ends are rounded outwards to three digits, so that another CPU's last
    bits do not give another file.
    """
    interpreter = open_interpreter(model, keep_all=True)
    place = interpreter.get_input_details()[0]["index"]
    operators = read_graph(model).operators
    tensors = {index: name for op in operators for index, name, _ in op.outputs}
    lows = dict.fromkeys(tensors, np.inf)
    highs = dict.fromkeys(tensors, -np.inf)
    for picture in track(pictures, "activation ranges"):
        interpreter.set_tensor(place, picture[np.newaxis])
        interpreter.invoke()
        for index in tensors:
            values = interpreter.get_tensor(index)
            lows[index] = min(lows[index], float(values.min()))
            highs[index] = max(highs[index], float(values.max()))
    return {
        name: Range(-round_up(-lows[index]), round_up(highs[index]))
        for index, name in tensors.items()
    }


def round_up(value: float, digits: int = 3) -> float:
    """The next number of so many significant digits that is not smaller."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - digits + 1)
    return float(f"{np.ceil(value / unit - 1e-6) * unit:.{digits}g}")


def _as_calibration(ranges: dict[str, Range], graph: Graph) -> dict[str, Any]:
    """Ranges in the quantizer's form: arrays of the tensor's rank."""
    shapes = {name: shape for op in graph.operators for _, name, shape in op.outputs}
    return {
        name: {
            "min": np.full((1,) * len(shapes[name]), found.low, np.float32),
            "max": np.full((1,) * len(shapes[name]), found.high, np.float32),
        }
        for name, found in ranges.items()
    }


def _exactly(name: str) -> str:
    """A pattern for this tensor name alone; the quantizer appends a semicolon to names."""
    import re

    return f"^{re.escape(name)};?$"


def _operator(interpreter: Any, entry: dict[str, Any]) -> Operator:
    details = [(i, interpreter._get_tensor_details(i, 0)) for i in entry["outputs"]]
    outputs = tuple((int(i), d["name"], tuple(int(s) for s in d["shape"])) for i, d in details)
    return Operator(entry["op_name"], outputs)


@contextlib.contextmanager
def _saved_model(network: Network, height: int, width: int) -> Iterator[Path]:
    """The network as a SavedModel with one signature, batch 1, in a folder for the time being."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(network.model)
    archive.add_endpoint(
        SIGNATURE,
        # The argument's name becomes the input's.
        lambda image: network.call(image),
        input_signature=[tf.TensorSpec((1, height, width, 1), tf.uint8, name=INPUT)],
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        yield Path(folder)


def _convert(folder: Path, recipe: ConvertedRecipe) -> bytes:
    import tensorflow as tf

    with _quietly():
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        if recipe != "float32":
            # Without representative pictures: weights alone, activations at run time.
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if recipe == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises its own and MLIR's
            text = " ".join(str(error).split())[:300]
            raise ExportError(f"TensorFlow's converter cannot convert this network: {text}") from (
                error
            )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Hold back what converters print on both streams; errors still raise."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def quiet_tensorflow() -> None:
    """Ask TensorFlow for errors only and for the CPU; call before its first import."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def output_names(roles: Sequence[str]) -> dict[str, str | None]:
    """Tensor names by role, null for a role that the network lacks."""
    return {
        role: role if role in roles else None
        for role in ("logit", "activation_map", "embedding", "subtype_logit")
    }
