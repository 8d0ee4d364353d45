"""How far a folder run is: files, and how many of them are suspected or failed."""

from contextlib import ExitStack
from typing import TextIO

from edge_app.decision import Decision, Status
from edge_app.progress import progress
from edge_app.runs.summary import Outcome


class RunProgress:
    """Takes the outcomes of a run as they come; `done` counts them."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self.done = 0
        self._suspected = 0
        self._failed = 0
        self._shown = ExitStack()
        self._at = None
        if not quiet:
            self._at = self._shown.enter_context(progress(unit="files", stream=stream, delay=0))

    def update(self, outcome: Outcome, total: int) -> None:
        """Count an outcome of so many files found up to now."""
        self.done += 1
        self._suspected += outcome.decision is Decision.PNEUMONIA_SUSPECTED
        self._failed += outcome.status is Status.FAILED
        if self._at is not None:
            self._at(self.done, total, f"{self._suspected} suspected, {self._failed} failed")

    def __enter__(self) -> "RunProgress":
        return self

    def __exit__(self, *error: object) -> None:
        self._shown.close()
