"""Do a site's films still look as they did when it was calibrated? Without any truth.

Runs and a profile's baseline enter, a `Drift` leaves: each feature (`distributions`) of all films,
of each week and of each device, held against the baseline, and whether to call for help. It sees
that films differ, not whether answers are right; and it says where there are too few to see
anything.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path, PurePath, PurePosixPath

from edge_app.errors import DataError, NoInputError
from edge_app.results.rows import ResultRow
from edge_app.site.cases import Run
from edge_app.site.distributions import Baseline, Distribution, values_of
from edge_app.site.profile import SiteProfile
from edge_app.statistics.population_stability import Comparison, compare, holm

# Siddiqi's rules of thumb: below 0.1 no change that matters, from 0.25 on a large one. Here they
# hold for what is above chance.
SMALL, LARGE = 0.1, 0.25
# That nothing has changed, all comparisons of a report together.
ALPHA = 0.05
LEAST_DEALS = 1999
# An answer is as likely to be wrong as ever only while these look as before.
OF_THE_ANSWERS = ("raw_score", "answer")


class Verdict(StrEnum):
    """What a comparison says."""

    AS_BEFORE = "as before"
    CHANGED = "changed"
    CHANGED_MUCH = "changed much"
    TOO_FEW = "too few to tell"


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature of one group of films.

    Attributes:
        kind: `all`, `week` or `device`.
        group: which week or device; empty for all.
        feature: as in `distributions`.
        comparison: of the group with the baseline.
        p_adjusted: its p-value, for as many comparisons as the report has.
        verdict: what it says.
        needed: about how many films would tell a large change; null where the baseline is too
            small for any number of them.
        baseline, now: the two distributions.
    """

    kind: str
    group: str
    feature: str
    comparison: Comparison
    p_adjusted: float
    verdict: Verdict
    needed: int | None
    baseline: Distribution
    now: Distribution


@dataclass(frozen=True, slots=True)
class Drift:
    """All comparisons of a report.

    Attributes:
        site: name of the profile.
        created_at: of the profile.
        n_baseline, n: films then and now.
        first, last: time of the first and of the last answer.
        features: every comparison, of all films first.
        call_for_help: whether answers may no longer be what was measured.
        advice: what to do, in sentences.
    """

    site: str
    created_at: str
    n_baseline: int
    n: int
    first: str
    last: str
    features: tuple[FeatureDrift, ...]
    call_for_help: bool
    advice: tuple[str, ...]

    def of(self, kind: str, feature: str) -> tuple[FeatureDrift, ...]:
        """The comparisons of a feature by week or by device."""
        return tuple(f for f in self.features if (f.kind, f.feature) == (kind, feature))


def watch_drift(
    runs: Sequence[Run], profile: SiteProfile, devices: Mapping[str, str] | None = None
) -> Drift:
    """Hold runs against a profile's baseline.

    Args:
        runs: with the profile's model; of a film in several, each row counts.
        profile: of the site.
        devices: by file; None takes the folder that a file lies in.

    Raises:
        DataError: a run is of another model, or there is no row.
    """
    for run in runs:
        _require_same_model(run, profile)
    rows = [(row, _device(row, run, devices)) for run in runs for row in run.rows.values()]
    if not rows:
        raise DataError(f"{runs[0].path}: no film was scored there, so there is nothing to compare")
    features = list(_compared(_groups(rows), profile.baseline))
    times = [row.scored_at for row, _ in rows]
    return Drift(
        site=profile.name,
        created_at=profile.created_at,
        n_baseline=profile.baseline.n,
        n=len(rows),
        first=min(times),
        last=max(times),
        features=tuple(features),
        call_for_help=any(_is_grave(feature) for feature in features),
        advice=tuple(_advice(features)),
    )


def read_devices(table: Path) -> dict[str, str]:
    """Which device took which file: a CSV with the columns file and device.

    Raises:
        NoInputError: it cannot be read.
        DataError: a column is missing, or a line names no device.
    """
    devices: dict[str, str] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"file", "device"} <= set(reader.fieldnames or ()):
                raise DataError(f"{table}: it needs the columns file and device")
            for line, cells in enumerate(reader, start=2):
                if not cells["file"] or not cells["device"]:
                    raise DataError(f"{table}:{line}: it names no file or no device")
                devices[cells["file"]] = cells["device"]
    except OSError as error:
        raise NoInputError(f"{table}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a CSV in UTF-8: {error}") from error
    return devices


def _require_same_model(run: Run, profile: SiteProfile) -> None:
    found = (run.header.model_sha256, run.header.parameters.get("bundle_sha256"))
    if found != (profile.model_sha256, profile.bundle_sha256):
        raise DataError(
            f"{run.path}: line 1: scored by the model {run.header.model_id} "
            f"({run.header.model_sha256[:12]}...), but the baseline of {profile.name!r} is of "
            f"{profile.model_id} ({profile.model_sha256[:12]}...): its scores cannot be compared"
        )


def _groups(rows: Sequence[tuple[ResultRow, str]]) -> Iterator[tuple[str, str, list[ResultRow]]]:
    """(kind, name, rows) of each group of rows, which come with their devices."""
    yield "all", "", [row for row, _ in rows]
    weeks: dict[str, list[ResultRow]] = {}
    devices: dict[str, list[ResultRow]] = {}
    for row, device in rows:
        weeks.setdefault(_week(row), []).append(row)
        devices.setdefault(device, []).append(row)
    for kind, groups in (("week", weeks), ("device", devices)):
        if len(groups) > 1:  # one group is all of them again
            for name in sorted(groups):
                yield kind, name, groups[name]


