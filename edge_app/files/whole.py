"""Writing that leaves nothing half-written: whole files and folders, each put in place at once.

What is written lies beside its place under a name that begins with `PART`, is brought onto the
disk, and takes its place by one rename: a reader, a full disk or a power cut finds the old or the
new, never a half.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident

from edge_app.errors import StorageError

PART = ".part-"


@contextmanager
def whole(path: Path, *, beside: Path | None = None) -> Iterator[Path]:
    """A file to write, which takes the place of `path` once it is whole and on the disk.

    It has the suffix of `path`, since some libraries choose a format by that.

    Args:
        path: what is to be written.
        beside: another folder of the same file system for the unfinished file.

    Raises:
        StorageError: the disk is full, read-only or gone; what was there before is untouched.
    """
    # Process and thread in the name keep two that write one file out of each other's halves.
    writer = f"{os.getpid()}-{get_ident()}"
    partial = (beside or path.parent) / f"{PART}{writer}-{path.name}"
    try:
        yield partial
        with partial.open("rb+") as stream:
            # Renamed before its bytes are on the disk, a file is empty after a power cut.
            os.fsync(stream.fileno())
        put_in_place(partial, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | Iterable[str]) -> None:
    """Write a file so that it is there in full or not at all.

    Args:
        path: where.
        content: its bytes, or pieces of text for a UTF-8 file.

    Raises:
        StorageError: as of `whole`.
    """
    with whole(path) as partial:
        if isinstance(content, bytes):
            partial.write_bytes(content)
            return
        with partial.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(content)


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files below a folder that has no reader yet, and bring them onto the disk.

    Args:
        folder: made where it is missing.
        files: relative names with forward slashes, and contents.

    Raises:
        OSError: the disk is full, read-only or gone.
    """
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


def put_in_place(source: Path, target: Path) -> None:
    """Rename a file or a folder that is on the disk; when this returns, so is its new name.

    Raises:
        OSError: it cannot be renamed; both are as they were.
    """
    for folder, _, _ in os.walk(source):  # nothing for a file
        sync_folder(Path(folder))
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder onto the disk (POSIX; elsewhere folders cannot be opened)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def owner_only(is_wanted: bool) -> Iterator[None]:
    """Within, only their owner may read the files and folders that this process makes.

    By the process's umask, so that no library and no temporary file is forgotten. Windows has no
    such thing: there the rights of the folder around them hold.
    """
    before = os.umask(0o077)
    if not is_wanted:
        os.umask(before)
    try:
        yield
    finally:
        os.umask(before)


def make_folder(folder: Path) -> None:
    """Make a folder where it is missing, and see that a file can be written in it.

    Raises:
        StorageError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _try_to_write(folder / "probe")
    except OSError as error:
        raise unwritable(folder, error) from error


def make_private_folder(folder: Path) -> None:
    """Make a folder for patients' data: as `make_folder`, and its owner's alone.

    A USB stick's FAT knows no owners; there it is everybody's who holds the stick.

    Raises:
        StorageError: it cannot be made or written.
    """
    make_folder(folder)
    with suppress(OSError):
        folder.chmod(0o700)


def require_writable(path: Path) -> None:
    """See that `write_whole` can make or replace a file.

    Raises:
        StorageError: it cannot.
    """
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _try_to_write(path)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StorageError:
    """What is raised where something cannot be written."""
    return StorageError(f"{path}: cannot be written: {error.strerror or error}")


def _try_to_write(path: Path) -> None:
    probe = path.with_name(f"{PART}{os.getpid()}-{get_ident()}-{path.name}")
    probe.write_bytes(b"")
    probe.unlink()
