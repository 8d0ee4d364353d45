"""The logistic function: of one number without numpy, which starts faster, and of arrays."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_app.statistics.observations import FloatArray


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), in 0..1, without overflow for any finite number."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


def sigmoids(logits: "npt.ArrayLike") -> "FloatArray":
    """The same of each number of an array; exp only ever sees -|x|."""
    import numpy as np

    x = np.asarray(logits, dtype=np.float64)
    decay = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, decay) / (1.0 + decay), dtype=np.float64)
