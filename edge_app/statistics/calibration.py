"""From a raw score to a calibrated probability, and how well calibrated it is.

Export and training fit a `Platt` with `fit_platt`; `expected_calibration_error` and `reliability`
compare probabilities of pneumonia (never of the predicted class) with labels, for export, training
and benchmarks.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.statistics.intervals import Figure, wilson
from edge_app.statistics.logistic import sigmoids
from edge_app.statistics.observations import (
    FloatArray,
    Observations,
    check_both_classes,
    check_numbers,
    check_observations,
)

_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class Platt:
    """Probability = sigmoid(scale * logit + offset).

    Attributes:
        scale: > 0, so that calibration never changes a ranking; 1 / temperature where offset is 0.
        offset: in logits.
    """

    scale: float
    offset: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and math.isfinite(self.offset) and self.scale > 0):
            raise ValueError(f"a calibration needs scale > 0 and a finite offset: {self}")

    def probability(self, logits: npt.ArrayLike) -> FloatArray:
        """(n,) probabilities of logits (n,)."""
        return sigmoids(self.scale * check_numbers("logits", logits) + self.offset)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One row of a reliability diagram.

    Attributes:
        low, high: smallest and largest probability in the bin.
        n: images in the bin.
        mean_probability: what was claimed.
        observed: share of pneumonia among them, with its Wilson interval.
    """

    low: float
    high: float
    n: int
    mean_probability: float
    observed: Figure


def fit_platt(
    labels: npt.ArrayLike,
    logits: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> Platt:
    """Logistic regression of the label on the logit, by Newton's method with step halving.

    Platt J. Probabilistic outputs for support vector machines. Advances in Large Margin
    Classifiers, 1999; solved as in Lin HT, Lin CJ, Weng RC. Mach Learn 2007; 68:267-276. Instead
    of 0 and 1 the targets are 1 / (N- + 2) and (N+ + 1) / (N+ + 2), so a finite optimum exists
    when the classes are perfectly separated.

    Args:
        labels: (n,) 0 or 1.
        logits: (n,) raw scores.
        weights: (n,) optional; N+ and N- are sums of weights.

    Raises:
        ValueError: one class is missing, or the labels do not rise with the logits (a constant or
            inverted score, for which no scale > 0 is best).
    """
    observations = check_observations(labels, logits, weights)
    check_both_classes(observations, "a calibration")
    targets = _platt_targets(observations)
    # Newton on standardized logits: the same optimum, well conditioned for any unit of the score.
    center, spread = float(observations.scores.mean()), float(observations.scores.std())
    if spread == 0:
        raise ValueError("a calibration needs scores that differ")
    standardized = (observations.scores - center) / spread
    design = np.stack([standardized, np.ones(standardized.size)], axis=1)
    solution = _logistic_regression(design, targets, observations.weights)
    scale = float(solution[0]) / spread
    offset = float(solution[1]) - scale * center
    if not scale > 1e-12 / spread:
        raise ValueError(f"the labels do not rise with the scores: the best scale is {scale:.3g}")
    return Platt(scale, offset)


def expected_calibration_error(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    bins: int = 15,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Mean over bins of |claimed probability - observed share|, weighted by the bin's size.

    Naeini MP, Cooper GF, Hauskrecht M. Obtaining well calibrated probabilities using Bayesian
    binning. AAAI 2015, on the probability of pneumonia. Bins hold equal numbers of images (Nixon
    J et al. Measuring calibration in deep learning. CVPR workshops 2019), which is less biased
    than equal widths where probabilities crowd near 0 and 1. The
    estimate is biased upwards: even perfect probabilities give more than 0 on a finite sample.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in [0, 1].
        bins: number of bins; equal probabilities share one, so there may be fewer.
        weights: (n,) optional.
    """
    observations = _check_probabilities(labels, probabilities, weights)
    index = _bin_index(observations.scores, bins)
    excess = observations.weights * (observations.scores - observations.positive)
    return float(np.abs(np.bincount(index, excess)).sum() / observations.weights.sum())


def reliability(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """The table behind a reliability diagram, in the bins of `expected_calibration_error`.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in [0, 1].
        bins: number of bins; equal probabilities share one, so there may be fewer.
    """
    observations = _check_probabilities(labels, probabilities, None)
    index = _bin_index(observations.scores, bins)
    return tuple(_reliability_bin(observations, index == number) for number in np.unique(index))


def _platt_targets(observations: Observations) -> FloatArray:
    positives = float(observations.weights[observations.positive].sum())
    negatives = float(observations.weights[~observations.positive].sum())
    return np.where(observations.positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _logistic_regression(
    design: FloatArray, targets: FloatArray, weights: FloatArray
) -> FloatArray:
    """Coefficients (k,) that minimize the weighted cross-entropy; design (n, k), targets (n,)."""
    coefficients = np.zeros(design.shape[1])
    loss = _cross_entropy(design @ coefficients, targets, weights)
    for _ in range(_MOST_STEPS):
        probability = sigmoids(design @ coefficients)
        gradient = design.T @ (weights * (probability - targets))
        curvature = weights * probability * (1 - probability)
        hessian = design.T @ (design * curvature[:, np.newaxis])
        hessian += 1e-12 * weights.sum() * np.eye(design.shape[1])
        direction = np.linalg.solve(hessian, gradient)
        # Newton's decrement estimates what is left to gain; below rounding there is nothing.
        if float(gradient @ direction) <= 1e-14 * max(1.0, abs(loss)):
            break
        step = 1.0
        while step > 1e-10:
            trial = coefficients - step * direction
            trial_loss = _cross_entropy(design @ trial, targets, weights)
            if trial_loss <= loss - 1e-4 * step * float(gradient @ direction):
                break
            step /= 2
        else:
            break
        coefficients, loss = trial, trial_loss
    return np.asarray(coefficients, dtype=np.float64)


def _cross_entropy(logits: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """Sum of w (log(1 + exp(x)) - t x), written so that nothing overflows."""
    return float(weights @ (np.logaddexp(0.0, logits) - targets * logits))


def _check_probabilities(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None
) -> Observations:
    observations = check_observations(labels, probabilities, weights)
    if observations.scores.min() < 0 or observations.scores.max() > 1:
        raise ValueError("probabilities must lie in [0, 1]; calibrate raw scores first")
    return observations


def _bin_index(probabilities: FloatArray, bins: int) -> npt.NDArray[np.intp]:
    """(n,) number of each probability's bin; equal probabilities always share one."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1: {bins}")
    ranks = np.arange(1, bins) * probabilities.size // bins
    edges = np.unique(np.sort(probabilities)[ranks])
    return np.searchsorted(edges, probabilities, side="right")


def _reliability_bin(observations: Observations, members: npt.NDArray[np.bool_]) -> ReliabilityBin:
    inside, n = observations.scores[members], int(members.sum())
    return ReliabilityBin(
        low=float(inside.min()),
        high=float(inside.max()),
        n=n,
        mean_probability=float(inside.mean()),
        observed=wilson(int(observations.positive[members].sum()), n),
    )
