"""Scores what arrives in a folder, when it has stopped growing, until it is stopped.

A folder enters; the same files as of `batch` leave, and grow. It polls, since network shares do
not tell of changes that others make; where the system does tell, it looks earlier. A folder that
goes away (a share unmounted, a stick unplugged) is waited for. A file has one row: when it is
overwritten after it was scored, that is said, and it is scored under another name only.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from edge_app.derived import derive
from edge_app.discovery import ImageFile, Inputs
from edge_app.errors import NoInputError, StorageError
from edge_app.notify import FolderSignal
from edge_app.run_folder import RunFolder
from edge_app.scoring_run import RunInput, RunOptions, ScoringRun
from edge_app.tally import Outcome, Summary

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
        options: how to score.
    """

    folder: Path
    out: Path
    poll_seconds: float = 2.0
    settle_seconds: float = 2.0
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
    if not plan.folder.is_dir():
        raise NoInputError(f"{plan.folder}: no such folder")
    what = RunInput(os.fsdecode(plan.folder), {"watch": True})
    run = ScoringRun(RunFolder(plan.out), what, plan.options, on_note, names=True)
    with run, closing(FolderSignal(plan.folder)) as signal:
        watch = _Watch(plan, run, signal, on_outcome, on_note)
        try:
            while True:
                check()
                watch.step()
        except KeyboardInterrupt:
            run.end_workers()
            watch.report()
            return run.summary(complete=False)


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
        self._arrivals = Arrivals(plan, run, on_note)
        self._ready: deque[ImageFile] = deque()
        self._next_look = 0.0
        self._is_there = True
        self._unreported = 0
        self._next_report = 0.0

    def step(self) -> None:
        """Look where it is time to, hand over what is ready, and wait a moment."""
        if time.monotonic() >= self._next_look:
            self._look()
        while self._ready and self._run.offer(self._ready[0]):
            self._ready.popleft()
        if self._run.in_flight:
            self._run.advance(_SECONDS_A_LOOK, self._count, self._keep_unread)
            return
        if self._unreported and time.monotonic() >= self._next_report:
            self.report()
        if self._signal.wait(_SECONDS_A_LOOK):
            self._next_look = min(self._next_look, time.monotonic() + self._plan.settle_seconds)

    def report(self) -> None:
        """Derive the table and the report from what is there."""
        started = time.monotonic()
        run = self._run
        run.sync()
        derive(run.folder, run.options.formats, run.bundle, self._plan.folder, run.gallery)
        self._unreported = 0
        cost = time.monotonic() - started
        self._next_report = time.monotonic() + max(_SECONDS_BETWEEN_REPORTS, cost / _REPORT_SHARE)

    def _look(self) -> None:
        started = time.monotonic()
        try:
            self._ready.extend(self._arrivals.settled())
            is_there = True
        except (NoInputError, StorageError, OSError) as error:
            is_there = self._plan.folder.is_dir()
            if is_there and isinstance(error, StorageError):
                raise
        if is_there != self._is_there:
            self._is_there = is_there
            state = "is back" if is_there else "has gone; waiting for it"
            self._on_note(f"{self._plan.folder} {state}")
        self._signal.renew()
        now = time.monotonic()
        self._next_look = now + max(self._plan.poll_seconds, (now - started) / _LOOK_SHARE)

    def _count(self, outcome: Outcome) -> None:
        self._unreported += 1
        self._on_outcome(outcome)

    def _keep_unread(self, file: ImageFile) -> bool:
        """A file that went away before it was read is no failure: it may come back."""
        if file.path.exists():
            return True
        self._run.forget(file.name)
        return False


class Arrivals:
    """Follows files until they have stopped growing."""

    def __init__(self, plan: WatchPlan, run: ScoringRun, on_note: Callable[[str], None]) -> None:
        self._plan = plan
        self._run = run
        self._on_note = on_note
        # By name: size and time as last seen, and since when.
        self._growing: dict[str, tuple[bytes, float]] = {}

    def settled(self) -> Iterator[ImageFile]:
        """Look once; gives the files that have no row and have stood still, and claims them.

        Raises:
            NoInputError, StorageError, OSError: the folder has gone.
        """
        growing, self._growing = self._growing, {}
        now = time.monotonic()
        ready = []
        inputs = Inputs([self._plan.folder], excluded=self._plan.out, spill_folder=self._plan.out)
        for file in inputs:
            mark = _mark(file.path)
            if mark is None or self._has_row(file, mark):
                continue
            seen, since = growing.get(file.name, (b"", now))
            if seen != mark:
                since = now
            elif now - since >= self._plan.settle_seconds:
                self._run.set_mark(file.name, mark)
                ready.append(file)
                continue
            if len(self._growing) < _MOST_GROWING:
                self._growing[file.name] = (mark, since)
        return iter(ready)

    def _has_row(self, file: ImageFile, mark: bytes) -> bool:
        known = self._run.mark(file.name)
        if known is None:
            return False
        if known != mark:
            self._run.set_mark(file.name, mark)
            # What an earlier session scored is marked with its time, not with a size.
            if known.startswith(_MARK):
                self._on_note(
                    f"{file.name} was changed after it was scored; its row is of the old content. "
                    "Save it under another name to have it scored"
                )
        return True


_MARK = b"size "


def _mark(path: Path) -> bytes | None:
    """Size and time of change of a file; None where it has gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _MARK + f"{status.st_size} {status.st_mtime_ns}".encode("ascii")
