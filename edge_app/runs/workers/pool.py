"""Worker processes side by side: tasks in, replies out, and no task is lost with its worker.

A worker that dies is replaced; its task is tried once more in a fresh one (the kernel may have
picked it for want of memory, not for its file) and then given up. A worker that is silent for
longer than the bound is killed and its task given up. Where one task after another is lost and none
is answered, it may be the machine and not the files: none is told of before a fresh worker has
scored the golden inputs, as each does before its first task, and if none can, the run ends. Replies
come in any order.

Processes rather than threads: a decoder's crash or endless loop in C ends with its process. They
are started fresh, never forked from one that has threads. A thread a worker waits for its replies,
since that works with pipes on every system.
"""

import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType

from edge_app import errors
from edge_app.decision import Reason
from edge_app.errors import PneumoscopeError, RuntimeUnavailableError
from edge_app.runs.workers.messages import Ready, Refused, Reply, Settings, Task

# Tasks that wait in a worker's pipe, so that it never waits for us: while we sync the disk it has
# work for as long. Fewer near the end, so that all workers end together.
DEEP, SHALLOW = 8, 2

_MOST_DEATHS_OF_A_TASK = 2
_MOST_FAILED_STARTS = 3
# Held back one after the other, while no reply comes: is it the machine? Its starts will tell.
_MOST_LOST = 5
_SECONDS_TO_START = 120.0
_SECONDS_TO_END = 2.0
# Longer pauses between two looks mean that we stood still (Ctrl-Z, a suspended machine), not that
# a worker hangs.
_LONGEST_LOOK = 1.0


@dataclass(frozen=True, slots=True)
class Lost:
    """A task that is given up, why, and the seconds that it took."""

    task: Task
    reason: Reason
    message: str
    seconds: float


@dataclass(slots=True, eq=False)
class _Worker:
    """A process and the tasks in its pipe, the one that it works on first."""

    process: "subprocess.Popen[bytes]"
    tasks: deque[Task] = field(default_factory=deque)
    ready: Ready | None = None
    busy_since: float = field(default_factory=time.monotonic)
    given_up: bool = False


