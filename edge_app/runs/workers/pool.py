"""Worker processes side by side on one machine: an `Engine` that loses no task with its worker.

Processes rather than threads, since a decoder's crash or endless loop in C ends with its process.
They are started fresh, never forked from a process that has threads. Each worker's replies are read
by a thread of its own, since that works with pipes on every system.

A worker that dies is replaced. Its task is tried once more in a fresh one, because the system may
have ended the worker for want of memory and not for the file; then it is given up. A worker that is
silent for too long is killed, and its task is given up at once.

When one task after another is given up and none is answered, the machine may be at fault and not
the files. So these tasks are held back until a fresh worker has scored the golden inputs, as each
does before its first task. If no worker can, the run ends with an error and no file is blamed.
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

from edge_app.decision import Reason
from edge_app.errors import RuntimeUnavailableError
from edge_app.runs.engine import GivenUp, News
from edge_app.runs.workers.messages import (
    Answered,
    KnownContent,
    Message,
    Ready,
    Refused,
    Settings,
    Task,
    read_message,
)

# Tasks in a worker's pipe: enough to keep it busy while we bring rows onto the disk; few near the
# end of a run, so that all workers end together.
_DEEP, _SHALLOW = 8, 2

_MOST_DEATHS_OF_A_TASK = 2
_MOST_FAILED_STARTS = 3
# So many tasks are held back while none is answered; then a worker's start tells whether the
# machine is sound.
_MOST_HELD_BACK = 5
_SECONDS_TO_START = 120.0
_SECONDS_TO_END = 2.0
# After a longer pause between two looks it was this process that stood still (Ctrl-Z, a suspended
# machine), and no worker is to blame for its silence.
_LONGEST_LOOK = 1.0


@dataclass(slots=True, eq=False)
class _Worker:
    """A process and the tasks in its pipe, the one that it works on first."""

    process: "subprocess.Popen[bytes]"
    tasks: deque[Task] = field(default_factory=deque)
    ready: Ready | None = None
    busy_since: float = field(default_factory=time.monotonic)
    is_replaced: bool = False


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
        self._retries: deque[Task] = deque()
        self._deaths: Counter[int] = Counter()
        self._held_back: list[GivenUp] = []
        self._started_since_held_back = True
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
        """Tasks that have neither an answer nor been given up."""
        return len(self._retries) + sum(len(worker.tasks) for worker in self._workers)

    def wait_until_ready(self) -> Ready:
        """Wait for the first worker's model.

        Raises:
            PneumoscopeError: what kept it from opening its model.
        """
        while self._ready is None:
            self.take(_LONGEST_LOOK)  # no task was handed over, so no news can be lost
        return self._ready

    def offer(self, task: Task, *, is_near_end: bool = False) -> bool:
        """Hand a task to the worker with the least to do; False where none has room."""
        if self._retries:
            return False
        return self._hand_over(task, _SHALLOW if is_near_end else _DEEP)

    def take(self, seconds: float) -> list[News]:
        """Wait for news at most so long; gives what has come in.

        Raises:
            PneumoscopeError: a worker cannot open its model.
            RuntimeUnavailableError: workers die whatever they score.
        """
        news: list[News] = []
        for worker, line in self._lines(min(seconds, _LONGEST_LOOK)):
            if worker.is_replaced:
                continue
            if not line:
                self._replace_dead(worker)
            elif line.endswith(b"\n"):  # else it died while it wrote, and its end follows
                news += self._read(worker, read_message(line))
        self._give_up_the_silent()
        while self._retries and self._hand_over(self._retries[0], _DEEP):
            self._retries.popleft()
        return news + self._releasable(is_answering=bool(news))

    def kill(self) -> None:
        """End all workers at once; what they were at is dropped."""
        for worker in self._workers:
            worker.is_replaced = True
            worker.process.kill()

    def close(self) -> None:
        """End the workers after the tasks that they have."""
        for worker in self._workers:
            worker.is_replaced = True
            _end_input(worker)
        for worker in self._workers:
            _wait_for_end(worker)
        self._workers.clear()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.kill()
        self.close()

    def _start(self) -> _Worker:
        worker = _Worker(self._spawn())
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        self._send(worker, self._settings)
        return worker

    def _spawn(self) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                # -P: a json.py beside the pictures must not be taken for Python's.
                [sys.executable, "-P", "-m", "edge_app.runs.workers.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if self._verbose else subprocess.DEVNULL,
                env=environment(),
            )
        except OSError as error:
            raise RuntimeUnavailableError(f"no worker process can be started: {error}") from error

    def _listen(self, worker: _Worker) -> None:
        """In a thread of its own: pass on a worker's lines, and an empty one when it has ended."""
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            self._events.put((worker, line))
        self._events.put((worker, b""))

    def _lines(self, seconds: float) -> Iterator[tuple[_Worker, bytes]]:
        """What has come in, after a wait for the first of it."""
        try:
            yield self._events.get(timeout=seconds)
            while True:
                yield self._events.get_nowait()
        except Empty:
            return

    def _read(self, worker: _Worker, message: Message) -> list[News]:
        match message:
            case Refused():
                raise message.to_error()
            case Ready():
                self._failed_starts = 0
                self._started_since_held_back = True
                self._ready = worker.ready = message
            case Answered() | KnownContent():
                worker.tasks.popleft()
        worker.busy_since = time.monotonic()
        return [message] if isinstance(message, Answered | KnownContent) else []

    def _hand_over(self, task: Task, depth: int) -> bool:
        able = [w for w in self._workers if w.ready is not None and len(w.tasks) < depth]
        if not able:
            return False
        worker = min(able, key=lambda w: len(w.tasks))
        if not worker.tasks:
            worker.busy_since = time.monotonic()
        worker.tasks.append(task)
        self._send(worker, task)
        return True

    def _send(self, worker: _Worker, message: Message) -> None:
        assert worker.process.stdin is not None
        # A dead worker reads nothing: the end of its output follows, and then it is replaced.
        with suppress(OSError):
            worker.process.stdin.write(message.to_line())
            worker.process.stdin.flush()

    def _replace_dead(self, worker: _Worker) -> None:
        """Replace a worker that has died; the task that it was at may be why."""
        code = _exit_code(worker.process)
        if worker.ready is None:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise RuntimeUnavailableError(
                    "worker processes end while they open the model and score its golden inputs "
                    f"({_in_words(code)}): it is the machine or a library, not the files. "
                    "--verbose shows what they print, another --runtime may do; the same command "
                    "goes on"
                )
        if worker.tasks:
            task = worker.tasks.popleft()
            self._deaths[task.id] += 1
            if self._deaths[task.id] < _MOST_DEATHS_OF_A_TASK:
                self._retries.append(task)
            else:
                del self._deaths[task.id]
                text = f"the decoder took its process down, twice ({_in_words(code)})"
                seconds = time.monotonic() - worker.busy_since
                self._hold_back(GivenUp(task, Reason.DECODER_CRASHED, text, seconds))
        self._replace(worker)

    def _give_up_the_silent(self) -> None:
        """Kill workers that do not start, or that have been at one file for too long."""
        now = time.monotonic()
        stood_still = max(0.0, now - self._looked_at - 2 * _LONGEST_LOOK)
        self._looked_at = now
        for worker in list(self._workers):
            worker.busy_since += stood_still
            silent = now - worker.busy_since
            if worker.ready is None:
                if silent > _SECONDS_TO_START:
                    worker.process.kill()  # the end of its output follows: a failed start
            elif worker.tasks and silent > self._seconds_per_file:
                task = worker.tasks.popleft()
                text = f"given up after {self._seconds_per_file:g} s in the decoder"
                self._hold_back(GivenUp(task, Reason.TIMED_OUT, text, silent))
                worker.process.kill()
                self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        worker.is_replaced = True
        # Not waited for: a read from a dead network share cannot be killed before it returns.
        self._retries.extendleft(reversed(worker.tasks))
        self._workers[self._workers.index(worker)] = self._start()

    def _hold_back(self, given_up: GivenUp) -> None:
        self._held_back.append(given_up)
        self._started_since_held_back = False

    def _releasable(self, *, is_answering: bool) -> list[News]:
        """The tasks that were given up, once it is known that their files were at fault.

        That is so when another file was answered, when nothing else is left to be tried, or when a
        fresh worker has scored the golden inputs since.
        """
        is_sound = len(self._held_back) >= _MOST_HELD_BACK and self._started_since_held_back
        if self.pending and not is_answering and not is_sound:
            return []
        released, self._held_back = self._held_back, []
        return [*released]


def environment() -> dict[str, str]:
    """Ours, and where this very package is found, whatever the current folder is."""
    home = str(Path(__file__).resolve().parents[3])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    # numpy's OpenBLAS would start a thread a core, each with its own buffers, for nothing.
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}


def _exit_code(process: "subprocess.Popen[bytes]") -> int:
    """Of a process whose output has ended."""
    try:
        return process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _in_words(code: int) -> str:
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
