"""Folder scoring: every picture that is named gets a row, whatever is wrong with it.

A `BatchPlan` enters; `results.jsonl` (the truth, and the journal that an interrupted run goes on
from), `results.csv` and `report.html` (derived from it) leave. One bad file never stops the run;
the disk, the bundle and the user do, and then the same command goes on where it stopped.

Memory is bounded whatever the number of files: names are streamed in sorted order, a window of
rows is in flight, tables of names and hashes lie on disk.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from edge_app.decision import Status
from edge_app.errors import NoInputError, StorageError, UsageError
from edge_app.files.bucket import is_in_bucket
from edge_app.files.codec import CodecError
from edge_app.files.disk_table import DiskTable
from edge_app.files.scratch import scratch_folder
from edge_app.results.folder import RunFolder
from edge_app.results.identifiers import Identifiers
from edge_app.results.journal import good_rows
from edge_app.results.rows import OTHER_INPUTS, RunHeader, printable, read_results
from edge_app.results.run_end import left_out_words
from edge_app.runs.bucket_inputs import open_inputs, place_of, require_reachable
from edge_app.runs.discovery import ImageFile, Inputs, gone
from edge_app.runs.earlier_results import add_contents, content_digest, results_file
from edge_app.runs.scoring_run import (
    RunInput,
    RunOptions,
    ScoringRun,
    StartEngine,
    folder_called,
    start_workers,
)
from edge_app.runs.summary import Outcome, Summary
from edge_app.runs.workers.messages import Answered

# Files looked up ahead, so that near the end workers get less at a time and end together.
_AHEAD = 64
_SECONDS_A_LOOK = 0.5
_SECONDS_BETWEEN_NOTES = 5.0
# Parameters of a run that say nothing but where its input lies.
# Inputs that a run's header names; of more, their number.
_MOST_NAMED = 20
_OF_THE_INPUT = ("inputs", "inputs_sha256", OTHER_INPUTS)

# Folders of which it is known where they lay; about 4 MB.
_MOST_FOLDERS = 16_384

# Told each new row's outcome, and how many rows this run is to add.
OnOutcome = Callable[[Outcome, int], None]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What to score, how, and where the results go.

    Attributes:
        named: folders, files, patterns or one list; see `discovery.Inputs`.
        out: folder of the results.
        recursive: whether sub-folders are walked.
        same_input: whether it goes on with results whose input lay elsewhere then: moved, or
            mounted under another name.
        options: how to score.
        start_engine: by which the files are scored.
    """

    named: tuple[Path, ...]
    out: Path
    recursive: bool = True
    same_input: bool = False
    options: RunOptions = field(default_factory=RunOptions)
    start_engine: StartEngine = start_workers

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
        spill_folder = self.out if os.path.isdir(self.out) else None
        return open_inputs(
            self.named,
            recursive=self.recursive,
            excluded=self.out,
            spill_folder=spill_folder,
            called=self.options.identifiers.name,
        )

    def described(self) -> RunInput:
        """The same for the results' header; what differs there is another run."""
        # Absolute: "." is another ward's folder tomorrow. Links resolved: one that leads to the
        # same folder names the same pictures.
        names = [place_of(path) for path in self.named]
        known = [os.path.abspath(results_file(path)) for path in self.options.only_new]
        place = self.options.identifiers.place
        parameters: dict[str, str | int | float | bool] = {
            "recursive": self.recursive,
            "only_new": place(printable("\n".join(known))),
        }
        if len(names) > 1:
            text = "\n".join(names).encode("utf-8", "surrogateescape")
            parameters["inputs"] = len(names)
            parameters["inputs_sha256"] = place(hashlib.sha256(text).hexdigest())
            named = "\n".join(names[1 : 1 + _MOST_NAMED])
            parameters[OTHER_INPUTS] = place(printable(named))
        begun = self._begun_with() if self.same_input else None
        if begun is None:
            return RunInput(place(names[0]), parameters)
        parameters = {k: v for k, v in parameters.items() if k not in _OF_THE_INPUT}
        kept = {k: v for k, v in begun.parameters.items() if k in _OF_THE_INPUT}
        return RunInput(begun.input, parameters | kept)

    def _begun_with(self) -> RunHeader | None:
        """The header of the results that are there; what is wrong with them is said elsewhere."""
        try:
            return read_results(self.folder.results)[0]
        except (NoInputError, CodecError):
            return None


def list_files(
    plan: BatchPlan, on_note: Callable[[str], None] = lambda text: None
) -> Iterator[tuple[ImageFile, bool]]:
    """Every file that a run would look at, and whether it needs no score; writes no results.

    It needs none where it has a row already, or an earlier run knows its content.

    Args:
        plan: of the run.
        on_note: told what a user should know, such as a folder that cannot be listed.

    Raises:
        NoInputError: nothing to score was found.
        UsageError: there are no earlier results where some are named.
    """
    inputs = plan.inputs()
    files = _some(inputs)
    with (
        scratch_folder() as folder,
        DiskTable(folder / "names.sqlite") as done,
        DiskTable(folder / "hashes.sqlite") as known,
    ):
        add_contents(known, plan.options.only_new)
        for row in good_rows(plan.folder.results):
            if not (plan.options.retry_failed and row.status is Status.FAILED):
                done.add(row.file.encode("utf-8"))
        for file in files:
            if file.trouble is not None:
                on_note(trouble_note(file, plan.options.identifiers))
                continue
            has_row = file.name.encode("utf-8") in done
            yield file, has_row or (bool(plan.options.only_new) and _has_content_of(known, file))
    for note in folder_notes(inputs):
        on_note(note)


