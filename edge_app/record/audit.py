"""The audit log: who did what, each entry hashed with the one before and signed.

An entry is written in the transaction of the change that it tells of. Nothing changes or removes
one; `verify` finds where somebody did.
"""

import base64
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Connection, insert, select

from edge_app.device.clock import clock_trust
from edge_app.files.codec import compact_json
from edge_app.record.audit_entries import (
    BEFORE_THE_FIRST,
    LAST,
    Detail,
    Entry,
    Verification,
    head_in,
    unseal,
)
from edge_app.record.audit_key import AuditKey, known_keys
from edge_app.record.database import Database
from edge_app.record.head import Head
from edge_app.record.tables import AUDIT
from edge_app.record.verification import verify
from edge_app.results.rows import utc_now


class AuditLog:
    """The log of a record."""

    def __init__(self, database: Database, key: AuditKey, folder: Path) -> None:
        self._database = database
        self._key = key
        self._folder = folder

    def append(
        self, actor: str, action: str, subject: str = "", detail: Detail | None = None
    ) -> Head:
        """Write an entry for something that changes nothing in the record: a slip printed, ...

        Raises:
            StorageError: it cannot be written.
        """
        with self._database.writing() as connection:
            entry = self.append_in(connection, actor, action, subject, detail)
        return Head(entry.counter, entry.hash[:16])

    def append_in(
        self,
        connection: Connection,
        actor: str,
        action: str,
        subject: str = "",
        detail: Detail | None = None,
    ) -> Entry:
        """Write an entry in the transaction of what it tells of."""
        last = connection.execute(LAST).mappings().first()
        now = utc_now()
        trust = clock_trust(now, last["at"] if last else "")
        entry = Entry(
            counter=(last["counter"] if last else 0) + 1,
            at=now,
            clock_is_trusted=trust.is_trusted,
            actor=actor,
            action=action,
            subject=subject,
            detail=detail or {},
            previous=last["hash"] if last else BEFORE_THE_FIRST,
        )
        connection.execute(insert(AUDIT).values(_sealed(entry, self._key)))
        return entry

    def head(self) -> Head:
        """Where the log ends now: for slips and exports."""
        with self._database.reading() as connection:
            return head_in(connection)

    def entries(self, first: int = 1, most: int = 100) -> tuple[Entry, ...]:
        """Entries from a counter on, oldest first.

        Raises:
            CodecError: one of them was changed, and is no entry any more.
        """
        wanted = select(AUDIT).where(AUDIT.c.counter >= first).order_by(AUDIT.c.counter)
        with self._database.reading() as connection:
            rows = connection.execute(wanted.limit(most)).mappings().all()
        return tuple(unseal(row).entry for row in rows)

    def verify(self, witnesses: Iterable[Head] = ()) -> Verification:
        """Check every entry, what the record holds against it, and what witnesses have seen.

        Args:
            witnesses: heads of slips, exports and backups.
        """
        with self._database.reading() as connection:
            return verify(connection, known_keys(self._folder), tuple(witnesses))


def _sealed(entry: Entry, key: AuditKey) -> dict[str, object]:
    own_hash = entry.hash
    signature = base64.b64encode(key.sign(own_hash.encode("ascii"))).decode("ascii")
    return {
        "counter": entry.counter,
        "at": entry.at,
        "clock_is_trusted": entry.clock_is_trusted,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": compact_json(entry.detail),
        "previous": entry.previous,
        "hash": own_hash,
        "key_id": key.id,
        "signature": signature,
    }
