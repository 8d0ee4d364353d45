"""Takes a request's body as a picture: bounded, streamed to the disk, under a name without a path.

Chunks enter, the path of a whole file leaves; what is too long or cut off leaves nothing.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from edge_app.errors import InputError, StorageError
from edge_app.files.whole import make_folder, unwritable
from edge_app.results.rows import printable

LONGEST_NAME = 120
# Room that stays on the disk, for the database above all.
KEEP_FREE_BYTES = 200_000_000


class TooLargeError(InputError):
    """The upload is longer than is taken."""


class Uploads:
    """A folder for what is on its way; emptied when it is opened."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Make the folder; what a power cut has left in it was never answered.

        Raises:
            StorageError: it cannot be written.
        """
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        self._folder = folder
        self.most_bytes = most_bytes

    @asynccontextmanager
    async def take(self, chunks: AsyncIterator[bytes], announced: int) -> AsyncIterator[Path]:
        """Write a body to a file that is deleted at the end.

        Args:
            chunks: of the body.
            announced: its Content-Length, 0 where there is none.

        Raises:
            TooLargeError: more than `most_bytes`.
            StorageError: the disk is full or nearly so.
        """
        self._require_room(announced)
        try:
            handle, name = tempfile.mkstemp(dir=self._folder)
        except OSError as error:
            raise unwritable(self._folder, error) from error
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                written = 0
                async for chunk in chunks:
                    written += len(chunk)
                    self._require_room(written)
                    try:
                        stream.write(chunk)
                    except OSError as error:
                        raise unwritable(path, error) from error
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _require_room(self, size: int) -> None:
        if size > self.most_bytes:
            raise TooLargeError(f"more than {self.most_bytes // 1_000_000} MB are not taken")
        if shutil.disk_usage(self._folder).free < size + KEEP_FREE_BYTES:
            raise StorageError("the disk is nearly full: make room before more pictures are added")


def plain_name(name: str) -> str:
    r"""A file's name without folders (`/` and `\`), control characters and undue length."""
    last = PureWindowsPath(PurePosixPath(name.replace("\x00", "")).name).name
    shown = "".join(c for c in printable(last) if c.isprintable()).strip()
    if len(shown) > LONGEST_NAME:
        shown = "…" + shown[1 - LONGEST_NAME :]
    return shown or "picture"
