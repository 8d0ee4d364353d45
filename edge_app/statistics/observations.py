"""Labels, scores and weights of images, checked once before any statistic uses them.

Array-likes enter; `Observations`, three arrays of equal length, leave. Nothing is repaired: a label
that is not 0 or 1, a score that is not finite or a length that differs raises ValueError.
Used by the other modules of this package.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Observations:
    """Checked observations.

    Attributes:
        positive: (n,) bool, True where the label is 1 (pneumonia).
        scores: (n,) float64, finite; higher means more suspect.
        weights: (n,) float64, finite and not negative: how much of an independent observation
            each one is worth.
    """

    positive: BoolArray
    scores: FloatArray
    weights: FloatArray


def check_observations(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Observations:
    """Check labels (0 or 1), scores and weights of shape (n,), n >= 1.

    Raises:
        ValueError: another shape, another label, a number that is not finite, a negative weight.
    """
    positive = check_labels(labels)
    values = check_numbers("scores", scores)
    if values.shape != positive.shape:
        raise ValueError(f"{positive.size} labels but {values.size} scores")
    if weights is None:
        return Observations(positive, values, np.ones(positive.size))
    shares = check_numbers("weights", weights)
    if shares.shape != positive.shape:
        raise ValueError(f"{positive.size} labels but {shares.size} weights")
    if shares.min() < 0 or shares.sum() <= 0:
        raise ValueError("weights must not be negative, and not all zero")
    return Observations(positive, values, shares)


def check_both_classes(observations: Observations, what: str) -> None:
    """Raise ValueError where a class has no images, or only images of weight 0.

    Args:
        observations: to look at.
        what: the statistic that would be undefined; begins the message.
    """
    for name, members in (
        ("positive", observations.positive),
        ("negative", ~observations.positive),
    ):
        if not observations.weights[members].sum() > 0:
            raise ValueError(f"{what} is undefined: there is no {name} image")


def check_labels(labels: npt.ArrayLike) -> BoolArray:
    """(n,) labels of any number type, each 0 or 1, as bool."""
    values = check_numbers("labels", labels)
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1")
    return np.asarray(values == 1.0, dtype=np.bool_)


def check_numbers(name: str, values: npt.ArrayLike) -> FloatArray:
    """(n,) finite numbers, n >= 1, as float64."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"{name} must have one dimension, not shape {numbers.shape}")
    if numbers.size == 0:
        raise ValueError(f"{name} must not be empty")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite")
    return numbers


def patient_weights(groups: npt.ArrayLike) -> FloatArray:
    """(n,) weights of images, 1 / number of images of the same patient.

    They sum to the number of patients. An interval that counts these weights treats the images of
    one patient as copies of each other (correlation 1), so it is never too narrow because several
    images of one patient were counted as if they were of several patients.
    """
    _, index, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[index], dtype=np.float64)
