"""Folder scoring: files in, rows on the disk in the order of the files.

A `ScoringRun` holds together who scores (`Engine`), the order of rows (`RowOrder`), what is on the
disk (`RunStore`) and the counts. `batch` feeds it a folder once, `watch` whatever arrives. At most
a window of rows is in memory: those whose turn has not come, since an earlier file is still being
decoded.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edge_app.bundle.load import load_bundle
from edge_app.bundle.location import current_bundle_folder
from edge_app.bundle.manifest import Bundle
from edge_app.decision import Decision, Reason, Status
from edge_app.errors import StorageError
from edge_app.files.bucket import address_of, is_in_bucket
from edge_app.files.whole import owner_only
from edge_app.results.folder import RunFolder
from edge_app.results.identifiers import FULL, Identifiers
from edge_app.results.rows import ResultRow, RunHeader, decode_row, failed_row, printable
from edge_app.results.run_end import RunEnd, write_run_end
from edge_app.runs.derived import derive
from edge_app.runs.discovery import ImageFile
from edge_app.runs.earlier_results import require_results
from edge_app.runs.engine import Engine, GivenUp, News
from edge_app.runs.row_order import RowOrder, Withdrawn
from edge_app.runs.run_header import describe_run
from edge_app.runs.run_store import RunStore
from edge_app.runs.summary import Outcome, RunningSummary, Summary
from edge_app.runs.workers.messages import Answered, KnownContent, Settings, Task
from edge_app.runs.workers.pool import Pool
from edge_app.screening.stated import NOTHING_STATED, Stated

# About 6 MB of rows at most.
_WINDOW = 8192

# Once interrupted, for an earlier file that keeps finished rows waiting.
SECONDS_TO_WIND_DOWN = 5.0
_SECONDS_A_LOOK = 0.1

# Told each row's outcome once it is in the journal.
OnOutcome = Callable[[Outcome], None]
# Asked, when a file's answer comes in, whether it is to be its row; False: as if the file had not
# been there.
OnAnswer = Callable[[ImageFile, Answered], bool]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to score, whatever it is that is scored.

    Attributes:
        bundle, runtime, operating_point: None for the default.
        site: folder of the site profile that decides, None for the bundle's operating point.
        workers: processes side by side; of a cluster, 0 for as many as it has cores.
        threads: of one inference.
        formats: what is written, of `derived.FORMATS`.
        heatmaps: of which films heatmaps are written, "suspected" or "all"; None for none.
        only_new: results of earlier runs: content that they know gets no row.
        retry_failed: whether rows of files that failed are dropped, so that these are scored again.
        seconds_per_file: after which a file is given up.
        verbose: whether what workers print on standard error is shown.
        stated: what is known of all files.
        identifiers: what the results may say of whom a film is.
        shared: whether others may read the results, as far as the process's umask lets them; else
            their owner only.
        answers: folder that gets an answer as DICOM objects about each DICOM file, None for none.
    """

    bundle: Path | None = None
    runtime: str | None = None
    operating_point: str | None = None
    site: Path | None = None
    workers: int = 1
    threads: int = 1
    formats: tuple[str, ...] = ("jsonl", "csv", "html")
    heatmaps: str | None = None
    only_new: tuple[Path, ...] = ()
    retry_failed: bool = False
    seconds_per_file: float = 60.0
    verbose: bool = False
    shared: bool = False
    answers: Path | None = None
    stated: Stated = NOTHING_STATED
    identifiers: Identifiers = FULL


@dataclass(frozen=True, slots=True)
class RunInput:
    """What is scored, as the header of the results says it: its name, and what else matters."""

    source: str
    parameters: Mapping[str, str | int | float | bool]


def folder_called(folder: ImageFile, identifiers: Identifiers) -> str:
    """What notes call a folder that cannot be listed."""
    return str(folder.path) if identifiers is FULL else folder.name


StartEngine = Callable[[Settings, RunOptions], Engine]


def start_workers(settings: Settings, options: RunOptions) -> Engine:
    """The engine of one machine: processes side by side."""
    return Pool(
        settings,
        options.workers,
        seconds_per_file=options.seconds_per_file,
        verbose=options.verbose,
    )


