"""A file that only grows, by whole lines: the rows, stamps and pictures of a run are kept so.

Lines enter and wait in memory; `flush` hands them to the system, all of them or none, `sync` brings
them onto the disk. What is in the file is never changed in place: a torn end that a killed run or a
power cut has left is cut off, or the file is written anew beside itself and takes its own place.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Self

from edge_app.errors import StorageError
from edge_app.files.whole import sync_folder, whole

_BLOCK_BYTES = 1 << 16


class AppendedFile:
    """An open file of lines; leaving the context brings what waits onto the disk.

    Attributes:
        path: where it lies.
        end: its length, without what waits.
    """

    def __init__(self, path: Path) -> None:
        """Open or create it; nothing in it is changed, and its folder is there.

        Raises:
            StorageError: it cannot be written.
        """
        self.path = path
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_synced = True
        self._stream = self._open()
        self.end = os.fstat(self._stream.fileno()).st_size
        # A new file's name has to be brought onto the disk too.
        self._name_is_synced = self.end > 0

    @property
    def waiting(self) -> int:
        """Lines that `flush` would write."""
        return len(self._waiting)

    def append(self, line: bytes) -> int:
        """Add a line (with its newline); gives the place where it will begin."""
        place = self.end + self._waiting_bytes
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        return place

    def flush(self) -> None:
        """Hand what waits to the system.

        Raises:
            StorageError: the disk is full, read-only or gone; the file is as it was before, and
                what waited still waits.
        """
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:
            self._restore_end()
            raise self.unwritable(error) from error
        except BaseException:  # Ctrl-C at the wrong moment
            self._restore_end()
            raise
        self._waiting.clear()
        self._waiting_bytes = 0
        self.end += len(data)
        self._is_synced = False

    def sync(self) -> None:
        """Bring what waits, and what was flushed, onto the disk.

        Raises:
            StorageError: as of `flush`.
        """
        self.flush()
        if self._is_synced:
            return
        try:
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise self.unwritable(error) from error
        self._is_synced = True
        if not self._name_is_synced:
            sync_folder(self.path.parent)
            self._name_is_synced = True

    def cut(self, end: int) -> None:
        """Cut off what lies behind a place.

        Raises:
            StorageError: the disk is read-only or gone.
        """
        try:
            self._stream.truncate(end)
        except OSError as error:
            raise self.unwritable(error) from error
        self.end = end

    def cut_torn_line(self) -> None:
        """Cut off what stands behind the last newline.

        Raises:
            StorageError: the disk is read-only or gone.
        """
        end = self.end
        with self.path.open("rb") as stream:
            while end:
                begin = max(0, end - _BLOCK_BYTES)
                stream.seek(begin)
                newline = stream.read(end - begin).rfind(b"\n")
                if newline >= 0:
                    end = begin + newline + 1
                    break
                end = begin
        if end < self.end:
            self.cut(end)

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Write it anew, as it was or as it is to be and never between; what waits is dropped.

        Args:
            lines: what it is to hold; they may be read from the file itself.

        Raises:
            StorageError: it cannot be written; it is as it was.
        """
        try:
            with whole(self.path) as partial:
                with partial.open("wb") as stream:
                    stream.writelines(lines)
                self._stream.close()  # Windows replaces no open file
        finally:
            if self._stream.closed:
                self._stream = self._open()
        self.end = os.fstat(self._stream.fileno()).st_size
        self._waiting.clear()
        self._waiting_bytes = 0
        self._is_synced = True

    def close(self) -> None:
        """Let go of the file; what waits is dropped."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Bring what was appended onto the disk, also when interrupted."""
        try:
            self.sync()
        except StorageError:
            if not isinstance(error, StorageError):
                raise
        finally:
            self.close()

    def unwritable(self, error: OSError) -> StorageError:
        """What is raised where the file cannot be written."""
        return StorageError(
            f"{self.path}: cannot be written: {error.strerror or error}; once it can, the same "
            "command goes on"
        )

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "a+b", buffering=0)
        except OSError as error:
            raise self.unwritable(error) from error

    def _restore_end(self) -> None:
        try:
            self._stream.truncate(self.end)
        except OSError:  # the disk is gone: the next opening cuts, and nothing may come behind this
            self._waiting.clear()
            self._waiting_bytes = 0
