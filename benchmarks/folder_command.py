"""`pneumoscope batch` as a user starts it, timed: a command line enters, seconds leave."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.memory import TreeMemory
from benchmarks.processes import REPOSITORY, WorkerError

_TICK_S = 1.0
_STOP_WITHIN_S = 10.0


def batch_command(bundle: Path, folder: Path, out: Path, workers: int) -> list[str]:
    """The command line of a folder run with this interpreter."""
    return [
        *(sys.executable, "-m", "edge_app", "batch", str(folder), "-o", str(out)),
        *("--bundle", str(bundle.resolve()), "--threads", "1", "--workers", str(workers)),
        *("--format", "jsonl,csv", "--quiet"),
    ]


def run_command(
    command: list[str], tick: Callable[[], None] | None = None, *, watched: bool
) -> tuple[float, float | None]:
    """Wall seconds of a command that must end well, and the peak memory of all its processes.

    Args:
        command: its words.
        tick: called about once a second while it runs.
        watched: whether to look at its memory, which costs a little time; None otherwise.

    Raises:
        WorkerError: it ended badly; its last line says why.
    """
    with ExitStack() as stack:
        started = time.perf_counter()
        process = stack.enter_context(
            subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        )
        memory = stack.enter_context(TreeMemory(process.pid)) if watched else None
        errors = _wait(process, tick)
        seconds = time.perf_counter() - started
    # 1: some files could not be read, which is an answer too.
    if process.returncode not in (0, 1):
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "")
        raise WorkerError(f"pneumoscope batch ended with status {process.returncode}: {last}")
    return seconds, None if memory is None else memory.peak_mb


def _wait(process: "subprocess.Popen[str]", tick: Callable[[], None] | None) -> str:
    """Wait for its end; whatever interrupts this ends the process too, with its children."""
    try:
        while True:
            try:
                _, errors = process.communicate(timeout=_TICK_S)
            except subprocess.TimeoutExpired:
                if tick is not None:
                    tick()
            else:
                return errors
    except BaseException:
        # Not killed at once: a batch that is told ends its own workers.
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
