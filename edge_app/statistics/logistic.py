"""The logistic function of one number, without numpy."""

import math


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), in 0..1, without overflow for any finite number."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))
