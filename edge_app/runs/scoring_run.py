"""The engine of folder scoring: files in, rows on the disk in the order of the files.

It holds the workers, the journal and the gallery of one run. `batch` feeds it a folder once,
`watch` whatever arrives. At most a window of rows is in memory: those whose turn has not come,
since an earlier file is still being decoded.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from types import TracebackType

from edge_app.bundle.load import load_bundle
from edge_app.bundle.location import current_bundle_folder
from edge_app.bundle.manifest import MANIFEST_FILE, Bundle
from edge_app.decision import Decision, Reason, Status
from edge_app.errors import BundleIntegrityError, NoInputError, StorageError, UsageError
from edge_app.files.codec import CodecError
from edge_app.files.disk_table import DiskTable
from edge_app.files.whole import make_folder
from edge_app.report.gallery import Gallery
from edge_app.results.folder import RunFolder
from edge_app.results.journal import Journal
from edge_app.results.rows import (
    ResultRow,
    RunHeader,
    decode_header,
    encode_row,
    read_results,
    utc_now,
)
from edge_app.runs.discovery import ImageFile
from edge_app.runs.file_stamps import Marks, mark_line, mark_of, read_marks
from edge_app.runs.row_order import Waiting, read_waiting, write_waiting
from edge_app.runs.run_header import printable
from edge_app.runs.summary import STAGES, Outcome, Summary, Tally
from edge_app.runs.workers.messages import Ready, Reply, Settings, Task
from edge_app.runs.workers.pool import DEEP, Lost, Pool

# About 6 MB of rows at most.
_WINDOW = 8192

# Of a row's SHA-256; what is noted of a name begins with it.
_DIGEST_BYTES = 32
_NO_DIGEST = bytes(_DIGEST_BYTES)

# The parameter that every header has since inputs are described by absolute paths.
_ONLY_NEW = "only_new"

# Once interrupted, for an earlier file that keeps finished rows waiting.
SECONDS_TO_WIND_DOWN = 5.0
_SECONDS_A_LOOK = 0.1

# Told each row's outcome once it is in the journal.
OnOutcome = Callable[[Outcome], None]
# Asked, when a file's reply comes in, whether it is to be its row; False: as if the file had not
# been there.
OnReply = Callable[[ImageFile, Reply], bool]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to score, whatever it is that is scored.

    Attributes:
        bundle, runtime, operating_point: None for the default.
        workers: processes side by side.
        threads: of one inference.
        formats: what is written, of `derived.FORMATS`.
        only_new: results of earlier runs: content that they know gets no row.
        retry_failed: whether rows of files that failed are dropped, so that these are scored again.
        seconds_per_file: after which a file is given up.
        verbose: whether what workers print on standard error is shown.
    """

    bundle: Path | None = None
    runtime: str | None = None
    operating_point: str | None = None
    workers: int = 1
    threads: int = 1
    formats: tuple[str, ...] = ("jsonl", "csv", "html")
    only_new: tuple[Path, ...] = ()
    retry_failed: bool = False
    seconds_per_file: float = 60.0
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class RunInput:
    """What is scored, as the header of the results says it: its name, and what else matters."""

    source: str
    parameters: Mapping[str, str | int | float | bool]
    # As earlier versions described the same; what they began can be gone on with.
    earlier: "RunInput | None" = None


