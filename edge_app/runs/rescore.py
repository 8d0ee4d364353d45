"""Stored scores against other cut-offs: a run in, a new run out; no picture is decoded.

`results.jsonl` of the new run is written whole, its table and report are derived from it. What was
refused stays so: it has no score that could be read another way; a film with one lung that is no
longer suspected is refused too. A picture of the report moves with
its film's answer; an answer whose films had none before has none now.
"""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import MANIFEST_FILE, Bundle, Calibration, ModelFile
from edge_app.decision import Decision
from edge_app.errors import DataError, UsageError
from edge_app.files.codec import CodecError, compact_json, decode, parse_json
from edge_app.files.whole import make_folder, write_whole
from edge_app.report.gallery import MOST_PICTURES, Gallery
from edge_app.report.thumbnail import Thumbnail
from edge_app.results.folder import RunFolder
from edge_app.results.rows import CutOffs, ResultRow, RunHeader, encode_row, read_results
from edge_app.runs.derived import derive
from edge_app.runs.discovery import path_of
from edge_app.site.profile import SignedProfile, apply_profile
from edge_app.site.profile_folder import read_profile
from edge_app.site.rescored import rescored

# The parameter of a run that says which results its scores are from.
RESCORED_FROM = "rescored_from"
_OF_A_SITE = ("site", "site_sha256", "site_signed_by")


@dataclass(frozen=True, slots=True)
class RescorePlan:
    """What to read against what; exactly one of the three that decide.

    Attributes:
        source: folder of the run.
        out: folder of the new one, not there yet or empty.
        bundle: that scored, None for the default.
        operating_point: one of the bundle's.
        cut_offs: the lower and the upper one as probabilities by the bundle's calibration.
        site: folder of a site profile.
        formats: what is written, of `derived.FORMATS`.
    """

    source: Path
    out: Path
    bundle: Path | None = None
    operating_point: str | None = None
    cut_offs: tuple[float, float] | None = None
    site: Path | None = None
    formats: tuple[str, ...] = ("jsonl", "csv", "html")


@dataclass(frozen=True, slots=True)
class Rescore:
    """What came of it: how many rows went from which answer to which."""

    point: CutOffs
    rows: int
    changes: Mapping[tuple[Decision, Decision], int]

    @property
    def changed(self) -> int:
        """Rows with another answer than before."""
        return sum(n for (before, now), n in self.changes.items() if before is not now)


def rescore(plan: RescorePlan) -> Rescore:
    """Write the new run.

    Raises:
        NoInputError: there is no run, or no profile.
        UsageError: the new folder holds something, or there is no such operating point.
        DataError: a line of the results is damaged, or they are of another model.
        BundleError: the bundle or the profile cannot be used.
        StorageError: the new run cannot be written.
    """
    source, target = RunFolder(plan.source), RunFolder(plan.out)
    _require_empty(plan.out)
    header, _ = _read(source.results)
    bundle, model = _bundle_of(plan, header, source)
    profile = None if plan.site is None else read_profile(plan.site)
    if profile is not None:
        bundle = apply_profile(bundle, profile.profile)
    calibration = bundle.calibration(model)
    point = _cut_offs(plan, bundle, model, calibration)
    counted = _Counted()
    make_folder(plan.out)
    lines = _lines(source, _header(header, point, profile, source), calibration, counted)
    write_whole(target.results, lines)
    with Gallery(target.thumbnails) as gallery:
        if "html" in plan.formats:
            _move_pictures(source, point, gallery)
        stale = {name: n - 1 for name, n in counted.rows_of.items() if n > 1}
        root = _pictures_root(header, counted.first)
        derive(target, plan.formats, bundle, root, gallery, stale)
    return Rescore(point, counted.changes.total(), counted.changes)


