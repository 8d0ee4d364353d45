"""Results, format version 3: what a folder run says about each file.

A `results.jsonl` is one line that describes the run, then one line a file. The classes below are
its schema, strict in both directions; `read_results` reads it back. Nothing here scores or
decides.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import TypeVar

from edge_app.decision import ONE_LUNG, Decision, Reason, Status
from edge_app.errors import NoInputError
from edge_app.files.codec import CodecError, decode, parse_json

T = TypeVar("T")

FORMAT_VERSION = 3
# The parameter of a run that says whose key signed its bundle, or "nobody".
SIGNED_BY = "signed_by"
# The parameter with what a run was given beside `input`, a line each, up to a bound.
OTHER_INPUTS = "other_inputs"
# The parameter that says what a research model lacks; runs of other models have none.
LACKS = "research_model_lacks"

_UTC_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z")


@dataclass(frozen=True, slots=True)
class CutOffs:
    """The operating point of a run, in raw-score units."""

    name: str
    threshold: float
    refer_low: float
    refer_high: float

    def decide(self, raw_score: float) -> Decision:
        """The rule of the format, kept apart from the screener's so that one checks the other."""
        if raw_score < self.refer_low:
            return Decision.NO_PNEUMONIA_SEEN
        is_suspected = raw_score >= self.refer_high
        return Decision.PNEUMONIA_SUSPECTED if is_suspected else Decision.INDETERMINATE


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for an answer, as each row names it."""

    operating_point: str
    model_id: str
    model_sha256: str
    runtime: str


@dataclass(frozen=True, slots=True)
class RunHeader:
    """The first line: what all rows have in common.

    Attributes:
        format_version: of this file.
        pneumoscope_version: the program that wrote it.
        started_at: ISO 8601, UTC.
        input: the folder as it was named; of several the first, the others are a parameter.
        model_id, model_sha256: what scored.
        runtime, runtime_version: in which inference engine.
        operating_point: with which cut-offs.
        parameters: everything else that a score may depend on.
    """

    format_version: int
    pneumoscope_version: str
    started_at: str
    input: str
    model_id: str
    model_sha256: str
    runtime: str
    runtime_version: str
    operating_point: CutOffs
    parameters: Mapping[str, str | int | float | bool]

    def __post_init__(self) -> None:
        """Raises ValueError for another format version or a time that is not UTC."""
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format version {self.format_version} is not {FORMAT_VERSION}")
        check_utc_time(self.started_at)

    @property
    def asked(self) -> Asked:
        """What all rows have in common."""
        return Asked(self.operating_point.name, self.model_id, self.model_sha256, self.runtime)


@dataclass(frozen=True, slots=True)
class LungPlace:
    """Where the lungs are in the upright picture, as fractions of its width and height.

    Attributes:
        left, top, right, bottom: of the box around them.
        certainty: of the map, 0 to 1.
        quarter_turns: the file shows the upright picture turned so often by 90 degrees
            counter-clockwise.
        rows, columns: of the mask.
        mask: base64 of bits, row by row, the first one the highest of the first byte: lung here.
        parts: connected ones of the mask; with one lung a film is suspected or refused.
    """

    left: float
    top: float
    right: float
    bottom: float
    certainty: float
    quarter_turns: int
    rows: int
    columns: int
    mask: str
    parts: int

    def __post_init__(self) -> None:
        """Raises ValueError where it is no place in a picture, or the mask is of another size."""
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError("the lungs' box must lie in the picture")
        if self.quarter_turns not in (0, 1, 2, 3):
            raise ValueError(f"quarter_turns {self.quarter_turns} must be 0, 1, 2 or 3")
        n_bytes = -(-self.rows * self.columns // 8)
        if len(self.mask) != 4 * -(-n_bytes // 3):
            raise ValueError(f"the mask is not one of {self.rows} x {self.columns} bits")
        if self.parts < 1:
            raise ValueError(f"parts {self.parts} must be 1 or more")


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One file's line; of several for one file, which was overwritten meanwhile, the last holds.

    Attributes:
        file: relative to the input folder, with forward slashes.
        sha256: of the file's bytes, null where they could not be read.
        sop_instance_uid: null for a file that is not DICOM.
        status: scored, refused or failed.
        decision: `not_assessable` unless scored.
        reason: why not, null when scored.
        message: the same for people, null when scored.
        raw_score, probability: null unless scored.
        operating_point: name of the cut-offs.
        quality: flags, empty for a file that failed.
        lungs: where they are; null where they were not looked for or not found.
        model_id, model_sha256, runtime: what was asked.
        decode_ms, infer_ms, total_ms: null where that stage was not reached.
        scored_at: ISO 8601, UTC.
        measures: numbers behind the flags, by name; those that were not reached are left out.
    """

    file: str
    sha256: str | None
    sop_instance_uid: str | None
    status: Status
    decision: Decision
    reason: Reason | None
    message: str | None
    raw_score: float | None
    probability: float | None
    operating_point: str
    quality: Mapping[str, bool]
    lungs: LungPlace | None
    model_id: str
    model_sha256: str
    runtime: str
    decode_ms: float | None
    infer_ms: float | None
    total_ms: float
    scored_at: str
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError where the parts contradict each other."""
        scored = self.status is Status.SCORED
        if scored != (self.decision is not Decision.NOT_ASSESSABLE):
            raise ValueError(f"status {self.status} contradicts the decision {self.decision}")
        if scored != (self.reason is None):
            raise ValueError("exactly the rows that are not scored have a reason")
        if scored != (self.raw_score is not None) or scored != (self.probability is not None):
            raise ValueError("exactly the scored rows have a raw_score and a probability")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"probability {self.probability} must lie in 0..1")
        times = (self.decode_ms, self.infer_ms, self.total_ms)
        if any(time is not None and time < 0 for time in times):
            raise ValueError("a time must not be negative")
        check_utc_time(self.scored_at)

    @property
    def is_half(self) -> bool:
        """Whether one lung was read: a film that is suspected, or refused."""
        return self.lungs is not None and self.lungs.parts == 1


def half_refused(row: ResultRow) -> ResultRow:
    """The row of a film with one lung that is not suspected, as the screener refuses it."""
    return replace(
        row,
        status=Status.REFUSED,
        decision=Decision.NOT_ASSESSABLE,
        reason=Reason.LUNGS_NOT_FOUND,
        message=ONE_LUNG,
        raw_score=None,
        probability=None,
        lungs=None,
        infer_ms=None,
    )


def failed_row(
    file: str,
    reason: Reason,
    message: str,
    total_ms: float,
    asked: Asked,
    *,
    sha256: str | None = None,
) -> ResultRow:
    """The row of a file that could not be answered for, the one form that such a row has.

    Args:
        file: how the row calls it.
        reason, message: why, for machines and for people.
        total_ms: that were spent on it.
        asked: what was to answer.
        sha256: of its bytes, None where they could not be read.
    """
    return ResultRow(
        file=file,
        sha256=sha256,
        sop_instance_uid=None,
        status=Status.FAILED,
        decision=Decision.NOT_ASSESSABLE,
        reason=reason,
        message=printable(message),
        raw_score=None,
        probability=None,
        operating_point=asked.operating_point,
        quality={},
        lungs=None,
        model_id=asked.model_id,
        model_sha256=asked.model_sha256,
        runtime=asked.runtime,
        decode_ms=None,
        infer_ms=None,
        total_ms=total_ms,
        scored_at=utc_now(),
    )


def printable(text: str) -> str:
    r"""A path as results hold it: bytes that are no UTF-8 as `\udcNN`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def with_staleness(
    rows: Iterable[ResultRow], stale: Mapping[str, int]
) -> Iterator[tuple[ResultRow, bool]]:
    """Each row, and whether its file was overwritten and has a later row.

    Args:
        rows: of a run, in their order.
        stale: by file, how many of its rows are so.
    """
    left = dict(stale)
    for row in rows:
        is_stale = left.get(row.file, 0) > 0
        if is_stale:
            left[row.file] -= 1
        yield row, is_stale


