"""The audit log: who did what, each entry hashed with the one before and signed.

An entry is written in the transaction of the change that it tells of. Nothing changes or removes
one; `verify` finds where somebody did.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_app.record.head import Head

Detail = Mapping[str, str | int | float | bool | None]


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


@dataclass(frozen=True, slots=True)
class Verification:
    """What `AuditLog.verify` found: no problem, or each in a sentence."""

    entries: int
    head: Head
    witnesses: int
    problems: tuple[str, ...]


class AuditLog:
    """The log of a record."""

    def append(
        self, actor: str, action: str, subject: str = "", detail: Detail | None = None
    ) -> Head:
        """Write an entry for something that changes nothing in the record: a slip printed, ...

        Raises:
            StorageError: it cannot be written.
        """
        raise NotImplementedError

    def head(self) -> Head:
        """Where the log ends now: for slips and exports."""
        raise NotImplementedError

    def entries(self, first: int = 1, most: int = 100) -> tuple[Entry, ...]:
        """Entries from a counter on, oldest first."""
        raise NotImplementedError

    def verify(self, witnesses: Iterable[Head] = ()) -> Verification:
        """Check every entry, and that the log still holds what slips and exports have seen."""
        raise NotImplementedError
