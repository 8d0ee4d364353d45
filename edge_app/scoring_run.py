"""The engine of folder scoring: files in, rows on the disk in the order of the files.

It holds the workers, the journal and the gallery of one run. `batch` feeds it a folder once,
`watch` whatever arrives. At most a window of rows is in memory: those whose turn has not come,
since an earlier file is still being decoded.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_app.bundle import MANIFEST_FILE, Bundle, current_bundle_folder, load_bundle
from edge_app.codec import CodecError
from edge_app.decision import Decision, Reason, Status
from edge_app.discovery import ImageFile
from edge_app.errors import BundleIntegrityError, NoInputError, UsageError
from edge_app.gallery import Gallery
from edge_app.journal import Journal
from edge_app.known import DiskTable
from edge_app.messages import Ready, Reply, Settings, Task
from edge_app.pool import DEEP, Lost, Pool
from edge_app.results import ResultRow, decode_header, encode_row, read_results, utc_now
from edge_app.run_folder import RunFolder
from edge_app.storage import make_folder
from edge_app.tally import STAGES, Outcome, Summary, Tally

# About 6 MB of rows at most.
_WINDOW = 8192

# Told each row's outcome once it is in the journal.
OnOutcome = Callable[[Outcome], None]
# Asked whether a file that could not be read is to have a row; False: as if it had not been there.
OnUnread = Callable[[ImageFile], bool]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to score, whatever it is that is scored.

    Attributes:
        bundle, runtime, operating_point: None for the default.
        workers: processes side by side.
        threads: of one inference.
        formats: what is written, of `derived.FORMATS`.
        only_new: results of earlier runs: content that they know gets no row.
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
    seconds_per_file: float = 60.0
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class RunInput:
    """What is scored, as the header of the results says it: its name, and what else matters."""

    source: str
    parameters: Mapping[str, str | int | float | bool]


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
        self._tasks: dict[int, Task] = {}
        self._done: dict[int, tuple[str, Reply]] = {}
        self._next_id = 0
        self._next_row = 0
        with ExitStack() as stack:
            self._pool, ready = self._open_pool(what, on_note, stack)
            make_folder(folder.path)
            self._write_known_hashes(stack)
            self.header = decode_header(ready.header.encode("utf-8"))
            self._journal = self._open_journal(on_note, stack, keep_names=names)
            if "html" in options.formats:
                self.gallery = stack.enter_context(Gallery(folder.thumbnails))
            self._stack = stack.pop_all()

    @property
    def in_flight(self) -> int:
        """Files that were offered and have no row yet."""
        return self._next_id - self._next_row

    def claim(self, name: str) -> bool:
        """Whether a file is to be scored: False where it has a row, or was claimed before."""
        return self._names is None or self._names.add(name.encode("utf-8"))

    def mark(self, name: str) -> bytes | None:
        """What `set_mark` has noted of a file, or when its row was written; None without a row.

        Only for runs with `names`.
        """
        assert self._names is not None
        return self._names.get(name.encode("utf-8"))

    def set_mark(self, name: str, mark: bytes) -> None:
        """Note something of a file that has a row or is about to have one."""
        assert self._names is not None
        self._names.put(name.encode("utf-8"), mark)

    def forget(self, name: str) -> None:
        """Let a file be scored that was claimed and had no row after all."""
        if self._names is not None:
            self._names.discard(name.encode("utf-8"))

    def offer(self, file: ImageFile, *, depth: int = DEEP) -> bool:
        """Hand over a file; False where there is no room for it now."""
        if self.in_flight >= _WINDOW:
            return False
        floors = self.gallery.floors if self.gallery is not None else {}
        task = Task(self._next_id, str(file.path), file.name, floors)
        if not self._pool.offer(task, depth=depth):
            return False
        self._tasks[task.id] = task
        self._next_id += 1
        return True

    def advance(
        self,
        seconds: float,
        on_outcome: OnOutcome = lambda outcome: None,
        on_unread: OnUnread = lambda file: True,
    ) -> None:
        """Wait for news at most so long, write the rows whose turn has come, sync where due.

        Raises:
            StorageError: the results cannot be written.
        """
        for news in self._pool.take(seconds):
            reply = self._given_up(news) if isinstance(news, Lost) else news
            task = self._tasks.pop(reply.id)
            if reply.unread and not on_unread(ImageFile(Path(task.path), task.name)):
                reply = _WITHOUT_ROW
            self._done[task.id] = task.name, reply
        while self._next_row in self._done:
            self._write(*self._done.pop(self._next_row), on_outcome)
            self._next_row += 1
            # Here, not behind the loop: after a stall thousands may come at once.
            if self._journal.is_due:
                self.sync()
        if self._journal.is_due:
            self.sync()

    def sync(self) -> None:
        """Bring all written rows onto the disk, their pictures first.

        Raises:
            StorageError: the results cannot be written.
        """
        if self.gallery is not None:
            self.gallery.sync()
        self._journal.sync()

    def end_workers(self) -> None:
        """End the workers, whose work is done."""
        self.sync()
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
        for note in ready.notes:
            on_note(note)
        self.tally.begin()
        return pool, ready

    def _write_known_hashes(self, stack: ExitStack) -> None:
        """The contents of earlier runs' rows; a file that failed there is tried again."""
        if not self.options.only_new:
            return
        table = stack.enter_context(DiskTable(self.folder.hashes))
        for path in self.options.only_new:
            for row in _rows_of(path):
                if row.sha256 is not None and row.status is not Status.FAILED:
                    table.add(bytes.fromhex(row.sha256))
        table.publish()

    def _open_journal(
        self, on_note: Callable[[str], None], stack: ExitStack, *, keep_names: bool
    ) -> Journal:
        if keep_names:
            self._names = stack.enter_context(DiskTable(self.folder.names))

        def remember(row: ResultRow) -> None:
            if self._names is None:
                self._names = stack.enter_context(DiskTable(self.folder.names))
            self._names.put(row.file.encode("utf-8"), row.scored_at.encode("ascii"))
            self.tally.count(Outcome(row.file, row.status, row.decision, row.reason))

        journal = stack.enter_context(Journal(self.folder.results, remember))
        journal.begin(self.header, on_note)
        return journal

    def _write(self, name: str, reply: Reply, on_outcome: OnOutcome) -> None:
        if reply.row is None:
            self.tally.known += reply is not _WITHOUT_ROW
            return
        self._journal.append(reply.row.encode("utf-8"))
        decision = Decision(reply.decision)
        if reply.picture is not None and self.gallery is not None:
            self.gallery.add(decision, reply.raw_score, reply.picture.encode("utf-8"))
        reason = None if reply.reason is None else Reason(reply.reason)
        outcome = Outcome(name, Status(reply.status), decision, reason)
        self.tally.count(outcome)
        self.tally.time(reply.stage_ms)
        on_outcome(outcome)

    def _given_up(self, lost: Lost) -> Reply:
        """The row of a file that no worker could answer for."""
        header = self.header
        row = ResultRow(
            file=lost.task.name,
            sha256=None,
            sop_instance_uid=None,
            status=Status.FAILED,
            decision=Decision.NOT_ASSESSABLE,
            reason=lost.reason,
            message=f"{Path(lost.task.name).name}: {lost.message}",
            raw_score=None,
            probability=None,
            operating_point=header.operating_point.name,
            quality={},
            model_id=header.model_id,
            model_sha256=header.model_sha256,
            runtime=header.runtime,
            decode_ms=None,
            infer_ms=None,
            total_ms=lost.seconds * 1000,
            scored_at=utc_now(),
        )
        return Reply(
            id=lost.task.id,
            row=encode_row(row).decode("utf-8"),
            status=row.status,
            decision=row.decision,
            reason=row.reason,
            raw_score=None,
            unread=False,
            stage_ms=[0.0] * len(STAGES),
            picture=None,
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
)


def _rows_of(results: Path) -> Iterator[ResultRow]:
    """Rows of a results file, or of the one in a folder.

    Raises:
        UsageError: there is none, or it is not of the format.
    """
    path = results / RunFolder(results).results.name if results.is_dir() else results
    try:
        yield from read_results(path)[1]
    except (NoInputError, CodecError) as error:
        raise UsageError(f"{path}: no results to compare with: {error}") from error


def _require_same_manifest(bundle: Bundle, ready: Ready) -> None:
    found = hashlib.sha256(bundle.path(MANIFEST_FILE).read_bytes()).hexdigest()
    if found != ready.manifest_sha256:
        raise BundleIntegrityError(f"{bundle.folder}: {MANIFEST_FILE} changed while it was loaded")
