"""What the audit log consists of, and how its rows are read."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from edge_app.files.codec import CodecError, compact_json, parse_json
from edge_app.record.head import Head
from edge_app.record.tables import AUDIT

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
    last = connection.execute(LAST).mappings().first()
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


# The end of the log.
LAST = select(AUDIT.c.counter, AUDIT.c.at, AUDIT.c.hash).order_by(AUDIT.c.counter.desc()).limit(1)


def _read_detail(text: str) -> Detail:
    found = parse_json(text.encode("utf-8", "surrogateescape"))
    if not isinstance(found, dict):
        raise CodecError("detail: expected an object")
    if any(not isinstance(value, str | int | float | None) for value in found.values()):
        raise CodecError("detail: expected texts, numbers and truth values")
    return found
