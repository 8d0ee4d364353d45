"""Size and time of each file that has a row, kept in `files.jsonl` beside the results.

By them a run that goes on notices that another picture lies where a scored one lay. Lines are only
added, and on the disk before their rows are; of several for one name the last holds. It is no
record: where it was deleted or a line is damaged, the SHA-256 in the row is compared with the
file's, which takes longer.
"""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge_app.files.appended_file import AppendedFile

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
    return as_mark(status.st_size, status.st_mtime_ns)


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
                    yield noted["file"], as_mark(int(noted["size"]), int(noted["mtime_ns"]))
                except (ValueError, TypeError, KeyError):
                    continue
    except OSError:
        return


class Marks(AppendedFile):
    """An open `files.jsonl`.

    Synced before the rows are: then no row is without its mark, and none has to be told by reading
    the file again.
    """

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            StorageError: it cannot be written.
        """
        super().__init__(path)
        self.cut_torn_line()

    def add(self, line: str) -> None:
        """Add a file's line (`mark_line`)."""
        self.append(line.encode("utf-8", "surrogatepass"))


def as_mark(size: int, mtime_ns: int) -> bytes:
    """A mark of these; it is never empty."""
    return b"size %d %d" % (size, mtime_ns)
