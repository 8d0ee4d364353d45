"""The tests' network in plain numpy: the reference for `data/tiny.tflite` and `data/tiny.onnx`.

It is no model of anything: fixed random weights and the shipped network's interface, a few
kilobytes, so that the tests of the edge app need no TensorFlow.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIDE = 64
PATCH = 8
CHANNELS = 8
FOLDER = Path(__file__).parent / "data"

# The tiny locator's map has cells of 2 x 2 pixels; its lungs are mid-dark, as a phantom's are.
CELLS = SIDE // 2
LUNG_GREY, LUNG_WIDTH = 62.0, 42.0

_rng = np.random.default_rng(20)
STEM = _rng.normal(0, 0.25, (PATCH, PATCH, 1, CHANNELS)).astype(np.float32)
HEAD = _rng.normal(0, 2, (1, 1, CHANNELS, 1)).astype(np.float32)
SUBTYPE = _rng.normal(0, 1, (CHANNELS, 1)).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TinyOutputs:
    """What the network must give: logit, map (8, 8), embedding (8,), subtype logit."""

    logit: float
    activation_map: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    subtype_logit: float


def forward(batch: npt.NDArray[np.uint8]) -> TinyOutputs:
    """Run the network on uint8 (1, 64, 64, 1): patches of 8 x 8, ReLU6, 1 x 1 map, mean."""
    cells = SIDE // PATCH
    values = batch.reshape(SIDE, SIDE).astype(np.float32) / 127.5 - 1
    patches = values.reshape(cells, PATCH, cells, PATCH).swapaxes(1, 2).reshape(cells, cells, -1)
    features = np.clip(patches @ STEM.reshape(-1, CHANNELS), 0, 6)
    activation_map = features @ HEAD.reshape(CHANNELS)
    embedding = features.mean(axis=(0, 1))
    return TinyOutputs(
        logit=float(activation_map.mean()),
        activation_map=activation_map,
        embedding=embedding,
        subtype_logit=float((embedding @ SUBTYPE)[0]),
    )


def locate(batch: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
    """The tiny locator: hand-made, for phantoms alone; what `data/tiny_locator.*` must give.

    Lungs are mid-dark cells; the end of a phantom with the abdomen is the brighter one; a picture
    that is bright all over is no film, one that is bright on one side a lateral one.
    """
    values = batch.reshape(SIDE, SIDE).astype(np.float32)
    cells = values.reshape(CELLS, 2, CELLS, 2).mean(axis=(1, 3))
    lungs = (LUNG_WIDTH - np.abs(cells - LUNG_GREY)) / 5
    third = CELLS // 3
    left, right = cells[:, :third].mean(), cells[:, -third:].mean()
    top, bottom = cells[:third].mean(), cells[-third:].mean()
    turns = np.array([bottom - top, right - left, top - bottom, left - right]) / 4
    shares = 1 / (1 + np.exp(-lungs))
    edges = (shares[:, :2], shares[:2], shares[:, -2:], shares[-2:])
    view = np.array([4.0, -20.0, (cells.mean() - 170) / 4])
    outputs = {
        "lungs": lungs[np.newaxis, :, :, np.newaxis],
        "orientation": turns[np.newaxis],
        "view": view[np.newaxis],
        "cut_off": np.array([[20 * edge.mean() - 6 for edge in edges]]),
    }
    return {role: array.astype(np.float32) for role, array in outputs.items()}