@dataclass(slots=True)
class _Counted:
    """What the one reading of the rows finds."""

    changes: Counter[tuple[Decision, Decision]]
    rows_of: Counter[str]
    first: str

    def __init__(self) -> None:
        self.changes, self.rows_of, self.first = Counter(), Counter(), ""

    def add(self, before: ResultRow, now: ResultRow) -> None:
        self.first = self.first or now.file
        self.changes[before.decision, now.decision] += 1
        self.rows_of[now.file] += 1


def _require_empty(folder: Path) -> None:
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: holds something; name a new folder with -o")


def _read(path: Path) -> tuple[RunHeader, Iterator[ResultRow]]:
    """As `read_results`, with damage as a DataError, now or when its row is reached."""

    def guarded(rows: Iterator[ResultRow]) -> Iterator[ResultRow]:
        try:
            yield from rows
        except CodecError as error:
            raise DataError(f"{path}: {error}") from error

    try:
        header, rows = read_results(path)
    except CodecError as error:
        raise DataError(f"{path}: {error}") from error
    return header, guarded(rows)


def _bundle_of(plan: RescorePlan, header: RunHeader, source: RunFolder) -> tuple[Bundle, ModelFile]:
    bundle = load_bundle(plan.bundle)
    model = next((m for m in bundle.manifest.models if m.sha256 == header.model_sha256), None)
    digest = hashlib.sha256(bundle.path(MANIFEST_FILE).read_bytes()).hexdigest()
    if model is None or digest != header.parameters.get("bundle_sha256"):
        raise DataError(
            f"{source.results}: line 1: scored by {header.model_id} "
            f"({header.model_sha256[:12]}...), which is not {bundle.folder}; name the bundle that "
            "scored with --bundle"
        )
    return bundle, model


def _cut_offs(
    plan: RescorePlan, bundle: Bundle, model: ModelFile, calibration: Calibration
) -> CutOffs:
    if plan.cut_offs is None:
        point = bundle.operating_point(model, plan.operating_point)
        return CutOffs(point.name, point.threshold, point.refer_low, point.refer_high)
    low, high = (
        (math.log(p / (1 - p)) - calibration.offset) / calibration.scale for p in plan.cut_offs
    )
    name = f"cut-offs {plan.cut_offs[0]:g} and {plan.cut_offs[1]:g}"
    return CutOffs(name, low + (high - low) / 2, low, high)


def _header(
    header: RunHeader, point: CutOffs, profile: SignedProfile | None, source: RunFolder
) -> RunHeader:
    kept = {key: value for key, value in header.parameters.items() if key not in _OF_A_SITE}
    with source.results.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    added = {} if profile is None else profile.parameters
    return replace(
        header, operating_point=point, parameters={**kept, **added, RESCORED_FROM: digest}
    )


def _lines(
    source: RunFolder, header: RunHeader, calibration: Calibration, counted: _Counted
) -> Iterator[str]:
    yield compact_json(header) + "\n"
    for row in _read(source.results)[1]:
        now = rescored(row, header.operating_point, calibration.probability)
        counted.add(row, now)
        yield encode_row(now).decode("utf-8")


def _move_pictures(source: RunFolder, point: CutOffs, gallery: Gallery) -> None:
    """Take the old run's pictures over, each under its film's new answer."""
    try:
        lines = source.thumbnails.read_bytes().splitlines(keepends=True)
    except OSError:  # a run without a report has none
        return
    for line in lines:
        try:
            old = decode(Thumbnail, parse_json(line))
        except CodecError:  # as `Gallery` reads it: from the first bad line on, nothing
            return
        score = old.raw_score
        decision = Decision(old.decision) if score is None else point.decide(score)
        if decision in MOST_PICTURES:
            now = replace(old, decision=decision.value)
            gallery.add(decision, score, (compact_json(now) + "\n").encode("utf-8"))


def _pictures_root(header: RunHeader, first: str) -> Path:
    """The folder that names of rows are relative to: of several inputs the one around them."""
    named = Path(header.input)
    for folder in (named, *named.parents):
        if first and os.path.lexists(path_of(first, folder)):
            return folder
    return named