class ScoringRun:
    """An open run; leaving its context brings all finished rows onto the disk.

    Attributes:
        folder: where it writes.
        options: how it scores.
        bundle: the checked bundle.
        store: what it has on the disk.
    """

    def __init__(
        self,
        folder: RunFolder,
        options: RunOptions,
        bundle: Bundle,
        header: RunHeader,
        engine: Engine,
        store: RunStore,
        counts: RunningSummary,
        on_note: Callable[[str], None],
    ) -> None:
        """Hold together what `open` has opened."""
        self.folder = folder
        self.options = options
        self.bundle = bundle
        self.store = store
        self._header = header
        self._engine = engine
        self._counts = counts
        self._on_note = on_note
        self._order = RowOrder()
        self._offered: dict[int, ImageFile] = {}
        self._next_id = 0

    @classmethod
    @contextmanager
    def open(
        cls,
        folder: RunFolder,
        what: RunInput,
        options: RunOptions,
        on_note: Callable[[str], None],
        *,
        names: bool,
        start_engine: StartEngine = start_workers,
    ) -> Iterator["ScoringRun"]:
        """Start the engine, check the bundle, and open or go on with the results.

        Args:
            folder: where to write.
            what: what will be scored.
            options: how.
            on_note: told what a user should know.
            names: whether one file may be offered twice; a run that goes on always finds out.
            start_engine: by which the files are scored.

        Raises:
            UsageError: the results there were begun with other parameters, or a name is unknown.
            NoInputError: there is no site profile where one is named.
            BundleError, RuntimeUnavailableError: the model cannot be used.
            StorageError: the results cannot be written.
        """
        counts = RunningSummary()
        named = options.bundle if options.bundle is not None else current_bundle_folder()
        known = str(folder.hashes) if options.only_new else None
        answers = None if options.answers is None else str(options.answers)
        site = None
        if options.site is not None:
            # It loads numpy, which a run without a profile does not need here.
            from edge_app.site.profile_folder import read_profile

            site = read_profile(options.site)
        heatmaps = None
        if options.heatmaps is not None:
            heatmaps = (options.heatmaps, str(folder.path.absolute()))
        stated = options.stated
        settings = Settings(
            bundle=str(named),
            runtime=options.runtime,
            operating_point=options.operating_point,
            site=None if site is None else site.profile.to_json().decode("utf-8"),
            threads=options.threads,
            known=known,
            answers=answers,
            heatmaps=heatmaps,
            age_years=stated.age_years,
            view=stated.view,
            accept_outside=stated.accept_outside,
            identifiers=options.identifiers.settings(),
        )
        with owner_only(not options.shared), start_engine(settings, options) as engine:
            # While the engine loads its models, the whole bundle is checked here.
            bundle = load_bundle(options.bundle)
            of_names = options.identifiers.parameters()
            parameters = {**what.parameters, **stated.parameters(), **of_names}
            if site is not None:
                from edge_app.site.profile import apply_profile

                bundle = apply_profile(bundle, site.profile)
                parameters = {**parameters, **site.parameters}
            if options.heatmaps is not None:  # rows without a heatmap are of another run
                parameters = {**parameters, "heatmaps": options.heatmaps}
            bundle.operating_point(bundle.manifest.models[0], options.operating_point)
            ready = engine.wait_until_ready()
            for note in (*bundle.remarks, *ready.notes):
                on_note(note)
            counts.note_ready()
            header = describe_run(bundle, ready, options.operating_point, what.source, parameters)
            require_results(options.only_new)
            with RunStore(
                folder,
                header,
                only_new=options.only_new,
                retry_failed=options.retry_failed,
                pictures="html" in options.formats,
                names=names,
                on_row=lambda row: counts.count(_outcome(row)),
                on_note=on_note,
            ) as store:
                yield cls(folder, options, bundle, header, engine, store, counts, on_note)

    @property
    def in_flight(self) -> int:
        """Files that were offered and have no row yet."""
        return self._next_id - self._order.next_row

    @property
    def rows(self) -> int:
        """Rows in the results."""
        return self._counts.files

    @property
    def known(self) -> int:
        """Files that get no row, since an earlier run knows their content."""
        return self._counts.known

    def offer(self, file: ImageFile, *, is_near_end: bool = False) -> bool:
        """Hand over a file; False where there is no room for it now."""
        if self.in_flight >= _WINDOW:
            return False
        if file.trouble is not None:
            message = f"{Path(file.name).name}: the folder cannot be listed: {file.trouble}"
            self._take_next_place(file.name, self._failed(file.name, Reason.UNREADABLE, message))
            return True
        kept = self.store.take_kept(file)
        if kept is not None:
            self._take_next_place(file.name, kept)
            return True
        floors = self.store.gallery.floors if self.store.gallery is not None else {}
        task = Task(self._next_id, str(file.path), file.name, floors)
        if not self._engine.offer(task, is_near_end=is_near_end):
            return False
        self._offered[task.id] = file
        self._next_id += 1
        return True

    def advance(
        self,
        seconds: float,
        on_outcome: OnOutcome = lambda outcome: None,
        on_answer: OnAnswer = lambda file, answered: True,
    ) -> None:
        """Wait for news at most so long, write the rows whose turn has come, sync where due.

        Args:
            seconds: the longest wait; none where a row's turn has come.
            on_outcome: told of each row that was written.
            on_answer: asked of each answer that has come in.

        Raises:
            StorageError: the results cannot be written.
        """
        for news in self._engine.take(0 if self._order.has_next else seconds):
            self._take_in(news, on_answer)
        while self._order.has_next:
            name, entry = self._order.take_next()
            if isinstance(entry, Answered):
                self._write(name, entry, on_outcome)
            elif isinstance(entry, KnownContent):
                self._counts.known += 1
            # Here, not behind the loop: after a stall thousands may come at once.
            if self.store.is_due:
                self.store.sync()
        if self.store.is_due:
            self.store.sync()

    def wind_down(self, on_outcome: OnOutcome, on_answer: OnAnswer) -> None:
        """Interrupted: write the rows of what is finished, or keep them for the next run.

        Waits a few seconds for an earlier file that is still being decoded.

        Raises:
            StorageError: the results cannot be written.
        """
        deadline = time.monotonic() + SECONDS_TO_WIND_DOWN
        while self._order and time.monotonic() < deadline:
            self.advance(_SECONDS_A_LOOK, on_outcome, on_answer)
        self.store.sync()
        self.store.keep(self._order.answers())

    def finish(self) -> None:
        """End the engine, whose work is done."""
        self.store.sync()
        self.store.forget_kept()
        self._counts.note_finished()
        self._engine.close()

    def note_end(
        self, pictures_root: Path, left_out: Mapping[str, int], *, complete: bool
    ) -> RunEnd:
        """Write down how far the run has come, for whoever makes the report again.

        Args:
            pictures_root: what the rows' names are relative to.
            left_out: files that are no pictures, by ending.
            complete: whether every file that was found has a row.

        Raises:
            StorageError: it cannot be written.
        """
        # Where films lie may name a patient too.
        is_address = is_in_bucket(pictures_root)
        place = address_of(pictures_root) if is_address else os.path.abspath(pictures_root)
        root = printable(place)
        root = root if self.options.identifiers is FULL else ""
        end = RunEnd(complete, self.rows, root, left_out)
        write_run_end(self.folder, end)
        return end

    def derive(self, pictures_root: Path, end: RunEnd) -> None:
        """Write the table and the report anew from the results.

        Args:
            pictures_root: what the rows' names are relative to, for the report's links.
            end: how the run ended.

        Raises:
            StorageError: one of them cannot be written.
        """
        store, formats = self.store, self.options.formats
        derive(self.folder, formats, self.bundle, pictures_root, store.gallery, store.stale, end)

    def summary(
        self,
        *,
        complete: bool,
        unlisted_folders: int = 0,
        empty_folders: int = 0,
        left_out: Mapping[str, int],
    ) -> Summary:
        """The summary as of now; of folders only whoever walks them knows."""
        return self._counts.as_of_now(
            complete=complete,
            workers=self.options.workers,
            threads=self.options.threads,
            stale=sum(self.store.stale.values()),
            unlisted_folders=unlisted_folders,
            empty_folders=empty_folders,
            left_out=left_out,
        )

    def _take_in(self, news: News, on_answer: OnAnswer) -> None:
        """Give what has come in its place in the order."""
        if isinstance(news, KnownContent):
            self._order.add(news.id, self._offered.pop(news.id).name, news)
            return
        if isinstance(news, GivenUp):
            task, name = news.task, news.task.name
            message = f"{Path(name).name}: {news.message}"
            news = self._failed(name, news.reason, message, news.task.id, news.seconds)
            news = self._answered_for(Path(task.path), news)
        self._require_answer(news)
        file = self._offered.pop(news.id)
        entry = news if on_answer(file, news) else Withdrawn()
        self._order.add(news.id, file.name, entry)

    def _answered_for(self, film: Path, answered: Answered) -> Answered:
        """Write the answer about a film that took its worker down; only its header is read."""
        if self.options.answers is None:
            return answered
        from edge_app.dicom_out.answers import try_to_answer

        row = decode_row(answered.row.encode("utf-8"))
        trouble = try_to_answer(self.options.answers, film, row)
        if trouble is None:
            return answered
        return replace(answered, unanswered=trouble.message, disk_failed=trouble.is_disk)

    def _require_answer(self, answered: Answered) -> None:
        """Say where a file has no answer as DICOM.

        Raises:
            StorageError: there was no room for it; a row would say that it is there.
        """
        if answered.unanswered is None:
            return
        if answered.disk_failed:
            raise StorageError(f"{answered.unanswered}; the same command goes on")
        self._on_note(answered.unanswered)

    def _take_next_place(self, name: str, answered: Answered) -> None:
        """Add an answer that the engine was not asked for."""
        self._order.add(self._next_id, name, answered)
        self._next_id += 1

    def _failed(
        self, name: str, reason: Reason, message: str, id: int = -1, seconds: float = 0.0
    ) -> Answered:
        """The answer for what the engine could not answer for, or was not asked for."""
        row = failed_row(name, reason, message, seconds * 1000, self._header.asked)
        return Answered.of(id, row)

    def _write(self, name: str, answered: Answered, on_outcome: OnOutcome) -> None:
        self.store.write(name, answered)
        reason = None if answered.reason is None else Reason(answered.reason)
        outcome = Outcome(
            name, Status(answered.status), Decision(answered.decision), reason, answered.row
        )
        self._counts.count_new(outcome, answered.stage_ms)
        on_outcome(outcome)


def _outcome(row: ResultRow) -> Outcome:
    return Outcome(row.file, row.status, row.decision, row.reason, "")
