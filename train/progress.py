"""Progress of a long loop: a bar on a terminal, few lines elsewhere."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` and report on standard error, rarely where that is a file."""
    interval = 0.5 if sys.stderr.isatty() else 30.0
    yield from tqdm(items, desc=label, total=total, mininterval=interval, dynamic_ncols=True)
