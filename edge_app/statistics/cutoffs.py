"""Where to cut a score: thresholds for a wanted sensitivity, and the indeterminate band.

Labels and raw scores of a validation split enter, cut-offs in raw-score units leave. A score at
or above a threshold is called positive. Cut-offs lie halfway between neighbouring scores, never on
one, so an image's score may move a little on another CPU without crossing.

Weights say how much of an independent observation an image is worth (`patient_weights` of
`observations`); counts in intervals are then sums of weights. Export and training fit cut-offs with
this; the edge app only reads them from the bundle.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.statistics.intervals import (
    Figure,
    binomial_cdf,
    binomial_upper_bound,
    check_share,
    wilson,
)
from edge_app.statistics.logistic import sigmoids
from edge_app.statistics.observations import (
    BoolArray,
    FloatArray,
    Observations,
    check_both_classes,
    check_observations,
)


@dataclass(frozen=True, slots=True)
class IndeterminateBand:
    """Cut-offs between which no answer is given, and what is promised outside of them.

    Attributes:
        refer_low: raw score below which the answer is `no_pneumonia_seen`.
        refer_high: raw score from which on it is `pneumonia_suspected`; >= refer_low.
        missed: share of the images with pneumonia that lie below refer_low; `high` is the
            one-sided upper bound that was held, `low` is 0.
        false_alarms: share of the images without pneumonia from refer_high on, likewise.
        indeterminate: share of the images in the band.
    """

    refer_low: float
    refer_high: float
    missed: Figure
    false_alarms: Figure
    indeterminate: Figure


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The four outcomes at every way to cut a sample in two, as sums of weights.

    Attributes:
        scores: (k,) float64, the distinct scores, rising.
        cut_offs: (k + 1,) float64, rising, halfway between the k distinct scores and outside of
            them; a score at or above one is called positive.
        tp, fp, tn, fn: (k + 1,) float64.
    """

    scores: FloatArray
    cut_offs: FloatArray
    tp: FloatArray
    fp: FloatArray
    tn: FloatArray
    fn: FloatArray

    def index_of(self, cut_off: float) -> int:
        """Which of `cut_offs` splits the sample as this one does."""
        return int(np.searchsorted(self.scores, cut_off, side="left"))


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Every way to cut a sample in two.

    Attributes:
        values: (k,) distinct scores, rising.
        thresholds: (k + 1,) rising, halfway between the k distinct scores and outside of them.
        sick_below, healthy_below: (k + 1,) weight of each class below the threshold.
        sick, healthy: weight of each class.
    """

    values: FloatArray
    thresholds: FloatArray
    sick_below: FloatArray
    healthy_below: FloatArray
    sick: float
    healthy: float

    def gap_of(self, threshold: float) -> int:
        """Which of `thresholds` splits the sample as this one does."""
        return int(np.searchsorted(self.values, threshold, side="left"))


def outcomes_at_every_cut(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Outcomes:
    """What becomes of a sample at every cut-off that tells it apart differently.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) raw scores.
        weights: (n,) optional.

    Raises:
        ValueError: one class is missing.
    """
    observations = check_observations(labels, scores, weights)
    check_both_classes(observations, "a table of cut-offs")
    cuts = _cut(observations)
    # Of weights that are no halves, sums differ by rounding from the total that they reach.
    fn, tn = np.minimum(cuts.sick_below, cuts.sick), np.minimum(cuts.healthy_below, cuts.healthy)
    return Outcomes(cuts.values, cuts.thresholds, cuts.sick - fn, cuts.healthy - tn, tn, fn)


def threshold_for_sensitivity(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    at_least: float,
    lower_bound_at_least: float = 0.0,
    confidence: float = 0.95,
    weights: npt.ArrayLike | None = None,
) -> float:
    """The largest threshold that is sensitive enough, so the most specific one that is.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) raw scores.
        at_least: sensitivity on these images, in (0, 1].
        lower_bound_at_least: lower end of its two-sided Wilson interval, the one that is reported.
        confidence: of that interval.
        weights: (n,) optional.

    Raises:
        ValueError: one class is missing, or there are too few positives for the bound.
    """
    observations = check_observations(labels, scores, weights)
    check_both_classes(observations, "a threshold")
    cuts = _cut(observations)
    hits = cuts.sick - cuts.sick_below
    aim = _Aim("sensitivity", at_least, lower_bound_at_least, confidence)
    return _first_that_meets(aim, cuts.thresholds[::-1], hits[::-1], cuts.sick)


def threshold_for_specificity(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    at_least: float,
    lower_bound_at_least: float = 0.0,
    confidence: float = 0.95,
    weights: npt.ArrayLike | None = None,
) -> float:
    """The smallest threshold that is specific enough, so the most sensitive one that is.

    Arguments and errors as of `threshold_for_sensitivity`.
    """
    observations = check_observations(labels, scores, weights)
    check_both_classes(observations, "a threshold")
    cuts = _cut(observations)
    aim = _Aim("specificity", at_least, lower_bound_at_least, confidence)
    return _first_that_meets(aim, cuts.thresholds, cuts.healthy_below, cuts.healthy)


def threshold_balanced(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    forms: npt.ArrayLike | None = None,
) -> float:
    """Where sensitivity equals specificity, on smoothed curves.

    The empirical crossing jumps with single images. Each class's scores are therefore smoothed by
    a kernel first (Fluss R, Faraggi D, Reiser B. Estimation of the Youden index and its associated
    cutoff point. Biom J 2005; 47:458-472): a logistic kernel with Silverman's bandwidth
    0.9 min(sd, IQR / 1.34) n^(-1/5).

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) raw scores.
        weights: (n,) optional.
        forms: (n,) optional: in which form each score's picture was. Then the
            smallest sensitivity of any form equals the smallest specificity of any form, which
            maximizes the smallest of all of them: whatever form a site sends, no class pays
            for it more than it must.

    Raises:
        ValueError: one class is missing, in all or in a form.
    """
    observations = check_observations(labels, scores, weights)
    check_both_classes(observations, "a threshold")
    cuts = _cut(observations)
    crossing = _crossing(_smooth_forms(observations, forms), observations.scores)
    return float(cuts.thresholds[cuts.gap_of(crossing)])


def fit_band(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float,
    *,
    most_missed: float,
    most_false_alarms: float,
    delta: float = 0.05,
    weights: npt.ArrayLike | None = None,
) -> IndeterminateBand:
    """The narrowest band around a threshold outside of which errors are bounded.

    With probability at least 1 - delta over the draw of these images, on new images of the same
    population both hold: of all images with pneumonia, at most `most_missed` are answered
    `no_pneumonia_seen`; of all without, at most `most_false_alarms` are answered
    `pneumonia_suspected`. That holds at any prevalence.

    Each side gets delta / 2 and exact binomial tests. The share of errors can only rise as a cut
    moves towards the threshold, so the last cut that passes its test is safe (Bates S et al.
    Distribution-free, risk-controlling prediction sets. J ACM 2021; 68:43).

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) raw scores.
        threshold: the operating point's cut; refer_low <= threshold <= refer_high.
        most_missed: bound of the share of the sick below refer_low, in (0, 1).
        most_false_alarms: bound of the share of the healthy from refer_high on, in (0, 1).
        delta: probability that a bound fails, in (0, 1).
        weights: (n,) optional; the tests are exact for independent images without weights.

    Raises:
        ValueError: one class is missing, or no cut can be shown to be safe: too few images, or a
            score that errs too often.
    """
    observations = check_observations(labels, scores, weights)
    check_both_classes(observations, "a band")
    for name, share in (
        ("most_missed", most_missed),
        ("most_false_alarms", most_false_alarms),
        ("delta", delta),
    ):
        check_share(name, share)
    if not math.isfinite(threshold):
        raise ValueError(f"the threshold must be finite: {threshold}")
    cuts = _cut(observations)
    middle = cuts.gap_of(threshold)
    thresholds = cuts.thresholds.copy()
    thresholds[middle] = threshold
    missed_by_cut = cuts.sick_below[: middle + 1]
    alarmed_by_cut = (cuts.healthy - cuts.healthy_below)[middle:][::-1]
    low_cut, missed = _furthest_safe(
        missed_by_cut, cuts.sick, most_missed, delta / 2, "no_pneumonia_seen"
    )
    high_cut, false_alarms = _furthest_safe(
        alarmed_by_cut, cuts.healthy, most_false_alarms, delta / 2, "pneumonia_suspected"
    )
    refer_low, refer_high = float(thresholds[low_cut]), float(thresholds[::-1][high_cut])
    inside = (observations.scores >= refer_low) & (observations.scores < refer_high)
    total = float(observations.weights.sum())
    held_back = wilson(min(float(observations.weights[inside].sum()), total), total, 1 - delta)
    return IndeterminateBand(refer_low, refer_high, missed, false_alarms, held_back)


@dataclass(frozen=True, slots=True)
class _Aim:
    """What a threshold must reach."""

    name: str
    at_least: float
    lower_bound_at_least: float
    confidence: float

    def __post_init__(self) -> None:
        if not 0 < self.at_least <= 1 or not 0 <= self.lower_bound_at_least < 1:
            raise ValueError(
                f"{self.name} must be asked for in (0, 1] and its lower bound in [0, 1), "
                f"not {self.at_least} and {self.lower_bound_at_least}"
            )


@dataclass(frozen=True, slots=True)
class _SmoothClass:
    """One class's scores under a logistic kernel of the given scale; weights sum to 1."""

    scores: FloatArray
    weights: FloatArray
    scale: float

    def share_above(self, cut: float) -> float:
        """Smoothed share of the class at or above the cut."""
        return float(self.weights @ sigmoids((self.scores - cut) / self.scale))


