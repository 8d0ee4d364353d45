"""Progress on standard error for everything over two seconds: a bar, redrawn seldom in a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

_DELAY_S = 2.0
_LOG_EVERY_S = 10.0


@contextmanager
def progress(what: str, total: float, unit: str = "") -> Iterator[Callable[[float], None]]:
    """Show how far a step is; gives a function that takes how much of the total is done now."""
    on_terminal = sys.stderr.isatty()
    with tqdm(
        desc=what,
        total=total,
        unit=unit,
        delay=_DELAY_S,
        leave=not on_terminal,
        mininterval=0.1 if on_terminal else _LOG_EVERY_S,
    ) as bar:

        def at(done: float) -> None:
            bar.update(done - bar.n)

        yield at
