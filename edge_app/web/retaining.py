"""Applies the retention policy each day while the workstation is open; deletes nothing else.

What is old and was exported goes, see `record.retention`. Where the clock cannot be believed
nothing does: to a clock that jumped ahead everything is old.
"""

import threading
from collections.abc import Callable

from edge_app.device.clock import clock_trust
from edge_app.errors import PneumoscopeError
from edge_app.record.record import Record
from edge_app.record.retention import apply_retention
from edge_app.results.rows import utc_now

ACTOR = "retention"
_A_DAY = 24 * 3600.0


class DailyRetention:
    """A policy at work; leaving the context ends it."""

    def __init__(
        self,
        record: Record,
        keep_days: int | None,
        is_clock_trusted: Callable[[], bool] | None = None,
        seconds: float = _A_DAY,
    ) -> None:
        """At once and then again after so many seconds; None keeps everything."""
        self._record = record
        self._keep_days = keep_days
        self._is_clock_trusted = is_clock_trusted or (lambda: clock_trust(utc_now()).is_trusted)
        self._seconds = seconds
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def __enter__(self) -> "DailyRetention":
        if self._keep_days is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        if self._keep_days is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._is_closed.is_set():
            self._apply()
            self._is_closed.wait(self._seconds)

    def _apply(self) -> None:
        assert self._keep_days is not None
        if not self._is_clock_trusted():
            return
        try:
            apply_retention(self._record, self._keep_days, ACTOR)
        except PneumoscopeError:
            return  # a disk that is full or gone says so where people look; tried again tomorrow
