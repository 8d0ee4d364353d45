"""The audit log: who did what, each entry hashed with the one before and signed.

An entry is written in the transaction of the change that it tells of. Nothing changes or removes
one; `verify` finds where somebody did.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, RowMapping, insert, select

from edge_app.device.clock import clock_trust
from edge_app.files.codec import CodecError, compact_json, parse_json
from edge_app.record.audit_key import AuditKey, known_keys
from edge_app.record.database import Database
from edge_app.record.head import Head
from edge_app.record.tables import AUDIT
from edge_app.results.rows import utc_now

Detail = Mapping[str, str | int | float | bool | None]
BEFORE_THE_FIRST = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log; its hash is over the canonical form of all of it.

    Attributes:
        counter: 1, 2, 3, ... without a gap.
        at: ISO 8601, UTC, by the device's clock.
        clock_is_trusted: nothing spoke against that clock.
        actor: an account's name, or a command's.
        action: what was done: `study_added`, `logged_in`, ...
        subject: the study or account that it was done to; "" none.
        detail: more; no patient's name or code.
        previous: hash of the entry before, 64 zeros for the first.
    """

    counter: int
    at: str
    clock_is_trusted: bool
    actor: str
    action: str
    subject: str
    detail: Detail
    previous: str

    @property
    def hash(self) -> str:
        """SHA-256 of the entry as one line of JSON, in lower-case hexadecimal."""
        return hashlib.sha256(compact_json(self).encode("utf-8")).hexdigest()


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """An entry as it is stored: with the hash that it had, and whose signature it bears."""

    entry: Entry
    hash: str
    key_id: str
    signature: str


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
        last = connection.execute(_LAST).mappings().first()
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

    def verify(self, witnesses: Iterable[Head] = ()) -> "Verification":
        """Check every entry, what the record holds against it, and what witnesses have seen.

        Args:
            witnesses: heads of slips, exports and backups.
        """
        from edge_app.record.verification import verify

        with self._database.reading() as connection:
            return verify(connection, known_keys(self._folder), tuple(witnesses))


@dataclass(frozen=True, slots=True)
class Verification:
    """What `AuditLog.verify` found: no problem, or each in a sentence.

    Attributes:
        entries: that were read.
        head: the last of them.
        witnesses: how many heads were compared.
        problems: what is not as it was written, empty where all is well.
    """

    entries: int
    head: Head
    witnesses: int
    problems: tuple[str, ...]


def head_in(connection: Connection) -> Head:
    """Where the log ends in this transaction."""
    last = connection.execute(_LAST).mappings().first()
    return Head(last["counter"], last["hash"][:16]) if last else Head(0, BEFORE_THE_FIRST[:16])


def all_rows(connection: Connection) -> Iterator[RowMapping]:
    """The log as it is stored, in the order of its counters, in bounded memory."""
    yield from connection.execute(select(AUDIT).order_by(AUDIT.c.counter)).mappings().yield_per(500)


def unseal(row: RowMapping) -> SealedEntry:
    """An entry as it was stored.

    Raises:
        CodecError: its detail is no JSON of this form any more.
    """
    return SealedEntry(
        Entry(
            counter=row["counter"],
            at=row["at"],
            clock_is_trusted=row["clock_is_trusted"],
            actor=row["actor"],
            action=row["action"],
            subject=row["subject"],
            detail=_read_detail(row["detail"]),
            previous=row["previous"],
        ),
        hash=row["hash"],
        key_id=row["key_id"],
        signature=row["signature"],
    )


_LAST = select(AUDIT.c.counter, AUDIT.c.at, AUDIT.c.hash).order_by(AUDIT.c.counter.desc()).limit(1)


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


def _read_detail(text: str) -> Detail:
    found = parse_json(text.encode("utf-8", "surrogateescape"))
    if not isinstance(found, dict):
        raise CodecError("detail: expected an object")
    if any(not isinstance(value, str | int | float | None) for value in found.values()):
        raise CodecError("detail: expected texts, numbers and truth values")
    return found
