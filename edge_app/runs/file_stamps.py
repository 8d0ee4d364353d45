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
from typing import NamedTuple

from edge_app.files.appended_file import AppendedFile
from edge_app.files.bucket import file_facts, is_in_bucket

# As `json.dumps`, in a fifth of the time: it is done for every file.
_quoted = json.encoder.encode_basestring_ascii
# A file system may claim the year 2446; SQLite's integers end in 2262.
_LARGEST = (1 << 63) - 1


class FileStamp(NamedTuple):
    """What tells that a file was written to, without reading it."""

    size: int
    mtime_ns: int


def stamp_of(path: Path) -> FileStamp | None:
    """The stamp of a file; None where there is none."""
    if is_in_bucket(path):
        facts = file_facts(path)
        return None if facts is None else FileStamp(facts.size, facts.mtime_ns)
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a list names a file with a NUL in it
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return _stamp(status.st_size, status.st_mtime_ns)


def stamp_line(name: str, stamp: FileStamp) -> str:
    """The line of a file's stamp, with its newline."""
    return f'{{"file":{_quoted(name)},"size":{stamp.size},"mtime_ns":{stamp.mtime_ns}}}\n'


def read_stamps(path: Path) -> Iterator[tuple[str, FileStamp]]:
    """Names and stamps in the order in which they were added; what is damaged is left out."""
    try:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    noted = json.loads(line)
                    yield noted["file"], _stamp(int(noted["size"]), int(noted["mtime_ns"]))
                except (ValueError, TypeError, KeyError):
                    continue
    except OSError:
        return


class FileStamps(AppendedFile):
    """An open `files.jsonl`.

    Synced before the rows are: then no row is without its stamp, and none has to be told by reading
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
        """Add a file's line (`stamp_line`)."""
        self.append(line.encode("utf-8", "surrogatepass"))


def _stamp(size: int, mtime_ns: int) -> FileStamp:
    return FileStamp(min(size, _LARGEST), max(-_LARGEST, min(mtime_ns, _LARGEST)))
