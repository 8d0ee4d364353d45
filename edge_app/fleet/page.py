"""A campaign for people: one page that opens anywhere and loads nothing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge_app.fleet.by_site import SiteCounts
from edge_app.fleet.calibration import FleetCalibration, SiteCalibration
from edge_app.fleet.campaign import Campaign, Problem
from edge_app.fleet.devices import DeviceState, Expected
from edge_app.fleet.drift import FleetDrift, SiteDrift
from edge_app.site.charts import draw_reliability
from edge_app.site.drift import LARGE, SMALL, Verdict, feature_words
from edge_app.site.page import figure, heading, page, paragraph, show, table
from edge_app.statistics.intervals import Figure

_CHANGES = (Verdict.CHANGED_MUCH, Verdict.CHANGED)
# Of a list of numbers on a page.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the page tells.

    Attributes:
        campaign: its description.
        expected: of devices.
        recent_days: the last weeks, in days.
        sites: counts of each.
        devices: of the registry.
        drift: of the last weeks.
        calibration: null where no truth came.
    """

    campaign: Campaign
    expected: Expected
    recent_days: int
    sites: tuple[SiteCounts, ...]
    devices: tuple[DeviceState, ...]
    drift: FleetDrift
    calibration: FleetCalibration | None


def campaign_page(findings: Findings) -> Iterator[str]:
    """The page of `pneumoscope fleet merge`."""
    yield from page(f"Campaign as of {findings.campaign.as_of}", _body(findings))


def describe(findings: Findings) -> str:
    """The same in a few lines: what to look at."""
    return "\n".join([_facts(findings), *_to_do(findings)])


def _facts(findings: Findings) -> str:
    campaign = findings.campaign
    return (
        f"{campaign.answers:,} answers of {len(findings.sites):,} sites, from {campaign.packs:,} "
        f"packs; {campaign.devices:,} devices are registered"
    )


def _to_do(findings: Findings) -> Iterator[str]:
    silent = [device for device in findings.devices if device.is_silent]
    never = [device for device in silent if not device.packs]
    old = [device for device in findings.devices if device.is_old]
    gaps = [device for device in findings.devices if device.missing]
    odd = [device for device in findings.devices if device.remarks]
    changed = {one.site for one in findings.drift.features if one.verdict is Verdict.CHANGED_MUCH}
    refused = len(findings.campaign.problems)
    if silent:
        yield (
            f"{len(silent):,} devices have been silent for more than "
            f"{findings.expected.silent_days} days, {len(never):,} of them never sent a pack"
        )
    if old:
        yield f"{len(old):,} devices run another model than {findings.expected.model_id}"
    if changed:
        yield (
            f"{len(changed):,} sites have changed much: have their films read by a person until "
            "somebody has looked"
        )
    if gaps:
        yield f"{len(gaps):,} devices have sent packs that are not here"
    if odd:
        yield f"{len(odd):,} devices have something odd, mostly their clocks"
    if refused:
        yield f"{refused:,} files do not count; each is listed with its reason"
    if findings.campaign.repeated:
        yield f"{findings.campaign.repeated:,} lines came again in a later pack and count once"


def _body(findings: Findings) -> Iterator[str]:
    yield paragraph(_facts(findings) + ".", "facts")
    for text in _to_do(findings):
        yield paragraph(text[0].upper() + text[1:] + ".", "notice")
    yield from _problems(findings.campaign.problems)
    yield from _devices(findings)
    yield from _sites(findings.sites)
    yield from _drift(findings)
    yield from _calibration(findings.calibration)


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    if problems:
        yield heading("Files that do not count")
        yield table(("file", "why"), ((one.file, one.why) for one in problems))


def _devices(findings: Findings) -> Iterator[str]:
    yield heading("Devices to look after")
    rows = [_device_row(one) for one in findings.devices if _needs_a_look(one)]
    if rows:
        yield table(("site", "device", "heard of", "model", "missing packs", "what"), rows)
    else:
        yield paragraph("None: every device was heard of and runs the model that it is to run.")
    yield paragraph(
        f"Silent: no pack and no answer in the {findings.expected.silent_days} days before "
        f"{findings.campaign.as_of}. Model: of the last pack; it is to be "
        f"{findings.expected.model_id}. A device's clock is not believed: days before its program "
        "was made, or after today, count for nothing here.",
        "facts",
    )


def _needs_a_look(device: DeviceState) -> bool:
    return bool(device.is_silent or device.is_old or device.missing or device.remarks)


