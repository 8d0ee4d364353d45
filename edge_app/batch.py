"""Folder scoring: every picture that is named gets a row, whatever is wrong with it.

A `BatchPlan` enters; `results.jsonl` (the truth, and the journal that an interrupted run goes on
from), `results.csv` and `report.html` (derived from it) leave. One bad file never stops the run;
the disk, the bundle and the user do, and then the same command goes on where it stopped.

Memory is bounded whatever the number of files: names are streamed in sorted order, a window of
rows is in flight, tables of names and hashes lie on disk.
"""

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from edge_app.derived import derive
from edge_app.discovery import ImageFile, Inputs, gone
from edge_app.errors import NoInputError
from edge_app.known import DiskTable
from edge_app.pool import DEEP, SHALLOW
from edge_app.results import read_results
from edge_app.run_folder import RunFolder
from edge_app.scoring_run import RunInput, RunOptions, ScoringRun
from edge_app.tally import Outcome, Summary

# Files looked up ahead, so that near the end workers get less at a time and end together.
_AHEAD = 64
_SECONDS_A_LOOK = 0.5

# Told each new row's outcome, and how many files were found up to now.
OnOutcome = Callable[[Outcome, int], None]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What to score, how, and where the results go.

    Attributes:
        named: folders, files, patterns or one list; see `discovery.Inputs`.
        out: folder of the results.
        recursive: whether sub-folders are walked.
        options: how to score.
    """

    named: tuple[Path, ...]
    out: Path
    recursive: bool = True
    options: RunOptions = field(default_factory=RunOptions)

    @property
    def folder(self) -> RunFolder:
        """The results' files."""
        return RunFolder(self.out)

    def inputs(self) -> Inputs:
        """What is named, ready to be walked.

        Raises:
            NoInputError: something that is named is not there.
            UsageError: a list beside something else.
        """
        spill_folder = self.out if self.out.is_dir() else None
        return Inputs(
            self.named, recursive=self.recursive, excluded=self.out, spill_folder=spill_folder
        )

    def described(self) -> RunInput:
        """The same for the results' header; what differs there is another run."""
        names = [os.fsdecode(path) for path in self.named]
        parameters: dict[str, str | int | float | bool] = {"recursive": self.recursive}
        if len(names) > 1:
            text = "\n".join(names).encode("utf-8", "surrogateescape")
            parameters["inputs"] = len(names)
            parameters["inputs_sha256"] = hashlib.sha256(text).hexdigest()
        return RunInput(names[0], parameters)


def list_files(plan: BatchPlan) -> Iterator[tuple[ImageFile, bool]]:
    """Every file that a run would look at, and whether it has a row already; writes no results.

    Raises:
        NoInputError: nothing to score was found.
    """
    files = _some(plan.inputs())
    with (
        tempfile.TemporaryDirectory(prefix="pneumoscope-") as folder,
        DiskTable(Path(folder) / "names.sqlite") as done,
    ):
        if plan.folder.results.exists():
            for row in read_results(plan.folder.results)[1]:
                done.add(row.file.encode("utf-8"))
        for file in files:
            yield file, file.name.encode("utf-8") in done


def run_batch(
    plan: BatchPlan,
    on_outcome: OnOutcome = lambda outcome, found: None,
    *,
    on_note: Callable[[str], None] = lambda text: None,
    check: Callable[[], None] = lambda: None,
) -> Summary:
    """Score everything that has no row yet, and derive the table and the report.

    Args:
        plan: what to do.
        on_outcome: called for each new row.
        on_note: told what a user should know, such as a runtime's fallback.
        check: called often, at moments when all is whole; may raise to stop the run.

    Raises:
        NoInputError: nothing to score was found; nothing was written.
        UsageError: the results there were begun with other parameters.
        BundleError, RuntimeUnavailableError: the model cannot be used.
        StorageError: the results cannot be written, or the input has gone; what is in the journal
            stays valid, and the same command goes on.
    """
    inputs = plan.inputs()
    files = _some(inputs)
    run = ScoringRun(plan.folder, plan.described(), plan.options, on_note, names=inputs.may_repeat)
    with run:
        _Feeder(run, inputs, on_outcome, check).feed(files)
        run.end_workers()
        derive(plan.folder, plan.options.formats, run.bundle, inputs.root, run.gallery)
        return run.summary(complete=True)


def _some(inputs: Inputs) -> Iterator[ImageFile]:
    """The files, after a look at whether there is one."""
    files = iter(inputs)
    first = next(files, None)
    if first is None:
        raise NoInputError(f"{inputs.root}: no PNG, JPEG, TIFF, BMP, WebP or DICOM file in it")
    return chain([first], files)


class _Feeder:
    """Hands files to a run as fast as it takes them."""

    def __init__(
        self,
        run: ScoringRun,
        inputs: Inputs,
        on_outcome: OnOutcome,
        check: Callable[[], None],
    ) -> None:
        self._run = run
        self._inputs = inputs
        self._on_outcome = on_outcome
        self._check = check
        self._place = _place(inputs.root)

    def feed(self, files: Iterator[ImageFile]) -> None:
        """Offer every file that has no row, then wait for the last one."""
        ahead: deque[ImageFile] = deque()
        wanted = self._unclaimed(files)
        while True:
            ahead.extend(islice(wanted, _AHEAD - len(ahead)))
            if not ahead:
                break
            depth = DEEP if len(ahead) == _AHEAD else SHALLOW
            if self._run.offer(ahead[0], depth=depth):
                ahead.popleft()
            else:
                self._advance(_SECONDS_A_LOOK)
        while self._run.in_flight:
            self._advance(_SECONDS_A_LOOK)

    def _unclaimed(self, files: Iterator[ImageFile]) -> Iterator[ImageFile]:
        for number, file in enumerate(files):
            if self._run.claim(file.name):
                yield file
            elif number % 1024 == 0:  # a long way through rows that are there
                self._advance(0)

    def _advance(self, seconds: float) -> None:
        self._check()
        self._run.advance(seconds, self._count, self._keep_unread)

    def _count(self, outcome: Outcome) -> None:
        self._on_outcome(outcome, self._inputs.listed)

    def _keep_unread(self, file: ImageFile) -> bool:
        """A missing file gets a row that says so, unless all of them are missing at once."""
        if _place(self._inputs.root) != self._place:
            raise gone(self._inputs.root)
        return True


def _place(folder: Path) -> tuple[int, int] | None:
    """Which folder of which device this is: after an unmount another one is found in its place."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
