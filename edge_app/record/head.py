"""Where the audit log ends, short enough for a slip: counter and hash, `137-9f2c41aa07bed3c5`."""

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"(\d{1,12})-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of an audit log, at the time when this was written down.

    Attributes:
        counter: of the entry; 0 where there was none.
        short_hash: the first 16 hex digits of its hash.
    """

    counter: int
    short_hash: str

    def __str__(self) -> str:
        return f"{self.counter}-{self.short_hash}"


def read_head(text: str) -> Head:
    """A head as a slip shows it; spaces and capitals do not matter.

    Raises:
        ValueError: it is none.
    """
    found = _WRITTEN.fullmatch("".join(text.split()).casefold())
    if found is None:
        raise ValueError(f"{text!r} is not of the form 137-9f2c41aa07bed3c5")
    return Head(int(found[1]), found[2])
