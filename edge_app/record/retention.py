"""What is old goes, and nothing that was not exported as it now stands."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, or_, select

from edge_app.errors import UsageError
from edge_app.record.record import Record
from edge_app.record.tables import STUDIES


@dataclass(frozen=True, slots=True)
class Retention:
    """What a policy did.

    Attributes:
        deleted: studies that were old and exported.
        kept: studies that are old, and stay because they were not exported as they stand.
        pictures: files that no study needs any more.
    """

    deleted: int
    kept: int
    pictures: int


def apply_retention(record: Record, keep_days: int, actor: str) -> Retention:
    """Delete exported studies that were added more than so many days ago, and their pictures.

    Their entries in the audit log stay.

    Raises:
        UsageError: fewer than 1 day.
        StorageError: it cannot be written.
    """
    if keep_days < 1:
        raise UsageError("studies are kept for 1 day at least")
    before = datetime.now(UTC) - timedelta(days=keep_days)
    limit = before.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    is_old, is_exported = STUDIES.c.added_at < limit, STUDIES.c.exported_at.is_not(None)
    with record.database.writing() as connection:
        gone = connection.execute(select(STUDIES.c.id).where(is_old, is_exported)).scalars().all()
        for study_id in gone:
            record.audit.append_in(connection, actor, "study_deleted", study_id)
            connection.execute(delete(STUDIES).where(STUDIES.c.id == study_id))
        kept = connection.execute(select(func.count()).where(is_old)).scalar_one()
    return Retention(len(gone), kept, remove_unneeded_pictures(record))


def remove_unneeded_pictures(record: Record) -> int:
    """Remove the pictures that belong to no study; says how many.

    While this holds the database nobody adds one, see `Record.add_study`. A transaction that broke
    off may have left some too.
    """
    removed = 0
    with record.database.writing() as connection:
        for sha256 in record.pictures:
            if not _is_needed(connection, sha256):
                record.pictures.remove(sha256)
                removed += 1
    return removed


def _is_needed(connection: Connection, sha256: str) -> bool:
    uses = or_(STUDIES.c.picture_sha256 == sha256, STUDIES.c.heat_sha256 == sha256)
    return connection.execute(select(STUDIES.c.id).where(uses).limit(1)).first() is not None
