"""How far a long run is: a bar on a terminal, a line now and then where output is piped."""

import os
import time
from types import TracebackType
from typing import Any, Protocol, TextIO

from edge_app.decision import Decision, Status
from edge_app.runs.summary import Outcome

SECONDS_BETWEEN_LINES = 5.0


class Progress(Protocol):
    """Takes the outcomes of a run as they come; `done` counts them."""

    done: int

    def update(self, outcome: Outcome, total: int) -> None: ...

    def __enter__(self) -> "Progress": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_progress(stream: TextIO, *, quiet: bool = False) -> Progress:
    """A bar where the stream is a terminal, else lines; nothing where quiet."""
    if quiet:
        return Silence()
    return ProgressBar(stream) if stream.isatty() else ProgressLines(stream)


class Silence:
    """Counts and says nothing."""

    def __init__(self) -> None:
        self.done = 0

    def update(self, outcome: Outcome, total: int) -> None:
        """Count an outcome."""
        self.done += 1

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *error: object) -> None:
        return


class ProgressLines:
    """Plain lines: the first file, then one every few seconds, then the last."""

    def __init__(self, stream: TextIO) -> None:
        self.done = 0
        self._stream = stream
        self._total = 0
        self._suspected = 0
        self._failed = 0
        self._shown = 0
        self._last = float("-inf")

    def update(self, outcome: Outcome, total: int) -> None:
        """Count an outcome of so many files found up to now; print a line where one is due."""
        self.done += 1
        self._total = total
        self._suspected += outcome.decision is Decision.PNEUMONIA_SUSPECTED
        self._failed += outcome.status is Status.FAILED
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self._print()

    def _print(self) -> None:
        self._shown = self.done
        print(
            f"{self.done}/{max(self._total, self.done)} files, {self._suspected} suspected, "
            f"{self._failed} failed",
            file=self._stream,
            flush=True,
        )

    def __enter__(self) -> "ProgressLines":
        return self

    def __exit__(self, *error: object) -> None:
        if self.done > self._shown:
            self._print()


class ProgressBar:
    """A tqdm bar with the time that is left."""

    def __init__(self, stream: TextIO) -> None:
        from tqdm import tqdm

        self.done = 0
        self._suspected = 0
        self._failed = 0
        # A serial console, as a Pi's, may say that it has no size: tqdm would then show nothing.
        has_size = _has_size(stream)
        self._bar: Any = tqdm(
            total=0,
            file=stream,
            unit="file",
            dynamic_ncols=has_size,
            ncols=None if has_size else 80,
            nrows=None if has_size else 24,
        )

    def update(self, outcome: Outcome, total: int) -> None:
        """Count an outcome of so many files found up to now; move the bar."""
        self.done += 1
        self._suspected += outcome.decision is Decision.PNEUMONIA_SUSPECTED
        self._failed += outcome.status is Status.FAILED
        self._bar.total = max(total, self.done)
        self._bar.set_postfix_str(
            f"{self._suspected} suspected, {self._failed} failed", refresh=False
        )
        self._bar.update()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def _has_size(stream: TextIO) -> bool:
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except OSError:
        return False
