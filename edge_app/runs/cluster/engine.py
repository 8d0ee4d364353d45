"""A Ray cluster as an `Engine`: actors on its cores, tasks to them in small batches.

Ray places actors, moves what is said and tells which of them have died. An actor that has gone with
its node is asked for anew, and its tasks go to others first. Who has answered what stays with the
folder run, whose journal is the manifest: nothing is written here. At most two batches an actor are
under way, so memory is bounded on every node and here.
"""

import os
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_app.bundle.archive import bundle_archive
from edge_app.decision import Reason
from edge_app.errors import RuntimeUnavailableError, StorageError, UsageError
from edge_app.files.bucket import is_in_bucket
from edge_app.files.disk_table import PublishedKeys
from edge_app.runs.cluster.node import NodeReady, Scorer
from edge_app.runs.engine import Engine, GivenUp, News
from edge_app.runs.file_stamps import stamp_of
from edge_app.runs.scoring_run import RunOptions, StartEngine
from edge_app.runs.workers.messages import Answered, KnownContent, Ready, Refused, Settings, Task
from edge_app.version import __version__

# Files of one call: about 0.1 s of work, some hundred times what a call costs.
_BATCH = 32
# Under way at an actor: one that it works on, and one that waits there.
_CALLS_OF_AN_ACTOR = 2
# All files under way, whatever the number of actors.
_MOST_UNDER_WAY = 8192
_MOST_LOSSES_OF_A_TASK = 4
_MOST_FAILED_STARTS = 3
_SECONDS_TO_CONNECT = 10.0
_SECONDS_TO_START = 180.0
_SECONDS_BETWEEN_COUNTS = 10.0
# Rows are small; Ray's own choice is a third of the machine's memory.
_OBJECT_STORE_BYTES = 256 * 1024 * 1024


def ray_engine(address: str | None) -> StartEngine:
    """How a folder run starts on a cluster.

    Args:
        address: of a cluster that runs ("auto": the one on this machine), None to start one on this
            machine for this run.
    """

    def start(settings: Settings, options: RunOptions) -> Engine:
        return Cluster(settings, options, address)

    return start


@dataclass(slots=True, eq=False)
class _Actor:
    """An actor, and what it is at: its start, or batches of tasks."""

    handle: Any
    started_at: float = field(default_factory=time.monotonic)
    node: str = ""
    calls: int = 0


