"""What the folder run and its worker processes say to each other: one JSON line a message.

`Settings` goes to a worker once, `Task`s follow; `Ready` or `Refused` comes back, then for each
task, in their order, an `Answered` or a `KnownContent`. Both ends are the same installation: lines
are not checked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from edge_app import errors
from edge_app.errors import PneumoscopeError
from edge_app.results.rows import ResultRow, encode_row

# Of one file, in the order of `Answered.stage_ms`.
STAGES = ("read", "decode", "prepare", "infer", "thumbnail")


@dataclass(frozen=True, slots=True)
class Message:
    """Base of the messages: to a line and back."""

    # ASCII, so that a file name that is no UTF-8 (a lone surrogate) survives.
    _encode: ClassVar = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

    def to_line(self) -> bytes:
        """One line with its newline."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Message._encode([type(self).__name__, values]).encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class Settings(Message):
    """How a worker is to score.

    Attributes:
        bundle: the bundle's folder.
        runtime, operating_point: names, None for the default.
        site: the text of a site profile that the parent has checked, None for none.
        threads: of one inference.
        known: file of a published `DiskTable` of content hashes that need no row, None for none;
            it is there when the first task comes.
        answers: folder that gets an answer as DICOM objects about each DICOM file, None for none.
        heatmaps: of which films heatmaps are made ("suspected" or "all"), and the run's folder that
            they are written into, if any; None for none.
        identifiers: what rows may say of whom a film is, as `Identifiers.settings` gives it.
        age_years, view, accept_outside: as of `screening.stated.Stated`.
    """

    bundle: str
    runtime: str | None
    operating_point: str | None
    site: str | None
    threads: int
    known: str | None
    age_years: float | None = None
    view: str = ""
    accept_outside: bool = False
    answers: str | None = None
    heatmaps: tuple[str, str | None] | None = None
    identifiers: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """A worker has its model open.

    Attributes:
        model_sha256: of the model file that it has opened.
        runtime, runtime_version: in which inference engine.
        manifest_sha256: of the `bundle.json` that it read.
        notes: of the runtime.
    """

    model_sha256: str
    runtime: str
    runtime_version: str
    manifest_sha256: str
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """A worker cannot start: the name of an error of `edge_app.errors` and its text."""

    error: str
    message: str

    def to_error(self) -> PneumoscopeError:
        """The error that a worker met, as if it had been met here."""
        kind = getattr(errors, self.error, PneumoscopeError)
        error: PneumoscopeError = kind(self.message)
        return error


@dataclass(frozen=True, slots=True)
class Task(Message):
    """A file to score.

    Attributes:
        id: the number of its row in this run.
        path, name: where it lies and what its row calls it.
        floors: for each decision whose pictures the report still takes, the raw score that one
            needs (JSON has no infinity: None stands for any).
        age_years, view: what is stated of this file, in place of what the settings state.
    """

    id: int
    path: str
    name: str
    floors: Mapping[str, float | None]
    age_years: float | None = None
    view: str = ""


@dataclass(frozen=True, slots=True)
class Answered(Message):
    """A file has its row.

    Attributes:
        id: of the task.
        row: the line for `results.jsonl`.
        sha256, status, decision, reason, raw_score: of the row.
        unread: whether the file could not even be read.
        stage_ms: milliseconds by stage, see `STAGES`.
        picture: the line for `thumbnails.jsonl`, None where the report wants none.
        stamp: the line for `files.jsonl`, None where the file could not be looked at.
        unanswered: why there is no answer as DICOM, where one was asked for and should be.
        disk_failed: whether that was for want of a disk, so that the row must wait.
    """

    id: int
    row: str
    sha256: str | None
    status: str
    decision: str
    reason: str | None
    raw_score: float | None
    unread: bool
    stage_ms: Sequence[float]
    picture: str | None
    stamp: str | None
    unanswered: str | None = None
    disk_failed: bool = False

    @classmethod
    def of(
        cls,
        id: int,
        row: ResultRow,
        *,
        unread: bool = False,
        stage_ms: Sequence[float] = (0.0,) * len(STAGES),
        picture: str | None = None,
        stamp: str | None = None,
        unanswered: str | None = None,
        disk_failed: bool = False,
    ) -> "Answered":
        """The message for a row."""
        line = encode_row(row).decode("utf-8")
        facts = (row.sha256, row.status, row.decision, row.reason, row.raw_score)
        return cls(id, line, *facts, unread, stage_ms, picture, stamp, unanswered, disk_failed)


@dataclass(frozen=True, slots=True)
class KnownContent(Message):
    """A file needs no row: an earlier run has answered its very content, or it is our answer."""

    id: int


_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind for kind in (Settings, Ready, Refused, Task, Answered, KnownContent)
}


def read_message(line: bytes) -> Message:
    """The message of a line."""
    kind, values = json.loads(line)
    return _KINDS[kind](**values)
