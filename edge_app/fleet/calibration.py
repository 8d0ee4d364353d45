"""Do probabilities and cut-offs hold at each site, as far as its packs hold what turned out?

Labelled films enter, figures with intervals leave. Which films get a truth is nobody's sample:
where only the sick are followed up, every figure is of those.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_app.fleet.by_site import LabelledFilms, together
from edge_app.statistics.calibration import ReliabilityBin, reliability
from edge_app.statistics.discrimination import auroc_delong
from edge_app.statistics.intervals import Figure, wilson
from edge_app.statistics.observations import BoolArray, patient_weights

# DeLong's interval needs so many patients of either class.
_LEAST_PATIENTS = 2
_LEAST_FILMS_OF_A_BIN = 20
_MOST_BINS = 10


@dataclass(frozen=True, slots=True)
class SiteCalibration:
    """Of a site, or of all together; films of one patient count together as one.

    Attributes:
        site: whose.
        films, patients: whose truth is known, and that have a score.
        claimed: mean probability that was given.
        observed: share with pneumonia.
        sensitivity: of referral; null without a sick patient.
        specificity: of suspicion; null without a healthy one.
        auroc: null without two patients of either class.
    """

    site: str
    films: int
    patients: int
    claimed: float
    observed: Figure
    sensitivity: Figure | None
    specificity: Figure | None
    auroc: Figure | None

    @property
    def fits(self) -> bool:
        """Whether the interval of what was observed holds what was claimed."""
        return self.observed.low <= self.claimed <= self.observed.high


@dataclass(frozen=True, slots=True)
class FleetCalibration:
    """Of each site, of all sites, and the table of their reliability diagram."""

    sites: tuple[SiteCalibration, ...]
    all: SiteCalibration
    bins: tuple[ReliabilityBin, ...]


def measure_sites(films: Sequence[LabelledFilms]) -> FleetCalibration | None:
    """Measure every site that has a truth; None where there is none."""
    if not films:
        return None
    every = together(films)
    bins = max(1, min(_MOST_BINS, every.labels.size // _LEAST_FILMS_OF_A_BIN))
    return FleetCalibration(
        tuple(map(_measure, films)),
        _measure(every),
        reliability(every.labels, every.probabilities, bins),
    )


def _measure(films: LabelledFilms) -> SiteCalibration:
    weights = patient_weights(films.patients)
    total = float(weights.sum())

    def share(members: BoolArray, hits: BoolArray) -> Figure | None:
        n = float(weights[members].sum())
        # Sums of thirds may exceed their whole by a rounding.
        return wilson(min(n, float(weights[members & hits].sum())), n) if n else None

    sick = min(total, float(weights[films.labels].sum()))
    return SiteCalibration(
        site=films.site,
        films=films.labels.size,
        patients=round(total),
        claimed=float(weights @ films.probabilities) / total,
        observed=wilson(sick, total),
        sensitivity=share(films.labels, films.is_referred),
        specificity=share(~films.labels, ~films.is_suspected),
        auroc=_auroc(films),
    )


def _auroc(films: LabelledFilms) -> Figure | None:
    classes = (films.patients[films.labels], films.patients[~films.labels])
    if min(np.unique(patients).size for patients in classes) < _LEAST_PATIENTS:
        return None
    return auroc_delong(films.labels, films.scores, groups=films.patients)