class Cluster:
    """Actors of one cluster with the same settings; leaving the context ends them."""

    def __init__(self, settings: Settings, options: RunOptions, address: str | None) -> None:
        """Connect, and ask for the actors.

        Raises:
            RuntimeUnavailableError: Ray is missing, or there is no such cluster.
            UsageError: what is asked for is written by workers, which have no disk in common.
        """
        if options.answers is not None or options.heatmaps is not None:
            raise UsageError(
                "--dicom-out and --heatmaps write beside the worker, which may be any machine of "
                "the cluster: leave them out, or use --engine local"
            )
        if settings.known is not None and options.identifiers.choice == "none":
            raise UsageError(
                "--only-new tells films by their content, which rows of --identifiers none do not "
                "name: leave one of them out, or use --engine local"
            )
        self._ray = _import_ray()
        self._connect(options, address)
        self._known_file = settings.known
        self._known: PublishedKeys | None = None
        bundle = self._ray.put(bundle_archive(Path(settings.bundle)))
        self._arguments = (_of_nodes(settings), bundle, options.seconds_per_file)
        self._wanted = options.workers
        self._actor_class = self._ray.remote(
            num_cpus=1, max_restarts=0, max_task_retries=0, max_concurrency=1
        )(Scorer)
        self._starting: dict[Any, _Actor] = {}
        self._at_work: dict[Any, tuple[_Actor, list[Task]]] = {}
        self._actors: list[_Actor] = []
        self._waiting: deque[Task] = deque()
        self._losses: Counter[int] = Counter()
        self._failed_starts = 0
        self._ready: Ready | None = None
        self._next_count = 0.0
        self._began = time.monotonic()
        self._ask_for_actors()

    def wait_until_ready(self) -> Ready:
        """Wait for the first actor's model.

        Raises:
            PneumoscopeError: what kept it from opening its model.
        """
        while self._ready is None:
            self.take(1.0)
            if time.monotonic() - self._began > _SECONDS_TO_START:
                raise RuntimeUnavailableError(
                    "no node of the cluster has opened the model within "
                    f"{_SECONDS_TO_START:g} s: are its cores taken? `ray status` says so"
                )
        return self._ready

    def offer(self, task: Task, *, is_near_end: bool = False) -> bool:
        """Take a task; False where as much is under way as actors can have."""
        if len(self._waiting) >= self._batch and not self._hand_out(self._batch):
            return False
        # A node's current folder is another one.
        self._waiting.append(_absolute(task))
        return True

    def take(self, seconds: float) -> list[News]:
        """Wait for news at most so long; gives what has come in.

        Raises:
            PneumoscopeError: a node cannot score, or is unlike the others.
        """
        self._ask_for_actors()
        self._hand_out(1)
        news: list[News] = []
        for ref in self._finished(seconds):
            if ref in self._starting:
                self._welcome(self._starting.pop(ref), ref)
            else:
                news += self._answers(*self._at_work.pop(ref), ref)
        return news

    def close(self) -> None:
        """End the actors, and the cluster where it was started for this run."""
        for actor in [*self._actors, *self._starting.values()]:
            with suppress(Exception):  # it has gone with its node
                self._ray.kill(actor.handle)
        self._actors.clear()
        self._starting.clear()
        self._ray.shutdown()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def _batch(self) -> int:
        """Files of one call; fewer where there are very many actors."""
        actors = max(1, len(self._actors))
        return max(1, min(_BATCH, _MOST_UNDER_WAY // (_CALLS_OF_AN_ACTOR * actors)))

    def _connect(self, options: RunOptions, address: str | None) -> None:
        # No telephone home, whoever starts the cluster.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        own: dict[str, Any] = {}
        if address is None:
            own = {"num_cpus": options.workers or None, "include_dashboard": False}
            own["object_store_memory"] = _OBJECT_STORE_BYTES
        try:
            _require_listener(address)
            with _own_signals():
                self._ray.init(
                    # "local": never the one that an environment variable names.
                    address=address or "local",
                    log_to_driver=options.verbose,
                    logging_level="INFO" if options.verbose else "CRITICAL",
                    **own,
                )
        # ConnectionError: nobody answers; RuntimeError: another version of Ray or Python.
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = "on this machine" if address in (None, "auto") else f"at {address}"
            why = " ".join(str(error).split())
            raise RuntimeUnavailableError(
                f"no Ray cluster can be used {where}: {why} (`ray start --head` starts one; "
                "without --address one is started for this run)"
            ) from error

    def _ask_for_actors(self) -> None:
        """As many actors as are wanted, or as the cluster has cores now: nodes come and go."""
        now = time.monotonic()
        if now < self._next_count:
            return
        self._next_count = now + _SECONDS_BETWEEN_COUNTS
        wanted = self._wanted or int(self._ray.cluster_resources().get("CPU", 0))
        for _ in range(wanted - len(self._actors) - len(self._starting)):
            actor = _Actor(self._actor_class.remote(*self._arguments))
            self._starting[actor.handle.start.remote()] = actor

    def _finished(self, seconds: float) -> Iterator[Any]:
        refs = [*self._starting, *self._at_work]
        if not refs:
            time.sleep(min(seconds, 0.1))
            return
        if self._ray.wait(refs, num_returns=1, timeout=seconds)[0]:
            yield from self._ray.wait(refs, num_returns=len(refs), timeout=0)[0]

    def _welcome(self, actor: _Actor, ref: Any) -> None:
        """An actor has started, or could not."""
        try:
            said = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            self._next_count = 0.0
            if self._failed_starts >= _MOST_FAILED_STARTS:
                why = " ".join(str(error).split())[:500]
                raise RuntimeUnavailableError(
                    "actors end while they start: is Pneumoscope installed on every node? "
                    f"Ray says: {why}"
                ) from error
            return
        if isinstance(said, Refused):
            raise said.to_error()
        self._require_same(said)
        self._failed_starts = 0
        actor.node = said.node
        self._actors.append(actor)

    def _require_same(self, said: NodeReady) -> None:
        """Raise RuntimeUnavailableError for a node whose rows would be of another program."""
        ours = (__version__, self._ready or said.ready)
        if (said.version, said.ready) == ours:
            self._ready = said.ready
            return
        first = ours[1]
        raise RuntimeUnavailableError(
            f"node {said.node}: Pneumoscope {said.version} with {said.ready.runtime} "
            f"{said.ready.runtime_version}, but {__version__} with {first.runtime} "
            f"{first.runtime_version} elsewhere: install the same versions on every node; the "
            "same command goes on"
        )

    def _hand_out(self, least: int) -> bool:
        """Give waiting tasks to the actor with the least to do; False where none has room."""
        given = False
        while len(self._waiting) >= least and self._actors:
            actor = min(self._actors, key=lambda actor: actor.calls)
            # What is less than a batch goes to one that would be idle otherwise.
            is_whole = len(self._waiting) >= self._batch
            if actor.calls >= (_CALLS_OF_AN_ACTOR if is_whole else 1):
                break
            count = min(len(self._waiting), self._batch)
            tasks = [self._waiting.popleft() for _ in range(count)]
            actor.calls += 1
            self._at_work[actor.handle.score.remote(tasks)] = (actor, tasks)
            given = True
        return given

    def _answers(self, actor: _Actor, tasks: list[Task], ref: Any) -> list[News]:
        actor.calls -= 1
        try:
            said = self._ray.get(ref)
        except self._ray.exceptions.RayError:
            return self._lost(actor, tasks)
        if isinstance(said, Refused):
            raise said.to_error()
        paths = {task.id: task.path for task in tasks}
        return [self._checked(news, paths, actor.node) for news in said]

    def _lost(self, actor: _Actor, tasks: list[Task]) -> list[News]:
        """The actor has died with its tasks: others get them, before all that waits."""
        if actor in self._actors:
            self._actors.remove(actor)
            self._next_count = 0.0
        self._losses.update(task.id for task in tasks)
        gone = [task for task in tasks if self._losses[task.id] >= _MOST_LOSSES_OF_A_TASK]
        self._waiting.extendleft(task for task in reversed(tasks) if task not in gone)
        text = f"{_MOST_LOSSES_OF_A_TASK} nodes were lost while they were at it"
        return [GivenUp(task, Reason.DECODER_CRASHED, text, 0.0) for task in gone]

    def _checked(self, news: News, paths: dict[int, str], node: str) -> News:
        """What a node cannot know: whether earlier results have the content, and what it lacks."""
        if not isinstance(news, Answered):
            return news
        path = paths[news.id]
        if news.unread and news.stamp is None and stamp_of(Path(path)) is not None:
            raise StorageError(
                f"{path}: is not there on node {node}, but it is here: mount the folder at the "
                "same place on every node, or give each node the bucket's credentials; the same "
                "command goes on"
            )
        if self._known_file is not None and news.sha256 is not None:
            if self._known is None:
                self._known = PublishedKeys(Path(self._known_file))
            if bytes.fromhex(news.sha256) in self._known:
                return KnownContent(news.id)
        return news


def _import_ray() -> Any:
    # Read when it is imported: else it looks for a cluster that has gone for six minutes.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise RuntimeUnavailableError(
            "--engine ray needs Ray: pip install 'pneumoscope[ray]'"
        ) from error
    return ray


def _require_listener(address: str | None) -> None:
    """Raise OSError where nobody listens: Ray would try for six minutes.

    Raises:
        ValueError: it is no HOST:PORT.
    """
    if address in (None, "auto"):
        return
    host, _, port = str(address).rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_CONNECT).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself: an interrupted run would lose what it has finished."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread, where Ray takes none
            for number, handler in before.items():
                signal.signal(number, handler)


def _of_nodes(settings: Settings) -> Settings:
    """Without what lies on this machine only."""
    return replace(settings, bundle="", known=None)


def _absolute(task: Task) -> Task:
    if os.path.isabs(task.path) or is_in_bucket(Path(task.path)):
        return task
    return replace(task, path=os.path.abspath(task.path))