def _device_row(device: DeviceState) -> tuple[str, ...]:
    silence = "silent" if device.packs else "never sent a pack"
    what = [silence] if device.is_silent else []
    what += ["old model"] if device.is_old else []
    numbers = ", ".join(map(str, device.missing[:_SHOWN]))
    more = len(device.missing) - _SHOWN
    return (
        device.site,
        device.device,
        device.heard_on.isoformat() if device.heard_on else "",
        device.model_id,
        f"{numbers} and {more:,} more" if more > 0 else numbers,
        "; ".join([*what, *device.remarks]),
    )


def _sites(sites: Iterable[SiteCounts]) -> Iterator[str]:
    yield heading("Sites")
    columns = (
        "site", "devices", "answers", "scored", "refused", "failed", "suspected per 100",
        "referred per 100", "truth known", "first", "last", "seconds",
    )  # fmt: skip
    yield table(columns, map(_site_row, sites))
    yield paragraph(
        "Suspected and referred (suspected or indeterminate): of the scored answers, with Wilson's "
        "95% interval. Seconds: median for an answer.",
        "facts",
    )


def _site_row(site: SiteCounts) -> tuple[str, ...]:
    numbers = (site.devices, site.answers, site.scored, site.refused, site.failed)
    shares = (_share(figure, 100) for figure in (site.suspected, site.referred))
    days = (day.isoformat() if day else "" for day in (site.first, site.last))
    return (
        site.site,
        *(f"{number:,}" for number in numbers),
        *shares,
        f"{site.labelled:,}",
        *days,
        f"{site.median_ms / 1000:.2f}",
    )


def _drift(findings: Findings) -> Iterator[str]:
    drift = findings.drift
    yield heading("Drift by site")
    columns = (
        "site", "what", "against", "films then", "films now", "index", "by chance", "p", "verdict"
    )  # fmt: skip
    if changed := [one for one in drift.features if one.verdict in _CHANGES]:
        yield table(columns, map(_drift_row, changed))
    few = {one.site for one in drift.features if one.verdict is Verdict.TOO_FEW}
    compared = {one.site for one in drift.features}
    yield paragraph(
        f"The last {findings.recent_days} days of {len(compared):,} sites were compared; "
        f"{len({one.site for one in changed}):,} have changed, {len(few):,} have too few films to "
        f"tell, {len(drift.without_baseline):,} have nothing to be held against."
    )
    yield paragraph(
        "Held against the calibration of the site where it has one of this model, else against its "
        "own answers before. Index: population stability index; by chance: its mean where nothing "
        "has changed. p: adjusted so that of the sites called changed at most 5% are called so by "
        f"chance (Benjamini and Hochberg 1995). Changed: p below 0.05 and {SMALL:g} above chance; "
        f"changed much: {LARGE:g}. What else has changed there tells `pneumoscope drift`.",
        "facts",
    )


def _drift_row(one: SiteDrift) -> tuple[str, ...]:
    return (
        one.site,
        feature_words(one.feature),
        one.against,
        f"{one.comparison.n_baseline:,}",
        f"{one.comparison.n:,}",
        f"{one.comparison.index:.2f}",
        f"{one.comparison.by_chance:.2f}",
        f"{one.p_adjusted:.2g}",
        str(one.verdict),
    )


def _calibration(calibration: FleetCalibration | None) -> Iterator[str]:
    yield heading("Calibration by site")
    if calibration is None:
        yield paragraph("No pack holds what turned out, so nothing can be said.")
        return
    columns = (
        "site", "films", "patients", "given", "observed", "", "sensitivity", "specificity", "AUROC"
    )  # fmt: skip
    yield table(columns, map(_calibration_row, (calibration.all, *calibration.sites)))
    yield figure(
        draw_reliability(calibration.bins),
        "Reliability of all sites: dots on the diagonal are probabilities that hold.",
    )
    by_chance = len(calibration.sites) / 20
    yield paragraph(
        "Given: mean probability; observed: share with pneumonia; they differ where the interval "
        f"does not hold what was given, of {len(calibration.sites):,} sites about {by_chance:.0f} "
        "by chance alone. Sensitivity: of referral; specificity: of suspicion; Wilson's 95% "
        "intervals, AUROC by DeLong; films of one patient count together as one. Only films whose "
        "truth came with a pack: where mostly the sick are followed up, all of this is of them.",
        "facts",
    )


def _calibration_row(one: SiteCalibration) -> tuple[str, ...]:
    return (
        one.site,
        f"{one.films:,}",
        f"{one.patients:,}",
        f"{one.claimed:.2f}",
        show(one.observed),
        "" if one.fits else "differs",
        *(_share(figure) for figure in (one.sensitivity, one.specificity, one.auroc)),
    )


def _share(figure: Figure | None, per: int = 1) -> str:
    return "" if figure is None else show(figure, per)
