"""One process at a time, on every system: a lock file that its holder removes.

The system's lock dies with the process, so a file that a killed one has left locks nobody out. It
lies beside what it guards and not in it: Windows lets nobody read the bytes that are locked.
"""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from edge_app.errors import StorageError

# Of flock(2) and of Windows' _locking: another process has it.
_HELD = frozenset({errno.EAGAIN, errno.EACCES, errno.EDEADLK})


class FileLock:
    """A lock that is held until it is closed."""

    def __init__(self, path: Path, busy: str) -> None:
        """Take the lock at once or not at all; its folder is there.

        Args:
            path: of the lock file.
            busy: what to tell a user when another process has it.

        Raises:
            StorageError: another process has it, or the file cannot be made.
        """
        self._path = path
        self._stream = _open(path)
        while True:
            if not _try_lock(self._stream.fileno()):
                self._stream.close()
                raise StorageError(busy)
            if _is_at(path, self._stream):
                return
            # Its holder has removed it between our opening and our locking: that one locks nothing.
            self._stream.close()
            self._stream = _open(path)

    def close(self) -> None:
        """Let go of it."""
        if os.name == "nt":  # no open file can be removed there
            self._stream.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._stream.close()

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("a+b")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def _is_at(path: Path, stream: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool:
    """False where another process has it; True also on a network share that knows no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True
