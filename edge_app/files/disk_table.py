"""Tables that need not fit into memory: which files are done, which contents are known.

Keys enter and are found again, with values in typed columns. The table lies in a temporary SQLite
file with a cache of 2 MB; it is built anew from `results.jsonl` for each run, so it is never the
truth and may be lost any time.
"""

import sqlite3
from pathlib import Path
from typing import Any

from edge_app.errors import StorageError

_CACHE_KIB = 2048
_ENTRIES_PER_TRANSACTION = 50_000
_SQL_TYPES = {bytes: "BLOB", int: "INTEGER"}

Value = bytes | int | None


class DiskTable:
    """Keys (bytes) and what is noted of each; the file is deleted when it is closed."""

    def __init__(self, path: Path, **columns: type[bytes] | type[int]) -> None:
        """Make an empty table; a file that a killed run has left at `path` is replaced.

        Args:
            path: the file; its folder is there.
            columns: names and types of the values; each may be None.

        Raises:
            StorageError: the file cannot be written.
        """
        self.path = path
        self._pending = 0
        try:
            path.unlink(missing_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise _unwritable(path, error) from error
        # Nothing here has to survive a crash.
        self._execute("PRAGMA journal_mode = OFF")
        self._execute("PRAGMA synchronous = OFF")
        self._execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        typed = [f"{name} {_SQL_TYPES[kind]}" for name, kind in columns.items()]
        keyed = ", ".join(["key BLOB PRIMARY KEY", *typed])
        self._execute(f"CREATE TABLE entry ({keyed}) WITHOUT ROWID")
        self._execute("BEGIN")

    def add(self, key: bytes) -> bool:
        """Add a key; False, and no change, where it was there already.

        Raises:
            StorageError: the disk is full or gone.
        """
        return self._change("INSERT OR IGNORE INTO entry (key) VALUES (?)", (key,)) == 1

    def put(self, key: bytes, **values: Value) -> None:
        """Add a key with these values, or give them to the one that is there.

        Raises:
            StorageError: the disk is full or gone.
        """
        self.add(key)
        self.amend(key, **values)

    def amend(self, key: bytes, **values: Value) -> None:
        """Give a key other values; nothing where it is not there.

        Raises:
            StorageError: the disk is full or gone.
        """
        assignments = ", ".join(f"{name} = ?" for name in values)
        self._change(f"UPDATE entry SET {assignments} WHERE key = ?", (*values.values(), key))

    def get(self, key: bytes) -> tuple[Any, ...] | None:
        """The values of a key in the order of the columns, None where it is not there."""
        row = self._execute("SELECT * FROM entry WHERE key = ?", (key,)).fetchone()
        return None if row is None else tuple(row[1:])

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def publish(self) -> None:
        """Let other processes see what was added (`PublishedKeys`)."""
        self._execute("COMMIT")
        self._execute("BEGIN")
        self._pending = 0

    def close(self) -> None:
        """Delete the table."""
        self._database.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "DiskTable":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _change(self, statement: str, values: tuple[Value, ...]) -> int:
        changed = self._execute(statement, values).rowcount
        self._pending += changed
        if self._pending >= _ENTRIES_PER_TRANSACTION:
            self.publish()
        return changed

    def _execute(self, statement: str, values: tuple[Value, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise _unwritable(self.path, error) from error


class PublishedKeys:
    """The keys of a table that another process has published and will not change."""

    def __init__(self, path: Path) -> None:
        uri = path.absolute().as_uri() + "?mode=ro&immutable=1"
        self._database = sqlite3.connect(uri, uri=True)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    def __contains__(self, key: object) -> bool:
        row = self._database.execute("SELECT 1 FROM entry WHERE key = ?", (key,)).fetchone()
        return row is not None


def _unwritable(path: Path, error: Exception) -> StorageError:
    return StorageError(f"{path}: the table of files cannot be written: {error}")
