"""Bytes by their SHA-256, each in a file of its own: pictures in, paths out."""

from pathlib import Path


class Pictures:
    """A folder of contents, `ab/abcdef...`; what lies there is never changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, content: bytes) -> str:
        """Keep bytes, on the disk when this returns; gives their SHA-256.

        Raises:
            StorageError: the disk is full, read-only or gone; nothing half-written stays.
        """
        raise NotImplementedError

    def path(self, sha256: str) -> Path:
        """Where they lie.

        Raises:
            NotInRecordError: they are not there, or that is no SHA-256.
        """
        raise NotImplementedError

    def read(self, sha256: str) -> bytes:
        """The bytes; raises NotInRecordError where they are gone or are not what they were."""
        raise NotImplementedError
