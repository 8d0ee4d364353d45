"""What a run has on the disk: rows, stamps, pictures, and which files have a row already.

Answers enter in the order of the rows; on the disk no row is without its stamp and its picture.
Opening takes the run's lock and reads what an earlier run has left; leaving the context brings
everything onto the disk. It scores nothing and knows no folder but its own.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from edge_app.decision import Decision, Status
from edge_app.errors import StorageError
from edge_app.files.codec import CodecError, compact_json
from edge_app.files.disk_table import DiskTable
from edge_app.files.whole import make_folder, write_whole
from edge_app.report.gallery import Gallery
from edge_app.results.folder import RunFolder
from edge_app.results.journal import Journal, describe_differences
from edge_app.results.rows import ResultRow, RunHeader, decode_header
from edge_app.runs.discovery import ImageFile
from edge_app.runs.earlier_results import add_contents, content_digest, digest_of
from edge_app.runs.file_stamps import FileStamp, FileStamps, read_stamps, stamp_line, stamp_of
from edge_app.runs.workers.messages import Answered, read_message

# About 6 MB of rows at most.
_MOST_KEPT = 8192


class Noted(NamedTuple):
    """What is known of a file that has a row, or is about to have one.

    Attributes:
        rows: how many it has; the last one holds.
        sha256: of the last row's content, None where it could not be read.
        stamp: None where nothing was noted.
    """

    rows: int
    sha256: bytes | None
    stamp: FileStamp | None


class RunStore:
    """The open files of one run.

    Attributes:
        gallery: pictures for the report, None where none is asked for.
        stale: by file, how many of its rows are of content that was overwritten since.
    """

    def __init__(
        self,
        folder: RunFolder,
        header: RunHeader,
        *,
        only_new: Sequence[Path],
        retry_failed: bool,
        pictures: bool,
        names: bool,
        on_row: Callable[[ResultRow], None],
        on_note: Callable[[str], None],
    ) -> None:
        """Open the run that is there, or begin one.

        Args:
            folder: made where it is missing.
            header: of the run that begins or goes on.
            only_new: results whose contents are published for the engine.
            retry_failed: whether rows of files that failed are dropped.
            pictures: whether a report is asked for.
            names: whether one file may be offered twice; a run that goes on always finds out.
            on_row: called with each row that is there and stays.
            on_note: told what a user should know.

        Raises:
            UsageError: the results there were begun with other parameters.
            StorageError: they cannot be written, or another run is writing there.
        """
        self.gallery: Gallery | None = None
        self.stale: dict[str, int] = {}
        self._folder = folder
        self._header = header
        self._retry_failed = retry_failed
        self._on_row = on_row
        self._names: DiskTable | None = None
        with ExitStack() as self._stack:
            make_folder(folder.path)
            # Its lock is taken before anything else is touched, and let go of behind the rest.
            self._journal = self._stack.enter_context(Journal(folder.results))
            failed = self._read_rows()
            if names:
                self._open_names()
            if self._names is not None:
                self._read_stamps(self._names)
            if only_new:
                contents = self._stack.enter_context(DiskTable(folder.hashes))
                add_contents(contents, only_new)
                contents.publish()
            goes_on = self._journal.header is not None
            self._journal.begin(header, on_note)
            if failed:
                self._journal.drop(lambda row: row.status is Status.FAILED)
                on_note(f"{failed} files that had failed are scored again")
            self._kept = self._read_kept() if goes_on else {}
            self._stamps = self._stack.enter_context(FileStamps(folder.file_stamps))
            if pictures:
                self.gallery = self._stack.enter_context(Gallery(folder.thumbnails))
            self._stack = self._stack.pop_all()

    @property
    def is_due(self) -> bool:
        """Whether enough rows or enough time came together for a `sync`."""
        return self._journal.is_due

    def claim(self, name: str) -> bool:
        """Whether a file is to be scored: False where it has a row, or was claimed before."""
        return self._names is None or self._names.add(name.encode("utf-8"))

    def noted(self, name: str) -> Noted | None:
        """What is known of a file, None where it has no row; only for runs with `names`."""
        values = None if self._names is None else self._names.get(name.encode("utf-8"))
        if values is None:
            return None
        rows, sha256, size, mtime_ns = values
        stamp = None if size is None else FileStamp(size, mtime_ns)
        return Noted(rows or 0, sha256, stamp)

    def note(self, name: str, stamp: FileStamp) -> None:
        """Note the stamp of a file that has a row or is about to have one."""
        if self._names is not None:
            self._names.put(name.encode("utf-8"), **stamp._asdict())

    def has_another(self, file: ImageFile) -> bool:
        """Whether a file has a row that is of another content than it has now.

        Told by its size and time; where these differ or were not noted, by its SHA-256.
        """
        noted, found = self.noted(file.name), file.listed or stamp_of(file.path)
        if noted is None or found is None or noted.stamp == found:
            return False
        if noted.sha256 is None:  # it could not be read then
            return noted.stamp is not None
        if content_digest(file.path) not in (noted.sha256, None):
            return True
        self._stamps.add(stamp_line(file.name, found))
        return False

    def take_kept(self, file: ImageFile) -> Answered | None:
        """The answer that an interrupted run has kept for a file that has not changed since."""
        kept = self._kept.pop(file.name, None) if self._kept else None
        if kept is None or kept.stamp is None:
            return None
        stamp = file.listed or stamp_of(file.path)
        return kept if stamp is not None and kept.stamp == stamp_line(file.name, stamp) else None

    def write(self, name: str, answered: Answered) -> None:
        """Add a file's row, its stamp and its picture; on the disk after `sync`.

        Raises:
            StorageError: there is no room for the picture.
        """
        self._journal.append(answered.row.encode("utf-8"))
        if self._names is not None and self._count_row(self._names, name, answered.sha256):
            self.stale[name] = self.stale.get(name, 0) + 1
            if self.gallery is not None:
                self.gallery.forget(name)
        if answered.stamp is not None:
            self._stamps.add(answered.stamp)
        if answered.picture is None or self.gallery is None:
            return
        picture = answered.picture.encode("utf-8")
        try:
            self.gallery.add(Decision(answered.decision), answered.raw_score, picture)
        except StorageError:
            self._save_rows()
            raise

    def sync(self) -> None:
        """Bring all rows that were written onto the disk, behind their stamps.

        Raises:
            StorageError: the results cannot be written.
        """
        try:
            self._stamps.sync()
            self._journal.sync()
        except StorageError:
            self._save_rows()
            raise
        if self.gallery is not None:
            self.gallery.settle()

    def keep(self, answers: Iterable[Answered]) -> None:
        """Keep answers that have no row yet, and those kept before, for the run that goes on.

        Where that is not possible, their files are scored again.
        """
        kept = islice(chain(answers, self._kept.values()), _MOST_KEPT)
        lines = [answered.to_line().decode("ascii") for answered in kept]
        with suppress(StorageError):
            if lines:
                write_whole(self._folder.kept_answers, [compact_json(self._header), "\n", *lines])
            else:
                self.forget_kept()

    def forget_kept(self) -> None:
        """Remove what was kept: it is written, or of no use any more."""
        with suppress(OSError):
            self._folder.kept_answers.unlink(missing_ok=True)

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _open_names(self) -> DiskTable:
        if self._names is None:
            table = DiskTable(self._folder.names, rows=int, sha256=bytes, size=int, mtime_ns=int)
            self._names = self._stack.enter_context(table)
        return self._names

    @staticmethod
    def _count_row(names: DiskTable, name: str, sha256: str | None) -> int:
        """Note one more row of a file; gives how many it had before."""
        key = name.encode("utf-8")
        before = 0 if names.add(key) else (names.get(key) or (0,))[0] or 0
        names.amend(key, rows=before + 1, sha256=digest_of(sha256))
        return before

    def _read_rows(self) -> int:
        """Pass on the rows that are there and note their names; gives how many are to be dropped.

        A run that begins has no table of names, which would cost time with each file.
        """
        failed = 0

        def remember(row: ResultRow) -> None:
            nonlocal failed
            if self._retry_failed and row.status is Status.FAILED:
                failed += 1
                return
            if self._count_row(self._open_names(), row.file, row.sha256):
                self.stale[row.file] = self.stale.get(row.file, 0) + 1
            self._on_row(row)

        self._journal.recover(remember)
        return failed

    def _read_stamps(self, names: DiskTable) -> None:
        # Stamps are on the disk before their rows: one without a row must not make its file done.
        for name, stamp in read_stamps(self._folder.file_stamps):
            names.amend(name.encode("utf-8", "surrogatepass"), **stamp._asdict())

    def _read_kept(self) -> dict[str, Answered]:
        return {
            name: kept
            for name, kept in _read_kept_answers(self._folder.kept_answers, self._header)
            if not (self._retry_failed and kept.status == Status.FAILED)
        }

    def _save_rows(self) -> None:
        """Bring the rows onto a disk that has no room for what accompanies them."""
        if self.gallery is not None:
            self.gallery.take_back()
        self._journal.sync()


def _read_kept_answers(path: Path, header: RunHeader) -> Iterator[tuple[str, Answered]]:
    """Answers with their files' names; none where there are none of a run with this header."""
    try:
        with path.open("rb") as lines:
            if describe_differences(decode_header(next(lines, b"")), header):
                return
            for line in lines:
                message = read_message(line)
                if isinstance(message, Answered):
                    yield json.loads(message.row)["file"], message
    except (OSError, CodecError, ValueError, TypeError, KeyError):
        return
