"""How well scores tell the sick from the healthy: AUROC, AUPRC, sensitivity, specificity.

Labels (1 = pneumonia) and scores (higher = more suspect) enter, numbers or `Figure`s with their
intervals leave. A score at or above a threshold counts as positive, everywhere. What is undefined,
such as the AUROC of one class, raises ValueError; nothing here returns NaN.

Intervals: `wilson` for a share, `auroc_delong` for AUROC, `auprc_bootstrap` for AUPRC, `bootstrap`
over patients for all else. Used by export, training and benchmarks; the edge app measures nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.statistics.intervals import (
    Figure,
    binomial_cdf,
    check_share,
    normal_quantile_two_sided,
    wilson,
)
from edge_app.statistics.logistic import sigmoid
from edge_app.statistics.observations import (
    BoolArray,
    FloatArray,
    Observations,
    check_both_classes,
    check_labels,
    check_numbers,
    check_observations,
)

IntArray = npt.NDArray[np.intp]
Statistic = Callable[[BoolArray, FloatArray], float]

# Rounding alone gives a standard error near 1e-16; one ranking mistake gives at least 1 / (m n).
_NO_ERROR = 1e-13


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Points of the ROC curve, from the strictest threshold to the laxest.

    Attributes:
        thresholds: (k,) float64, falling; the first is +inf (nothing is called positive).
        sensitivity: (k,) float64, TP / (TP + FN) at score >= threshold.
        specificity: (k,) float64, TN / (TN + FP).
    """

    thresholds: FloatArray
    sensitivity: FloatArray
    specificity: FloatArray


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts at one threshold. Shares have Wilson's 95% interval, and are None where undefined."""

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def sensitivity(self) -> Figure | None:
        """TP / (TP + FN)."""
        return self._share(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Figure | None:
        """TN / (TN + FP)."""
        return self._share(self.tn, self.tn + self.fp)

    @property
    def ppv(self) -> Figure | None:
        """TP / (TP + FP), at the prevalence of these observations."""
        return self._share(self.tp, self.tp + self.fp)

    @property
    def npv(self) -> Figure | None:
        """TN / (TN + FN), at the prevalence of these observations."""
        return self._share(self.tn, self.tn + self.fn)

    @property
    def accuracy(self) -> Figure | None:
        """(TP + TN) / all; says little without sensitivity and specificity beside it."""
        return self._share(self.tp + self.tn, self.tp + self.fp + self.tn + self.fn)

    def _share(self, successes: int, n: int) -> Figure | None:
        return wilson(successes, n) if n else None


@dataclass(frozen=True, slots=True)
class McNemar:
    """Discordant pairs of two classifiers on the same images, and the exact two-sided p-value."""

    only_a_right: int
    only_b_right: int
    p_value: float


@dataclass(frozen=True, slots=True)
class _DeLong:
    """Areas under k ROC curves of the same images, and the components of their covariance.

    Attributes:
        areas: (k,) AUROCs.
        from_positives: (k, patients) how much each patient's positive images lower or raise the
            area, summed over the images; 0 where the patient has none.
        from_negatives: (k, patients) the same of the negative images.
        with_positives, with_negatives: number of patients who have images of that class.
        n: number of images.
    """

    areas: FloatArray
    from_positives: FloatArray
    from_negatives: FloatArray
    with_positives: int
    with_negatives: int
    n: int

    def variance(self, contrast: FloatArray) -> float:
        """Variance of contrast @ areas (Obuchowski 1997)."""
        positives, negatives = contrast @ self.from_positives, contrast @ self.from_negatives
        patients = positives.size
        variance = float(
            positives @ positives * (self.with_positives / (self.with_positives - 1))
            + negatives @ negatives * (self.with_negatives / (self.with_negatives - 1))
            + 2 * (positives @ negatives) * (patients / (patients - 1))
        )
        # A sum of squares; rounding may make it negative where the two terms cancel.
        return max(0.0, variance)

    def figure(self, which: int, confidence: float) -> Figure:
        """One area with its interval on the logit scale; Wilson's where it has no variance."""
        area = float(self.areas[which])
        error = math.sqrt(self.variance(np.eye(self.areas.size)[which]))
        if error <= _NO_ERROR or not 0 < area < 1:
            fewest = min(self.with_positives, self.with_negatives)
            bound = wilson(area * fewest, fewest, confidence)
            low, high = min(bound.low, area), max(bound.high, area)
            return Figure(area, low, high, confidence, "wilson", self.n)
        center = math.log(area / (1 - area))
        half = normal_quantile_two_sided(confidence) * error / (area * (1 - area))
        low, high = sigmoid(center - half), sigmoid(center + half)
        return Figure(area, min(low, area), max(high, area), confidence, "delong", self.n)


def auroc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """P(score of a positive > score of a negative), ties counted half.

    Hanley JA, McNeil BJ. Radiology 1982; 143:29-36 (equals the Mann-Whitney U / (m n)).

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) on any scale; only their order counts.

    Raises:
        ValueError: one class is missing.
    """
    observations = check_observations(labels, scores)
    check_both_classes(observations, "AUROC")
    _, positives, negatives = _count_by_score(observations)
    below = np.cumsum(negatives) - negatives
    pairs = float(np.sum(positives * (below + negatives / 2)))
    return pairs / float(positives.sum() * negatives.sum())


def auprc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Average precision: sum over thresholds of (gain in recall) x precision, no interpolation.

    Interpolating linearly between the points would be too optimistic (Davis J, Goadrich M. The
    relationship between precision-recall and ROC curves. ICML 2006). A random score gives the
    prevalence.

    Raises:
        ValueError: there is no positive image.
    """
    observations = check_observations(labels, scores)
    if not observations.positive.any():
        raise ValueError("AUPRC is undefined: there is no positive image")
    _, positives, negatives = _count_by_score(observations)
    gained = positives[::-1]
    tp, fp = np.cumsum(gained), np.cumsum(negatives[::-1])
    called = tp > 0
    return float(np.sum(gained[called] * tp[called] / (tp + fp)[called]) / positives.sum())


def roc_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> RocCurve:
    """Sensitivity and specificity at each distinct score, and at +inf.

    Raises:
        ValueError: one class is missing.
    """
    observations = check_observations(labels, scores)
    check_both_classes(observations, "the ROC curve")
    values, positives, negatives = _count_by_score(observations)
    tp = np.concatenate(([0.0], np.cumsum(positives[::-1])))
    fp = np.concatenate(([0.0], np.cumsum(negatives[::-1])))
    thresholds = np.concatenate(([np.inf], values[::-1]))
    return RocCurve(thresholds, tp / positives.sum(), 1.0 - fp / negatives.sum())


def confusion_at(labels: npt.ArrayLike, scores: npt.ArrayLike, threshold: float) -> Confusion:
    """Count the four outcomes where score >= threshold is called positive."""
    observations = check_observations(labels, scores)
    if math.isnan(threshold):
        raise ValueError("the threshold is NaN")
    called, positive = observations.scores >= threshold, observations.positive
    return Confusion(
        tp=int(np.sum(called & positive)),
        fp=int(np.sum(called & ~positive)),
        tn=int(np.sum(~called & ~positive)),
        fn=int(np.sum(~called & positive)),
    )


def auroc_delong(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    confidence: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> Figure:
    """AUROC with DeLong's interval, made on the logit scale.

    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988; 44:837-845, with the midranks of
    Sun X, Xu W. IEEE Signal Process Lett 2014; 21:1389-1393 (O(n log n)). With `groups`, the
    variance for clustered data of Obuchowski NA. Biometrics 1997; 53:567-578, of which DeLong's
    is the case of one image a patient.

    The interval is symmetric in logit(AUROC) and transformed back (Pepe MS. The Statistical
    Evaluation of Medical Tests, 2003): near 1, where our models are, the sampling distribution is
    skewed, and a symmetric interval would reach beyond 1.

    At perfect separation the estimated variance is 0, and the interval would be a point however
    few the images. There, the largest variance that an AUROC of A can have, A(1 - A) / min(m, n)
    (Birnbaum ZW, Klose OM. Ann Math Stat 1957; 28:933-945), is put into Wilson's interval, with
    numbers of patients for m and n; `method` says "wilson". The lower end is then k / (k + z^2),
    k = min(m, n): for k >= 20 within 0.01 of the exact bound (alpha / 2)^(1 / k), which follows
    from k disjoint pairs, each of them in order with probability A.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,).
        confidence: two-sided coverage.
        groups: (n,) patient of each image; images of a patient may then be correlated.

    Raises:
        ValueError: fewer than two images (or patients) of a class.
    """
    observations = check_observations(labels, scores)
    return _delong(observations.positive, observations.scores[np.newaxis], groups).figure(
        0, confidence
    )


def delong_test(
    labels: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    confidence: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> tuple[Figure, float]:
    """AUROC(a) - AUROC(b) on the same images, with its interval, and the two-sided p-value.

    DeLong et al. 1988, normal on the scale of the difference (sources: `auroc_delong`). Two
    different rankings whose difference and variance are both 0, as those of two perfect scores,
    get an interval from their two single ones (Zou GY, Donner A. Stat Med 2008; 27:1693-1702).
    Where both scores rank all images alike, the difference is exactly 0.

    Raises:
        ValueError: fewer than two images (or patients) of a class; or a difference without any
            variance to test it against.
    """
    a, b = check_observations(labels, scores_a), check_observations(labels, scores_b)
    pair = _delong(a.positive, np.stack([a.scores, b.scores]), groups)
    difference = float(pair.areas[0] - pair.areas[1])
    error = math.sqrt(pair.variance(np.array([1.0, -1.0])))
    if error > _NO_ERROR:
        half = normal_quantile_two_sided(confidence) * error
        low, high = max(-1.0, difference - half), min(1.0, difference + half)
        figure = Figure(difference, low, high, confidence, "delong", a.positive.size)
        return figure, math.erfc(abs(difference) / error / math.sqrt(2))
    if abs(difference) > _NO_ERROR:
        raise ValueError("the AUROCs differ but show no variance: too few images for DeLong's test")
    if np.array_equal(_midranks(a.scores), _midranks(b.scores)):
        return Figure(0.0, 0.0, 0.0, confidence, "delong", a.positive.size), 1.0
    return _no_difference(pair.figure(0, confidence), pair.figure(1, confidence)), 1.0


def bootstrap(
    statistic: Statistic,
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    n_resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """A statistic with its percentile interval over patients drawn with replacement.

    Efron B, Tibshirani RJ. An Introduction to the Bootstrap, 1993, chapter 13; whole patients are
    drawn, since a patient's images are not independent (Field CA, Welsh AH. J R Stat Soc B 2007;
    69:369-390). The resamples of a biased statistic, such as the calibration error, may all lie
    above the estimate; the interval is then widened to contain it.

    Args:
        statistic: takes labels (k,) bool and scores (k, ...) float64, returns a number; raises
            ValueError where undefined, and that resample is drawn again.
        labels: (n,) 0 or 1.
        scores: (n, ...); trailing axes are handed on, so that two models are compared in pairs.
        groups: (n,) patient of each image.
        n_resamples: resamples that count.
        seed: of numpy's PCG64; the same seed gives the same interval.
        confidence: two-sided coverage.

    Raises:
        ValueError: the statistic is undefined on all images, or on more than half of the
            resamples; lengths differ; fewer than two patients.
    """
    check_share("confidence", confidence)
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1: {n_resamples}")
    positive = check_labels(labels)
    values = np.asarray(scores, dtype=np.float64)
    if values.shape[:1] != positive.shape:
        raise ValueError(f"{positive.size} labels but scores of shape {values.shape}")
    patients = _members(_check_groups(groups, positive.size))
    estimate = float(statistic(positive, values))
    rng = np.random.default_rng(seed)
    estimates: list[float] = []
    for _ in range(2 * n_resamples):
        drawn = rng.integers(len(patients), size=len(patients))
        rows = np.concatenate([patients[patient] for patient in drawn])
        try:
            estimates.append(float(statistic(positive[rows], values[rows])))
        except ValueError:
            continue
        if len(estimates) == n_resamples:
            break
    else:
        raise ValueError("the statistic is undefined on more than half of the resamples")
    tail = (1 - confidence) / 2
    low, high = (float(end) for end in np.quantile(estimates, [tail, 1 - tail]))
    low, high = min(low, estimate), max(high, estimate)
    return Figure(estimate, low, high, confidence, "bootstrap", positive.size)


def auprc_bootstrap(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    n_resamples: int = 2000,
) -> Figure:
    """AUPRC with its 95% interval: `bootstrap` over patients.

    At perfect separation every resample is perfect too, and the interval would be a point however
    few the images. There it is a binomial one with the number of positives as its n, which are
    here the patients who have positive images (Boyd K, Eng KH, Page CD. Area under the
    precision-recall curve: point estimates and confidence intervals. ECML PKDD 2013): Wilson's,
    since theirs is a point at 1 as well.

    Raises:
        ValueError: as `auprc` and `bootstrap`.
    """
    figure = bootstrap(auprc, labels, scores, groups, n_resamples)
    if figure.low < figure.high:
        return figure
    with_positives = np.unique(np.asarray(groups)[check_labels(labels)]).size
    bound = wilson(figure.value * with_positives, with_positives)
    low, high = min(bound.low, figure.value), max(bound.high, figure.value)
    return Figure(figure.value, low, high, bound.confidence, "wilson", figure.n)


def mcnemar(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> McNemar:
    """Exact test of whether two classifiers err equally often on the same images.

    McNemar Q. Psychometrika 1947; 12:153-157, in the exact binomial form: under the hypothesis
    each discordant pair favours either with probability 1/2.

    Args:
        right_a: (n,) 0 or 1, whether classifier a was right on each image.
        right_b: the same of b.
    """
    a, b = check_labels(right_a), check_labels(right_b)
    if a.shape != b.shape:
        raise ValueError(f"{a.size} answers of a but {b.size} of b")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    discordant = only_a + only_b
    if discordant == 0:
        return McNemar(0, 0, 1.0)
    tail = binomial_cdf(min(only_a, only_b), discordant, 0.5)
    return McNemar(only_a, only_b, min(1.0, 2 * tail))


def spearman(x: npt.ArrayLike, y: npt.ArrayLike, confidence: float = 0.95) -> Figure:
    """Spearman's rank correlation, ties at their midranks, with a Fisher z interval.

    Variance of z: (1 + r^2 / 2) / (n - 3) (Bonett DG, Wright TA. Psychometrika 2000; 65:23-28).
    A perfect correlation has no finite z, so z is taken of the nearest correlation that n untied
    ranks can have (two neighbours swapped: 1 - 12 / (n (n^2 - 1))), and the interval has a width.

    Raises:
        ValueError: lengths differ, fewer than 4 pairs, or one side is constant.
    """
    first, second = check_numbers("x", x), check_numbers("y", y)
    if first.shape != second.shape:
        raise ValueError(f"x has {first.size} values, y {second.size}")
    n = first.size
    if n < 4:
        raise ValueError(f"a rank correlation with an interval needs at least 4 pairs: {n}")
    ranks_x, ranks_y = _centered(_midranks(first)), _centered(_midranks(second))
    scale = math.sqrt(float(ranks_x @ ranks_x) * float(ranks_y @ ranks_y))
    if scale == 0:
        raise ValueError("rank correlation is undefined: one side is constant")
    r = min(1.0, max(-1.0, float(ranks_x @ ranks_y) / scale))
    most = 1 - 12 / (n * (n * n - 1))
    center = math.atanh(min(most, max(-most, r)))
    half = normal_quantile_two_sided(confidence) * math.sqrt((1 + r * r / 2) / (n - 3))
    low, high = min(r, math.tanh(center - half)), max(r, math.tanh(center + half))
    return Figure(r, low, high, confidence, "fisher-z", n)


def _count_by_score(observations: Observations) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distinct scores, rising, and the number of positives and of negatives at each."""
    values, index = np.unique(observations.scores, return_inverse=True)
    positives = np.bincount(index, observations.positive, values.size)
    negatives = np.bincount(index, ~observations.positive, values.size)
    return values, positives.astype(np.float64), negatives.astype(np.float64)


