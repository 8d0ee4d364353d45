"""Do the films of each site still look as they did? Scores, and what is refused and why.

A site is held against its calibration where it has a profile of the model in use, else against its
own answers before the last weeks. As on the device (`site.drift`) each index is held against
chance; over many sites the false discovery rate is bounded in place of any error at all
(docs/decisions: drift of a fleet).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_app.fleet.by_site import Films
from edge_app.site.distributions import Distribution, distribution_of
from edge_app.site.drift import ALPHA, LEAST_DEALS, SMALL, Verdict, compare_with, judge
from edge_app.site.profile import SiteProfile
from edge_app.statistics.population_stability import Comparison, false_discovery


@dataclass(frozen=True, slots=True)
class SiteDrift:
    """One feature of a site.

    Attributes:
        site, model_id: whose.
        against: what the films are held against.
        feature: `raw_score` or `answer`.
        baseline, now: the distributions.
        comparison: of the two.
        p_adjusted: for all comparisons of the campaign (Benjamini and Hochberg).
        verdict: what it says.
    """

    site: str
    model_id: str
    against: str
    feature: str
    baseline: Distribution
    now: Distribution
    comparison: Comparison
    p_adjusted: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class FleetDrift:
    """Of all sites.

    Attributes:
        features: of the sites that can be compared.
        without_baseline: sites that have nothing to be held against.
    """

    features: tuple[SiteDrift, ...]
    without_baseline: tuple[str, ...]


def watch_sites(films: Iterable[Films], profiles: Mapping[str, SiteProfile]) -> FleetDrift:
    """Hold each site's last weeks against what it is to look like.

    Args:
        films: of each site.
        profiles: by site, where there is one.
    """
    found: list[SiteDrift] = []
    without: list[str] = []
    for some in films:
        features = list(_compared(some, profiles.get(some.site)))
        found += features
        if not features:
            without.append(some.site)
    return FleetDrift(tuple(_judged(_refined(found))), tuple(without))


def _compared(films: Films, profile: SiteProfile | None) -> Iterable[SiteDrift]:
    if profile is not None and profile.model_sha256 == films.model_sha256:
        against = f"calibration of {profile.created_at[:10]}"
        known = profile.baseline.features
        baselines = {name: known[name] for name in ("raw_score", "answer") if name in known}
    else:
        against = "its own before"
        baselines = _own_baselines(films)
    for name, baseline in baselines.items():
        now = _now(films, name, baseline)
        if baseline.n and now.n:
            yield _compare(films, against, name, baseline, now, LEAST_DEALS)


def _own_baselines(films: Films) -> dict[str, Distribution]:
    found = {}
    if films.scores_before.size:
        found["raw_score"] = distribution_of([float(x) for x in films.scores_before])
    if films.answers_before:
        words = tuple(sorted(films.answers_before))
        counts = tuple(films.answers_before[word] for word in words)
        found["answer"] = Distribution((), words, counts)
    return found


def _now(films: Films, name: str, baseline: Distribution) -> Distribution:
    if name == "raw_score":
        index = np.searchsorted(baseline.edges, films.scores, side="right")
        counts = np.bincount(index, minlength=len(baseline.counts))
        return Distribution(baseline.edges, (), tuple(map(int, counts)))
    words = (*baseline.words, *sorted(set(films.answers) - set(baseline.words)))
    return Distribution((), words, tuple(films.answers.get(word, 0) for word in words))


def _compare(
    films: Films, against: str, name: str, baseline: Distribution, now: Distribution, deals: int
) -> SiteDrift:
    comparison = compare_with(baseline, now, deals)
    return SiteDrift(
        site=films.site,
        model_id=films.model_id,
        against=against,
        feature=name,
        baseline=baseline,
        now=now,
        comparison=comparison,
        p_adjusted=comparison.p_value,
        verdict=Verdict.AS_BEFORE,
    )


def _refined(found: Sequence[SiteDrift]) -> list[SiteDrift]:
    """With more deals where the smallest p-value of a few would not survive the adjustment.

    That is so for few sites only: where many have changed the smallest survives.
    """
    adjusted = false_discovery([one.comparison.p_value for one in found])
    deals = max(LEAST_DEALS, round(2 * len(found) / ALPHA))
    smallest = 1.5 / (LEAST_DEALS + 1)
    return [
        replace(one, comparison=compare_with(one.baseline, one.now, deals))
        if p >= ALPHA and one.comparison.p_value < smallest and one.comparison.excess >= SMALL
        else one
        for one, p in zip(found, adjusted, strict=True)
    ]


def _judged(found: Sequence[SiteDrift]) -> Iterable[SiteDrift]:
    adjusted = false_discovery([one.comparison.p_value for one in found])
    for one, p in zip(found, adjusted, strict=True):
        yield replace(one, p_adjusted=p, verdict=judge(one.comparison, p))
