"""What a process puts down for a moment and nobody else reads; gone when it is.

A read-only system or a full disk has no room for temporary files: what can lie in memory does, so
that a picture is scored there all the same, and what cannot is an error that names the variable
that moves it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge_app.errors import StorageError


def scratch_file() -> BinaryIO:
    """A file without a name: in memory where the system can (Linux), else on the disk.

    Raises:
        OSError: it has to lie on the disk, and there is no room.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("pneumoscope"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for the time of a `with`.

    Raises:
        StorageError: none can be made.
    """
    import tempfile

    try:
        folder = tempfile.TemporaryDirectory(prefix="pneumoscope-")
    except OSError as error:
        raise StorageError(
            "no temporary folder can be written; name one that can: TMPDIR=FOLDER"
        ) from error
    with folder as name:
        yield Path(name)
