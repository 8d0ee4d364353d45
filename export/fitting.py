"""Calibration and operating points of one model file, fitted on validation pictures only.

Labels, raw scores and patients of the validation pictures in all forms enter; a calibration and
operating points in the bundle's own classes leave. Each patient counts once in all
(`patient_weights`), however many pictures and forms of pictures there are, so intervals are as
wide as the number of patients makes them.

The band between the cut-offs bounds class risks: of all pneumonias, how many are answered
`no_pneumonia_seen`, and of all others, how many `pneumonia_suspected`. Class risks hold at any
prevalence; the validation pictures are three quarters sick, no clinic's queue is. A patient's
loss is the share of his pictures that are answered wrong, a number in [0, 1] and independent
between patients, not a coin. For the mean of n such losses the binomial tail bounds hold with a
factor e (Bentkus V. On Hoeffding's inequalities. Ann Probab 2004; 32:1650-1673, as in the
Hoeffding-Bentkus bound of Bates S et al. Distribution-free, risk-controlling prediction sets.
J ACM 2021; 68:43), so `fit_band` is asked for delta / e.
"""

import math
import tomllib
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import Calibration, Figure, OperatingPoint, Split
from edge_app.files.codec import CodecError, decode
from edge_app.statistics import cutoffs as operating
from edge_app.statistics.calibration import Platt, expected_calibration_error, fit_platt
from edge_app.statistics.discrimination import bootstrap
from edge_app.statistics.intervals import wilson
from edge_app.statistics.observations import patient_weights
from export.errors import ExportError
from export.pictures import Pictures
from export.scores import Logits
from export.shortfalls import Shortfalls

POINTS_FILE = Path(__file__).parent / "operating_points.toml"
MOST_ECE = 0.02
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class PointSpec:
    """What an operating point is for.

    Attributes:
        name, purpose: as they stand in the bundle.
        criterion: "balanced" (the smallest sensitivity of any form equals the smallest specificity
            of any), "sensitivity" or "specificity" (at least `at_least`, with `lower_bound` below
            which its interval must not reach, over all forms together).
        at_least, lower_bound: shares; both 0 for "balanced".
        most_missed: largest share of the pneumonias answered `no_pneumonia_seen`.
        most_false_alarms: largest share of the others answered `pneumonia_suspected`.
        delta: probability that one of the two bounds does not hold.
    """

    name: str
    purpose: str
    criterion: Literal["balanced", "sensitivity", "specificity"]
    at_least: float
    lower_bound: float
    most_missed: float
    most_false_alarms: float
    delta: float


@dataclass(frozen=True, slots=True)
class PointSpecs:
    """The file of operating points; `default` names one of them."""

    default: str
    point: tuple[PointSpec, ...]

    def __post_init__(self) -> None:
        """Raises ValueError where the default is not among the points."""
        if self.default not in {point.name for point in self.point}:
            raise ValueError(f"default {self.default!r} is no point")

    def only(self, names: Container[str]) -> "PointSpecs":
        """Those of these names.

        Raises:
            ExportError: the default is not among them.
        """
        if self.default not in names:
            raise ExportError(f"the default operating point {self.default!r} cannot be fitted")
        return replace(self, point=tuple(point for point in self.point if point.name in names))


def load_points(path: Path = POINTS_FILE) -> PointSpecs:
    """Read the operating points' file.

    Raises:
        ExportError: not TOML, or a key that is unknown, missing or of the wrong kind.
    """
    try:
        return decode(PointSpecs, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, CodecError) as error:
        raise ExportError(f"{path}: {error}") from error


def fit_calibration(
    pictures: Pictures, logits: Logits, model_sha256: str, split: Split
) -> Calibration:
    """Platt's scale and offset, and the calibration error that they leave.

    Raises:
        ExportError: the scores do not rise with the labels.
    """
    weights = patient_weights(pictures.patients)
    try:
        fitted = fit_platt(pictures.labels, logits, weights)
    except ValueError as error:
        raise ExportError(
            f"the calibration cannot be fitted: {error}. Of a network from elsewhere: is the sick "
            "class the one that describe --positive-output names?"
        ) from error
    platt = Platt(round(fitted.scale, _DIGITS), round(fitted.offset, _DIGITS))
    return Calibration(
        model_sha256=model_sha256,
        method="platt",
        scale=platt.scale,
        offset=platt.offset,
        ece=calibration_error(pictures, platt.probability(logits)),
        fitted_on=split,
    )


