"""An operating point and a calibration from held-out logits, and what they are worth.

Labels, logits and patients enter. `fit_point` gives what would be used elsewhere; `cross_fit`
judges each patient by what the other patients gave, since a threshold judged on the pictures that
it was fitted on flatters itself.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.statistics import discrimination as metrics
from edge_app.statistics.calibration import Platt, expected_calibration_error, fit_platt
from edge_app.statistics.cutoffs import threshold_balanced
from edge_app.statistics.intervals import Figure
from edge_app.statistics.observations import patient_weights

# In logits: probabilities that differ by no more than 0.012.
LEAST_SPREAD = 0.05
_FOLDS = 5
_RESAMPLES = 1000

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Point:
    """A threshold on the logit, and its calibration."""

    threshold: float
    calibration: Platt


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores ready to be judged.

    Attributes:
        labels: (n,) 0 or 1.
        logits: (n,).
        margins: (n,) logit minus the threshold that applies to the picture.
        probabilities: (n,) calibrated.
        patients: n names.
    """

    labels: npt.NDArray[np.intp]
    logits: Floats
    margins: Floats
    probabilities: Floats
    patients: Sequence[str]


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures on one set of pictures.

    Attributes:
        pictures: which ones, in words.
        operating_point: how the threshold and the calibration came about, in words.
        n_images, n_patients, n_positive: counts.
        auroc: DeLong's interval over patients.
        auprc: `auprc_bootstrap`; without meaning away from this prevalence.
        sensitivity, specificity, accuracy: Wilson's intervals over pictures.
        ece: expected calibration error in 15 bins of equal size, bootstrap over patients.
        share_positive: share of the pictures called positive.
    """

    pictures: str
    operating_point: str
    n_images: int
    n_patients: int
    n_positive: int
    auroc: Figure
    auprc: Figure
    sensitivity: Figure
    specificity: Figure
    accuracy: Figure
    ece: Figure
    share_positive: float


def fit_point(labels: npt.ArrayLike, logits: npt.ArrayLike, patients: Sequence[str]) -> Point:
    """Where sensitivity equals specificity, and Platt's calibration; each patient counts once.

    Args:
        labels, logits: (n,); several views of a picture may stand below each other.
        patients: n names.
    """
    weights = patient_weights(patients)
    return Point(
        threshold_balanced(labels, logits, weights=weights), fit_platt(labels, logits, weights)
    )


def fit_views(
    labels: npt.NDArray[np.intp], views: Sequence[Floats], patients: Sequence[str]
) -> Point:
    """The point of the same n pictures seen in several ways, such as degraded, all together."""
    n = len(views)
    return fit_point(np.tile(labels, n), np.concatenate(views), list(patients) * n)


def judge(
    point: Point, labels: npt.NDArray[np.intp], logits: Floats, patients: Sequence[str]
) -> Judged:
    """Judge pictures by a point that was fixed beforehand."""
    probabilities = point.calibration.probability(logits)
    return Judged(labels, logits, logits - point.threshold, probabilities, patients)


def cross_fit(
    labels: npt.NDArray[np.intp], views: Sequence[Floats], patients: Sequence[str]
) -> tuple[Judged, ...]:
    """Judge each fifth of the patients by the point that the other four give.

    Args:
        labels: (n,).
        views: logits (n,) of the same pictures seen in several ways, such as degraded; a point is
            fitted on all views together.
        patients: n names.

    Returns:
        One for each view.
    """
    fold = np.array([_fold(patient) for patient in patients])
    margins = [np.empty(len(labels)) for _ in views]
    probabilities = [np.empty(len(labels)) for _ in views]
    for number in range(_FOLDS):
        held, others = fold == number, np.flatnonzero(fold != number)
        if not held.any():
            continue
        point = fit_views(
            labels[others], [view[others] for view in views], [patients[int(i)] for i in others]
        )
        for view, margin, probability in zip(views, margins, probabilities, strict=True):
            margin[held] = view[held] - point.threshold
            probability[held] = point.calibration.probability(view[held])
    return tuple(
        Judged(labels, view, margin, probability, patients)
        for view, margin, probability in zip(views, margins, probabilities, strict=True)
    )


def perform(judged: Judged, pictures: str, operating_point: str) -> Performance:
    """Figures of judged pictures.

    Raises:
        ValueError: a class is missing.
    """
    labels, patients = judged.labels, judged.patients
    confusion = metrics.confusion_at(labels, judged.margins, 0.0)
    sensitivity, specificity, accuracy = (
        confusion.sensitivity,
        confusion.specificity,
        confusion.accuracy,
    )
    if sensitivity is None or specificity is None or accuracy is None:
        raise ValueError(f"{pictures}: a class is missing")
    return Performance(
        pictures=pictures,
        operating_point=operating_point,
        n_images=len(labels),
        n_patients=len(set(patients)),
        n_positive=int(labels.sum()),
        auroc=metrics.auroc_delong(labels, judged.logits, groups=patients),
        auprc=metrics.auprc_bootstrap(labels, judged.logits, patients, _RESAMPLES),
        sensitivity=sensitivity,
        specificity=specificity,
        accuracy=accuracy,
        ece=metrics.bootstrap(
            expected_calibration_error, labels, judged.probabilities, patients, _RESAMPLES
        ),
        share_positive=float((judged.margins >= 0).mean()),
    )


def note_on_spread(logits: npt.ArrayLike) -> str:
    """A sentence where a network says nearly the same of all n pictures; "" where it does not.

    An AUROC ranks differences of any size, so it does not show that the network has learnt nothing.
    """
    values = np.asarray(logits, np.float64)
    spread = float(np.ptp(values))
    if spread >= LEAST_SPREAD:
        return ""
    return (
        f"note: this network says nearly the same of every picture: its {values.size} logits lie "
        f"within {spread:.2g} of each other, so figures of it mean nothing. Averaged weights "
        "(ema_momentum) need many steps before they leave where they began."
    )


def _fold(patient: str) -> int:
    """A patient's fifth follows from the name, so it does not change with the other patients."""
    return hashlib.sha256(patient.encode()).digest()[0] % _FOLDS
