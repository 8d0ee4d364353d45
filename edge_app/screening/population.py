"""Is this a patient and a view that the model was validated on?

What the header says and what the user states enter, a `Refusal` leaves where either lies outside
of the bundle's population. Both are believed, and the one that lies outside wins: a header that
lies is answered for by the picture's own look, not by this module.
"""

import re

from edge_app.bundle.manifest import Population
from edge_app.decision import Reason
from edge_app.images.radiograph import DicomFacts
from edge_app.screening.refusals import Refusal, ages_contradict
from edge_app.screening.stated import Stated

# What says no more than that the view is frontal is none of several frontal views.
_ANY_FRONTAL = "FRONTAL"
# A header's view may hold anything; only what names a projection is held against the population.
_PROJECTIONS = {"AP": "AP", "ANTEROPOSTERIOR": "AP", "PA": "PA", "POSTEROANTERIOR": "PA"}


def find_population_refusal(
    facts: DicomFacts | None, stated: Stated, population: Population
) -> Refusal | None:
    """Why a patient or a view is none of those that the model was validated on, or None."""
    if stated.age_years is not None:
        refusal = _outside_age(stated.age_years, population)
        if refusal is not None:
            return refusal
    if (refusal := _outside_view(stated.view, population)) is not None:
        return refusal
    if facts is None:
        return None
    return _wrong_age(facts, population) or _outside_view(
        _header_view(facts.view_position), population
    )


def _wrong_age(facts: DicomFacts, population: Population) -> Refusal | None:
    said, by_birth = facts.patient_age_years, facts.age_by_birth_years
    if said is None:
        return None
    refusal = _outside_age(said, population)
    if refusal is not None or by_birth is None or not ages_contradict(said, by_birth):
        return refusal
    other = _outside_age(by_birth, population)
    return other and Refusal(
        other.reason, f"by the date of birth a {other.message}; PatientAge says {said:.1f} years"
    )


def _outside_age(age: float, population: Population) -> Refusal | None:
    limits = population.age_years
    # A child is five until the sixth birthday.
    if limits is None or limits[0] <= age < limits[1] + 1:
        return None
    return Refusal(
        Reason.OUTSIDE_VALIDATED_POPULATION,
        f"patient of {age:.1f} years; validated from {limits[0]:g} to {limits[1]:g} years: have "
        "the film read by a person",
    )


def _header_view(text: str) -> str:
    """The projection that a header's free text names; empty where it names none, or several."""
    named = {_PROJECTIONS[word] for word in re.findall(r"[A-Z]+", text) if word in _PROJECTIONS}
    return named.pop() if len(named) == 1 else ""


def _outside_view(view: str, population: Population) -> Refusal | None:
    if view in ("", _ANY_FRONTAL, *population.views) or not population.views:
        return None
    return Refusal(
        Reason.OUTSIDE_VALIDATED_POPULATION,
        f"view {view}; validated on {' and '.join(population.views)} views: have the film read by "
        "a person",
    )
