"""Progress on standard error for everything over two seconds.

On a terminal a bar; where it is piped, a plain line every few seconds, so that a log tells where
a long run is.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm

_DELAY_S = 2.0
_LINE_EVERY_S = 10.0


class Progress(Protocol):
    """What a step reports to: how much of its total is done."""

    def at(self, done: float) -> None:
        """`done` of the total is done now."""
        ...


@contextmanager
def progress(what: str, total: float, unit: str = "") -> Iterator[Progress]:
    """Show how far a step is; `total` in `unit`s."""
    shown: _Bar | _Lines
    shown = _Bar(what, total, unit) if sys.stderr.isatty() else _Lines(what, total, unit)
    try:
        yield shown
    finally:
        shown.close()


class _Bar:
    def __init__(self, what: str, total: float, unit: str) -> None:
        self._bar = tqdm(desc=what, total=total, unit=unit, delay=_DELAY_S, leave=False)

    def at(self, done: float) -> None:
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    def __init__(self, what: str, total: float, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._next = time.monotonic() + _DELAY_S

    def at(self, done: float) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LINE_EVERY_S
        unit = f" {self._unit}" if self._unit else ""
        print(f"{self._what}: {done:g} of {self._total:g}{unit}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Lines need no closing."""
