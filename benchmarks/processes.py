"""Starts worker processes and reads their answers; ends them when the caller is interrupted.

A request (a dict) enters, parsed messages leave. A worker that dies or answers with a failure
raises `WorkerError` with what it said last.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_app.errors import EXIT_BUNDLE, PneumoscopeError

REPOSITORY = Path(__file__).resolve().parents[1]
_LAST_WORDS = 2000


class WorkerError(PneumoscopeError):
    """A process that measures could not do its task."""

    exit_code = EXIT_BUNDLE


class Worker:
    """A running `benchmarks.worker`; leaving the context ends it."""

    def __init__(self, interpreter: str, request: Mapping[str, Any]) -> None:
        # Closed in __exit__, as the process is ended there.
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [interpreter, "-m", "benchmarks.worker"],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )
        self.send(json.dumps(request))

    def send(self, line: str) -> None:
        """Write one line to the worker's standard input."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(f"the worker died: {self._last_words()}") from error

    def receive(self) -> dict[str, Any]:
        """The next message.

        Raises:
            WorkerError: the worker failed or died.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise WorkerError(f"the worker died with status {code}: {self._last_words()}")
        message: dict[str, Any] = json.loads(line)
        if "failed" in message:
            raise WorkerError(message["failed"])
        return message

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        self._log.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read()[-_LAST_WORDS:].splitlines()]
        return next((line for line in reversed(lines) if line), "it said nothing")


def run_worker(interpreter: str, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Start a worker for one request and hand on its messages, up to and including `done`."""
    with Worker(interpreter, request) as worker:
        message: dict[str, Any] = {}
        while "done" not in message:
            message = worker.receive()
            yield message
