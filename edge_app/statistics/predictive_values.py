"""What follows from sensitivity and specificity at a prevalence: PPV, NPV, share of referrals.

`Figure`s of two independent samples, the sick and the healthy, enter; `Figure`s leave. Their
intervals are recovered from the two that enter (MOVER, the method of variance estimates recovery:
Zou GY, Donner A. Stat Med 2008; 27:1693-1702; of ratios: Donner A, Zou GY. Stat Methods Med Res
2012; 21:347-359), so that they neither leave [0, 1] nor collapse where not one case erred. The
prevalence is taken as known.
"""

import math
from dataclasses import dataclass

from edge_app.statistics.intervals import Figure, check_share


@dataclass(frozen=True, slots=True)
class PredictiveValues:
    """At one cut-off and one prevalence; a value is None where nobody would get that answer.

    Attributes:
        ppv: share of the sick among those called positive.
        npv: share of the healthy among those called negative.
        referrals: share called positive.
    """

    ppv: Figure | None
    npv: Figure | None
    referrals: Figure


def predictive_values(
    sensitivity: Figure, specificity: Figure, prevalence: float
) -> PredictiveValues:
    """Of a test with this sensitivity and specificity, where this share of people is sick.

    Raises:
        ValueError: the prevalence is not strictly between 0 and 1.
    """
    check_share("prevalence", prevalence)
    false_alarms, missed = complement(specificity), complement(sensitivity)
    return PredictiveValues(
        ppv=_posterior(sensitivity, false_alarms, prevalence),
        npv=_posterior(specificity, missed, 1 - prevalence),
        referrals=_mixture(sensitivity, false_alarms, prevalence),
    )


def complement(share: Figure) -> Figure:
    """The share of the others, with the same interval seen from there."""
    return Figure(
        1 - share.value, 1 - share.high, 1 - share.low, share.confidence, share.method, share.n
    )


def _posterior(right: Figure, wrong: Figure, prior: float) -> Figure | None:
    """Of prior x right / (prior x right + (1 - prior) x wrong), which rises with right / wrong."""
    if right.value == 0 and wrong.value == 0:
        return None
    ratio = right.value / wrong.value if wrong.value else math.inf
    low, high = _ratio_interval(right, wrong)
    value, low, high = (_after(prior, likelihood) for likelihood in (ratio, low, high))
    return _figure(value, low, high, right, wrong)


def _after(prior: float, likelihood_ratio: float) -> float:
    """Bayes' theorem in odds."""
    if math.isinf(likelihood_ratio):
        return 1.0
    odds = likelihood_ratio * prior / (1 - prior)
    return odds / (1 + odds)


def _ratio_interval(a: Figure, b: Figure) -> tuple[float, float]:
    """Of a / b (Donner and Zou 2012); infinite where the interval of b reaches 0."""
    product = a.value * b.value
    # Their lower end times its conjugate: the same number, and defined where b or a is 0.
    below = a.low * (2 * a.value - a.low)
    root = math.sqrt(max(0.0, product**2 - below * b.high * (2 * b.value - b.high)))
    low = below / (product + root) if product + root > 0 else 0.0
    if b.low == 0:
        return low, math.inf
    above = b.low * (2 * b.value - b.low)
    root = math.sqrt(max(0.0, product**2 - a.high * (2 * a.value - a.high) * above))
    return low, (product + root) / above


def _mixture(sick: Figure, healthy: Figure, prevalence: float) -> Figure:
    """Of prevalence x sick + (1 - prevalence) x healthy (Zou and Donner 2008)."""
    value = prevalence * sick.value + (1 - prevalence) * healthy.value
    below = math.hypot(
        prevalence * (sick.value - sick.low), (1 - prevalence) * (healthy.value - healthy.low)
    )
    above = math.hypot(
        prevalence * (sick.high - sick.value), (1 - prevalence) * (healthy.high - healthy.value)
    )
    return _figure(value, value - below, value + above, sick, healthy)


def _figure(value: float, low: float, high: float, a: Figure, b: Figure) -> Figure:
    """Within [0, 1], and around the value where rounding misses it by an ulp."""
    low, high = max(0.0, min(low, value)), min(1.0, max(high, value))
    return Figure(value, low, high, min(a.confidence, b.confidence), "mover", a.n + b.n)