def _cut(observations: Observations) -> _Cuts:
    values, index = np.unique(observations.scores, return_inverse=True)
    sick = np.bincount(index, observations.weights * observations.positive, values.size)
    healthy = np.bincount(index, observations.weights * ~observations.positive, values.size)
    sick_below = np.concatenate(([0.0], np.cumsum(sick)))
    healthy_below = np.concatenate(([0.0], np.cumsum(healthy)))
    return _Cuts(
        values,
        _halfway(values),
        sick_below,
        healthy_below,
        float(sick_below[-1]),
        float(healthy_below[-1]),
    )


def _halfway(values: FloatArray) -> FloatArray:
    """(k + 1,) cuts between k rising values and as far outside of the outermost."""
    gaps = np.diff(values)
    first, last = (gaps[0], gaps[-1]) if gaps.size else (1.0, 1.0)
    lower = np.concatenate(([values[0] - first], values))
    upper = np.concatenate((values, [values[-1] + last]))
    middle = lower + (upper - lower) / 2
    # Between neighbouring floats there is no middle; the upper one still splits them.
    return np.asarray(np.where(middle > lower, middle, upper), dtype=np.float64)


def _first_that_meets(aim: _Aim, cuts: FloatArray, hits: FloatArray, total: float) -> float:
    """The first cut that reaches the aim; hits (k,) never fall along cuts (k,)."""

    def reached(index: int) -> bool:
        share = wilson(min(float(hits[index]), total), total, aim.confidence)
        return share.value >= aim.at_least and share.low >= aim.lower_bound_at_least

    first = bisect_left(range(cuts.size), True, key=reached)
    if first == cuts.size:
        best = wilson(total, total, aim.confidence)
        raise ValueError(
            f"{total:g} images cannot show a {aim.name} with lower bound "
            f"{aim.lower_bound_at_least}: even without an error it is {best.low:.3f}"
        )
    return float(cuts[first])


