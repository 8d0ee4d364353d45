"""Tables of names and hashes that need not fit into memory: which files are done, which are known.

Bytes enter and are found again. The table lies in a temporary SQLite file with a cache of 2 MB; it
is built anew from `results.jsonl` for each run, so it is never the truth and may be lost any time.
"""

import sqlite3
from pathlib import Path
from types import TracebackType

from edge_app.errors import StorageError

_CACHE_KIB = 2048
_ENTRIES_PER_TRANSACTION = 50_000


class DiskTable:
    """Keys with values, both bytes, on disk; the file is deleted when it is closed."""

    def __init__(self, path: Path) -> None:
        """Make an empty table; a file that a killed run has left at `path` is replaced.

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
        self._execute("CREATE TABLE entry (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._execute("BEGIN")

    def add(self, key: bytes, value: bytes = b"") -> bool:
        """Add a key; False, and no change, where it was there already.

        Raises:
            StorageError: the disk is full or gone.
        """
        statement = "INSERT OR IGNORE INTO entry VALUES (?, ?)"
        return self._count(self._execute(statement, (key, value)).rowcount) == 1

    def put(self, key: bytes, value: bytes) -> None:
        """Add a key, or give it another value.

        Raises:
            StorageError: the disk is full or gone.
        """
        self._count(self._execute("REPLACE INTO entry VALUES (?, ?)", (key, value)).rowcount)

    def amend(self, key: bytes, kept: int, value: bytes) -> None:
        """Give a key that is there another value behind the first so many bytes of its value.

        Raises:
            StorageError: the disk is full or gone.
        """
        statement = "UPDATE entry SET value = CAST(substr(value, 1, ?) || ? AS BLOB) WHERE key = ?"
        self._count(self._execute(statement, (kept, value, key)).rowcount)

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, None where it is not there."""
        row = self._execute("SELECT value FROM entry WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def discard(self, key: bytes) -> None:
        """Remove a key if it is there."""
        self._execute("DELETE FROM entry WHERE key = ?", (key,))

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def publish(self) -> None:
        """Let other processes see what was added (`FrozenSet`)."""
        self._execute("COMMIT")
        self._execute("BEGIN")
        self._pending = 0

    def close(self) -> None:
        """Delete the table."""
        self._database.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "DiskTable":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _count(self, changed: int) -> int:
        self._pending += changed
        if self._pending >= _ENTRIES_PER_TRANSACTION:
            self.publish()
        return changed

    def _execute(self, statement: str, values: tuple[bytes | int, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise _unwritable(self.path, error) from error


class FrozenSet:
    """The keys of a table that another process has published and will not change."""

    def __init__(self, path: Path) -> None:
        uri = path.absolute().as_uri() + "?mode=ro&immutable=1"
        self._database = sqlite3.connect(uri, uri=True)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    def __contains__(self, key: object) -> bool:
        row = self._database.execute("SELECT 1 FROM entry WHERE key = ?", (key,)).fetchone()
        return row is not None


def _unwritable(path: Path, error: Exception) -> StorageError:
    return StorageError(f"{path}: the table of known files cannot be written: {error}")
