"""Writing that leaves nothing half-written: folders that are tried first, whole files at once."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from edge_app.errors import StorageError


def make_folder(folder: Path) -> None:
    """Make a folder where it is missing, and see that a file can be written in it.

    Raises:
        StorageError: it cannot be made or written.
    """
    probe = folder / f".pneumoscope-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from error


def require_writable(path: Path) -> None:
    """See that `write_whole` can make or replace a file.

    Raises:
        StorageError: it cannot.
    """
    temporary = _temporary(path)
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary.write_bytes(b"")
        temporary.unlink()
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_whole(path: Path, chunks: Iterable[str]) -> None:
    """Write a UTF-8 file so that it is there in full or not at all.

    Raises:
        StorageError: the disk is full, read-only or gone; what was there before is untouched.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(chunks)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")
