"""Progress of a long loop: a bar on a terminal, a line every few seconds elsewhere."""

from collections.abc import Iterable, Iterator

from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` and report on standard error."""
    yield from tqdm(items, desc=label, total=total, mininterval=2.0, dynamic_ncols=True)
