"""Progress of long steps: a bar on a terminal, one line a step elsewhere."""

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Sequence[T], label: str) -> Iterator[T]:
    """Yield `items` and report on standard error how many are done."""
    if not sys.stderr.isatty():
        step(f"{label}: {len(items)}")
        yield from items
        return
    yield from tqdm(items, desc=label, dynamic_ncols=True, leave=False)


def step(text: str) -> None:
    """Say on standard error what begins now."""
    print(text, file=sys.stderr, flush=True)
