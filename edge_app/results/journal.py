"""The result file as its own journal: it only grows, and whatever is in it is whole.

Lines enter, and are on the disk after at most a second or a few hundred of them. A run that was
killed at any moment leaves at most one torn end, which the next run cuts off once it is known to be
of the same kind; every row before it is good. Rows that stand behind damage are never thrown away:
they are set aside in a file of their own. One process at a time writes.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from edge_app.errors import StorageError, UsageError
from edge_app.files.appended_file import AppendedFile
from edge_app.files.codec import CodecError, compact_json, encode, parse_json
from edge_app.files.locks import FileLock
from edge_app.files.whole import whole
from edge_app.results.rows import FORMAT_VERSION, ResultRow, RunHeader, decode_header, decode_row

T = TypeVar("T")

# What a power cut may cost: that many files or that much time are scored again.
SYNC_ROWS = 256
SYNC_SECONDS = 1.0

# Lines that were never brought onto the disk may come back as anything after a power cut, zeros
# among them. Before the last so many lines nothing was open any more: damage there is no torn end.
_UNSAFE_LINES = 4 * SYNC_ROWS

_HEADER_BEGIN = f'{{"format_version":{FORMAT_VERSION},"pneumoscope_version":'.encode()
_OF_ONE_RUN = frozenset({"started_at"})


@dataclass(frozen=True, slots=True)
class _Damage:
    """The first bad line, how many follow it, and how many of these are good rows."""

    line: int
    lines_behind: int
    rows_behind: int


class Journal(AppendedFile):
    """An open `results.jsonl`.

    Attributes:
        path: where it lies.
        header: its first line, None for a new one.
        cut_bytes: length of the torn end, which `begin` cuts off; 0 for none.
    """

    def __init__(self, path: Path) -> None:
        """Open or create it and lock it; `recover` and `begin` follow.

        Args:
            path: the file; its folder is there.

        Raises:
            StorageError: it cannot be written, or another process writes it.
        """
        self._lock = FileLock(
            path.with_name(f".{path.name}.lock"),
            f"{path}: another run is writing here; wait until it has ended",
        )
        try:
            super().__init__(path)
        except StorageError:
            self._lock.close()
            raise
        self.header: RunHeader | None = None
        self.cut_bytes = 0
        self._waiting_since = 0.0
        self._damage: _Damage | None = None

    def recover(self, on_row: Callable[[ResultRow], None]) -> None:
        """Read what is there; nothing in it is changed yet.

        Args:
            on_row: called with each row that is there, in order.

        Raises:
            StorageError: it is damaged before its end.
        """
        self.cut_bytes = self.end - self._read_good_lines(on_row)

    def begin(
        self,
        header: RunHeader,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Check that an old journal is of the same run, cut its torn end off, or begin a new one.

        Args:
            header: the run that is to go on or to begin.
            on_note: told where good rows are that stood behind damage.

        Raises:
            UsageError: the old one was written with other parameters; the message names them.
            StorageError: it cannot be written.
        """
        if self.header is not None:
            self._require_same_run(header)
        self._drop_torn_end(on_note)
        if self.header is None:
            self.header = header
            # Past our own `append`: it is no row, whose waiting is timed.
            super().append((compact_json(header) + "\n").encode("utf-8"))
            super().sync()

    def drop(self, unwanted: Callable[[ResultRow], bool]) -> None:
        """Write it anew without some of its rows; as it was or as it is to be, never between.

        Raises:
            StorageError: it cannot be written; it is as it was.
        """
        self.rewrite(self._lines_without(unwanted))

    def append(self, line: bytes) -> int:
        """Add a line (with its newline); it is on the disk after `sync`. Gives its place."""
        if not self.waiting:
            self._waiting_since = time.monotonic()
        return super().append(line)

    def close(self) -> None:
        """Let go of the file and of its lock."""
        super().close()
        self._lock.close()

    @property
    def is_due(self) -> bool:
        """Whether enough rows or enough time came together for a `sync`."""
        if self.waiting >= SYNC_ROWS:
            return True
        return self.waiting > 0 and time.monotonic() - self._waiting_since >= SYNC_SECONDS

    def _lines_without(self, unwanted: Callable[[ResultRow], bool]) -> Iterator[bytes]:
        with open(self.path, "rb") as lines:
            yield next(lines)
            yield from (line for line in lines if not unwanted(decode_row(line)))

    def _read_good_lines(self, on_row: Callable[[ResultRow], None]) -> int:
        """Read to the end of the last good line; gives that place."""
        end = number = 0
        with open(self.path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    if number == 1:
                        self.header = _whole(line, decode_header)
                    else:
                        on_row(_whole(line, decode_row))
                except CodecError as error:
                    self._damage = self._look_behind(number, line, error, lines)
                    break
                end += len(line)
        return end

    def _look_behind(
        self, number: int, line: bytes, error: CodecError, rest: Iterator[bytes]
    ) -> _Damage:
        """What follows the first bad line.

        Raises:
            StorageError: this is no end that a run has left.
        """
        if number == 1 and (not self._begins_like_ours() or _is_json_line(line)):
            raise StorageError(
                f"{self.path}: line 1: {error}: no results of this format version; "
                "name another folder with -o"
            )
        lines = rows = 0
        for behind in rest:
            lines += 1
            rows += lines <= _UNSAFE_LINES and _is_row(behind)
        if lines > _UNSAFE_LINES:
            raise StorageError(
                f"{self.path}: line {number}: {error}. {lines} lines follow, so this is no "
                "interrupted write; see `pneumoscope validate`"
            )
        if number == 1 and rows:
            raise StorageError(
                f"{self.path}: line 1, which describes the run, is damaged ({error}), but {rows} "
                "rows stand behind it; nothing was changed. Name another folder with -o"
            )
        return _Damage(number, lines, rows)

    def _require_same_run(self, header: RunHeader) -> None:
        assert self.header is not None
        differences = describe_differences(self.header, header)
        if differences:
            raise UsageError(
                f"{self.path} was begun with other parameters: {'; '.join(differences)}. Name "
                "another folder with -o, or repeat the first command to go on with it"
            )

    def _drop_torn_end(self, on_note: Callable[[str], None]) -> None:
        if not self.cut_bytes:
            return
        try:
            if self._damage is not None and self._damage.rows_behind:
                self._set_aside(self._damage, on_note)
        except OSError as error:
            raise self.unwritable(error) from error
        self.cut(self.end - self.cut_bytes)

    def _set_aside(self, damage: _Damage, on_note: Callable[[str], None]) -> None:
        """Copy the end, before it is cut off, to a file of its own."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        copy = self.path.with_name(f"{self.path.name}.cut-{now}")
        with open(self.path, "rb") as source, whole(copy) as partial, open(partial, "wb") as target:
            source.seek(self.end - self.cut_bytes)
            shutil.copyfileobj(source, target)
        on_note(
            f"{self.path}: line {damage.line} is damaged: it and the {damage.lines_behind} lines "
            f"behind it were cut off and are in {copy}; their files are scored again"
        )

    def _begins_like_ours(self) -> bool:
        """Whether the first line may be a header that was cut short; a foreign file is not cut."""
        with open(self.path, "rb") as stream:
            found = stream.read(len(_HEADER_BEGIN)).rstrip(b"\0")
        return _HEADER_BEGIN.startswith(found)


def good_rows(path: Path) -> Iterator[ResultRow]:
    """The rows that a run would go on from: those before a torn end; none without a file."""
    try:
        with open(path, "rb") as lines:
            for number, line in enumerate(lines):
                if number:
                    yield _whole(line, decode_row)
    except (CodecError, FileNotFoundError):
        return
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def describe_differences(old: RunHeader, new: RunHeader) -> list[str]:
    """What two runs do not have in common, for people; empty where one may go on with the other."""
    before, after = dict(_flat(encode(old))), dict(_flat(encode(new)))
    names = [name for name in {**before, **after} if name not in _OF_ONE_RUN]
    return [
        f"{name} was {before.get(name)!r}, is {after.get(name)!r} now"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Leaves of nested objects with their dotted names."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _whole(line: bytes, decode: Callable[[bytes], T]) -> T:
    if not line.endswith(b"\n"):
        raise CodecError("torn: it does not end with a newline")
    return decode(line)


def _is_row(line: bytes) -> bool:
    try:
        _whole(line, decode_row)
    except CodecError:
        return False
    return True


def _is_json_line(line: bytes) -> bool:
    """Whether a line is whole: then it is not torn but of another format."""
    try:
        _whole(line, parse_json)
    except CodecError:
        return False
    return True
