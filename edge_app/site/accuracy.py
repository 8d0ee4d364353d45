"""How good the answers are on a site's cases: at one cut-off, at every cut-off, and as a whole.

`Cases` enter, an `Accuracy` leaves, each figure with its interval. Films of one patient count
together as one case. What got no score is counted beside it and is in no figure.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_app.decision import Decision, Status
from edge_app.results.rows import CutOffs
from edge_app.site.cases import Cases
from edge_app.statistics.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    reliability,
)
from edge_app.statistics.cutoffs import Outcomes, outcomes_at_every_cut
from edge_app.statistics.discrimination import auroc_delong, bootstrap
from edge_app.statistics.intervals import Figure, wilson
from edge_app.statistics.logistic import sigmoid
from edge_app.statistics.observations import FloatArray
from edge_app.statistics.predictive_values import predictive_values

# DeLong's interval needs so many patients of either class.
LEAST_PATIENTS = 2
_LEAST_CASES_OF_A_BIN = 20
_MOST_BINS = 10


@dataclass(frozen=True, slots=True)
class CutOffAccuracy:
    """What comes of calling all scores from a cut-off on positive.

    Attributes:
        raw_score, probability: of the cut-off; the probability as the run's rows have theirs.
        sensitivity, specificity: with Wilson's interval.
        ppv, npv: at the prevalence; null where nobody would get that answer.
        referrals: share called positive, at the prevalence.
    """

    raw_score: float
    probability: float
    sensitivity: Figure
    specificity: Figure
    ppv: Figure | None
    npv: Figure | None
    referrals: Figure


@dataclass(frozen=True, slots=True)
class Answers:
    """How many of one class got which answer."""

    pneumonia_suspected: int
    indeterminate: int
    no_pneumonia_seen: int
    refused: int
    failed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.unanswered + sum(
            (self.pneumonia_suspected, self.indeterminate, self.no_pneumonia_seen)
        )

    @property
    def unanswered(self) -> int:
        """Those without a score."""
        return self.refused + self.failed


@dataclass(frozen=True, slots=True)
class Accuracy:
    """All that was measured.

    Attributes:
        model_id, model_sha256: what scored.
        operating_point: the run's cut-offs.
        n_images, n_patients: that have a score.
        prevalence: for which PPV, NPV and referrals hold.
        sick, healthy: their answers, those without a score too.
        unlabelled, unknown: rows without truth; lines of truth without a row.
        auroc: with DeLong's interval.
        ece: expected calibration error of the rows' probabilities.
        referred: at the lower cut-off: suspected or indeterminate.
        suspected: at the upper cut-off.
        cut_offs: at every cut-off that tells these cases apart differently, rising.
        bins: the table of the reliability diagram.
    """

    model_id: str
    model_sha256: str
    operating_point: CutOffs
    n_images: int
    n_patients: int
    prevalence: float
    sick: Answers
    healthy: Answers
    unlabelled: int
    unknown: int
    auroc: Figure
    ece: Figure
    referred: CutOffAccuracy
    suspected: CutOffAccuracy
    cut_offs: tuple[CutOffAccuracy, ...]
    bins: tuple[ReliabilityBin, ...]


def measure(cases: Cases, prevalence: float | None = None) -> Accuracy:
    """Measure a run on its cases.

    Args:
        cases: of the run.
        prevalence: share of the sick where the figures are to hold; None: that of these cases.

    Raises:
        DataError: fewer than two patients of a class have a score.
    """
    cases.require_classes(LEAST_PATIENTS, "sensitivity and specificity")
    labels, scores, patients = cases.labels, cases.scores, np.array(cases.patients)
    table = CutOffTable.of(cases, prevalence)
    point = cases.header.operating_point
    bins = max(1, min(_MOST_BINS, labels.size // _LEAST_CASES_OF_A_BIN))
    return Accuracy(
        model_id=cases.header.model_id,
        model_sha256=cases.header.model_sha256,
        operating_point=point,
        n_images=labels.size,
        n_patients=np.unique(patients).size,
        prevalence=table.prevalence,
        sick=_answers(cases, 1),
        healthy=_answers(cases, 0),
        unlabelled=cases.unlabelled,
        unknown=cases.unknown,
        auroc=auroc_delong(labels, scores, groups=patients),
        ece=bootstrap(
            lambda some, probabilities: expected_calibration_error(some, probabilities, bins),
            labels,
            cases.probabilities,
            patients,
            n_resamples=500,
        ),
        referred=table.at(point.refer_low),
        suspected=table.at(point.refer_high),
        cut_offs=tuple(table),
        bins=reliability(labels, cases.probabilities, bins),
    )


@dataclass(frozen=True, slots=True)
class CutOffTable:
    """Every cut-off of some cases.

    Attributes:
        outcomes: sums of weights at every cut-off.
        prevalence: for which PPV, NPV and referrals hold.
        scale, offset: probability = sigmoid(scale * raw_score + offset) in the rows.
    """

    outcomes: Outcomes
    prevalence: float
    scale: float
    offset: float

    @classmethod
    def of(cls, cases: Cases, prevalence: float | None) -> "CutOffTable":
        """The table of cases of both classes."""
        weights, labels = cases.weights, cases.labels
        outcomes = outcomes_at_every_cut(labels, cases.scores, weights)
        own = float(weights[labels].sum() / weights.sum())
        line = _probability_line(cases.scores, cases.probabilities)
        return cls(outcomes, own if prevalence is None else prevalence, *line)

    def __iter__(self) -> Iterator[CutOffAccuracy]:
        return (self._row(index, float(cut)) for index, cut in enumerate(self.outcomes.cut_offs))

    def at(self, raw_score: float) -> CutOffAccuracy:
        """At one cut-off, whatever it is."""
        return self._row(self.outcomes.index_of(raw_score), raw_score)

    def _row(self, index: int, raw_score: float) -> CutOffAccuracy:
        tp, fp, tn, fn = (
            float(counts[index])
            for counts in (self.outcomes.tp, self.outcomes.fp, self.outcomes.tn, self.outcomes.fn)
        )
        sensitivity, specificity = wilson(tp, tp + fn), wilson(tn, tn + fp)
        values = predictive_values(sensitivity, specificity, self.prevalence)
        probability = sigmoid(self.scale * raw_score + self.offset)
        return CutOffAccuracy(
            raw_score,
            probability,
            sensitivity,
            specificity,
            values.ppv,
            values.npv,
            values.referrals,
        )


def _answers(cases: Cases, label: int) -> Answers:
    rows = [case.row for case in cases.all if case.label == label]
    decisions = Counter(row.decision for row in rows)
    statuses = Counter(row.status for row in rows)
    return Answers(
        pneumonia_suspected=decisions[Decision.PNEUMONIA_SUSPECTED],
        indeterminate=decisions[Decision.INDETERMINATE],
        no_pneumonia_seen=decisions[Decision.NO_PNEUMONIA_SEEN],
        refused=statuses[Status.REFUSED],
        failed=statuses[Status.FAILED],
    )


def _probability_line(scores: FloatArray, probabilities: FloatArray) -> tuple[float, float]:
    """Scale and offset of the calibration that gave a run's probabilities.

    All rows of a run have theirs from one logistic function of the raw score, so the two that lie
    apart, and far enough from 0 and 1 to have digits, tell it. The identity where none do.
    """
    known = np.flatnonzero((probabilities > 1e-9) & (probabilities < 1 - 1e-9))
    if known.size:
        low, high = known[np.argmin(scores[known])], known[np.argmax(scores[known])]
        if scores[high] > scores[low]:
            first, last = (_logit(float(probabilities[i])) for i in (low, high))
            scale = (last - first) / float(scores[high] - scores[low])
            return scale, first - scale * float(scores[low])
    return 1.0, 0.0


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
