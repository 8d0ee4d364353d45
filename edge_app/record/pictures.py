"""Bytes by their SHA-256, each in a file of its own: pictures in, paths out."""

import re
from collections.abc import Iterator
from pathlib import Path

from edge_app.errors import NotInRecordError
from edge_app.files.whole import unwritable, write_whole
from edge_app.images.radiograph import hash_bytes

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Pictures:
    """A folder of contents, `ab/abcdef...`; what lies there is never changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, content: bytes) -> str:
        """Keep bytes, on the disk when this returns; gives their SHA-256.

        Raises:
            StorageError: the disk is full, read-only or gone; nothing half-written stays.
        """
        sha256 = hash_bytes(content)
        path = self._place(sha256)
        if self._size(path) != len(content):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unwritable(path.parent, error) from error
            write_whole(path, content)
        return sha256

    def has(self, sha256: str) -> bool:
        """Whether they lie here."""
        return bool(_SHA256.fullmatch(sha256)) and self._place(sha256).is_file()

    def path(self, sha256: str) -> Path:
        """Where they lie.

        Raises:
            NotInRecordError: they are not there, or that is no SHA-256.
        """
        if not self.has(sha256):
            raise NotInRecordError(f"no picture {sha256[:64]!r} is kept here")
        return self._place(sha256)

    def read(self, sha256: str) -> bytes:
        """The bytes; raises NotInRecordError where they are gone or are not what they were."""
        path = self.path(sha256)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise NotInRecordError(f"{path}: cannot be read: {error.strerror}") from error
        if hash_bytes(content) != sha256:
            raise NotInRecordError(
                f"{path}: is damaged: its bytes are no longer those that were kept"
            )
        return content

    def __iter__(self) -> Iterator[str]:
        """The SHA-256 of all that lies here."""
        for path in sorted(self.folder.glob("??/*")):
            if _SHA256.fullmatch(path.name):
                yield path.name

    def remove(self, sha256: str) -> None:
        """Remove one; nothing where it is not there.

        Raises:
            StorageError: it cannot be removed.
        """
        try:
            self._place(sha256).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self._place(sha256), error) from error

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    @staticmethod
    def _size(path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError:
            return -1