class ScoringRun:
    """An open run; leaving the context brings all finished rows onto the disk.

    Attributes:
        folder: where it writes.
        options: how it scores.
        bundle: the checked bundle.
        header: the first line of its results.
        tally: counts and times.
        gallery: pictures for the report, None where none is asked for.
    """

    def __init__(
        self,
        folder: RunFolder,
        what: RunInput,
        options: RunOptions,
        on_note: Callable[[str], None],
        *,
        names: bool,
    ) -> None:
        """Start the workers, check the bundle, and open or go on with the journal.

        Args:
            folder: where to write.
            what: what will be scored.
            options: how.
            on_note: told what a user should know.
            names: whether one file may be offered twice; a run that goes on always finds out.

        Raises:
            UsageError: the results there were begun with other parameters.
            BundleError, RuntimeUnavailableError: the model cannot be used.
            StorageError: the results cannot be written.
        """
        self.folder = folder
        self.options = options
        self.tally = Tally()
        self.gallery: Gallery | None = None
        self._names: DiskTable | None = None
        self._offered: dict[int, ImageFile] = {}
        self._waiting = Waiting()
        self._kept: dict[str, Reply] = {}
        self._next_id = 0
        with ExitStack() as stack:
            self._pool, ready = self._open_pool(what, on_note, stack)
            for path in options.only_new:
                next(_rows_of(path), None)  # before anything is written
            make_folder(folder.path)
            self.header = decode_header(ready.header.encode("utf-8"))
            # Its lock is taken before anything else is touched, and let go of behind the rest.
            self._journal = stack.enter_context(Journal(folder.results))
            dropped = self._read_journal(stack, keep_names=names)
            self._write_known_hashes(stack)
            goes_on = self._journal.header is not None
            self._journal.begin(self.header, on_note, earlier=self._earlier_header(what))
            if dropped:
                self._journal.drop(lambda row: row.status is Status.FAILED)
                on_note(f"{dropped} files that had failed are scored again")
            self._kept = self._read_kept() if goes_on else {}
            self._marks = stack.enter_context(Marks(folder.marks))
            if "html" in options.formats:
                self.gallery = stack.enter_context(Gallery(folder.thumbnails))
            self._stack = stack.pop_all()

    @property
    def in_flight(self) -> int:
        """Files that were offered and have no row yet."""
        return self._next_id - self._waiting.next_row

    def claim(self, name: str) -> bool:
        """Whether a file is to be scored: False where it has a row, or was claimed before."""
        return self._names is None or self._names.add(name.encode("utf-8"))

    def mark(self, name: str) -> bytes | None:
        """What `set_mark` has noted of a file, or its run; None without a row.

        Empty where nothing was noted. Only for runs with `names`.
        """
        assert self._names is not None
        value = self._names.get(name.encode("utf-8"))
        return None if value is None else value[_DIGEST_BYTES:]

    def set_mark(self, name: str, mark: bytes) -> None:
        """Note something of a file that has a row or is about to have one."""
        assert self._names is not None
        self._names.put(name.encode("utf-8"), _NO_DIGEST + mark)

    def has_another(self, file: ImageFile) -> bool:
        """Whether a file has a row that is of another content than it has now.

        Told by its size and time; where these differ or were not noted, by its SHA-256.
        """
        value = None if self._names is None else self._names.get(file.name.encode("utf-8"))
        found = mark_of(file.path)
        if value is None or found is None:
            return False
        digest, noted = value[:_DIGEST_BYTES], value[_DIGEST_BYTES:]
        if found == noted:
            return False
        if digest == _NO_DIGEST:  # it could not be read then
            return bool(noted)
        if content_digest(file.path) not in (digest, None):
            return True
        self._marks.add(mark_line(file.name, found))
        return False

    def forget(self, name: str) -> None:
        """Let a file be scored that was claimed and had no row after all."""
        if self._names is not None:
            self._names.discard(name.encode("utf-8"))

    def offer(self, file: ImageFile, *, depth: int = DEEP) -> bool:
        """Hand over a file; False where there is no room for it now."""
        if self.in_flight >= _WINDOW:
            return False
        if file.trouble is not None:
            self._add_waiting(file, self._reply_for_folder(file, file.trouble))
            return True
        if self._kept and self._offer_kept(file):
            return True
        floors = self.gallery.floors if self.gallery is not None else {}
        task = Task(self._next_id, str(file.path), file.name, floors)
        if not self._pool.offer(task, depth=depth):
            return False
        self._offered[task.id] = file
        self._next_id += 1
        return True

    def advance(
        self,
        seconds: float,
        on_outcome: OnOutcome = lambda outcome: None,
        on_reply: OnReply = lambda file, reply: True,
    ) -> None:
        """Wait for news at most so long, write the rows whose turn has come, sync where due.

        Args:
            seconds: the longest wait; none where a row's turn has come.
            on_outcome: told of each row that was written.
            on_reply: asked of each reply that has come in.

        Raises:
            StorageError: the results cannot be written.
        """
        for news in self._pool.take(0 if self._waiting.has_next else seconds):
            reply = self._given_up(news) if isinstance(news, Lost) else news
            file = self._offered.pop(reply.id)
            wanted = reply if on_reply(file, reply) else _WITHOUT_ROW
            self._waiting.add(reply.id, file.name, wanted)
        while self._waiting.has_next:
            self._write(*self._waiting.take_next(), on_outcome)
            # Here, not behind the loop: after a stall thousands may come at once.
            if self._journal.is_due:
                self.sync()
        if self._journal.is_due:
            self.sync()

    def wind_down(self, on_outcome: OnOutcome, on_reply: OnReply) -> None:
        """Interrupted: write the rows of what is finished, or keep them for the next run.

        Waits a few seconds for an earlier file that is still being decoded.

        Raises:
            StorageError: the results cannot be written.
        """
        deadline = time.monotonic() + SECONDS_TO_WIND_DOWN
        while self._waiting and time.monotonic() < deadline:
            self.advance(_SECONDS_A_LOOK, on_outcome, on_reply)
        self.sync()
        kept = islice(chain(self._waiting.replies(), self._kept.values()), _WINDOW)
        with suppress(StorageError):  # then these files are scored again
            if self._waiting or self._kept:
                write_waiting(self.folder.waiting, self.header, kept)
            else:
                self._forget_kept()

    def sync(self) -> None:
        """Bring all written rows onto the disk, behind their marks.

        Raises:
            StorageError: the results cannot be written.
        """
        try:
            self._marks.sync()
            self._journal.sync()
        except StorageError:
            self._save_rows()
            raise
        if self.gallery is not None:
            self.gallery.settle()

    def _save_rows(self) -> None:
        """Bring the rows onto a disk that has no room for what accompanies them."""
        if self.gallery is not None:
            self.gallery.take_back()
        self._journal.sync()

    def end_workers(self) -> None:
        """End the workers, whose work is done."""
        self.sync()
        self._forget_kept()
        self.tally.finish()
        self._pool.close()

    def summary(self, *, complete: bool) -> Summary:
        """The summary as of now."""
        return self.tally.summary(
            complete=complete, workers=self.options.workers, threads=self.options.threads
        )

    def __enter__(self) -> "ScoringRun":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _offer_kept(self, file: ImageFile) -> bool:
        """Take the reply that an interrupted run has kept for a file that has not changed since."""
        reply = self._kept.pop(file.name, None)
        mark = None if reply is None else mark_of(file.path)
        if reply is None or mark is None or reply.mark != mark_line(file.name, mark):
            return False
        self._add_waiting(file, reply)
        return True

    def _add_waiting(self, file: ImageFile, reply: Reply) -> None:
        """Take a reply that no worker was asked for."""
        self._waiting.add(self._next_id, file.name, reply)
        self._next_id += 1

    def _read_kept(self) -> dict[str, Reply]:
        kept = read_waiting(self.folder.waiting, self.header)
        if not self.options.retry_failed:
            return kept
        return {name: reply for name, reply in kept.items() if reply.status != Status.FAILED}

    def _forget_kept(self) -> None:
        with suppress(OSError):
            self.folder.waiting.unlink(missing_ok=True)

    def _open_pool(
        self, what: RunInput, on_note: Callable[[str], None], stack: ExitStack
    ) -> tuple[Pool, Ready]:
        options = self.options
        folder = options.bundle if options.bundle is not None else current_bundle_folder()
        settings = Settings(
            bundle=str(folder),
            runtime=options.runtime,
            operating_point=options.operating_point,
            threads=options.threads,
            known=str(self.folder.hashes) if options.only_new else None,
            source=what.source,
            parameters=what.parameters,
        )
        pool = stack.enter_context(
            Pool(
                settings,
                options.workers,
                seconds_per_file=options.seconds_per_file,
                verbose=options.verbose,
            )
        )
        # While the workers load their models, the whole bundle is checked here.
        self.bundle = load_bundle(options.bundle)
        ready = pool.wait_until_ready()
        _require_same_manifest(self.bundle, ready)
        for note in (*self.bundle.remarks, *ready.notes):
            on_note(note)
        self.tally.begin()
        return pool, ready

    def _write_known_hashes(self, stack: ExitStack) -> None:
        """The contents of earlier runs' rows; a file that failed there is tried again."""
        if not self.options.only_new:
            return
        table = stack.enter_context(DiskTable(self.folder.hashes))
        add_known_contents(table, self.options.only_new)
        table.publish()

    def _read_journal(self, stack: ExitStack, *, keep_names: bool) -> int:
        """Count the rows that are there and note their names, contents and marks.

        Gives the number of those that are to be dropped; they are not counted or noted.
        """
        dropped = 0

        def remember(row: ResultRow) -> None:
            nonlocal dropped
            if self.options.retry_failed and row.status is Status.FAILED:
                dropped += 1
                return
            if self._names is None:
                self._names = stack.enter_context(DiskTable(self.folder.names))
            self._names.put(row.file.encode("utf-8"), _digest_of(row) or _NO_DIGEST)
            self.tally.count(Outcome(row.file, row.status, row.decision, row.reason))

        self._journal.recover(remember)
        if keep_names and self._names is None:
            self._names = stack.enter_context(DiskTable(self.folder.names))
        elif self._names is not None:
            for name, mark in read_marks(self.folder.marks):
                self._names.amend(name.encode("utf-8", "surrogatepass"), _DIGEST_BYTES, mark)
        return dropped

    def _earlier_header(self, what: RunInput) -> RunHeader | None:
        """How an earlier version would have described this run, if the journal is by one."""
        begun = self._journal.header
        if what.earlier is None or begun is None or _ONLY_NEW in begun.parameters:
            return None
        bundle = {"bundle_sha256": self.header.parameters["bundle_sha256"]}
        return replace(
            self.header,
            input=printable(what.earlier.source),
            parameters={**what.earlier.parameters, **bundle},
        )

    def _write(self, name: str, reply: Reply, on_outcome: OnOutcome) -> None:
        if reply.row is None:
            self.tally.known += reply is not _WITHOUT_ROW
            return
        self._journal.append(reply.row.encode("utf-8"))
        decision = Decision(reply.decision)
        if reply.mark is not None:
            self._marks.add(reply.mark)
        if reply.picture is not None and self.gallery is not None:
            try:
                self.gallery.add(decision, reply.raw_score, reply.picture.encode("utf-8"))
            except StorageError:
                self._save_rows()
                raise
        reason = None if reply.reason is None else Reason(reply.reason)
        outcome = Outcome(name, Status(reply.status), decision, reason)
        self.tally.count(outcome)
        self.tally.time(reply.stage_ms)
        on_outcome(outcome)

    def _given_up(self, lost: Lost) -> Reply:
        """The row of a file that no worker could answer for."""
        message = f"{Path(lost.task.name).name}: {lost.message}"
        return self._failed(lost.task.id, lost.task.name, lost.reason, message, lost.seconds)

    def _reply_for_folder(self, folder: ImageFile, trouble: str) -> Reply:
        """The row of a folder that stands for the files that may be in it."""
        message = f"{folder.path.name}: the folder cannot be listed: {trouble}"
        return self._failed(self._next_id, folder.name, Reason.UNREADABLE, message, 0.0)

    def _failed(
        self, number: int, name: str, reason: Reason, message: str, seconds: float
    ) -> Reply:
        header = self.header
        row = ResultRow(
            file=name,
            sha256=None,
            sop_instance_uid=None,
            status=Status.FAILED,
            decision=Decision.NOT_ASSESSABLE,
            reason=reason,
            message=printable(message),
            raw_score=None,
            probability=None,
            operating_point=header.operating_point.name,
            quality={},
            lungs=None,
            model_id=header.model_id,
            model_sha256=header.model_sha256,
            runtime=header.runtime,
            decode_ms=None,
            infer_ms=None,
            total_ms=seconds * 1000,
            scored_at=utc_now(),
        )
        return Reply(
            id=number,
            row=encode_row(row).decode("utf-8"),
            status=row.status,
            decision=row.decision,
            reason=row.reason,
            raw_score=None,
            unread=False,
            stage_ms=[0.0] * len(STAGES),
            picture=None,
            mark=None,
        )


