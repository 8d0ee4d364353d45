"""What a run knew when it ended and its rows do not say: `run.json` beside the results.

It is no record: where it is lost, the report says that the run may not be complete.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_app.files.codec import CodecError, canonical_json, decode, parse_json
from edge_app.files.whole import write_whole
from edge_app.results.folder import RunFolder


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How the last run into a folder ended.

    Attributes:
        complete: whether every file that was found has a row (or is known from elsewhere).
        rows: in the results then.
        root: the folder that the rows' names are relative to.
        left_out: files that are no pictures, by the ending of their names.
    """

    complete: bool
    rows: int
    root: str
    left_out: Mapping[str, int]


def write_run_end(folder: RunFolder, end: RunEnd) -> None:
    """Write `run.json`; raises StorageError where it cannot be written."""
    write_whole(folder.run_end, canonical_json(end))


def read_run_end(folder: RunFolder) -> RunEnd | None:
    """What `run.json` says; None where there is none that can be read."""
    try:
        return decode(RunEnd, parse_json(folder.run_end.read_bytes()))
    except (OSError, CodecError):
        return None


def left_out_words(left_out: Mapping[str, int]) -> str:
    """Such as `2 .zip, 1 .txt`."""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n:,} {ending or 'without an ending'}" for ending, n in ordered)
