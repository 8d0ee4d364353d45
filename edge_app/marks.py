"""Size and time of each file that has a row, kept in `files.jsonl` beside the results.

By them a run that goes on notices that another picture lies where a scored one lay. Lines are only
added, each before its row; of several for one name the last holds. It is no record: where it is
lost or a line is damaged, the SHA-256 in the row is compared with the file's, which takes longer.
"""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from edge_app.errors import StorageError

# As `json.dumps`, in a fifth of the time: it is done for every file.
_quoted = json.encoder.encode_basestring_ascii


def mark_of(path: Path) -> bytes | None:
    """Size and time of change of a file, as `size BYTES NANOSECONDS`; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return _mark(status.st_size, status.st_mtime_ns)


def mark_line(name: str, mark: bytes) -> str:
    """The line of a file's mark, with its newline."""
    _, size, mtime_ns = mark.decode("ascii").split()
    return f'{{"file":{_quoted(name)},"size":{size},"mtime_ns":{mtime_ns}}}\n'


def read_marks(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and marks in the order in which they were added; what is damaged is left out."""
    try:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    noted = json.loads(line)
                    yield noted["file"], _mark(int(noted["size"]), int(noted["mtime_ns"]))
                except (ValueError, TypeError, KeyError):
                    continue
    except OSError:
        return


class Marks:
    """An open `files.jsonl`."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            StorageError: it cannot be written.
        """
        self.path = path
        try:
            self._stream: BinaryIO = path.open("ab")
            if not _ends_with_newline(path):
                self._stream.write(b"\n")  # behind a torn line
        except OSError as error:
            raise self._unwritable(error) from error

    def add(self, line: str) -> None:
        """Add a file's line (`mark_line`).

        Raises:
            StorageError: the disk is full, read-only or gone.
        """
        try:
            self._stream.write(line.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise self._unwritable(error) from error

    def sync(self) -> None:
        """Hand what was added to the system, as the rows' pictures are; see `Gallery.sync`.

        Raises:
            StorageError: the disk is full, read-only or gone.
        """
        try:
            self._stream.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> "Marks":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stream.close()
        except OSError as failure:
            if error is None:
                raise self._unwritable(failure) from failure

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(f"{self.path}: cannot be written: {error.strerror or error}")


def _mark(size: int, mtime_ns: int) -> bytes:
    return b"size %d %d" % (size, mtime_ns)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return True
        stream.seek(-1, os.SEEK_END)
        return stream.read() == b"\n"