def _midranks(values: FloatArray) -> FloatArray:
    """(n,) ranks from 1; equal values share the mean of their ranks."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[index], dtype=np.float64)


def _centered(values: FloatArray) -> FloatArray:
    return np.asarray(values - values.mean(), dtype=np.float64)


def _check_groups(groups: npt.ArrayLike | None, n: int) -> IntArray:
    """(n,) number of each image's patient; without groups, each image is a patient."""
    if groups is None:
        return np.arange(n)
    names = np.asarray(groups)
    if names.shape != (n,):
        raise ValueError(f"{n} labels but groups of shape {names.shape}")
    _, index = np.unique(names, return_inverse=True)
    if index.max() == 0:
        raise ValueError("intervals over patients need at least two patients")
    return np.asarray(index, dtype=np.intp)


def _members(index: IntArray) -> list[IntArray]:
    """The rows of each patient."""
    order = np.argsort(index, kind="stable")
    return np.split(order, np.cumsum(np.bincount(index))[:-1])


def _delong(positive: BoolArray, scores: FloatArray, groups: npt.ArrayLike | None) -> _DeLong:
    """DeLong's structural components of k score vectors (k, n), summed over patients.

    In DeLong's notation: V10 (k, m) is the share of negatives that each positive lies above, V01
    (k, n) the share of positives that each negative lies below; a tie counts a half.
    """
    patient = _check_groups(groups, positive.size)
    of_positives, of_negatives = patient[positive], patient[~positive]
    for name, members in (("positive", of_positives), ("negative", of_negatives)):
        if np.unique(members).size < 2:
            raise ValueError(f"DeLong's interval needs two {name} images of different patients")
    m, n, patients = of_positives.size, of_negatives.size, int(patient.max()) + 1
    ranks = np.stack([_midranks(row) for row in scores])
    within_positives = np.stack([_midranks(row[positive]) for row in scores])
    within_negatives = np.stack([_midranks(row[~positive]) for row in scores])
    v10 = (ranks[:, positive] - within_positives) / n
    v01 = 1.0 - (ranks[:, ~positive] - within_negatives) / m
    areas = v10.mean(axis=1, keepdims=True)
    return _DeLong(
        areas=areas[:, 0],
        from_positives=_sums_by_patient((v10 - areas) / m, of_positives, patients),
        from_negatives=_sums_by_patient((v01 - areas) / n, of_negatives, patients),
        with_positives=np.unique(of_positives).size,
        with_negatives=np.unique(of_negatives).size,
        n=positive.size,
    )


def _sums_by_patient(values: FloatArray, patient: IntArray, patients: int) -> FloatArray:
    """(k, n) values summed to (k, patients)."""
    return np.stack([np.bincount(patient, row, patients) for row in values])


def _no_difference(a: Figure, b: Figure) -> Figure:
    """The interval of a difference of 0 from the intervals of its two sides (Zou, Donner 2008)."""
    low = -math.hypot(a.value - a.low, b.high - b.value)
    high = math.hypot(a.high - a.value, b.value - b.low)
    return Figure(0.0, low, high, a.confidence, a.method, a.n)
