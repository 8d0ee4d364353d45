"""A whole merge: packs in, a campaign with its report out, in place at once or not at all."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from edge_app.errors import RuntimeUnavailableError, UsageError
from edge_app.files.whole import PART, make_private_folder, put_in_place, unwritable, write_files
from edge_app.fleet.by_site import Questions
from edge_app.fleet.calibration import measure_sites
from edge_app.fleet.campaign import merge_packs
from edge_app.fleet.devices import Expected, judge_devices, newest_model
from edge_app.fleet.drift import watch_sites
from edge_app.fleet.page import Findings, campaign_page
from edge_app.fleet.registry import Registry

REPORT_FILE = "report.html"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a merge is to tell.

    Attributes:
        as_of: the day that is called today.
        recent_days: the last weeks, which are held against what was before.
        silent_days: after so many without a sign a device is silent.
        model_id: to be in use; None takes the newest that a pack names.
    """

    as_of: date
    recent_days: int
    silent_days: int
    model_id: str | None


def write_campaign(
    files: Sequence[Path], registry: Registry, folder: Path, asked: Asked
) -> Findings:
    """Merge packs into a new folder.

    Args:
        files: of packs.
        registry: devices that are known.
        folder: is not there yet.
        asked: what is to be told.

    Raises:
        UsageError: the folder is there.
        NoInputError: no pack counts.
        RuntimeUnavailableError: DuckDB or pyarrow is missing.
        StorageError: it cannot be written; then there is no folder.
    """
    require_packages()
    if os.path.lexists(folder):
        raise UsageError(f"{folder}: is there; a campaign is made anew from all packs, elsewhere")
    partial = folder.with_name(f"{PART}{os.getpid()}-{folder.name}")
    try:
        make_private_folder(partial)
        findings = _merge(files, registry, partial, asked)
        write_files(partial, [(REPORT_FILE, "".join(campaign_page(findings)).encode("utf-8"))])
        put_in_place(partial, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return findings


def require_packages() -> None:
    """Raises RuntimeUnavailableError where DuckDB or pyarrow is missing."""
    try:
        import duckdb  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"packs are merged by a package ({error.name}): pip install 'pneumoscope[fleet]'"
        ) from error


def _merge(files: Sequence[Path], registry: Registry, folder: Path, asked: Asked) -> Findings:
    merged = merge_packs(files, registry, folder, asked.as_of)
    model = asked.model_id or newest_model(merged.packs)
    expected = Expected(asked.as_of, asked.silent_days, model)
    with Questions(folder, asked.as_of) as questions:
        devices = judge_devices(
            registry,
            merged.packs,
            expected,
            questions.last_answers(),
            questions.impossible_days(),
        )
        since = asked.as_of - timedelta(days=asked.recent_days)
        return Findings(
            campaign=merged.campaign,
            expected=expected,
            recent_days=asked.recent_days,
            sites=tuple(questions.sites()),
            devices=tuple(devices),
            drift=watch_sites(questions.films(since), merged.profiles),
            calibration=measure_sites(list(questions.labelled())),
        )
