"""From a raw score to a probability that means what it says, and how far it is from that.

`fit_platt` learns scale and offset from logits and labels; `Platt.probability` applies them.
`expected_calibration_error`, `reliability` and `brier` judge probabilities of pneumonia (never of
the predicted class) against labels.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.statistics.intervals import Figure, check_share, wilson
from edge_app.statistics.observations import (
    FloatArray,
    Samples,
    check_both_classes,
    check_numbers,
    check_samples,
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
        return sigmoid(self.scale * check_numbers("logits", logits) + self.offset)

    def raw_score(self, probability: float) -> float:
        """The logit at which the calibrated probability is `probability`, in (0, 1)."""
        return (_logit(probability) - self.offset) / self.scale

    def for_prevalence(self, train: float, target: float) -> "Platt":
        """The same calibration where pneumonia is rarer or more frequent than where it was fitted.

        Bayes' rule under label shift moves every logit by the difference of the prior log odds
        (Saerens M, Latinne P, Decaestecker C. Neural Comput 2002; 14:21-41). Holds
        as far as the sick look alike, and the healthy too, in both places.

        Args:
            train: prevalence among the images that the calibration was fitted on.
            target: prevalence where it is used.
        """
        check_share("train", train)
        check_share("target", target)
        return Platt(self.scale, self.offset + _logit(target) - _logit(train))


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


def sigmoid(logits: npt.ArrayLike) -> FloatArray:
    """1 / (1 + exp(-x)) without overflow: exp only ever sees -|x|."""
    x = np.asarray(logits, dtype=np.float64)
    decay = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, decay) / (1.0 + decay), dtype=np.float64)


def fit_platt(
    labels: npt.ArrayLike,
    logits: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    temperature_only: bool = False,
) -> Platt:
    """Logistic regression of the label on the logit, by Newton's method with step halving.

    Platt J. Probabilistic outputs for support vector machines. Advances in Large Margin
    Classifiers, 1999; solved as in Lin HT, Lin CJ, Weng RC. Mach Learn 2007; 68:267-276. Instead
    of 0 and 1 the targets are 1 / (N- + 2) and (N+ + 1) / (N+ + 2), so a finite optimum exists
    when the classes are perfectly separated. `temperature_only` keeps the offset at 0 (Guo C,
    Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML 2017).

    Args:
        labels: (n,) 0 or 1.
        logits: (n,) raw scores.
        weights: (n,) optional; N+ and N- are sums of weights.
        temperature_only: fit the scale alone.

    Raises:
        ValueError: one class is missing, or the labels do not rise with the logits (a constant or
            inverted score, for which no scale > 0 is best).
    """
    samples = check_samples(labels, logits, weights)
    check_both_classes(samples, "a calibration")
    targets = _platt_targets(samples)
    # Newton on standardized logits: the same optimum, well conditioned for any unit of the score.
    center = 0.0 if temperature_only else float(samples.scores.mean())
    spread = float(np.sqrt(np.mean((samples.scores - center) ** 2)))
    if spread == 0:
        raise ValueError("a calibration needs scores that differ")
    columns = [(samples.scores - center) / spread]
    if not temperature_only:
        columns.append(np.ones(samples.scores.size))
    solution = _logistic_regression(np.stack(columns, axis=1), targets, samples.weights)
    scale = float(solution[0]) / spread
    offset = 0.0 if temperature_only else float(solution[1]) - scale * center
    if not scale > 1e-12 / spread:
        raise ValueError(f"the labels do not rise with the scores: the best scale is {scale:.3g}")
    return Platt(scale, offset)


def expected_calibration_error(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    bins: int = 15,
    *,
    adaptive: bool = True,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Mean over bins of |claimed probability - observed share|, weighted by the bin's size.

    Naeini MP, Cooper GF, Hauskrecht M. Obtaining well calibrated probabilities using Bayesian
    binning. AAAI 2015, on the probability of pneumonia. Adaptive bins hold equal numbers of
    images (Nixon J et al. Measuring calibration in deep learning. CVPR workshops 2019), which is
    less biased where probabilities crowd near 0 and 1; otherwise bins are equally wide. The
    estimate is biased upwards: even perfect probabilities give more than 0 on a finite sample.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in [0, 1].
        bins: number of bins; empty ones do not count.
        adaptive: equal numbers (True) or equal widths (False).
        weights: (n,) optional.
    """
    samples = _check_probabilities(labels, probabilities, weights)
    index = _bin_index(samples.scores, bins, adaptive)
    excess = samples.weights * (samples.scores - samples.positive)
    return float(np.abs(np.bincount(index, excess)).sum() / samples.weights.sum())


def reliability(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    bins: int = 15,
    *,
    adaptive: bool = True,
    confidence: float = 0.95,
) -> tuple[ReliabilityBin, ...]:
    """The table behind a reliability diagram, in the bins of `expected_calibration_error`.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) in [0, 1].
        bins: number of bins; empty ones are left out.
        adaptive: equal numbers (True) or equal widths (False).
        confidence: of the observed shares' Wilson intervals.
    """
    samples = _check_probabilities(labels, probabilities, None)
    index = _bin_index(samples.scores, bins, adaptive)
    return tuple(
        _reliability_bin(samples, index == number, confidence) for number in np.unique(index)
    )


def brier(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Mean squared difference of probability and label.

    Brier GW. Verification of forecasts expressed in terms of probability. Mon Weather Rev 1950;
    78:1-3, for one of the two classes (half of his sum over both).
    """
    samples = _check_probabilities(labels, probabilities, weights)
    squares = (samples.scores - samples.positive) ** 2
    return float(np.average(squares, weights=samples.weights))


def _platt_targets(samples: Samples) -> FloatArray:
    positives = float(samples.weights[samples.positive].sum())
    negatives = float(samples.weights[~samples.positive].sum())
    return np.where(samples.positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _logistic_regression(
    design: FloatArray, targets: FloatArray, weights: FloatArray
) -> FloatArray:
    """Coefficients (k,) that minimize the weighted cross-entropy; design (n, k), targets (n,)."""
    coefficients = np.zeros(design.shape[1])
    loss = _cross_entropy(design @ coefficients, targets, weights)
    for _ in range(_MOST_STEPS):
        probability = sigmoid(design @ coefficients)
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
) -> Samples:
    samples = check_samples(labels, probabilities, weights)
    if samples.scores.min() < 0 or samples.scores.max() > 1:
        raise ValueError("probabilities must lie in [0, 1]; calibrate raw scores first")
    return samples


def _bin_index(probabilities: FloatArray, bins: int, adaptive: bool) -> npt.NDArray[np.intp]:
    """(n,) number of each probability's bin; equal probabilities always share one."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1: {bins}")
    if adaptive:
        ranks = np.arange(1, bins) * probabilities.size // bins
        edges = np.unique(np.sort(probabilities)[ranks])
    else:
        edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, probabilities, side="right")


def _reliability_bin(
    samples: Samples, members: npt.NDArray[np.bool_], confidence: float
) -> ReliabilityBin:
    inside, n = samples.scores[members], int(members.sum())
    return ReliabilityBin(
        low=float(inside.min()),
        high=float(inside.max()),
        n=n,
        mean_probability=float(inside.mean()),
        observed=wilson(int(samples.positive[members].sum()), n, confidence),
    )


def _logit(probability: float) -> float:
    check_share("probability", probability)
    return math.log(probability) - math.log1p(-probability)