_WITHOUT_ROW = Reply(
    id=-1,
    row=None,
    status="",
    decision="",
    reason=None,
    raw_score=None,
    unread=True,
    stage_ms=[],
    picture=None,
    mark=None,
)


def add_known_contents(table: DiskTable, earlier: Sequence[Path]) -> None:
    """Add the SHA-256 of what earlier results have scored or refused; what failed is left out.

    Raises:
        UsageError: there are no results, or they are not of the format.
        StorageError: the table cannot be written.
    """
    for path in earlier:
        for row in _rows_of(path):
            digest = _digest_of(row)
            if digest is not None and row.status is not Status.FAILED:
                table.add(digest)


def results_file(named: Path) -> Path:
    """A results file, or the one in a folder of results."""
    return RunFolder(named).results if os.path.isdir(named) else named


def _rows_of(named: Path) -> Iterator[ResultRow]:
    """Rows of a results file, or of the one in a folder.

    Raises:
        UsageError: there is none, or it is not of the format.
    """
    path = results_file(named)
    try:
        yield from read_results(path)[1]
    except (NoInputError, CodecError) as error:
        raise UsageError(f"{path}: no results to compare with: {error}") from error


def _digest_of(row: ResultRow) -> bytes | None:
    """A row's SHA-256 as bytes, None where it has none."""
    try:
        digest = bytes.fromhex(row.sha256 or "")
    except ValueError:
        return None
    return digest if len(digest) == _DIGEST_BYTES else None


def content_digest(path: Path) -> bytes | None:
    """SHA-256 of a file's content, None where it cannot be read now."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except (OSError, ValueError):  # ValueError: a list names a file with a NUL in it
        return None


def _require_same_manifest(bundle: Bundle, ready: Ready) -> None:
    found = hashlib.sha256(bundle.path(MANIFEST_FILE).read_bytes()).hexdigest()
    if found != ready.manifest_sha256:
        raise BundleIntegrityError(f"{bundle.folder}: {MANIFEST_FILE} changed while it was loaded")
