"""Which pictures the report shows, kept in `thumbnails.jsonl` beside the results.

Lines of `Thumbnail`s enter while a run goes on; of each answer that a reader should look at, the
few with the highest scores stay (of refusals the first). The file only grows until it is mostly
pictures that were outdone, and is then written anew. It is no record: losing it loses pictures of
the report and nothing else.
"""

import heapq
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edge_app.decision import Decision
from edge_app.errors import StorageError
from edge_app.files.appended_file import AppendedFile
from edge_app.files.codec import CodecError, decode, parse_json
from edge_app.report.thumbnail import Thumbnail

# About 12 kB a picture: together at most 5 MB in the report.
MOST_PICTURES = {
    Decision.PNEUMONIA_SUSPECTED: 200,
    Decision.INDETERMINATE: 100,
    Decision.NOT_ASSESSABLE: 100,
}


@dataclass(slots=True)
class _Best:
    """The places (file offset and length) of the best lines, the worst of them first."""

    most: int
    # (score, minus the offset, length): of equal scores the latest is the worst.
    heap: list[tuple[float, int, int]] = field(default_factory=list)

    @property
    def floor(self) -> float | None:
        """What a score must exceed; None while there is room."""
        return self.heap[0][0] if len(self.heap) >= self.most else None

    def offer(self, score: float, offset: int, length: int) -> None:
        heapq.heappush(self.heap, (score, -offset, length))
        if len(self.heap) > self.most:
            heapq.heappop(self.heap)


class Gallery(AppendedFile):
    """An open `thumbnails.jsonl`."""

    def __init__(self, path: Path) -> None:
        """Open or create it and read what is there.

        Raises:
            StorageError: it cannot be written.
        """
        super().__init__(path)
        self._best = {decision: _Best(most) for decision, most in MOST_PICTURES.items()}
        self._recover()
        self._settled_end = self.end

    @property
    def floors(self) -> dict[str, float | None]:
        """For each decision that pictures are taken of, the score that one must exceed, if any."""
        floors: dict[str, float | None] = {}
        for decision, best in self._best.items():
            full = best.floor is not None
            # A refusal has no score: the first stay.
            if not (full and decision is Decision.NOT_ASSESSABLE):
                floors[decision.value] = best.floor
        return floors

    def add(self, decision: Decision, raw_score: float | None, line: bytes) -> None:
        """Take a thumbnail's line; lines of one run come in the order of its rows.

        Raises:
            StorageError: the disk is full, read-only or gone; `take_back` makes room.
        """
        best = self._best[decision]
        score = _rank(raw_score)
        if best.floor is not None and score <= best.floor:
            return
        best.offer(score, self.append(line), len(line))
        # At once: no row is written before its picture, and a full disk is noticed before more
        # rows wait than the pictures that can be taken back make room for.
        self.flush()

    def forget(self, file: str) -> None:
        """Drop the picture of a file's earlier content, for good.

        Raises:
            StorageError: the file cannot be read or written.
        """
        before = self._kept_bytes()
        with self._opened() as stream:
            for best in self._best.values():
                best.heap = [
                    entry for entry in best.heap if _read_at(stream, *entry[1:]).file != file
                ]
                heapq.heapify(best.heap)
        if self._kept_bytes() < before:
            self._rewrite()
            self._settled_end = self.end

    def settle(self) -> None:
        """Say that the rows of all pictures are on the disk.

        Raises:
            StorageError: the disk is full, read-only or gone.
        """
        if self.end > 2 * self._kept_bytes() + (1 << 20):
            self._rewrite()
        self._settled_end = self.end

    def take_back(self) -> None:
        """Cut off the pictures since `settle`: their rows, a tenth as long, have room then."""
        with suppress(StorageError):  # the disk is gone
            self.cut(self._settled_end)

    def count(self, decision: Decision) -> int:
        """How many pictures of a decision there are."""
        return len(self._best[decision].heap)

    def pictures(self, decision: Decision) -> Iterator[Thumbnail]:
        """The pictures of a decision, the highest score first, refusals in the order of the rows.

        Raises:
            StorageError: they cannot be read.
        """
        places = sorted(self._best[decision].heap, reverse=True)
        with self._opened() as stream:
            seen: set[str] = set()
            for _, minus_offset, length in places:
                thumbnail = _read_at(stream, minus_offset, length)
                # A killed run may have stored a picture whose row it had not.
                if thumbnail.file not in seen:
                    seen.add(thumbnail.file)
                    yield thumbnail

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("rb") as stream:
                yield stream
        except (OSError, CodecError) as error:
            raise StorageError(f"{self.path}: cannot be read: {error}") from error

    def _recover(self) -> None:
        """Read what an earlier run left; from the first bad line on, nothing."""
        end = 0
        with self.path.open("rb") as stream:
            for line in stream:
                try:
                    thumbnail = decode(Thumbnail, parse_json(line))
                    best = self._best[Decision(thumbnail.decision)]
                except (CodecError, KeyError, ValueError):
                    break
                if not line.endswith(b"\n"):
                    break
                best.offer(_rank(thumbnail.raw_score), end, len(line))
                end += len(line)
        if end < self.end:
            self.cut(end)

    def _kept_bytes(self) -> int:
        return sum(length for best in self._best.values() for _, _, length in best.heap)

    def _rewrite(self) -> None:
        """Write the file anew with the lines that are still wanted, in their order."""
        places = sorted(
            (-minus_offset, length, decision, score)
            for decision, best in self._best.items()
            for score, minus_offset, length in best.heap
        )
        end = 0
        fresh = {decision: _Best(most) for decision, most in MOST_PICTURES.items()}
        for _, length, decision, score in places:
            fresh[decision].offer(score, end, length)
            end += length
        self.rewrite(self._lines_at((offset, length) for offset, length, *_ in places))
        self._best = fresh

    def _lines_at(self, places: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        with self.path.open("rb") as stream:
            for offset, length in places:
                stream.seek(offset)
                yield stream.read(length)


def _read_at(stream: BinaryIO, minus_offset: int, length: int) -> Thumbnail:
    stream.seek(-minus_offset)
    return decode(Thumbnail, parse_json(stream.read(length)))


def _rank(raw_score: float | None) -> float:
    return 0.0 if raw_score is None else raw_score