def _smooth(observations: Observations, members: BoolArray) -> _SmoothClass:
    scores, weights = observations.scores[members], observations.weights[members]
    total = float(weights.sum())
    lower, upper = np.quantile(scores, [0.25, 0.75])
    spreads = [float(scores.std()), float(upper - lower) / 1.34]
    # int8 scores are tied: an interquartile range of 0 does not mean that there is no spread.
    spread = min((s for s in spreads if s > 0), default=0.0)
    floor = 1e-3 * float(np.ptp(observations.scores)) or 1.0
    bandwidth = max(0.9 * spread * total**-0.2, floor)
    # A logistic distribution of scale s has the standard deviation pi s / sqrt(3).
    return _SmoothClass(scores, weights / total, bandwidth * math.sqrt(3) / math.pi)


def _smooth_forms(
    observations: Observations, forms: npt.ArrayLike | None
) -> list[tuple[_SmoothClass, _SmoothClass]]:
    """The sick and the healthy of each form."""
    if forms is None:
        return [
            (
                _smooth(observations, observations.positive),
                _smooth(observations, ~observations.positive),
            )
        ]
    of = np.asarray(forms)
    if of.shape != observations.scores.shape:
        raise ValueError(f"forms must be {observations.scores.shape}, not {of.shape}")
    pairs = []
    for form in np.unique(of):
        sick, healthy = (of == form) & observations.positive, (of == form) & ~observations.positive
        if not (sick.any() and healthy.any()):
            raise ValueError(f"a threshold needs both classes in the form {form!s}")
        pairs.append((_smooth(observations, sick), _smooth(observations, healthy)))
    return pairs


