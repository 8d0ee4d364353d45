"""From a site's cases to its profile: cut-offs for what was asked, and the site's calibration.

All films from the lower cut-off on are referred (suspected or indeterminate), those from the upper
one on are called suspected. The lower one is chosen by a wanted sensitivity or by how many
referrals the site can follow up, the upper one by a wanted specificity. Figures are of the cases
that chose the cut-offs, so they flatter; beside them stands what cut-offs chosen in the same way
reach on cases that did not choose them. `evaluate` on later films says what holds.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from edge_app.bundle.manifest import LEAST_PROBABILITY, Split
from edge_app.errors import DataError
from edge_app.results.rows import CutOffs, ResultRow, utc_now
from edge_app.site.accuracy import Accuracy, CutOffTable, measure
from edge_app.site.cases import Case, Cases
from edge_app.site.distributions import baseline_of
from edge_app.site.profile import FORMAT_VERSION, PREFIX, SiteCalibration, SiteProfile, Wanted
from edge_app.site.rescored import rescored
from edge_app.statistics.calibration import Platt, fit_platt
from edge_app.statistics.cutoffs import threshold_for_sensitivity, threshold_for_specificity
from edge_app.statistics.intervals import Figure, wilson
from edge_app.statistics.observations import BoolArray
from edge_app.statistics.predictive_values import complement, predictive_values
from edge_app.statistics.sample_size import cases_for_margin
from edge_app.version import __version__

# Patients of either class: of fewer, the interval of a sensitivity of 0.9 spans half of [0, 1].
LEAST_PATIENTS = 10
_FOLDS = 10


@dataclass(frozen=True, slots=True)
class Missing:
    """How many more patients it takes until a figure is known to within a margin.

    Attributes:
        what: the figure.
        margin: to either side.
        there, needed: patients of the class that the figure is of.
        screened: about how many patients give the missing ones, at the prevalence.
    """

    what: str
    margin: float
    there: int
    needed: int
    screened: int

    @property
    def more(self) -> int:
        """What is missing."""
        return max(0, self.needed - self.there)


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """What cut-offs that were chosen on nine tenths of the patients reach on the other tenth.

    Attributes:
        sensitivity: of referral.
        specificity: of suspicion.
        referrals: at the prevalence.
    """

    sensitivity: Figure
    specificity: Figure
    referrals: Figure


@dataclass(frozen=True, slots=True)
class SiteFit:
    """A profile, what was measured with it on the cases and without them, and what is missing."""

    profile: SiteProfile
    accuracy: Accuracy
    crossed: CrossValidation
    missing: tuple[Missing, ...]


def calibrate(
    cases: Cases,
    rows: Iterable[ResultRow],
    name: str,
    wanted: Wanted,
    *,
    prevalence: float | None = None,
    margin: float = 0.05,
) -> SiteFit:
    """Fit a site's profile.

    Args:
        cases: films with a known truth.
        rows: all rows of their run, for the baseline.
        name: of the site.
        wanted: what the cut-offs are to reach.
        prevalence: share of the sick among those who will be filmed; None: that of the cases.
        margin: to within which sensitivity and specificity should be known.

    Raises:
        DataError: too few patients, scores that do not rise with the disease, no cut-off that
            reaches what is wanted, or a run that does not say which bundle it used.
    """
    cases.require_classes(LEAST_PATIENTS, "a site profile")
    bundle_sha256 = cases.header.parameters.get("bundle_sha256")
    if not isinstance(bundle_sha256, str):
        raise DataError("the results do not say which bundle scored: score the films again")
    table = CutOffTable.of(cases, prevalence)
    point = _cut_offs(cases, table, name, wanted)
    platt = _calibration(cases, table.prevalence)
    _require_sense(point, platt)
    accuracy = measure(_decided_again(cases, point, platt), table.prevalence)
    profile = SiteProfile(
        format_version=FORMAT_VERSION,
        name=name,
        created_at=utc_now(),
        pneumoscope_version=__version__,
        model_id=cases.header.model_id,
        model_sha256=cases.header.model_sha256,
        bundle_sha256=bundle_sha256,
        runtime=cases.header.runtime,
        cases=_split(cases, name),
        prevalence=table.prevalence,
        wanted=wanted,
        cut_offs=point,
        calibration=SiteCalibration(platt.scale, platt.offset, accuracy.ece),
        sensitivity=accuracy.referred.sensitivity,
        specificity=accuracy.suspected.specificity,
        referrals=accuracy.referred.referrals,
        auroc=accuracy.auroc,
        baseline=baseline_of(rows),
    )
    crossed = _cross_validated(cases, name, wanted, table.prevalence)
    return SiteFit(profile, accuracy, crossed, tuple(_missing(cases, accuracy, margin)))


def _cut_offs(cases: Cases, table: CutOffTable, name: str, wanted: Wanted) -> CutOffs:
    labels, scores, weights = cases.labels, cases.scores, cases.weights
    if wanted.sensitivity is not None:
        low = threshold_for_sensitivity(labels, scores, wanted.sensitivity, weights=weights)
    else:
        assert wanted.referrals_per_100 is not None
        low = _within_budget(table, wanted.referrals_per_100)
    high = threshold_for_specificity(labels, scores, wanted.specificity, weights=weights)
    return CutOffs(PREFIX + name, low, low, max(low, high))


def _cross_validated(cases: Cases, name: str, wanted: Wanted, prevalence: float) -> CrossValidation:
    """Choose on nine tenths of the patients, look at the other tenth, ten times.

    Stone M. Cross-validatory choice and assessment of statistical predictions. J R Stat Soc B 1974;
    36:111-147. Wilson's intervals take the ten choices for one.
    """
    scored = cases.scored
    referred = np.zeros(len(scored), dtype=np.bool_)
    suspected = referred.copy()
    for inside in _folds(cases):
        others = replace(cases, all=tuple(c for c, i in zip(scored, inside, strict=True) if not i))
        point = _cut_offs(others, CutOffTable.of(others, prevalence), name, wanted)
        referred[inside] = cases.scores[inside] >= point.refer_low
        suspected[inside] = cases.scores[inside] >= point.refer_high
    labels, weights = cases.labels, cases.weights
    found, alarmed, called = (
        wilson(min(float(weights[of & called].sum()), total), total)
        for of, called in ((labels, referred), (~labels, referred), (~labels, suspected))
        for total in [float(weights[of].sum())]
    )
    referrals = predictive_values(found, complement(alarmed), prevalence).referrals
    return CrossValidation(found, complement(called), referrals)


def _folds(cases: Cases) -> Iterator[BoolArray]:
    """Ten masks (n,) of the scored; a patient's films share one, and each has both classes.

    By the hash of the patient, within each class, so that the order of the CSV does not matter.
    """
    labels, patients = cases.labels, cases.patients
    sick = {patient for patient, label in zip(patients, labels, strict=True) if label}
    fold_of: dict[str, int] = {}
    for members in (sick, set(patients) - sick):
        ordered = sorted(members, key=lambda p: hashlib.sha256(p.encode("utf-8")).digest())
        fold_of |= {patient: number % _FOLDS for number, patient in enumerate(ordered)}
    folds = np.array([fold_of[patient] for patient in patients])
    return (folds == number for number in range(_FOLDS))


def _within_budget(table: CutOffTable, referrals_per_100: float) -> float:
    """The lowest cut-off, so the most sensitive one, that refers so many at most."""
    for row in table:
        if 100 * row.referrals.value <= referrals_per_100 and row.sensitivity.value > 0:
            return row.raw_score
    raise DataError(
        f"no cut-off refers {referrals_per_100:g} of 100 films or fewer and still finds anybody"
    )


def _calibration(cases: Cases, prevalence: float) -> Platt:
    """Platt's on the cases, moved from their prevalence to the wanted one.

    Saerens M, Latinne P, Decaestecker C. Adjusting the outputs of a classifier to new a priori
    probabilities. Neural Comput 2002; 14:21-41: the prior's odds are a factor of the odds.
    """
    labels, weights = cases.labels, cases.weights
    try:
        platt = fit_platt(labels, cases.scores, weights)
    except ValueError as error:
        raise DataError(
            f"{error}: on these films the model does not tell the sick from the healthy, and no "
            "cut-off mends that. Are the labels the right way round?"
        ) from error
    own = float(weights[labels].sum() / weights.sum())
    return replace(platt, offset=platt.offset + _log_odds(prevalence) - _log_odds(own))


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def _require_sense(point: CutOffs, platt: Platt) -> None:
    """As of a bundle: no answer may contradict its own probability."""
    low, high = platt.probability([point.refer_low, point.refer_high])
    if low > 1 - LEAST_PROBABILITY or high < LEAST_PROBABILITY:
        raise DataError(
            f"the cut-offs would lie at the probabilities {low:.3f} and {high:.3f}, so answers "
            "would contradict them; ask for another sensitivity, specificity or budget"
        )


def _decided_again(cases: Cases, point: CutOffs, platt: Platt) -> Cases:
    """The cases as a run with the site's cut-offs and calibration has them."""

    def probability(raw_score: float) -> float:
        return float(platt.probability([raw_score])[0])

    decided = tuple(
        Case(rescored(case.row, point, probability), case.label, case.patient) for case in cases.all
    )
    return replace(cases, header=replace(cases.header, operating_point=point), all=decided)


def _split(cases: Cases, name: str) -> Split:
    return Split(
        name=f"films of the site {name}",
        n_images=cases.labels.size,
        n_patients=len(set(cases.patients)),
        n_positive=int(np.sum(cases.labels)),
        sha256=cases.split_sha256(),
    )


def _missing(cases: Cases, accuracy: Accuracy, margin: float) -> Iterable[Missing]:
    weights, labels, prevalence = cases.weights, cases.labels, accuracy.prevalence
    for what, share, members, of_all in (
        ("sensitivity of referral", accuracy.referred.sensitivity, labels, prevalence),
        ("specificity of suspicion", accuracy.suspected.specificity, ~labels, 1 - prevalence),
    ):
        # Not of a perfect share, which a few cases show by luck.
        there, likely = int(weights[members].sum()), min(share.value, 0.95)
        needed = cases_for_margin(likely, margin)
        screened = math.ceil(max(0, needed - there) / of_all)
        yield Missing(what, margin, there, needed, screened)
