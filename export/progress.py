"""Progress of long steps: a bar on a terminal, one line a step elsewhere."""

import sys
from collections.abc import Iterator
from typing import Protocol, TypeVar

from tqdm import tqdm

T_co = TypeVar("T_co", covariant=True)


class Countable(Protocol[T_co]):
    """What has a length and can be walked: a sequence, or the first axis of an array."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


def track(items: Countable[T_co], label: str) -> Iterator[T_co]:
    """Yield `items` and report on standard error how many are done."""
    if not sys.stderr.isatty():
        step(f"{label}: {len(items)}")
        yield from items
        return
    yield from tqdm(items, desc=label, dynamic_ncols=True, leave=False)


def step(text: str) -> None:
    """Say on standard error what begins now."""
    print(text, file=sys.stderr, flush=True)
