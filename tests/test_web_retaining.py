"""The retention policy at work in an open workstation: what is old and exported goes by itself."""

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import update

from edge_app.record.export import export_studies
from edge_app.record.record import Record
from edge_app.record.tables import STUDIES
from edge_app.web.retaining import ACTOR, DailyRetention
from tests.record_inputs import new_study

_LONG_AGO = "2026-01-01T00:00:00.000Z"


def fill(record: Record, folder: Path) -> list[str]:
    """Three studies: old and exported, old and changed since, exported and new."""
    ids = [record.add_study(new_study(f"film {n}".encode()), "ann").id for n in range(3)]
    export_studies(record, folder / "export", "ann", only_new=False)
    with record.database.writing() as connection:
        for study_id in ids[:2]:
            old = update(STUDIES).where(STUDIES.c.id == study_id)
            connection.execute(old.values(added_at=_LONG_AGO))
        changed = update(STUDIES).where(STUDIES.c.id == ids[1])
        connection.execute(changed.values(exported_at=None))
    return ids


def wait_until(holds: Callable[[], bool]) -> bool:
    for _ in range(200):
        if holds():
            return True
        time.sleep(0.05)
    return False


def left(record: Record) -> set[str]:
    return {study.id for study in record.studies().studies}


def test_what_is_old_and_exported_goes_again_and_again(tmp_path: Path) -> None:
    with Record.open(tmp_path / "record") as record:
        ids = fill(record, tmp_path)
        with DailyRetention(record, 30, lambda: True, seconds=0.05):
            assert wait_until(lambda: left(record) == set(ids[1:]))
            with record.database.writing() as connection:  # the next day it is exported as well
                now = update(STUDIES).where(STUDIES.c.id == ids[1])
                connection.execute(now.values(exported_at=_LONG_AGO))
            assert wait_until(lambda: left(record) == {ids[2]})
        assert {e.actor for e in record.audit.entries() if e.action == "study_deleted"} == {ACTOR}


def test_nothing_goes_by_a_clock_that_cannot_be_believed(tmp_path: Path) -> None:
    asked = []

    def doubt() -> bool:
        asked.append(True)
        return False

    with Record.open(tmp_path / "record") as record:
        ids = fill(record, tmp_path)
        with DailyRetention(record, 30, doubt, seconds=0.01):
            assert wait_until(lambda: len(asked) > 3)
        assert left(record) == set(ids)


def test_without_a_policy_nothing_is_looked_at(tmp_path: Path) -> None:
    with Record.open(tmp_path / "record") as record:
        ids = fill(record, tmp_path)
        with DailyRetention(record, None, lambda: True, seconds=0.01):
            time.sleep(0.1)
        assert left(record) == set(ids)
