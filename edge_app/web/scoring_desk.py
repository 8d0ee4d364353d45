"""Scores what is uploaded: a path enters, a row and its small picture leave.

One thread holds the worker processes of `runs.workers`, so that a picture whose decoder crashes or
hangs costs its worker and never the server. So many pictures wait at most; what comes then is told
to come again.
"""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.decision import Decision, Reason
from edge_app.errors import PneumoscopeError, StorageError
from edge_app.files.codec import decode, parse_json
from edge_app.report.thumbnail import Thumbnail
from edge_app.results.rows import ResultRow, RunHeader, decode_row, failed_row
from edge_app.runs.engine import Engine, GivenUp, News
from edge_app.runs.run_header import describe_run
from edge_app.runs.workers.messages import Answered, Settings, Task
from edge_app.runs.workers.pool import Pool
from edge_app.screening.stated import NOTHING_STATED, Stated
from edge_app.site.profile import apply_profile
from edge_app.site.profile_folder import read_profile

MOST_WAITING = 64
_SECONDS_A_LOOK = 0.02
_ALL_PICTURES = dict.fromkeys((decision.value for decision in Decision), None)


class DeskBusyError(PneumoscopeError):
    """So many pictures wait already."""


@dataclass(frozen=True, slots=True)
class Read:
    """What came of one picture; `thumbnail` is None where it could not be decoded."""

    row: ResultRow
    thumbnail: Thumbnail | None


@dataclass(frozen=True, slots=True)
class DeskOptions:
    """How to score; see `runs.scoring_run.RunOptions`."""

    bundle: Path | None = None
    runtime: str | None = None
    operating_point: str | None = None
    site: Path | None = None
    workers: int = 1
    threads: int = 1
    seconds_per_file: float = 60.0
    stated: Stated = NOTHING_STATED


@dataclass(slots=True, eq=False)
class _Order:
    task: Task
    future: "Future[Read]" = field(default_factory=Future)


class ScoringDesk:
    """Open workers; leaving the context ends them.

    Attributes:
        bundle: the checked bundle.
        header: which model scores, with which cut-offs.
    """

    def __init__(self, options: DeskOptions) -> None:
        """Check the bundle and open its model in every worker.

        Raises:
            PneumoscopeError: what kept it from being opened.
        """
        self.bundle: Bundle = load_bundle(options.bundle)
        site = None if options.site is None else read_profile(options.site)
        settings = Settings(
            bundle=str(self.bundle.folder.resolve()),
            runtime=options.runtime,
            operating_point=options.operating_point,
            site=None if site is None else site.profile.to_json().decode("utf-8"),
            threads=options.threads,
            known=None,
            heatmaps=("all", None),
            age_years=options.stated.age_years,
            view=options.stated.view,
            accept_outside=options.stated.accept_outside,
        )
        self._engine: Engine = Pool(
            settings, options.workers, seconds_per_file=options.seconds_per_file
        )
        ready = self._engine.wait_until_ready()
        if site is not None:
            self.bundle = apply_profile(self.bundle, site.profile)
        self.header: RunHeader = describe_run(
            self.bundle,
            ready,
            options.operating_point,
            "serve",
            {**({} if site is None else site.parameters), **options.stated.parameters()},
        )
        self._waiting: deque[_Order] = deque()
        self._offered: dict[int, _Order] = {}
        self._changed = threading.Condition()
        self._next_id = 0
        self._is_closed = False
        self._fault: PneumoscopeError | None = None
        self._thread = threading.Thread(target=self._work, name="scoring desk", daemon=True)
        self._thread.start()

    def score(self, path: Path, name: str, stated: Stated = NOTHING_STATED) -> "Future[Read]":
        """Queue a file that lies on the disk; its row will call it `name`.

        Age and view that are stated of it go before those of the desk's options.

        Raises:
            DeskBusyError: `MOST_WAITING` pictures wait already.
            PneumoscopeError: the workers cannot score any more.
        """
        with self._changed:
            if self._fault is not None:
                raise self._fault
            if len(self._waiting) >= MOST_WAITING:
                raise DeskBusyError(f"{MOST_WAITING} pictures wait already; send it again later")
            order = _Order(
                Task(self._next_id, str(path), name, _ALL_PICTURES, stated.age_years, stated.view)
            )
            self._next_id += 1
            self._waiting.append(order)
            self._changed.notify()
            return order.future

    def close(self) -> None:
        """End the workers; what waits is not scored."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()
        self._engine.close()

    def __enter__(self) -> "ScoringDesk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        """In its own thread: hand orders to the workers, and answers to those who wait."""
        while self._has_work():
            try:
                self._offer()
                for news in self._engine.take(_SECONDS_A_LOOK):
                    self._answer(news)
            except PneumoscopeError as error:
                self._fail(error)
        self._fail(StorageError("the workstation is shutting down"))

    def _has_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._waiting or self._offered)
            return not self._is_closed and self._fault is None

    def _offer(self) -> None:
        while self._waiting and self._engine.offer(self._waiting[0].task, is_near_end=True):
            with self._changed:
                order = self._waiting.popleft()
                self._offered[order.task.id] = order

    def _answer(self, news: News) -> None:
        if isinstance(news, Answered):
            read = _read(news)
        else:
            assert isinstance(news, GivenUp)
            read = self._given_up(news)
        order = self._offered.pop(_task_id(news))
        order.future.set_result(read)

    def _given_up(self, news: GivenUp) -> Read:
        milliseconds = round(news.seconds * 1000, 3)
        reason = Reason(news.reason)
        row = failed_row(news.task.name, reason, news.message, milliseconds, self.header.asked)
        return Read(row, None)

    def _fail(self, error: PneumoscopeError) -> None:
        with self._changed:
            self._fault = error
            orders = [*self._offered.values(), *self._waiting]
            self._offered.clear()
            self._waiting.clear()
        for order in orders:
            order.future.set_exception(error)


def _task_id(news: News) -> int:
    return news.task.id if isinstance(news, GivenUp) else news.id


def _read(answered: Answered) -> Read:
    picture = answered.picture
    return Read(
        row=decode_row(answered.row.encode("utf-8")),
        thumbnail=None if picture is None else decode(Thumbnail, parse_json(picture.encode())),
    )
