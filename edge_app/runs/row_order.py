"""Replies whose row has to wait for that of an earlier, slow file.

They enter in any order and leave in that of the rows. Of their pictures, which are ten times as
large, only those stay that the report can still take. When a run is interrupted they are kept in a
file, and the run that goes on writes their rows when their turn comes, unless the file of one has
changed meanwhile.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edge_app.decision import Decision
from edge_app.files.codec import CodecError, compact_json
from edge_app.files.whole import write_whole
from edge_app.report.gallery import MOST_PICTURES
from edge_app.results.journal import describe_differences
from edge_app.results.rows import RunHeader, decode_header
from edge_app.runs.workers.messages import Reply

# About 6 MB.
_MOST_PICTURES_HELD = 1024


class Waiting:
    """Replies by the number of their row.

    Attributes:
        next_row: the number of the row that is to be written next.
    """

    def __init__(self) -> None:
        self.next_row = 0
        self._replies: dict[int, tuple[str, Reply]] = {}
        self._pictures = 0

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def has_next(self) -> bool:
        """Whether the next row's reply is there."""
        return self.next_row in self._replies

    def add(self, number: int, name: str, reply: Reply) -> None:
        """Add the reply for a row of that number."""
        self._replies[number] = name, reply
        self._pictures += reply.picture is not None
        if self._pictures > _MOST_PICTURES_HELD:
            self._drop_outdone_pictures()

    def take_next(self) -> tuple[str, Reply]:
        """The next row's name and reply; only where `has_next`."""
        name, reply = self._replies.pop(self.next_row)
        self._pictures -= reply.picture is not None
        self.next_row += 1
        return name, reply

    def replies(self) -> Iterator[Reply]:
        """All that wait, in the order of their rows."""
        return (self._replies[number][1] for number in sorted(self._replies))

    def _drop_outdone_pictures(self) -> None:
        """Drop the pictures before which the gallery would take enough others that wait here."""
        ranks: dict[str, list[tuple[float, int]]] = {}
        for number, (_, reply) in self._replies.items():
            if reply.picture is not None:
                # Of equal scores, as those of refusals, the gallery takes the first.
                ranks.setdefault(reply.decision, []).append((reply.raw_score or 0.0, -number))
        for decision, ranked in ranks.items():
            ranked.sort(reverse=True)
            for _, minus_number in ranked[MOST_PICTURES[Decision(decision)] :]:
                name, reply = self._replies[-minus_number]
                self._replies[-minus_number] = name, replace(reply, picture=None)
                self._pictures -= 1


def write_waiting(path: Path, header: RunHeader, replies: Iterator[Reply]) -> None:
    """Keep replies for the next run with the same header.

    Raises:
        StorageError: the disk is full, read-only or gone.
    """
    lines = (reply.to_line().decode("ascii") for reply in replies if reply.row is not None)
    write_whole(path, _with_header(header, lines))


def read_waiting(path: Path, header: RunHeader) -> dict[str, Reply]:
    """Replies by the name of their file; none where there are none of a run with this header."""
    try:
        with path.open("rb") as lines:
            if describe_differences(decode_header(next(lines, b"")), header):
                return {}
            replies = map(Reply.from_line, lines)
            return {json.loads(reply.row or "")["file"]: reply for reply in replies}
    except (OSError, CodecError, ValueError, TypeError, KeyError):
        return {}


def _with_header(header: RunHeader, lines: Iterator[str]) -> Iterator[str]:
    yield compact_json(header) + "\n"
    yield from lines
