"""How far long work is: a bar on a terminal, a line now and then where the output is piped."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import length_hint
from typing import Any, Protocol, TextIO, TypeVar

T = TypeVar("T")

# Work that is done within this time says nothing.
_DELAY_SECONDS = 2.0
_SECONDS_BETWEEN_LINES = 5.0


class Report(Protocol):
    """Takes how much is done, of how much where that has changed, and a remark."""

    def __call__(self, done: float, total: float | None = None, note: str = "") -> None: ...


@contextmanager
def progress(
    label: str = "",
    total: float = 0,
    unit: str = "",
    *,
    stream: TextIO | None = None,
    delay: float = _DELAY_SECONDS,
) -> Iterator[Report]:
    """Show how far a step is, until the context is left.

    Args:
        label: what is done, "" where the command says it.
        total: how much there is to do, as far as it is known.
        unit: of what.
        stream: standard error by default.
        delay: seconds before the first sign.
    """
    stream = sys.stderr if stream is None else stream
    kind = _Bar if stream.isatty() else _Lines
    shown = kind(label, total, unit, stream, delay)
    try:
        yield shown.at
    finally:
        shown.close()


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield items and show how many are done; `total` where they have no length."""
    with progress(label, length_hint(items) if total is None else total) as at:
        for number, item in enumerate(items, start=1):
            yield item
            at(number)


def step(text: str) -> None:
    """Say on standard error what begins now."""
    print(text, file=sys.stderr, flush=True)


class _Bar:
    """Of tqdm, with the time that is left."""

    def __init__(self, label: str, total: float, unit: str, stream: TextIO, delay: float) -> None:
        from tqdm import tqdm

        # A serial console, as a Pi's, may say that it has no size: tqdm would then show nothing.
        has_size = _has_size(stream)
        columns = os.get_terminal_size(stream.fileno()).columns if has_size else 80
        self._bar: Any = tqdm(
            desc=label or None,
            total=total,
            unit=unit,
            bar_format=_layout(columns),
            file=stream,
            delay=delay,
            leave=not delay,
            dynamic_ncols=has_size,
            ncols=None if has_size else 80,
            nrows=None if has_size else 24,
        )

    def at(self, done: float, total: float | None = None, note: str = "") -> None:
        self._bar.total = max(self._bar.total if total is None else total, done)
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """One after the delay, then one every few seconds, then the last."""

    def __init__(self, label: str, total: float, unit: str, stream: TextIO, delay: float) -> None:
        self._begin = f"{label}: " if label else ""
        self._total = total
        self._unit = f" {unit}" if unit else ""
        self._stream = stream
        self._first = self._next = time.monotonic() + delay
        self._unsaid = ""

    def at(self, done: float, total: float | None = None, note: str = "") -> None:
        self._total = max(self._total if total is None else total, done)
        end = f", {note}" if note else ""
        self._unsaid = f"{self._begin}{done:g}/{self._total:g}{self._unit}{end}"
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_LINES
            self._print()

    def close(self) -> None:
        if self._unsaid and time.monotonic() >= self._first:
            self._print()

    def _print(self) -> None:
        print(self._unsaid, file=self._stream, flush=True)
        self._unsaid = ""


def _layout(columns: int) -> str | None:
    """What a line of so many columns has room for; None for all of it, with a bar."""
    if columns >= 80:
        return None
    if columns < 30:
        return "{n_fmt}/{total_fmt}"
    text = "{desc}{n_fmt}/{total_fmt}, {remaining} left"
    return text if columns < 60 else text + "{postfix}"


def _has_size(stream: TextIO) -> bool:
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except OSError:
        return False
