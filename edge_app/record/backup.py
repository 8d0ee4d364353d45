"""A copy of a record, made while it is in use, and a record made from a copy.

```
BACKUP/
  record.sqlite    the database as it stood at one moment
  pictures/        by their SHA-256; a later backup into the same folder adds what is missing
  keys/            public keys of the audit log; the private one stays on the device
  backup.json      when, the database's SHA-256, the audit log's head
```
"""

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select

from edge_app.errors import NotInRecordError, RecordError, StorageError, UsageError
from edge_app.files.codec import CodecError, canonical_json, decode, parse_json
from edge_app.files.whole import make_private_folder, put_in_place, unwritable, whole, write_whole
from edge_app.record.audit_entries import Verification, head_in
from edge_app.record.audit_key import PUBLIC_FOLDER
from edge_app.record.database import DATABASE_FILE, Database
from edge_app.record.head import read_head
from edge_app.record.pictures import Pictures
from edge_app.record.record import PICTURES_FOLDER, Record
from edge_app.record.tables import CODES, SESSIONS, STUDIES
from edge_app.results.rows import utc_now

BACKUP_FILE = "backup.json"


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup says of itself.

    Attributes:
        made_at: ISO 8601, UTC.
        studies: how many.
        audit_head: where its audit log ends.
        database_sha256: of its `record.sqlite`.
    """

    made_at: str
    studies: int
    audit_head: str
    database_sha256: str


def make_backup(record: Record, folder: Path, actor: str) -> Backup:
    """Copy a record into a folder, which may hold an earlier backup of it.

    Others may read and write meanwhile; what they write after the beginning is not in it.

    Raises:
        UsageError: the record is on a server, which has its own tools.
        StorageError: the folder cannot be written; an earlier backup there stays whole.
        NotInRecordError: a picture is gone or damaged.
    """
    if record.database.file is None:
        raise UsageError("a record on a server is backed up there: pg_dump, and a copy of --folder")
    make_private_folder(folder)
    with whole(folder / DATABASE_FILE, beside=folder) as copy:
        record.database.copy_to(copy)
        needed, head = _contents(copy)
        _copy_pictures(record.pictures, Pictures(folder / PICTURES_FOLDER), needed)
        _copy_keys(record.folder, folder)
        database_sha256 = _hash_file(copy)
    n_studies = len(needed)
    backup = Backup(utc_now(), n_studies, head, database_sha256)
    write_whole(folder / BACKUP_FILE, canonical_json(backup))
    _drop_others(Pictures(folder / PICTURES_FOLDER), needed)
    record.audit.append(actor, "backed_up", "", {"database_sha256": database_sha256})
    return backup


def restore_backup(backup: Path, folder: Path) -> Verification:
    """Make a record from a backup, after checking all of it; log-ins do not come back.

    The device gets a key of its own, and goes on with the audit log.

    Args:
        backup: as `make_backup` left it.
        folder: of the new record, must not be there or be empty.

    Raises:
        UsageError: the folder holds something.
        RecordError: the backup is damaged, is no backup, or is not what it was; nothing is made.
        StorageError: it cannot be read, or the record cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty; a backup is restored into a new folder")
    about = _read(backup)
    if _hash_file(backup / DATABASE_FILE) != about.database_sha256:
        raise RecordError(f"{backup / DATABASE_FILE}: is damaged: not the file that was backed up")
    partial = folder.with_name(f".part-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        make_private_folder(partial)
        shutil.copyfile(backup / DATABASE_FILE, partial / DATABASE_FILE)
        needed, _ = _contents(partial / DATABASE_FILE)
        _copy_pictures(
            Pictures(backup / PICTURES_FOLDER), Pictures(partial / PICTURES_FOLDER), needed
        )
        _copy_keys(backup, partial)
        found = _begin_anew(partial, about)
        if folder.exists():
            folder.rmdir()
        put_in_place(partial, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found


def _contents(database_file: Path) -> tuple[dict[str, tuple[str, ...]], str]:
    """The contents that each study needs, and the audit log's head."""
    database = Database(database_file)
    try:
        with database.reading() as connection:
            rows = connection.execute(
                select(STUDIES.c.id, STUDIES.c.picture_sha256, STUDIES.c.heat_sha256)
            ).all()
            needed = {row[0]: tuple(sha for sha in row[1:] if sha is not None) for row in rows}
            return needed, str(head_in(connection))
    finally:
        database.close()
        _forget_log(database_file)


def _copy_pictures(source: Pictures, target: Pictures, needed: dict[str, tuple[str, ...]]) -> None:
    """Copy what is missing; each is read, checked, and written whole."""
    for study_id, contents in needed.items():
        for sha256 in contents:
            if target.has(sha256):
                continue
            try:
                target.keep(source.read(sha256))
            except NotInRecordError as error:
                raise NotInRecordError(f"study {study_id}: {error}") from error


def _drop_others(pictures: Pictures, needed: dict[str, tuple[str, ...]]) -> None:
    """What the record has deleted does not stay in its backup."""
    wanted = {sha256 for contents in needed.values() for sha256 in contents}
    for sha256 in list(pictures):
        if sha256 not in wanted:
            pictures.remove(sha256)


def _copy_keys(source: Path, target: Path) -> None:
    keys: Iterable[Path] = (source / PUBLIC_FOLDER).glob("[!.]*.pub")
    try:
        (target / PUBLIC_FOLDER).mkdir(exist_ok=True)
        for key in keys:
            write_whole(target / PUBLIC_FOLDER / key.name, key.read_bytes())
    except OSError as error:
        raise unwritable(target / PUBLIC_FOLDER, error) from error


def _begin_anew(folder: Path, about: Backup) -> Verification:
    """Verify a restored record against its backup's head; end its log-ins, and say so."""
    with Record.open(folder) as record:
        found = record.audit.verify([read_head(about.audit_head)])
        if found.problems:
            raise RecordError(f"the backup is not as it was made: {found.problems[0]}")
        with record.database.writing() as connection:
            connection.execute(delete(SESSIONS))
            connection.execute(delete(CODES))
            detail = {"made_at": about.made_at, "head": about.audit_head}
            record.audit.append_in(connection, "", "restored", "", detail)
    return found


def _read(backup: Path) -> Backup:
    path = backup / BACKUP_FILE
    try:
        return decode(Backup, parse_json(path.read_bytes()))
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}: is this a backup?") from error
    except CodecError as error:
        raise RecordError(f"{path}: {error}") from error


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _forget_log(database_file: Path) -> None:
    """SQLite's files beside a database that was closed properly are empty."""
    for ending in ("-wal", "-shm"):
        database_file.with_name(database_file.name + ending).unlink(missing_ok=True)
