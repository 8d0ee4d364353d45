"""Empirical bias correction: take back the mean error that quantization gives each channel.

Rounding weights and activations shifts the mean of a convolution's output, and the shifts add up
through the network. Over the representative pictures each channel's mean is compared with the
float32 network's, and the difference added to the convolution's bias, from the input towards the
output, so that each correction sees what the ones before it have left (Nagel M, van Baalen M,
Blankevoort T, Welling M. Data-free quantization through weight equalization and bias correction.
ICCV 2019, arXiv:1906.04721, section 4.2, with data instead of batch normalisation's statistics).

Only convolutions without a fused activation are corrected: behind a ReLU6 the mean of what is
clipped tells nothing. In inverted residuals these are the last ones of every block.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_app.progress import track
from export.interpreter import open_interpreter

Means = dict[str, npt.NDArray[np.float64]]

MOST_PICTURES = 128
_DIGITS = 4


def correct_biases(
    float32: bytes, quantize: Callable[[bytes], bytes], pictures: npt.NDArray[np.uint8]
) -> bytes:
    """A float32 TFLite file with other biases, whose quantized file has float32's channel means.

    Args:
        float32: the network as converted.
        quantize: float32 file to quantized file.
        pictures: uint8 (n, height, width, 1); the first `MOST_PICTURES` are used.
    """
    pictures = pictures[:MOST_PICTURES]
    places = _linear_convolutions(float32)
    wanted = channel_means(float32, list(places), pictures)
    for name in track(list(places), "bias correction"):
        found = channel_means(quantize(float32), [name], pictures)
        float32 = _add_to_buffer(float32, places[name], wanted[name] - found[name])
    return float32


def channel_means(model: bytes, names: list[str], pictures: npt.NDArray[np.uint8]) -> Means:
    """Mean over pictures and positions of tensors (1, h, w, channels), dequantized where int8."""
    interpreter = open_interpreter(model, keep_all=True)
    place = interpreter.get_input_details()[0]["index"]
    details = {d["name"]: d for d in interpreter.get_tensor_details() if d["name"] in names}
    sums: Means = {name: np.zeros(int(details[name]["shape"][-1])) for name in names}
    for picture in pictures:
        interpreter.set_tensor(place, picture[np.newaxis])
        interpreter.invoke()
        for name in names:
            values = interpreter.get_tensor(details[name]["index"]).astype(np.float64)
            sums[name] += values.mean(axis=(0, 1, 2))
    return {name: _dequantize(total / len(pictures), details[name]) for name, total in sums.items()}


def _dequantize(values: npt.NDArray[np.float64], detail: Any) -> npt.NDArray[np.float64]:
    if detail["dtype"] != np.int8:
        return values
    scale, zero_point = detail["quantization"]
    return np.asarray((values - zero_point) * scale, dtype=np.float64)


def _linear_convolutions(model: bytes) -> dict[str, int]:
    """Output's name to the bias's buffer, of convolutions without activation, in order."""
    from ai_edge_litert.tools import flatbuffer_utils as tools

    parsed = tools.read_model_from_bytearray(bytearray(model))
    graph = parsed.subgraphs[0]
    found = {}
    for operator in graph.operators:
        code = parsed.operatorCodes[operator.opcodeIndex].builtinCode
        if code != tools.BuiltinOperator.CONV_2D or len(operator.inputs) < 3:
            continue
        no_activation = operator.builtinOptions.fusedActivationFunction == 0
        output, bias = graph.tensors[operator.outputs[0]], graph.tensors[operator.inputs[2]]
        data = parsed.buffers[bias.buffer].data
        if (
            no_activation
            and operator.inputs[2] >= 0
            and data is not None
            and len(output.shape) == 4
        ):
            found[output.name.decode()] = int(bias.buffer)
    return _without_shared(found)


def _without_shared(found: dict[str, int]) -> dict[str, int]:
    """Convolutions with a bias of their own: a shared one cannot be right for two."""
    buffers = list(found.values())
    return {name: buffer for name, buffer in found.items() if buffers.count(buffer) == 1}


def _add_to_buffer(model: bytes, buffer: int, change: npt.NDArray[np.float64]) -> bytes:
    from ai_edge_litert.tools import flatbuffer_utils as tools

    parsed = tools.read_model_from_bytearray(bytearray(model))
    old = np.frombuffer(bytes(parsed.buffers[buffer].data), np.float32)
    # Rounded, so that another CPU's last bits do not give another file.
    new = old + np.round(change, _DIGITS).astype(np.float32)
    parsed.buffers[buffer].data = np.frombuffer(new.astype(np.float32).tobytes(), np.uint8)
    return bytes(tools.convert_object_to_bytearray(parsed))