def _crossing(forms: Sequence[tuple[_SmoothClass, _SmoothClass]], scores: FloatArray) -> float:
    """The cut at which smoothed sensitivity, falling, meets smoothed specificity, rising.

    Of several forms the smallest of each.
    """
    low, high = float(scores.min()), float(scores.max())
    for _ in range(100):
        middle = low + (high - low) / 2
        sensitivity = min(sick.share_above(middle) for sick, _ in forms)
        if sensitivity + max(healthy.share_above(middle) for _, healthy in forms) > 1:
            low = middle
        else:
            high = middle
    return high


def _furthest_safe(
    errors: FloatArray, of_class: float, most: float, level: float, answer: str
) -> tuple[int, Figure]:
    """The last cut whose share of errors is shown to be at most `most`, and that share.

    The figure's interval is one-sided and at the level of the test, so `high` <= `most`.

    Args:
        errors: (k,) weight of the images of a class that are answered wrongly at each cut, never
            falling, from the cut at which nobody is answered up to the threshold.
        of_class: weight of all images of the class.
        most: bound of the share.
        level: probability that the bound fails.
        answer: the wrong answer, for the message.
    """

    def fails(cut: int) -> bool:
        return not _passes(float(errors[cut]), of_class, most, level)

    passing = bisect_left(range(errors.size), True, key=fails)
    if not passing:
        needed = math.ceil(math.log(level) / math.log1p(-most))
        raise ValueError(
            f"no cut-off for {answer} can be shown to err in at most {most:g} of cases: there are "
            f"{of_class:g} images, and at least {needed} are needed even without an error"
        )
    wrong = float(errors[passing - 1])
    bound = binomial_upper_bound(wrong, of_class, 1 - level)
    share = wrong / of_class
    figure = Figure(share, 0.0, bound, 1 - level, "clopper-pearson", max(1, int(of_class)))
    return passing - 1, figure


def _passes(errors: float, trials: float, most: float, level: float) -> bool:
    """Whether so few errors would be improbable if the true share were above `most`."""
    return trials > errors and binomial_cdf(errors, trials, most) <= level