def _has_content_of(known: DiskTable, file: ImageFile) -> bool:
    digest = content_digest(file.path)
    return digest is not None and digest in known


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
        UsageError: the results there were begun with other parameters, or another picture lies
            now under the name of one that has a row.
        BundleError, RuntimeUnavailableError: the model cannot be used.
        StorageError: the results cannot be written, or the input has gone; what is in the journal
            stays valid, and the same command goes on.
    """
    inputs = plan.inputs()
    files = _some(inputs)
    with ScoringRun.open(
        plan.folder,
        plan.described(),
        plan.options,
        on_note,
        names=inputs.may_repeat,
        start_engine=plan.start_engine,
    ) as run:
        survey = _survey(plan, run, on_note, check)
        feeder = _Feeder(run, inputs, survey, on_outcome, on_note, check)
        if run.rows:
            on_note(f"{survey.with_row} of {survey.files} files have their row already")
        if inputs.is_list:
            # What it names may lie on other devices, and be unplugged long before its turn.
            feeder.note_places(plan.inputs())
        try:
            feeder.feed(files)
        except KeyboardInterrupt:
            feeder.wind_down()
            run.note_end(inputs.root, inputs.left_out.endings, complete=False)
            raise
        run.finish()
        end = run.note_end(inputs.root, inputs.left_out.endings, complete=True)
        try:
            run.derive(inputs.root, end)
        except StorageError as error:
            raise StorageError(
                f"{error}; all rows are in {plan.folder.results}, and once it can, "
                "the same command makes the rest of them"
            ) from error
        plan.options.identifiers.forget()
        return run.summary(
            complete=True,
            unlisted_folders=feeder.unlisted_folders,
            empty_folders=inputs.empty.count,
            left_out=inputs.left_out.endings,
        )


def trouble_note(folder: ImageFile, identifiers: Identifiers) -> str:
    """What a user should know of a sub-folder that cannot be listed."""
    place = folder_called(folder, identifiers)
    return f"{place}: cannot be listed: {folder.trouble}; nothing in it is scored"


def folder_notes(inputs: Inputs) -> Iterator[str]:
    """What a user should know of what a walk has passed by."""
    if inputs.empty.count:
        yield (
            f"sub-folders that are empty, {inputs.empty.count}: {inputs.empty}. Is a device or a "
            "share not mounted?"
        )
    if inputs.links.count:
        yield f"links to folders are not followed, {inputs.links.count}: {inputs.links}"
    if inputs.left_out.endings:
        yield f"files that are no pictures were left out: {left_out_words(inputs.left_out.endings)}"


def _some(inputs: Inputs) -> Iterator[ImageFile]:
    """The files, after a look at whether there is one."""
    files = iter(inputs)
    first = next(files, None)
    if first is None:
        why = "".join(f"; {note}" for note in folder_notes(inputs))
        raise NoInputError(f"{inputs.root}: no PNG, JPEG, TIFF, BMP, WebP or DICOM file in it{why}")
    return chain([first], files)


@dataclass(frozen=True, slots=True)
class _Survey:
    """What there is to do: files that were found, and how many of them have a row."""

    files: int
    with_row: int


def _survey(
    plan: BatchPlan, run: ScoringRun, on_note: Callable[[str], None], check: Callable[[], None]
) -> _Survey:
    """Before anything is scored, list all: so progress never runs back.

    Raises:
        UsageError: a name that has a row stands for another picture now, or (`same_input`) no name
            has one.
    """
    files = with_row = 0
    next_note = time.monotonic() + _SECONDS_BETWEEN_NOTES
    for file in plan.inputs():
        check()
        files += 1
        if time.monotonic() > next_note:
            next_note += _SECONDS_BETWEEN_NOTES
            on_note(f"{files} files listed so far")
        if run.rows and run.store.noted(file.name) is not None:
            with_row += 1
            if run.store.has_another(file):
                raise _changed_file(plan, file)
    if plan.same_input and run.rows and not with_row:
        raise UsageError(
            f"{plan.named[0]}: none of the files that have a row in {plan.folder.results} lies "
            "here, so it is another input; name a new folder with -o"
        )
    return _Survey(files, with_row)


def _changed_file(plan: BatchPlan, file: ImageFile) -> UsageError:
    """A damaged file that was replaced by its good copy is what mostly leads here."""
    rows = (row for row in good_rows(plan.folder.results) if row.file == file.name)
    last = deque(rows, maxlen=1)
    helps = "name a new folder with -o"
    if last and last[0].status is Status.FAILED:
        helps = f"that row says that it failed: --retry-failed scores it again; or {helps}"
    return UsageError(
        f"{file.path}: another file lies here than the one that has the row {file.name!r} in "
        f"{plan.folder.results}; {helps}"
    )


class _Feeder:
    """Hands files to a run as fast as it takes them.

    Attributes:
        unlisted_folders: sub-folders that could not be listed.
    """

    def __init__(
        self,
        run: ScoringRun,
        inputs: Inputs,
        survey: _Survey,
        on_outcome: OnOutcome,
        on_note: Callable[[str], None],
        check: Callable[[], None],
    ) -> None:
        self.unlisted_folders = 0
        self._run = run
        self._inputs = inputs
        self._survey = survey
        self._on_outcome = on_outcome
        self._on_note = on_note
        self._check = check
        self._place = _place(inputs.root)
        self._devices = _Devices()
        self._passed = 0
        self._only_to_answer: set[str] = set()

    def note_places(self, files: Iterable[ImageFile]) -> None:
        """Note where files lie now, as far as that fits into memory."""
        for file in files:
            self._check()
            if not self._devices.note(file.path):
                return

    def feed(self, files: Iterator[ImageFile]) -> None:
        """Offer every file that has no row, then wait for the last one."""
        ahead: deque[ImageFile] = deque()
        wanted = self._unclaimed(files)
        while True:
            ahead.extend(islice(wanted, _AHEAD - len(ahead)))
            if not ahead:
                break
            if self._run.offer(ahead[0], is_near_end=len(ahead) < _AHEAD):
                ahead.popleft()
            else:
                self._advance(_SECONDS_A_LOOK)
        while self._run.in_flight:
            self._advance(_SECONDS_A_LOOK)
        for note in folder_notes(self._inputs):
            self._on_note(note)

    def wind_down(self) -> None:
        """After an interruption: nothing that is finished is lost."""
        self._run.wind_down(self._count, self._wants)

    def _unclaimed(self, files: Iterator[ImageFile]) -> Iterator[ImageFile]:
        for number, file in enumerate(files):
            if file.trouble is not None:
                self._require_place(file)
                self.unlisted_folders += 1
                self._on_note(trouble_note(file, self._run.options.identifiers))
            if self._run.store.claim(file.name):
                self._note_device(file)
                yield file
                continue
            self._passed += 1
            if self._lacks_answer(file):
                self._only_to_answer.add(file.name)
                self._note_device(file)
                yield file
            if number % 1024 == 0:  # a long way through rows that are there
                self._advance(0)

    def _note_device(self, file: ImageFile) -> None:
        if not self._devices.note(file.path):
            self._devices.forget_oldest()
            self._devices.note(file.path)

    def _lacks_answer(self, file: ImageFile) -> bool:
        """Whether a file with a row is to get the DICOM answer that it has not.

        It is scored again for that, by the same model: a row holds no picture.
        """
        folder = self._run.options.answers
        if folder is None or file.trouble is not None:
            return False
        from edge_app.dicom_out.answers import lacks_answer

        return lacks_answer(folder, file.path, file.name)

    def _advance(self, seconds: float) -> None:
        self._check()
        self._run.advance(seconds, self._count, self._wants)

    def _count(self, outcome: Outcome) -> None:
        without = max(self._passed, self._survey.with_row) + self._run.known
        self._on_outcome(outcome, self._survey.files - without)

    def _wants(self, file: ImageFile, answered: Answered) -> bool:
        """A missing file gets a row that says so, unless all of them are missing at once."""
        if answered.unread:
            self._require_place(file)
        if file.name in self._only_to_answer:
            self._only_to_answer.discard(file.name)
            return False
        return True

    def _require_place(self, file: ImageFile) -> None:
        if is_in_bucket(self._inputs.root):
            require_reachable(self._inputs.root)
        if _place(self._inputs.root) != self._place:
            raise gone(self._inputs.root)
        if self._devices.has_changed(file.path):
            raise gone(file.path.parent)


class _Devices:
    """On which devices the files' folders lay when they were listed."""

    def __init__(self) -> None:
        self._of: dict[str, int | None] = {}

    def note(self, file: Path) -> bool:
        """Look where a file's folder lies, the first time; False where there is no room."""
        folder = os.path.dirname(file)
        if folder not in self._of:
            if len(self._of) >= _MOST_FOLDERS:
                return False
            self._of[folder] = _device(folder)
        return True

    def forget_oldest(self) -> None:
        """Make room for one more."""
        del self._of[next(iter(self._of))]

    def has_changed(self, file: Path) -> bool:
        """Whether a file's folder was there and is not any more, or lies on another device."""
        folder = os.path.dirname(file)
        before = self._of.get(folder)
        return before is not None and _device(folder) != before


def _device(folder: str) -> int | None:
    try:
        return os.stat(folder or os.curdir).st_dev
    except (OSError, ValueError):  # ValueError: a list names a file with a NUL in it
        return None


def _place(folder: Path) -> tuple[int, int] | None:
    """Which folder of which device this is: after an unmount another one is found in its place."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
