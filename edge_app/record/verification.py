"""Is the audit log as it was written, and does the record hold what the log says?

A bare chain of hashes shows what was changed within it. That its end was cut off, or that all of it
was written anew by one who holds the device's key, only a witness shows: a head that stands on a
slip, in an export or in a backup.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from edge_app.bundle.signature import is_valid
from edge_app.files.codec import CodecError
from edge_app.record.audit_entries import (
    BEFORE_THE_FIRST,
    SealedEntry,
    Verification,
    all_rows,
    unseal,
)
from edge_app.record.facts import outcome_digest, patient_digest, reading_digest, study_digest
from edge_app.record.head import Head
from edge_app.record.tables import OUTCOMES, READINGS, STUDIES

_MOST_PROBLEMS = 100


def verify(
    connection: Connection, keys: Mapping[str, bytes], witnesses: Sequence[Head]
) -> Verification:
    """Check a record's whole log.

    Args:
        connection: one state of the database.
        keys: the public keys that may have signed, by identifier.
        witnesses: heads that were seen before.
    """
    check = _Check(keys, {witness.counter: [] for witness in witnesses})
    for witness in witnesses:
        check.seen[witness.counter].append(witness.short_hash)
    for row in all_rows(connection):
        try:
            check.entry(unseal(row))
        except CodecError as error:
            check.damaged(row["counter"], row["hash"], str(error))
    check.end()
    problems = [*check.problems, *_compare_facts(connection, check)]
    if len(problems) > _MOST_PROBLEMS:
        more = len(problems) - _MOST_PROBLEMS
        problems = [*problems[:_MOST_PROBLEMS], f"and {more} more problems"]
    head = Head(check.counter, check.last_hash[:16])
    return Verification(check.entries, head, len(witnesses), tuple(problems))


@dataclass(slots=True)
class _Check:
    """The state of a walk along the log."""

    keys: Mapping[str, bytes]
    seen: dict[int, list[str]]
    problems: list[str] = field(default_factory=list)
    entries: int = 0
    counter: int = 0
    last_hash: str = BEFORE_THE_FIRST
    unknown_keys: set[str] = field(default_factory=set)
    # What the record must hold: digests by the entry that tells of them, and of patients.
    digests: dict[int, str] = field(default_factory=dict)
    studies: dict[str, int] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    of_study: dict[int, str] = field(default_factory=dict)

    def entry(self, sealed: SealedEntry) -> None:
        entry = sealed.entry
        self._in_order(entry.counter)
        if entry.previous != self.last_hash:
            self.problems.append(
                f"entry {entry.counter} does not follow on the one before it: "
                "an entry was removed, put in or written anew"
            )
        if entry.hash != sealed.hash:
            self.problems.append(f"entry {entry.counter} was changed")
        self._signature(sealed)
        self._went_on(entry.counter, sealed.hash)
        self._learn(sealed)

    def damaged(self, counter: int, stored_hash: str, why: str) -> None:
        self._in_order(counter)
        self.problems.append(f"entry {counter} was changed: {why}")
        self._went_on(counter, stored_hash)

    def end(self) -> None:
        for counter, hashes in sorted(self.seen.items()):
            for short_hash in hashes:
                self.problems.append(
                    f"a witness has seen entry {counter} ({short_hash}), and the log ends at "
                    f"{self.counter}: its end was cut off"
                )

    def _in_order(self, counter: int) -> None:
        missing = range(self.counter + 1, counter)
        if len(missing) == 1:
            self.problems.append(f"entry {missing[0]} is missing")
        elif missing:
            self.problems.append(f"entries {missing[0]} to {missing[-1]} are missing")

    def _signature(self, sealed: SealedEntry) -> None:
        counter = sealed.entry.counter
        if sealed.key_id not in self.keys:
            if sealed.key_id not in self.unknown_keys:
                self.problems.append(
                    f"entry {counter} is signed with the key {sealed.key_id}, which is not known "
                    "here; where it is another device's of this clinic, put its .pub into the "
                    "record's folder keys/"
                )
            self.unknown_keys.add(sealed.key_id)
            return
        try:
            signature = base64.b64decode(sealed.signature, validate=True)
        except ValueError:
            signature = b""
        if not is_valid(self.keys[sealed.key_id], signature, sealed.hash.encode("utf-8")):
            self.problems.append(f"entry {counter} bears no valid signature")

    def _went_on(self, counter: int, stored_hash: str) -> None:
        self.entries += 1
        self.counter, self.last_hash = counter, stored_hash
        for short_hash in self.seen.pop(counter, ()):
            if short_hash != stored_hash[:16]:
                self.problems.append(
                    f"entry {counter} is not the one that a witness has seen ({short_hash}): "
                    "the log was written anew"
                )

    def _learn(self, sealed: SealedEntry) -> None:
        entry = sealed.entry
        if entry.action == "study_deleted":
            self.studies.pop(entry.subject, None)
            self.patients.pop(entry.subject, None)
            gone = [at for at, study in self.of_study.items() if study == entry.subject]
            for counter in gone:
                del self.digests[counter], self.of_study[counter]
        if entry.action == "study_added":
            self.studies[entry.subject] = entry.counter
        if entry.action in ("study_added", "reading_saved", "outcome_saved"):
            self.digests[entry.counter] = str(entry.detail.get("digest"))
            self.of_study[entry.counter] = entry.subject
        if entry.action in ("study_added", "patient_changed"):
            self.patients[entry.subject] = str(entry.detail.get("patient"))


def _compare_facts(connection: Connection, check: _Check) -> list[str]:
    """What the record holds and the log does not say, and the other way round."""
    problems: list[str] = []
    salts: dict[str, str] = {}
    left = dict(check.digests)
    for row in map(dict, connection.execute(select(STUDIES)).mappings()):
        study_id, salt = row["id"], row["salt"]
        salts[study_id] = salt
        if check.studies.get(study_id) != row["entry"]:
            problems.append(f"study {study_id} was put in: the log does not tell of it")
        elif left.pop(row["entry"], None) != study_digest(row):
            problems.append(f"study {study_id} was changed: its answer is not the one logged")
        if check.patients.get(study_id) not in (None, patient_digest(row)):
            problems.append(f"study {study_id} was changed: its patient is not the one logged")
    for table, what, digest in (
        (READINGS, "reading", reading_digest),
        (OUTCOMES, "outcome", outcome_digest),
    ):
        for row in map(dict, connection.execute(select(table)).mappings()):
            expected = left.pop(row["entry"], None)
            if expected != digest(row, salts.get(row["study_id"], "")):
                problems.append(
                    f"the {what} of study {row['study_id']} that entry {row['entry']} tells of "
                    "was changed or put in"
                )
    for counter in left:
        problems.append(
            f"what entry {counter} tells of study {check.of_study[counter]} is no longer there"
        )
    return problems
