"""Writing that leaves nothing half-written: an append-only journal, and whole files at once."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from edge_app.codec import compact_json
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


def write_whole(path: Path, chunks: Iterable[str]) -> None:
    """Write a UTF-8 file so that it is there in full or not at all.

    Raises:
        StorageError: the disk is full, read-only or gone; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
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


class Journal:
    """An append-only file of JSON lines; every line that is in it is whole.

    A line that the disk refuses is cut off again, so that a reader never meets half of one.
    """

    def __init__(self, path: Path) -> None:
        """Begin a new journal.

        Raises:
            StorageError: the file is there already or cannot be made.
        """
        self.path = path
        try:
            # Unbuffered: what `append` has returned from is the operating system's.
            self._stream = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise StorageError(
                f"{path}: is there already, and results are never overwritten; "
                "name another output folder"
            ) from error
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error

    def append(self, entry: object) -> None:
        """Add a dataclass as one line.

        Raises:
            StorageError: the disk is full, read-only or gone.
        """
        line = memoryview((compact_json(entry) + "\n").encode("utf-8"))
        begin = self._stream.tell()
        try:
            while line:
                line = line[self._stream.write(line) :]
        except OSError as error:
            self._cut_off(begin)
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Bring what was written onto the disk, also when interrupted."""
        try:
            os.fsync(self._stream.fileno())
        except OSError as fault:
            if error is None:
                raise StorageError(f"{self.path}: {fault.strerror or fault}") from fault
        finally:
            self._stream.close()

    def _cut_off(self, length: int) -> None:
        try:
            self._stream.truncate(length)
            self._stream.seek(length)
        except OSError:  # the disk is gone: nothing more can be done for the line
            return