def _week(row: ResultRow) -> str:
    """The ISO 8601 week of the answer, such as 2026-W48."""
    year, week, _ = date.fromisoformat(row.scored_at[:10]).isocalendar()
    return f"{year}-W{week:02d}"


def _device(row: ResultRow, run: Run, devices: Mapping[str, str] | None) -> str:
    """As listed, else the first folder below the input, else the folder that the film lies in."""
    if devices is not None:
        return devices.get(row.file, "not listed")
    path = PurePosixPath(row.file)
    if path.is_absolute():
        return path.parent.name
    return path.parts[0] if len(path.parts) > 1 else PurePath(run.header.input).name


def _compared(
    groups: Iterable[tuple[str, str, list[ResultRow]]], baseline: Baseline
) -> Iterator[FeatureDrift]:
    found = [
        (kind, group, name, before, before.count(values[name]))
        for kind, group, rows in groups
        for values in [values_of(rows)]
        for name, before in sorted(baseline.features.items(), key=_urgency)
        if name in values
    ]
    # So many deals that the smallest p-value survives the adjustment.
    deals = max(LEAST_DEALS, round(2 * len(found) / ALPHA))
    comparisons = [compare_with(before, now, deals) for *_, before, now in found]
    adjusted = holm([comparison.p_value for comparison in comparisons])
    for (kind, group, name, before, now), comparison, p in zip(
        found, comparisons, adjusted, strict=True
    ):
        yield FeatureDrift(
            kind=kind,
            group=group,
            feature=name,
            comparison=comparison,
            p_adjusted=p,
            verdict=judge(comparison, p),
            needed=comparison.cases_for_noise(LARGE),
            baseline=before,
            now=now,
        )


def _urgency(item: tuple[str, Distribution]) -> tuple[bool, str]:
    """What answers follow from comes first."""
    return item[0] not in OF_THE_ANSWERS, item[0]


def compare_with(before: Distribution, now: Distribution, deals: int) -> Comparison:
    """Hold a distribution against the baseline's, which it was counted in the bins of."""
    unknown = len(now.counts) - len(before.counts)  # words that the baseline has never seen
    return compare([*before.counts, *[0] * unknown], now.counts, deals)


def judge(comparison: Comparison, p_adjusted: float) -> Verdict:
    """What a comparison says, with its p-value adjusted for all that were made."""
    if p_adjusted < ALPHA and comparison.excess >= LARGE:
        return Verdict.CHANGED_MUCH
    if p_adjusted < ALPHA and comparison.excess >= SMALL:
        return Verdict.CHANGED
    return Verdict.TOO_FEW if comparison.noise > LARGE else Verdict.AS_BEFORE


def _is_grave(feature: FeatureDrift) -> bool:
    return feature.verdict is Verdict.CHANGED_MUCH and feature.feature in OF_THE_ANSWERS


def _advice(features: Sequence[FeatureDrift]) -> Iterator[str]:
    grave = [feature for feature in features if _is_grave(feature)]
    films = [
        feature
        for feature in features
        if feature.verdict is Verdict.CHANGED_MUCH and feature.feature not in OF_THE_ANSWERS
    ]
    changed = [feature for feature in features if feature.verdict is Verdict.CHANGED]
    if grave:
        yield (
            f"Call for help: {_named(grave)} changed much. The answers may no longer be what was "
            "measured here. Until somebody has looked, have every film read by a person; then "
            "take films with a known truth, `pneumoscope evaluate` them and calibrate again."
        )
    if films:
        yield (
            f"Ask whoever takes the films: {_named(films)} changed much. A new machine, another "
            "position of the patients, another way to cut or to export the films?"
        )
    if changed:
        yield f"Look again in a week: {_named(changed)} changed somewhat."
    if not grave and not films and not changed:
        yield "Nothing that these films can show has changed."
    few = [f for f in features if f.kind == "all" and f.verdict is Verdict.TOO_FEW]
    if few:
        needed = [feature.needed for feature in few]
        most = max((n for n in needed if n is not None), default=None)
        what = "a larger baseline" if None in needed else f"about {most:,} films"
        yield (
            f"Too few films to tell: for {_named(few)} even a large change would look like chance. "
            f"It takes {what}."
        )


def _named(features: Sequence[FeatureDrift]) -> str:
    """The features, each with its groups; a few of many."""
    groups: dict[str, list[str]] = {}
    for feature in features:
        groups.setdefault(feature_words(feature.feature), []).append(feature.group)
    texts = []
    for name, names in groups.items():
        # What all films show needs no list of its weeks.
        shown = [] if "" in names else names[:3] + (["..."] if len(names) > 3 else [])
        texts.append(f"{name} ({', '.join(shown)})" if shown else name)
    return ", ".join(texts)


def feature_words(feature: str) -> str:
    """A feature as people say it."""
    known = {"raw_score": "the scores", "answer": "what is refused and why"}
    if feature in known:
        return known[feature]
    kind, _, name = feature.partition(" ")
    words = name.replace("_", " ")
    return f"the flag “{words}”" if kind == "flag" else f"the lungs' {_GEOMETRY.get(name, words)}"


_GEOMETRY = {
    "across": "place from left to right",
    "down": "place from top to bottom",
    "certainty": "outline's certainty",
    "turned": "orientation",
}