def calibration_error(pictures: Pictures, probabilities: npt.NDArray[np.float64]) -> Figure:
    """ECE over 15 bins of equal size, each patient counting once; bootstrap over patients."""
    weights = patient_weights(pictures.patients)
    # The statistic sees labels and scores only: a picture's weight travels beside its score.
    return rounded(
        bootstrap(
            _weighted_error,
            pictures.labels,
            np.stack([probabilities, weights], axis=1),
            pictures.patients,
            n_resamples=500,
        )
    )


def _weighted_error(labels: npt.NDArray[np.bool_], columns: npt.NDArray[np.float64]) -> float:
    return expected_calibration_error(labels, columns[:, 0], weights=columns[:, 1])


def fit_points(
    specs: Sequence[PointSpec],
    pictures: Pictures,
    logits: Logits,
    model_sha256: str,
    split: Split,
    shortfalls: Shortfalls,
) -> tuple[OperatingPoint, ...]:
    """Fit every operating point.

    Raises:
        ExportError: a wanted figure cannot be shown on these pictures: too few, or too many errors.
    """
    return tuple(
        _fit_point(spec, pictures, logits, model_sha256, split, shortfalls) for spec in specs
    )


def _fit_point(
    spec: PointSpec,
    pictures: Pictures,
    logits: Logits,
    model_sha256: str,
    split: Split,
    shortfalls: Shortfalls,
) -> OperatingPoint:
    try:
        threshold = round(fit_threshold(spec, pictures, logits), _DIGITS)
    except ValueError as error:
        raise ExportError(f"operating point {spec.name!r} cannot be fitted: {error}") from error
    low = high = threshold
    try:
        band = operating.fit_band(
            pictures.labels,
            logits,
            threshold,
            most_missed=spec.most_missed,
            most_false_alarms=spec.most_false_alarms,
            delta=spec.delta / math.e,
            weights=patient_weights(pictures.patients),
        )
        low, high = round(band.refer_low, _DIGITS), round(band.refer_high, _DIGITS)
    except ValueError as error:
        # A research bundle then answers by the threshold alone (docs/decisions/0045).
        shortfalls.note(ExportError(f"operating point {spec.name!r} cannot be fitted: {error}"))
    sensitivity, specificity = shares_at(threshold, pictures, logits)
    return OperatingPoint(
        name=spec.name,
        model_sha256=model_sha256,
        threshold=threshold,
        refer_low=min(threshold, low),
        refer_high=max(threshold, high),
        purpose=spec.purpose,
        fitted_on=split,
        sensitivity=sensitivity,
        specificity=specificity,
    )


def fit_threshold(spec: PointSpec, pictures: Pictures, logits: Logits) -> float:
    """The threshold that a specification asks for.

    Raises:
        ValueError: these pictures cannot show what it asks for.
    """
    if spec.criterion == "balanced":
        # Larger copies exist of some pictures only: too few to speak for a form of their own.
        common = pictures.in_common_forms()
        chosen, scores = pictures.select(common), logits[common]
        weights = patient_weights(chosen.patients)
        return operating.threshold_balanced(chosen.labels, scores, weights, chosen.forms)
    find = {
        "sensitivity": operating.threshold_for_sensitivity,
        "specificity": operating.threshold_for_specificity,
    }[spec.criterion]
    weights = patient_weights(pictures.patients)
    return find(pictures.labels, logits, spec.at_least, spec.lower_bound, weights=weights)


def shares_at(threshold: float, pictures: Pictures, logits: Logits) -> tuple[Figure, Figure]:
    """Sensitivity and specificity where a raw score >= threshold is called positive.

    Shares of patients: each counts once in all; n is the number of patients.

    Raises:
        ValueError: one class is missing.
    """
    return share_at(threshold, pictures, logits, 1), share_at(threshold, pictures, logits, 0)


def share_at(threshold: float, pictures: Pictures, logits: Logits, label: int) -> Figure:
    """Share of the class `label` that is called right: sensitivity for 1, specificity for 0.

    Raises:
        ValueError: the class is missing.
    """
    weights = patient_weights(pictures.patients)
    members = pictures.labels == label
    right = members & ((logits >= threshold) == (label == 1))
    total = float(weights[members].sum())
    return rounded(wilson(min(float(weights[right].sum()), total), total))


def rounded(figure: Figure) -> Figure:
    """The figure at five digits, so that another CPU's last bits do not give another file."""
    value = round(figure.value, 5)
    low, high = min(value, round(figure.low, 5)), max(value, round(figure.high, 5))
    return Figure(value, low, high, figure.confidence, figure.method, figure.n)
