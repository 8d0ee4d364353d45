"""A `SiteFit` for people: lines of text, and the page to print in the profile's folder."""

from collections.abc import Iterator

from edge_app.decision import show_probability
from edge_app.site.calibrate import Missing, SiteFit
from edge_app.site.evaluation_page import cut_off_table, drawings, facts, warnings
from edge_app.site.page import heading, page, paragraph, show, table
from edge_app.statistics.logistic import sigmoid

_FLATTERING = (
    "Figures of the very films that chose the cut-offs flatter: measure again on later films with "
    "pneumoscope evaluate before you rely on them."
)


def calibration_page(fit: SiteFit) -> Iterator[str]:
    """The page of `pneumoscope calibrate`."""
    yield from page(f"Calibration at {fit.profile.name}", _body(fit))


def describe(fit: SiteFit) -> str:
    """The same in a few lines."""
    lines = [*facts(fit.accuracy), *_choices(fit), *map(_sentence, fit.missing)]
    return "\n".join([*lines, *warnings(fit.accuracy), _FLATTERING])


def _body(fit: SiteFit) -> Iterator[str]:
    profile, accuracy = fit.profile, fit.accuracy
    yield paragraph(
        f"Model {profile.model_id}, SHA-256 {profile.model_sha256}, in {profile.runtime}. Made "
        f"{profile.created_at} with pneumoscope {profile.pneumoscope_version}. Valid for this "
        "model only.",
        "facts",
    )
    for text in (*facts(accuracy), *_choices(fit)):
        yield paragraph(text[0].upper() + text[1:] + ".")
    for text in (*warnings(accuracy), _FLATTERING):
        yield paragraph(text, "notice")
    yield from drawings(accuracy)
    yield heading("How many more films it takes")
    yield table(
        ("figure", "patients there", "needed", "missing", "to be screened for them, about"),
        map(_missing_row, fit.missing),
    )
    yield paragraph(
        "Until Wilson's 95% interval is as narrow as that (Buderer 1996; WHO and TDR, Determining "
        "the local calibration of computer-assisted detection thresholds: a toolkit, 2021, which "
        "sizes the sick by the sensitivity and takes all screened by the prevalence). Take "
        "patients as they come, and have the truth from a test, not from this program.",
        "facts",
    )
    yield heading("At every cut-off")
    yield cut_off_table(accuracy.cut_offs)
    yield paragraph(
        "Probabilities are the site's own calibration, for the prevalence above. Another machine, "
        "another film or other patients move them: `pneumoscope drift` watches for that.",
        "facts",
    )


def _choices(fit: SiteFit) -> Iterator[str]:
    profile, wanted = fit.profile, fit.profile.wanted
    own = profile.calibration
    low, high = (
        show_probability(sigmoid(own.scale * x + own.offset))
        for x in (profile.cut_offs.refer_low, profile.cut_offs.refer_high)
    )
    asked = (
        f"for a sensitivity of {wanted.sensitivity:g}"
        if wanted.sensitivity is not None
        else f"for at most {wanted.referrals_per_100:g} referrals of 100 films"
    )
    yield (
        f"referred from probability {low} on, {asked}: sensitivity {show(profile.sensitivity)}, "
        f"per 100 films {show(profile.referrals, per=100)} referrals"
    )
    yield (
        f"suspected from {high} on, for a specificity of {wanted.specificity:g}: specificity "
        f"{show(profile.specificity)}, sensitivity {show(fit.accuracy.suspected.sensitivity)}"
    )
    crossed = fit.crossed
    yield (
        "cut-offs chosen in the same way reach on films that did not choose them (tenfold "
        f"cross-validation by patient): sensitivity of referral {show(crossed.sensitivity)}, "
        f"specificity of suspicion {show(crossed.specificity)}, per 100 films "
        f"{show(crossed.referrals, per=100)} referrals"
    )


def _sentence(missing: Missing) -> str:
    to = f"{missing.what} to within {missing.margin:g} takes {missing.needed:,} patients"
    if not missing.more:
        return f"{to}; there are {missing.there:,}"
    return (
        f"{to}: {missing.more:,} more than the {missing.there:,} that there are, so about "
        f"{missing.screened:,} more to be screened"
    )


def _missing_row(missing: Missing) -> tuple[str, ...]:
    return (
        f"{missing.what}, to within {missing.margin:g}",
        f"{missing.there:,}",
        f"{missing.needed:,}",
        f"{missing.more:,}",
        f"{missing.screened:,}" if missing.more else "",
    )
