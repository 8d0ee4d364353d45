"""Scores what arrives in a folder, when it has stopped growing, until it is stopped.

A folder enters; the same files as of `batch` leave, and grow. It polls, since network shares do
not tell of changes that others make; where the system does tell, it looks earlier. A folder that
goes away (a share unmounted, a stick unplugged) is waited for; what lies beneath it is not looked
at. A file that is overwritten after it was scored gets a second row, and the first one is stale. A
file that fails may be half a transfer that stalled, so it is tried again before its row is written,
and whenever it changes later.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from edge_app.decision import Status
from edge_app.errors import NoInputError, StorageError
from edge_app.results.folder import RunFolder
from edge_app.runs.discovery import ImageFile, Inputs
from edge_app.runs.earlier_results import content_digest
from edge_app.runs.file_stamps import FileStamp, stamp_of
from edge_app.runs.mounts import Mounts, lies_below
from edge_app.runs.notify import FolderSignal
from edge_app.runs.run_store import RunStore
from edge_app.runs.scoring_run import RunInput, RunOptions, ScoringRun, folder_called
from edge_app.runs.summary import Outcome, Summary
from edge_app.runs.workers.messages import Answered

_SECONDS_A_LOOK = 0.25
# A look at a large share must not be all that it does.
_LOOK_SHARE = 0.2
_SECONDS_BETWEEN_REPORTS = 10.0
_REPORT_SHARE = 0.02
# Arrivals whose growth is followed at a time; others wait for their turn.
_MOST_GROWING = 20_000


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """What to watch.

    Attributes:
        folder: where files arrive.
        out: folder of the results.
        poll_seconds: between two looks.
        settle_seconds: how long a file's size and time must have stood still.
        patience_seconds: how much longer, before a file that fails gets a row.
        options: how to score.
    """

    folder: Path
    out: Path
    poll_seconds: float = 2.0
    settle_seconds: float = 2.0
    patience_seconds: float = 60.0
    options: RunOptions = field(default_factory=RunOptions)


def watch_folder(
    plan: WatchPlan,
    on_outcome: Callable[[Outcome], None],
    *,
    on_note: Callable[[str], None],
    check: Callable[[], None],
) -> Summary:
    """Watch until `check` raises KeyboardInterrupt.

    Args:
        plan: what to watch.
        on_outcome: called for each new row.
        on_note: told what a user should know.
        check: called several times a second.

    Raises:
        NoInputError: the folder is not there at the start.
        UsageError: the results there are of another run.
        BundleError, RuntimeUnavailableError: the model cannot be used.
        StorageError: the results cannot be written.
    """
    if not os.path.isdir(plan.folder):  # Path.is_dir raises where a share has died
        raise NoInputError(f"{plan.folder}: no such folder")
    called = plan.options.identifiers.place(os.fsdecode(plan.folder))
    what = RunInput(called, {"watch": True})
    with (
        ScoringRun.open(RunFolder(plan.out), what, plan.options, on_note, names=True) as run,
        closing(FolderSignal(plan.folder)) as signal,
    ):
        watch = _Watch(plan, run, signal, on_outcome, on_note)
        try:
            while True:
                check()
                watch.step()
        except KeyboardInterrupt:
            run.finish()
            watch.report()
            watch.say_what_waits()
            return run.summary(
                complete=False,
                unlisted_folders=watch.unlisted_folders,
                left_out=watch.left_out,
            )


class _Watch:
    """The state between two looks."""

    def __init__(
        self,
        plan: WatchPlan,
        run: ScoringRun,
        signal: FolderSignal,
        on_outcome: Callable[[Outcome], None],
        on_note: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._run = run
        self._signal = signal
        self._on_outcome = on_outcome
        self._on_note = on_note
        self._arrivals = Arrivals(plan, run.store, on_note)
        self._ready: deque[ImageFile] = deque()
        self._next_look = 0.0
        self._trouble = ""
        self._unwritten = ""
        self._unreported = 0
        self._next_report = 0.0

    def step(self) -> None:
        """Look where it is time to, hand over what is ready, and wait a moment."""
        if time.monotonic() >= self._next_look:
            self._look()
        while self._ready and self._run.offer(self._ready[0]):
            self._ready.popleft()
        # Also without work: rows are brought onto the disk when they are due.
        busy = self._run.in_flight > 0
        self._run.advance(_SECONDS_A_LOOK if busy else 0, self._count, self._arrivals.wants)
        if busy:
            return
        if self._unreported and time.monotonic() >= self._next_report:
            self.report()
        if self._signal.wait(_SECONDS_A_LOOK):
            self._next_look = min(self._next_look, time.monotonic() + self._plan.settle_seconds)

    @property
    def unlisted_folders(self) -> int:
        """Sub-folders that could not be listed at the last look."""
        return self._arrivals.unlisted_folders

    @property
    def left_out(self) -> Mapping[str, int]:
        """Files that are no pictures, by ending, at the last look."""
        return self._arrivals.left_out

    def report(self) -> None:
        """Derive the table and the report from what is there.

        Where one cannot be replaced (open in Excel on Windows), that is said once and tried again:
        the results go on without them.

        Raises:
            StorageError: the results themselves cannot be written.
        """
        started = time.monotonic()
        run = self._run
        run.store.sync()
        unwritten = ""
        try:
            end = run.note_end(self._plan.folder, self.left_out, complete=False)
            run.derive(self._plan.folder, end)
            self._unreported = 0
        except StorageError as error:
            unwritten = str(error)
        if unwritten and unwritten != self._unwritten:
            self._on_note(f"{unwritten}; it is tried again, {run.folder.results.name} goes on")
        self._unwritten = unwritten
        cost = time.monotonic() - started
        self._next_report = time.monotonic() + max(_SECONDS_BETWEEN_REPORTS, cost / _REPORT_SHARE)

    def say_what_waits(self) -> None:
        """Name the number of files that have failed and have no row yet."""
        waiting = self._arrivals.failed
        if waiting:
            self._on_note(
                f"{waiting} files that cannot be read may not have arrived in full; they have no "
                "row yet and are tried again by the same command"
            )

    def _look(self) -> None:
        started = time.monotonic()
        try:
            self._ready.extend(self._arrivals.settled())
            trouble = ""
        except (NoInputError, StorageError, OSError) as error:
            trouble = self._trouble_of(error)
        # What exactly is wrong may change meanwhile; it is said once.
        if bool(trouble) != bool(self._trouble):
            self._on_note(trouble or f"{self._plan.folder} is back")
        self._trouble = trouble
        self._signal.renew()
        now = time.monotonic()
        self._next_look = now + max(self._plan.poll_seconds, (now - started) / _LOOK_SHARE)

    def _trouble_of(self, error: Exception) -> str:
        """Why the folder cannot be looked at, for people; what is no fault of it is raised on."""
        if not os.path.isdir(self._plan.folder):
            return f"{self._plan.folder} has gone; waiting for it"
        if isinstance(error, StorageError):  # where names are sorted or looked up
            raise error
        return f"{error}; waiting for it"

    def _count(self, outcome: Outcome) -> None:
        self._unreported += 1
        self._on_outcome(outcome)


@dataclass(frozen=True, slots=True)
class _Growth:
    """What is known of a file that has no row of its present content.

    Attributes:
        stamp: as last seen.
        since: when they were first seen so.
        failed: whether it was tried since then.
    """

    stamp: FileStamp
    since: float
    failed: bool


@dataclass(frozen=True, slots=True)
class _Trial:
    """A file that was handed over: its stamp then, and whether it is the last try."""

    stamp: FileStamp
    is_last: bool


class Arrivals:
    """Follows files until they have stopped growing, and those that fail for longer."""

    def __init__(self, plan: WatchPlan, store: RunStore, on_note: Callable[[str], None]) -> None:
        self._plan = plan
        self._store = store
        self._on_note = on_note
        self._growing: dict[str, _Growth] = {}
        self._trials: dict[str, _Trial] = {}
        self._unlisted: set[str] = set()
        self.left_out: Mapping[str, int] = {}
        self._mounts = Mounts(plan.folder)
        self._unmounted: tuple[str, ...] = ()

    @property
    def unlisted_folders(self) -> int:
        """Sub-folders that could not be listed at the last look."""
        return len(self._unlisted)

    @property
    def failed(self) -> int:
        """Files that have failed and are to be tried once more."""
        return sum(growth.failed for growth in self._growing.values())

    def settled(self) -> Iterator[ImageFile]:
        """Look once; gives the files that need a row and have stood still.

        Raises:
            NoInputError, StorageError, OSError: the folder has gone.
        """
        self._note_mounts()
        before, self._growing = self._growing, {}
        unlisted: set[str] = set()
        try:
            named = [self._plan.folder]
            inputs = Inputs(
                named,
                excluded=self._plan.out,
                spill_folder=self._plan.out,
                called=self._plan.options.identifiers.name,
            )
            for file in inputs:
                if file.trouble is not None:
                    unlisted.add(file.name)
                    self._say_unlisted(file)
                    continue
                if not self._is_there(file):
                    continue
                growth = self._growth(file, before)
                if growth is not None and self._is_ready(file, growth):
                    yield file
        except (NoInputError, StorageError, OSError):
            # Half a look: what it did not come to has not gone.
            self._growing = before | self._growing
            raise
        self._unlisted = unlisted
        self.left_out = inputs.left_out.endings

    def _note_mounts(self) -> None:
        """Find out what was unmounted.

        Raises:
            NoInputError: the folder itself lay there.
        """
        gone = self._mounts.gone()
        for point in gone:
            if lies_below(os.path.abspath(self._plan.folder), (point,)):
                raise NoInputError(f"{point}: nothing is mounted there any more")
            if point not in self._unmounted:
                self._on_note(f"{point}: nothing is mounted there any more; waiting for it")
        self._unmounted = gone

    def _is_there(self, file: ImageFile) -> bool:
        """Whether a file lies where it seems to, and not beneath something that was unmounted."""
        folder = os.path.dirname(os.path.abspath(file.path))
        self._mounts.note(folder)
        return not lies_below(folder, self._unmounted)

    def _say_unlisted(self, folder: ImageFile) -> None:
        """Once, until it can be listed again: it gets no row, since it is waited for."""
        if folder.name not in self._unlisted:
            place = folder_called(folder, self._plan.options.identifiers)
            self._on_note(f"{place}: cannot be listed: {folder.trouble}; waiting for it")

    def wants(self, file: ImageFile, answered: Answered) -> bool:
        """Whether an answer is to be the file's row.

        It is not where the file has changed meanwhile: it was scored half. A failure is not, while
        it may be that of half a file, which has not stood still for long enough.
        """
        trial = self._trials.pop(file.name)
        stamp = stamp_of(file.path)
        has_failed = answered.status == Status.FAILED
        if stamp == trial.stamp and has_failed and not trial.is_last:
            self._growing[file.name] = _Growth(stamp, time.monotonic(), failed=True)
            return False
        if stamp != trial.stamp and (has_failed or stamp is not None):
            return False  # the next look finds what it is now
        self._store.note(file.name, trial.stamp)
        return True

    def _growth(self, file: ImageFile, before: dict[str, _Growth]) -> _Growth | None:
        """What is known of a file now; None where it needs no score."""
        if file.name in self._trials:
            return None
        stamp = stamp_of(file.path)
        noted = self._store.noted(file.name)
        if stamp is None or (noted is not None and noted.stamp == stamp):
            return None
        known = before.get(file.name)
        if known is None or known.stamp != stamp:
            return _Growth(stamp, time.monotonic(), failed=False)
        return known

    def _is_ready(self, file: ImageFile, growth: _Growth) -> bool:
        """Whether a file is to be scored now; else its growth is followed."""
        stood_still = time.monotonic() - growth.since
        wanted = self._plan.settle_seconds
        if growth.failed or (stood_still >= wanted and _has_hole(file.path)):
            wanted += self._plan.patience_seconds
        if stood_still < wanted:
            if len(self._growing) < _MOST_GROWING:
                self._growing[file.name] = growth
            return False
        if self._has_row_of_this(file, growth.stamp):
            return False
        self._trials[file.name] = _Trial(growth.stamp, growth.failed)
        return True

    def _has_row_of_this(self, file: ImageFile, stamp: FileStamp) -> bool:
        """Whether only a file's time changed since it was scored, as when it is copied again."""
        noted = self._store.noted(file.name)
        if noted is None or not noted.rows:
            return False
        if noted.sha256 is not None and content_digest(file.path) == noted.sha256:
            self._store.note(file.name, stamp)
            return True
        self._on_note(
            f"{file.name} was changed after it was scored; it is scored again, and its earlier row "
            "is stale"
        )
        return False


def _has_hole(path: Path) -> bool:
    """Whether space was made for a file that nothing was written to: its copy is not complete."""
    if not hasattr(os, "SEEK_HOLE"):  # Windows
        return False
    try:
        with path.open("rb") as stream:
            return os.lseek(stream.fileno(), 0, os.SEEK_HOLE) < os.fstat(stream.fileno()).st_size
    except OSError:
        return False
