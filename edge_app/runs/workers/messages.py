"""What the folder run and its worker processes say to each other: one JSON line a message.

`Settings` goes to a worker once, `Task`s follow; `Ready` or `Refused` comes back, then a `Reply`
for each task in the order of the tasks. Both ends are the same installation: lines are not checked.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, TypeVar

T = TypeVar("T", bound="Message")


@dataclass(frozen=True, slots=True)
class Message:
    """Base of the messages: to a line and back."""

    # ASCII, so that a file name that is no UTF-8 (a lone surrogate) survives.
    _encode: ClassVar = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

    def to_line(self) -> bytes:
        """One line with its newline."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Message._encode(values).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls: type[T], line: bytes) -> T:
        """The message of a line."""
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Settings(Message):
    """How a worker is to score.

    Attributes:
        bundle: the bundle's folder.
        runtime, operating_point: names, None for the default.
        threads: of one inference.
        known: file of a published `DiskTable` of content hashes that need no row, None for none;
            it is there when the first task comes.
        source: what the run's header calls its input.
        parameters: what the run's header says besides.
    """

    bundle: str
    runtime: str | None
    operating_point: str | None
    threads: int
    known: str | None
    source: str
    parameters: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """A worker has its model open.

    Attributes:
        header: the line that a run of this worker begins with.
        manifest_sha256: of the `bundle.json` that it read.
        notes: of the runtime.
    """

    header: str
    manifest_sha256: str
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """A worker cannot start: the name of an error of `edge_app.errors` and its text."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Task(Message):
    """A file to score.

    Attributes:
        id: the number of its row in this run.
        path, name: where it lies and what its row calls it.
        floors: for each decision whose pictures the report still takes, the raw score that one
            needs (JSON has no infinity: None stands for any).
    """

    id: int
    path: str
    name: str
    floors: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Reply(Message):
    """What became of a task.

    Attributes:
        id: of the task.
        row: the line for `results.jsonl`, None where the file's content is known already.
        status, decision, reason: of the row.
        raw_score: of the row.
        unread: whether the file could not even be read.
        stage_ms: milliseconds by stage, see `tally.STAGES`.
        picture: the line for `thumbnails.jsonl`, None where the report wants none.
        mark: the line for `files.jsonl`, None where the file could not be looked at.
    """

    id: int
    row: str | None
    status: str
    decision: str
    reason: str | None
    raw_score: float | None
    unread: bool
    stage_ms: list[float]
    picture: str | None
    mark: str | None
