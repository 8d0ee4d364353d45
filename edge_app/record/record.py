"""The clinic's record: one object for everything that is kept, and the only one that writes.

Studies, readings and outcomes enter with the name of who acts; each change and its entry in the
audit log are one transaction, on the disk before the call returns. Nothing here scores.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, exists, insert, select, update

from edge_app.errors import ChangedMeanwhileError, NotInRecordError, UsageError
from edge_app.files.whole import make_private_folder
from edge_app.images.radiograph import hash_bytes
from edge_app.record.accounts import Accounts
from edge_app.record.audit import AuditLog
from edge_app.record.audit_key import open_key
from edge_app.record.database import DATABASE_FILE, Database
from edge_app.record.facts import outcome_digest, reading_digest
from edge_app.record.identifiers import read_identifier
from edge_app.record.pictures import Pictures
from edge_app.record.studies import (
    Basis,
    Label,
    NewStudy,
    Order,
    Patient,
    Study,
    StudyFilter,
    StudyPage,
)
from edge_app.record.study_rows import new_row, patient_values, plain_text
from edge_app.record.tables import AUDIT, OUTCOMES, READINGS, SHOWN, STUDIES
from edge_app.record.worklist import earlier_studies, fetch_study, find_studies
from edge_app.results.rows import utc_now

PICTURES_FOLDER = "pictures"
_MOST_PAGE = 500
_MOST_NOTE = 2000
_CHANGES = (
    "study_added",
    "study_deleted",
    "reading_saved",
    "outcome_saved",
    "patient_changed",
)


class Record:
    """An open record; threads may share it, and so may processes.

    Attributes:
        folder: where pictures and the audit log's key lie, and the database of SQLite.
        pictures: the pictures' bytes by their SHA-256.
        audit: who did what.
        accounts: who may.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self.folder = folder
        self.database = database
        self.pictures = Pictures(folder / PICTURES_FOLDER)
        with database.writing():  # one process at a time makes the key
            key = open_key(folder)
        self.audit = AuditLog(database, key, folder)
        self.accounts = Accounts(database, self.audit)
        self._listeners: list[Callable[[], None]] = []

    @classmethod
    def open(cls, location: str | Path, folder: Path | None = None) -> Self:
        """Open a record, or make it where there is none; its tables are brought up to date.

        Args:
            location: a folder, for SQLite in `record.sqlite`; or the URL of a PostgreSQL
                database: `postgresql://user:password@host/name`.
            folder: for a URL: where pictures and key lie.

        Raises:
            StorageError: it cannot be read or written, or the server does not answer.
            RecordError: a newer version of this program has written it.
            UsageError: the URL is of another kind of database, or the folder is not given.
        """
        is_server = "://" in str(location)
        if is_server and folder is None:
            raise UsageError("a record on a server needs a folder for its pictures and its key")
        home = folder if folder is not None and is_server else Path(location)
        if not home.is_dir():
            make_private_folder(home)
        database = Database(str(location) if is_server else home / DATABASE_FILE)
        try:
            return cls(database, home)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add_study(self, new: NewStudy, actor: str) -> Study:
        """Keep a picture and its answer; both are on the disk when this returns.

        One picture may be added twice: each is a study of its own, the bytes lie there once.

        Raises:
            StorageError: the disk is full, read-only or gone; nothing was added.
            UsageError: the row's SHA-256 is not the picture's, or an age is none.
        """
        if new.row.sha256 != hash_bytes(new.picture):
            raise UsageError(f"{new.row.file}: the answer is not of this picture")
        with self._changing() as connection:
            # Within the transaction: retention removes no picture between its bytes and its row.
            picture = self.pictures.keep(new.picture)
            heat = None if new.heat is None else self.pictures.keep(new.heat)
            row = new_row(new, picture, heat, actor)
            digests = {"digest": row.digest, "patient": row.patient_digest}
            detail = {**digests, "picture": picture, "model_sha256": new.row.model_sha256}
            entry = self.audit.append_in(connection, actor, "study_added", row.id, detail)
            values = {**row.values, "entry": entry.counter, "last_entry": entry.counter}
            connection.execute(insert(STUDIES).values(values))
            return fetch_study(connection, row.id)

    def study(self, study_id: str) -> Study:
        """One study, with its readings and outcomes.

        Args:
            study_id: small letters, spaces and hyphens do not matter.

        Raises:
            NotInRecordError: there is none of that identifier.
        """
        with self.database.reading() as connection:
            return fetch_study(connection, read_identifier(study_id))

    def studies(
        self,
        which: StudyFilter | None = None,
        order: Order = Order.WORST_FIRST,
        page: int = 1,
        page_size: int = 50,
    ) -> StudyPage:
        """A page of the worklist, from page 1 on; `page_size` is at most 500."""
        page, page_size = max(1, page), min(max(1, page_size), _MOST_PAGE)
        with self.database.reading() as connection:
            return find_studies(connection, which or StudyFilter(), order, page, page_size)

    def earlier_of_patient(self, study: Study) -> tuple[Study, ...]:
        """The same patient's studies that were added before, newest first.

        Empty where the patient's code is not known.
        """
        with self.database.reading() as connection:
            return earlier_studies(connection, study)

    def mark_shown(self, study_ids: Iterable[str], actor: str) -> None:
        """Note that a worker is being shown the machine's answers; the first time counts.

        Raises:
            NotInRecordError: one of them is not there; nothing was noted.
            StorageError: it cannot be written.
        """
        wanted = {read_identifier(study_id) for study_id in study_ids}
        with self.database.reading() as connection:
            new = _not_shown(connection, wanted, actor)
        if not new:
            return
        with self.database.writing() as connection:
            for study_id in _not_shown(connection, wanted, actor):
                connection.execute(insert(SHOWN).values(study_id=study_id, worker=actor))
                self.audit.append_in(connection, actor, "answer_shown", study_id)

    def save_reading(self, study_id: str, label: Label, actor: str, note: str = "") -> Study:
        """Keep what a worker read; blind where `mark_shown` was not called for them before.

        Raises:
            NotInRecordError, StorageError.
        """
        study_id = read_identifier(study_id)
        with self._changing() as connection:
            fetch_study(connection, study_id)
            row = {
                "study_id": study_id,
                "worker": actor,
                "at": utc_now(),
                "label": label.value,
                "note": plain_text(note, _MOST_NOTE, "a note"),
                "is_blind": not _was_shown(connection, study_id, actor),
            }
            digest = reading_digest(row, _salt(connection, study_id))
            self._tell(connection, READINGS, row, "reading_saved", {"digest": digest})
            return fetch_study(connection, study_id)

    def save_outcome(
        self,
        study_id: str,
        label: Label,
        basis: Basis,
        actor: str,
        *,
        version: int,
        note: str = "",
    ) -> Study:
        """Keep what turned out.

        Args:
            version: of the study on which the worker's decision rests.

        Raises:
            ChangedMeanwhileError: another worker has changed the study since; nothing was saved,
                and what they entered stands.
            NotInRecordError, StorageError.
        """
        study_id = read_identifier(study_id)
        with self._changing() as connection:
            _require_version(fetch_study(connection, study_id), version)
            row = {
                "study_id": study_id,
                "worker": actor,
                "at": utc_now(),
                "label": label.value,
                "basis": basis.value,
                "note": plain_text(note, _MOST_NOTE, "a note"),
            }
            digest = outcome_digest(row, _salt(connection, study_id))
            counter = self._tell(connection, OUTCOMES, row, "outcome_saved", {"digest": digest})
            new = {"version": version + 1, "outcome_entry": counter}
            connection.execute(update(STUDIES).where(STUDIES.c.id == study_id).values(new))
            return fetch_study(connection, study_id)

    def change_patient(self, study_id: str, patient: Patient, actor: str, *, version: int) -> Study:
        """Put a patient's code, age or sex right; raises as `save_outcome` does."""
        study_id = read_identifier(study_id)
        with self._changing() as connection:
            _require_version(fetch_study(connection, study_id), version)
            values, digest = patient_values(patient, _salt(connection, study_id))
            entry = self.audit.append_in(
                connection, actor, "patient_changed", study_id, {"patient": digest}
            )
            new = {**values, "version": version + 1, "last_entry": entry.counter}
            changed = update(STUDIES).where(STUDIES.c.id == study_id)
            connection.execute(changed.values({**new, "exported_at": None}))
            return fetch_study(connection, study_id)

    def changed_since(self, counter: int) -> bool:
        """Whether a study came, went or changed after that entry of the audit log.

        For a page that polls: `audit.head().counter` says where it stands.
        """
        later = select(AUDIT.c.counter).where(AUDIT.c.counter > counter)
        with self.database.reading() as connection:
            found = connection.execute(later.where(AUDIT.c.action.in_(_CHANGES)).limit(1))
            return found.first() is not None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function after each change to a study that this process has made (webhooks)."""
        self._listeners.append(listener)

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self.database.writing() as connection:
            yield connection
        for listener in self._listeners:
            listener()

    def _tell(
        self,
        connection: Connection,
        table: Any,
        row: dict[str, Any],
        action: str,
        detail: dict[str, Any],
    ) -> int:
        """Insert a row with the entry that tells of it; the study is no longer exported."""
        entry = self.audit.append_in(
            connection, row["worker"], action, row["study_id"], {**detail, "label": row["label"]}
        )
        connection.execute(insert(table).values({**row, "entry": entry.counter}))
        connection.execute(
            update(STUDIES)
            .where(STUDIES.c.id == row["study_id"])
            .values(last_entry=entry.counter, exported_at=None)
        )
        return entry.counter


def _require_version(study: Study, version: int) -> None:
    if study.version != version:
        raise ChangedMeanwhileError(
            f"study {study.id} was changed by another worker meanwhile: look at it again, "
            "then enter yours"
        )


def _was_shown(connection: Connection, study_id: str, worker: str) -> bool:
    shown = (SHOWN.c.study_id == study_id) & (SHOWN.c.worker == worker)
    return bool(connection.execute(select(exists().where(shown))).scalar())


def _not_shown(connection: Connection, study_ids: set[str], worker: str) -> list[str]:
    """Those whose answers the worker has not been shown; raises NotInRecordError."""
    there = select(STUDIES.c.id).where(STUDIES.c.id.in_(study_ids))
    if missing := study_ids - set(connection.execute(there).scalars()):
        raise NotInRecordError(f"there is no study {min(missing)}")
    shown = select(SHOWN.c.study_id).where(SHOWN.c.study_id.in_(study_ids))
    seen = set(connection.execute(shown.where(SHOWN.c.worker == worker)).scalars())
    return sorted(study_ids - seen)


def _salt(connection: Connection, study_id: str) -> str:
    found = connection.execute(select(STUDIES.c.salt).where(STUDIES.c.id == study_id))
    return str(found.scalar_one())
