"""Ctrl-C and a service manager's stop, taken at a moment when everything is whole."""

import signal
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK")


class Interruption:
    """While it is entered, signals to stop wait for `check`; a second one does not wait."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raises KeyboardInterrupt once a signal has come."""
        if self._asked:
            raise KeyboardInterrupt

    def __enter__(self) -> "Interruption":
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