def utc_now() -> str:
    """Now, ISO 8601 in UTC with milliseconds: 2026-11-23T19:10:23.125Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_utc_time(text: str) -> None:
    """Raise ValueError unless a text is a time as `utc_now` writes it."""
    if not _UTC_TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not an ISO 8601 time in UTC")
    datetime.fromisoformat(text)


def read_results(path: Path) -> tuple[RunHeader, Iterator[ResultRow]]:
    """Read a `results.jsonl`: its header at once, its rows one after another.

    Raises:
        NoInputError: the file cannot be read.
        CodecError: a line does not fit the format (for a row: when it is reached).
    """
    lines = numbered_lines(path)
    try:
        number, first = next(lines)
    except StopIteration:
        raise CodecError(
            f"{path.name}: empty: the line that describes the run is missing"
        ) from None
    header = decode_line(decode_header, number, first)
    return header, (decode_line(decode_row, number, line) for number, line in lines)


def decode_header(line: bytes) -> RunHeader:
    """A first line; raises CodecError where it does not fit the format."""
    return decode(RunHeader, parse_json(line))


def encode_row(row: ResultRow) -> bytes:
    """A row as its line: what `compact_json` gives and a newline, in a fifth of the time."""
    values = {name: getattr(row, name) for name in _ROW_KINDS}
    values["quality"] = dict(sorted(row.quality.items()))
    values["measures"] = dict(sorted(row.measures.items()))
    if row.lungs is not None:
        values["lungs"] = {name: getattr(row.lungs, name) for name in _LUNG_KEYS}
    return (_to_json(values) + "\n").encode("utf-8")


def decode_row(line: bytes) -> ResultRow:
    """A row's line; as strict as the codec, in a quarter of the time.

    Raises:
        CodecError: the line does not fit the format.
    """
    document = parse_json(line)
    if not isinstance(document, dict) or document.keys() != _ROW_KINDS.keys():
        return decode(ResultRow, document)  # which says what is wrong
    for name, kinds in _ROW_KINDS.items():
        if type(document[name]) not in kinds:
            return decode(ResultRow, document)
    try:
        status, decision = Status(document["status"]), Decision(document["decision"])
        reason = None if document["reason"] is None else Reason(document["reason"])
        if any(type(flag) is not bool for flag in document["quality"].values()):
            return decode(ResultRow, document)
        if any(type(value) is not float for value in document["measures"].values()):
            return decode(ResultRow, document)
        lungs = None if document["lungs"] is None else decode(LungPlace, document["lungs"])
        strict = {"status": status, "decision": decision, "reason": reason, "lungs": lungs}
        return ResultRow(**document | strict)
    except (CodecError, ValueError):
        return decode(ResultRow, document)


# What JSON's values may be for each key of a row; a whole number where a float is meant, and all
# that is wrong, is left to the codec.
_ROW_KINDS: dict[str, tuple[type, ...]] = {
    "file": (str,),
    "sha256": (str, NoneType),
    "sop_instance_uid": (str, NoneType),
    "status": (str,),
    "decision": (str,),
    "reason": (str, NoneType),
    "message": (str, NoneType),
    "raw_score": (float, NoneType),
    "probability": (float, NoneType),
    "operating_point": (str,),
    "quality": (dict,),
    "lungs": (dict, NoneType),
    "model_id": (str,),
    "model_sha256": (str,),
    "runtime": (str,),
    "decode_ms": (float, NoneType),
    "infer_ms": (float, NoneType),
    "total_ms": (float,),
    "scored_at": (str,),
    "measures": (dict,),
}
_LUNG_KEYS = tuple(each.name for each in fields(LungPlace))
_to_json = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, each still with its newline."""
    try:
        with path.open("rb") as stream:
            yield from enumerate(stream, start=1)
    except OSError as error:
        raise NoInputError(f"{path}: {error.strerror or error}") from error


def decode_line(decode_one: Callable[[bytes], T], number: int, line: bytes) -> T:
    """Decode one numbered line; raises CodecError, with its number, for one that does not fit."""
    if not line.endswith(b"\n"):
        raise CodecError(f"line {number}: torn: it does not end with a newline")
    try:
        return decode_one(line)
    except CodecError as error:
        raise CodecError(f"line {number}: {error}") from error
