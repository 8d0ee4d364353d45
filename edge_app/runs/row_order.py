"""Rows leave in the order of the files, though their scores come in any order.

What came early waits here for the row of an earlier, slow file. Of pictures, which are ten times as
large as rows, only those stay that the report can still take.
"""

from collections.abc import Iterator
from dataclasses import replace

from edge_app.decision import Decision
from edge_app.report.gallery import MOST_PICTURES
from edge_app.runs.workers.messages import Answered, KnownContent

# About 6 MB.
_MOST_PICTURES_HELD = 1024


class Withdrawn:
    """In the place of a row: the file is dealt with as if it had not been there."""


Entry = Answered | KnownContent | Withdrawn


class RowOrder:
    """Entries by the number of their row.

    Attributes:
        next_row: the number of the row that is to be written next.
    """

    def __init__(self) -> None:
        self.next_row = 0
        self._entries: dict[int, tuple[str, Entry]] = {}
        self._pictures = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def has_next(self) -> bool:
        """Whether the next row's entry is there."""
        return self.next_row in self._entries

    def add(self, number: int, name: str, entry: Entry) -> None:
        """Add the entry for a row of that number."""
        self._entries[number] = name, entry
        self._pictures += _has_picture(entry)
        if self._pictures > _MOST_PICTURES_HELD:
            self._drop_outdone_pictures()

    def take_next(self) -> tuple[str, Entry]:
        """The next row's file name and entry; only where `has_next`."""
        name, entry = self._entries.pop(self.next_row)
        self._pictures -= _has_picture(entry)
        self.next_row += 1
        return name, entry

    def answers(self) -> Iterator[Answered]:
        """All that wait and have a row, in their order."""
        for number in sorted(self._entries):
            entry = self._entries[number][1]
            if isinstance(entry, Answered):
                yield entry

    def _drop_outdone_pictures(self) -> None:
        """Drop the pictures before which the gallery would take enough others that wait here."""
        ranks: dict[str, list[tuple[float, int]]] = {}
        for number, (_, entry) in self._entries.items():
            if isinstance(entry, Answered) and entry.picture is not None:
                # Of equal scores, as those of refusals, the gallery takes the first.
                ranks.setdefault(entry.decision, []).append((entry.raw_score or 0.0, -number))
        for decision, ranked in ranks.items():
            ranked.sort(reverse=True)
            for _, minus_number in ranked[MOST_PICTURES[Decision(decision)] :]:
                name, entry = self._entries[-minus_number]
                assert isinstance(entry, Answered)
                self._entries[-minus_number] = name, replace(entry, picture=None)
                self._pictures -= 1


def _has_picture(entry: Entry) -> bool:
    return isinstance(entry, Answered) and entry.picture is not None
