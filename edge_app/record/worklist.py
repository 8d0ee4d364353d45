"""Studies out of the database: one, a page of many, a patient's earlier ones."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from edge_app.errors import NotInRecordError
from edge_app.record.identifiers import read_identifier
from edge_app.record.studies import (
    Basis,
    Label,
    Order,
    Outcome,
    Reading,
    Study,
    StudyFilter,
    StudyPage,
)
from edge_app.record.study_rows import to_study
from edge_app.record.tables import OUTCOMES, READINGS, STUDIES

_MOST_EARLIER = 20


def fetch_study(connection: Connection, study_id: str) -> Study:
    """One study with its readings and outcomes; raises NotInRecordError."""
    found = connection.execute(select_studies().where(STUDIES.c.id == study_id)).mappings().first()
    if found is None:
        raise NotInRecordError(
            f"there is no study {study_id or 'of that identifier'} in the record"
        )
    return with_history(connection, to_study(dict(found)))


def with_history(connection: Connection, study: Study) -> Study:
    """A study with all of its readings and outcomes, oldest first."""
    readings = select(READINGS).where(READINGS.c.study_id == study.id).order_by(READINGS.c.entry)
    outcomes = select(OUTCOMES).where(OUTCOMES.c.study_id == study.id).order_by(OUTCOMES.c.entry)
    return replace(
        study,
        readings=tuple(
            Reading(r["worker"], r["at"], Label(r["label"]), r["note"], bool(r["is_blind"]))
            for r in connection.execute(readings).mappings()
        ),
        outcomes=tuple(
            Outcome(r["worker"], r["at"], Label(r["label"]), Basis(r["basis"]), r["note"])
            for r in connection.execute(outcomes).mappings()
        ),
    )


def find_studies(
    connection: Connection, which: StudyFilter, order: Order, page: int, page_size: int
) -> StudyPage:
    """A page of the studies that fit a filter."""
    fits = and_(True, *_conditions(which))
    total = connection.execute(select(func.count()).select_from(STUDIES).where(fits)).scalar_one()
    newest = (STUDIES.c.added_at.desc(), STUDIES.c.entry.desc())
    by = newest if order is Order.NEWEST_FIRST else (STUDIES.c.urgency.desc(), *newest)
    wanted = select_studies().where(fits).order_by(*by)
    rows = connection.execute(wanted.limit(page_size).offset((page - 1) * page_size)).mappings()
    return StudyPage(tuple(to_study(dict(row)) for row in rows), total, page, page_size)


def earlier_studies(connection: Connection, study: Study) -> tuple[Study, ...]:
    """The same patient's studies before this one, newest first."""
    if not study.patient.code:
        return ()
    this = select(STUDIES.c.entry).where(STUDIES.c.id == study.id).scalar_subquery()
    wanted = select_studies().where(
        STUDIES.c.patient_code == study.patient.code, STUDIES.c.entry < this
    )
    newest = wanted.order_by(STUDIES.c.entry.desc()).limit(_MOST_EARLIER)
    return tuple(to_study(dict(row)) for row in connection.execute(newest).mappings())


def select_studies() -> Select[Any]:
    """Studies as `to_study` reads them."""
    n_readings = select(func.count()).where(READINGS.c.study_id == STUDIES.c.id).scalar_subquery()
    names = ("worker", "at", "label", "basis", "note")
    outcome = [OUTCOMES.c[name].label(f"outcome_{name}") for name in names]
    joined = STUDIES.outerjoin(OUTCOMES, OUTCOMES.c.entry == STUDIES.c.outcome_entry)
    return select(STUDIES, n_readings.label("n_readings"), *outcome).select_from(joined)


def _conditions(which: StudyFilter) -> Iterator[ColumnElement[bool]]:
    if text := which.text.strip():
        has_text = [STUDIES.c[name].icontains(text, autoescape=True) for name in _SEARCHED]
        yield or_(*has_text, STUDIES.c.id == read_identifier(text))
    if which.decisions:
        yield STUDIES.c.decision.in_(sorted(which.decisions))
    if which.since is not None:
        yield STUDIES.c.added_at >= which.since
    if which.until is not None:
        yield STUDIES.c.added_at < which.until
    if which.patient_code is not None:
        yield STUDIES.c.patient_code == which.patient_code
    if which.kind is not None:
        yield STUDIES.c.kind == which.kind.value
    if which.has_outcome is not None:
        has_one = STUDIES.c.outcome_entry.is_not(None)
        yield has_one if which.has_outcome else ~has_one
    if which.unread_by is not None:
        of_theirs = (READINGS.c.study_id == STUDIES.c.id) & (READINGS.c.worker == which.unread_by)
        yield ~exists().where(of_theirs)


_SEARCHED = ("patient_code", "file", "id")
