"""The queue of answers for one PACS: the run's own results, and how far that PACS has them.

    OUT/results.jsonl           the queue: a row is in it once, in the order of the answers
    OUT/answers/NAME.sr.dcm     what a row sends
    OUT/outbox/PEER.json        an `OutboxState`: up to where that PACS has everything

Nothing is copied for a PACS that is away, so the queue takes no more room for five of them than for
one, and memory holds one batch. A position is stored after the PACS has said that it has what lies
before it, so a kill sends a batch again (the same UIDs: a duplicate) and never skips one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from edge_app.dicom_out.answers import answer_paths
from edge_app.errors import StorageError
from edge_app.files.codec import CodecError, canonical_json, decode, parse_json
from edge_app.files.whole import make_folder, write_whole
from edge_app.results.folder import RunFolder
from edge_app.results.rows import decode_row

STATE_VERSION = 1
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class OutboxState:
    """Up to where a PACS has the answers of a run: `OUT/outbox/PEER.json`.

    Attributes:
        format_version: of this file.
        peer: AE title, host and port.
        position: in `results.jsonl`, in bytes; everything before it is there or was refused.
        sent: objects that the PACS has taken.
        refused: objects that it has refused for good, each named in the log.
        committed: of `sent`, those that it has committed itself to keep.
    """

    format_version: int
    peer: str
    position: int
    sent: int
    refused: int
    committed: int

    def __post_init__(self) -> None:
        """Raises ValueError for another version or a negative number."""
        if self.format_version != STATE_VERSION:
            raise ValueError(f"format version {self.format_version} is not {STATE_VERSION}")
        if min(self.position, self.sent, self.refused, self.committed) < 0:
            raise ValueError("a count must not be negative")


@dataclass(frozen=True, slots=True)
class Batch:
    """Files to send, and the position behind their rows."""

    files: tuple[Path, ...]
    end: int


class Outbox:
    """How far one PACS has the answers of a run; one thread uses it."""

    def __init__(self, out: Path, peer: str) -> None:
        """Open it.

        Args:
            out: the run's folder.
            peer: what it is called.

        Raises:
            StorageError: the folder cannot be written, or its state is damaged.
        """
        self._results = RunFolder(out).results
        self.answers = answers_folder(out)
        make_folder(out / "outbox")
        self._path = out / "outbox" / f"{re.sub('[^A-Za-z0-9.-]', '_', peer)}.json"
        self.state = self._read_state(peer)
        self._begin = self.state.position

    def batch(self, most_lines: int) -> Batch | None:
        """The next files to send, None where all is sent."""
        # A power cut may have taken rows that were sent: what stands there later is another row.
        self._begin = end = self._line_begin(self._begin)
        files: list[Path] = []
        for line, line_end in islice(self._lines(end), most_lines):
            try:
                files += self._files_of(line) if end else []  # the first line is the header
            except CodecError:  # left by a power cut; the run cuts it off
                break
            end = line_end
        return None if end == self._begin else Batch(tuple(files), end)

    def settle(self, batch: Batch, *, sent: int, refused: int, committed: int) -> None:
        """Note that a batch is done.

        Raises:
            StorageError: that cannot be written; it will be sent again.
        """
        old = self.state
        state = replace(
            old,
            position=batch.end,
            sent=old.sent + sent,
            refused=old.refused + refused,
            committed=old.committed + committed,
        )
        if sent or refused or batch.end - self._begin > _BLOCK_BYTES:
            write_whole(self._path, canonical_json(state))
        self.state, self._begin = state, batch.end

    def _files_of(self, line: bytes) -> list[Path]:
        row = decode_row(line)
        return [path for path in answer_paths(self.answers, row.file) if path.is_file()]

    def _lines(self, position: int) -> Iterator[tuple[bytes, int]]:
        """Whole lines from a position, each with the position behind it."""
        try:
            with self._results.open("rb") as stream:
                stream.seek(position)
                for line in stream:
                    if not line.endswith(b"\n"):
                        return
                    position += len(line)
                    yield line, position
        except OSError:  # not there yet
            return

    def _line_begin(self, position: int) -> int:
        """The last beginning of a line at or before a position."""
        try:
            with self._results.open("rb") as stream:
                end = min(position, stream.seek(0, 2))
                while end:
                    begin = max(0, end - _BLOCK_BYTES)
                    stream.seek(begin)
                    newline = stream.read(end - begin).rfind(b"\n")
                    if newline >= 0:
                        return begin + newline + 1
                    end = begin
        except OSError:
            pass
        return 0

    def _read_state(self, peer: str) -> OutboxState:
        try:
            return decode(OutboxState, parse_json(self._path.read_bytes()))
        except FileNotFoundError:
            return OutboxState(STATE_VERSION, peer, 0, 0, 0, 0)
        except (OSError, CodecError) as error:
            raise StorageError(
                f"{self._path}: cannot be used: {error}; remove it to send all answers again"
            ) from error


def answers_folder(out: Path) -> Path:
    """Where `receive` keeps answers."""
    return out / "answers"
