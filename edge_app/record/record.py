"""The clinic's record: one object for everything that is kept, and the only one that writes.

Studies, readings and outcomes enter with the name of who acts; each change and its entry in the
audit log are one transaction, on the disk before the call returns. Nothing here scores.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_app.record.accounts import Accounts
from edge_app.record.audit import AuditLog
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


class Record:
    """An open record; threads may share it, and so may processes.

    Attributes:
        folder: where pictures and the audit log's key lie, and the database of SQLite.
        pictures: the pictures' bytes by their SHA-256.
        audit: who did what.
        accounts: who may.
    """

    folder: Path
    pictures: Pictures
    audit: AuditLog
    accounts: Accounts

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
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the database."""
        raise NotImplementedError

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
            UsageError: the row's SHA-256 is not the picture's.
        """
        raise NotImplementedError

    def study(self, study_id: str) -> Study:
        """One study, with its readings and outcomes.

        Args:
            study_id: small letters, spaces and hyphens do not matter.

        Raises:
            NotInRecordError: there is none of that identifier.
        """
        raise NotImplementedError

    def studies(
        self,
        which: StudyFilter | None = None,
        order: Order = Order.WORST_FIRST,
        page: int = 1,
        page_size: int = 50,
    ) -> StudyPage:
        """A page of the worklist, from page 1 on; `page_size` is at most 500."""
        raise NotImplementedError

    def earlier_of_patient(self, study: Study) -> tuple[Study, ...]:
        """The same patient's studies that were added before, newest first.

        Empty where the patient's code is not known.
        """
        raise NotImplementedError

    def mark_shown(self, study_id: str, actor: str) -> None:
        """Note that a worker is being shown the machine's answer; the first time counts."""
        raise NotImplementedError

    def save_reading(self, study_id: str, label: Label, actor: str, note: str = "") -> Study:
        """Keep what a worker read; blind where `mark_shown` was not called for them before.

        Raises:
            NotInRecordError, StorageError.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def change_patient(self, study_id: str, patient: Patient, actor: str, *, version: int) -> Study:
        """Put a patient's code, age or sex right; raises as `save_outcome` does."""
        raise NotImplementedError

    def changed_since(self, counter: int) -> bool:
        """Whether anything was done after that entry of the audit log: for a page that polls."""
        raise NotImplementedError

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function after each change that this process has made (webhooks)."""
        raise NotImplementedError