class Pool:
    """So many workers with the same settings; leaving the context ends them."""

    def __init__(
        self, settings: Settings, workers: int, *, seconds_per_file: float, verbose: bool = False
    ) -> None:
        """Start the workers; they load their models meanwhile.

        Args:
            settings: what each of them gets.
            workers: how many.
            seconds_per_file: after which a file is given up.
            verbose: whether what they print on standard error is shown.
        """
        self._settings = settings
        self._seconds_per_file = seconds_per_file
        self._verbose = verbose
        self._events: SimpleQueue[tuple[_Worker, bytes]] = SimpleQueue()
        self._again: deque[Task] = deque()
        self._deaths: Counter[int] = Counter()
        self._lost: list[Lost] = []
        self._began_since_loss = True
        self._failed_starts = 0
        self._ready: Ready | None = None
        self._looked_at = time.monotonic()
        self._workers = [self._start() for _ in range(workers)]

    @property
    def pids(self) -> tuple[int, ...]:
        """Process identifiers of the workers."""
        return tuple(worker.process.pid for worker in self._workers)

    @property
    def pending(self) -> int:
        """Tasks that have neither a reply nor been given up."""
        return len(self._again) + sum(len(worker.tasks) for worker in self._workers)

    def wait_until_ready(self) -> Ready:
        """Wait for the first worker's model.

        Raises:
            PneumoscopeError: what kept it from opening its model.
        """
        while self._ready is None:
            self.take(_LONGEST_LOOK)  # no task was handed over, so no news can be lost
        return self._ready

    def offer(self, task: Task, *, depth: int = DEEP) -> bool:
        """Hand a task to the worker with the least to do; False where none has room."""
        if self._again:
            return False
        return self._hand_over(task, depth)

    def take(self, seconds: float) -> list[Reply | Lost]:
        """Wait for news at most so long; gives what has come in.

        Raises:
            PneumoscopeError: a worker cannot open its model.
            RuntimeUnavailableError: workers die whatever they score.
        """
        news: list[Reply | Lost] = []
        for worker, line in self._arrived(min(seconds, _LONGEST_LOOK)):
            if worker.given_up:
                continue
            if line:
                news += self._read(worker, line)
            else:
                self._bury(worker)
        self._give_up_the_silent()
        while self._again and self._hand_over(self._again[0], DEEP):
            self._again.popleft()
        return news + self._lost_for_good(any_reply=bool(news))

    def _lost_for_good(self, *, any_reply: bool) -> list[Lost]:
        """The tasks that are known to be lost by their own fault; others are not told yet."""
        is_machine_sane = len(self._lost) >= _MOST_LOST and self._began_since_loss
        if not any_reply and self.pending and not is_machine_sane:
            return []
        lost, self._lost = self._lost, []
        return lost

    def kill(self) -> None:
        """End all workers at once; what they were at is dropped."""
        for worker in self._workers:
            worker.given_up = True
            worker.process.kill()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.kill()
        self.close()

    def close(self) -> None:
        """End the workers after the tasks that they have."""
        for worker in self._workers:
            worker.given_up = True
            _end_input(worker)
        for worker in self._workers:
            _wait_for_end(worker)
        self._workers.clear()

    def _start(self) -> _Worker:
        worker = _Worker(self._spawn())
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        self._send(worker, self._settings.to_line())
        return worker

    def _spawn(self) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                # -P: a json.py beside the pictures must not be taken for Python's.
                [sys.executable, "-P", "-m", "edge_app.runs.workers.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if self._verbose else subprocess.DEVNULL,
                env=_environment(),
            )
        except OSError as error:
            raise RuntimeUnavailableError(f"no worker process can be started: {error}") from error

    def _listen(self, worker: _Worker) -> None:
        """In a thread of its own: pass on a worker's lines, and an empty one when it has ended."""
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            self._events.put((worker, line))
        self._events.put((worker, b""))

    def _arrived(self, seconds: float) -> Iterator[tuple[_Worker, bytes]]:
        try:
            yield self._events.get(timeout=seconds)
            while True:
                yield self._events.get_nowait()
        except Empty:
            return

    def _read(self, worker: _Worker, line: bytes) -> list[Reply]:
        if not line.endswith(b"\n"):  # it died while it wrote; the end of its output follows
            return []
        if worker.ready is None:
            self._welcome(worker, line)
            return []
        worker.tasks.popleft()
        worker.busy_since = time.monotonic()
        return [Reply.from_line(line)]

    def _welcome(self, worker: _Worker, line: bytes) -> None:
        if line.startswith(b'{"error":'):
            refused = Refused.from_line(line)
            raise _error(refused)
        self._failed_starts = 0
        self._began_since_loss = True
        self._ready = worker.ready = Ready.from_line(line)
        worker.busy_since = time.monotonic()

    def _hand_over(self, task: Task, depth: int) -> bool:
        able = [w for w in self._workers if w.ready is not None and len(w.tasks) < depth]
        if not able:
            return False
        worker = min(able, key=lambda w: len(w.tasks))
        if not worker.tasks:
            worker.busy_since = time.monotonic()
        worker.tasks.append(task)
        self._send(worker, task.to_line())
        return True

    def _send(self, worker: _Worker, line: bytes) -> None:
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(line)
            worker.process.stdin.flush()
        except OSError:  # it is dead; the end of its output will tell, and `_bury` sees to the task
            return

    def _bury(self, worker: _Worker) -> None:
        """Replace a worker that has died; its first task is the one that it died of."""
        code = _ended(worker.process)
        if worker.ready is None:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise RuntimeUnavailableError(
                    "worker processes end while they open the model and score its golden inputs "
                    f"({_how(code)}): it is the machine or a library, not the files. --verbose "
                    "shows what they print, another --runtime may do; the same command goes on"
                )
        if worker.tasks:
            task = worker.tasks.popleft()
            self._deaths[task.id] += 1
            if self._deaths[task.id] < _MOST_DEATHS_OF_A_TASK:
                self._again.append(task)
            else:
                del self._deaths[task.id]
                text = f"the decoder took its process down, twice ({_how(code)})"
                seconds = time.monotonic() - worker.busy_since
                self._lose(Lost(task, Reason.DECODER_CRASHED, text, seconds))
        self._replace(worker)

    def _lose(self, lost: Lost) -> None:
        self._lost.append(lost)
        self._began_since_loss = False

    def _give_up_the_silent(self) -> None:
        now = time.monotonic()
        stood_still = max(0.0, now - self._looked_at - 2 * _LONGEST_LOOK)
        self._looked_at = now
        for worker in list(self._workers):
            worker.busy_since += stood_still
            silent = now - worker.busy_since
            if worker.ready is None and silent > _SECONDS_TO_START:
                worker.process.kill()  # `_bury` counts it among the failed starts
            elif worker.tasks and worker.ready is not None and silent > self._seconds_per_file:
                task = worker.tasks.popleft()
                text = f"given up after {self._seconds_per_file:g} s in the decoder"
                self._lose(Lost(task, Reason.TIMED_OUT, text, silent))
                worker.process.kill()
                self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        worker.given_up = True
        # Not waited for: a read from a dead network share cannot be killed before it returns.
        self._again.extendleft(reversed(worker.tasks))
        self._workers[self._workers.index(worker)] = self._start()


def _environment() -> dict[str, str]:
    """Ours, and where this very package is found, whatever the current folder is."""
    home = str(Path(__file__).resolve().parents[3])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    # numpy's OpenBLAS would start a thread a core, each with its own buffers, for nothing.
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process whose output has ended."""
    try:
        return process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _error(refused: Refused) -> PneumoscopeError:
    """The error that a worker met, as if it had been met here."""
    kind = getattr(errors, refused.error, PneumoscopeError)
    error: PneumoscopeError = kind(refused.message)
    return error


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _end_input(worker: _Worker) -> None:
    """Tell a worker that there is no more to do."""
    assert worker.process.stdin is not None
    with suppress(OSError):  # what it had not read yet is dropped
        worker.process.stdin.close()


def _wait_for_end(worker: _Worker) -> None:
    """Wait for a worker whose input has ended; end it by force where that takes too long."""
    try:
        worker.process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        worker.process.kill()
