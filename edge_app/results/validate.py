"""Are results of the format, and whole? Every problem with its place; scores nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_app.files.codec import CodecError
from edge_app.results.parquet import is_parquet, parquet_entries
from edge_app.results.rows import (
    ResultRow,
    RunHeader,
    decode_header,
    decode_line,
    decode_row,
    numbered_lines,
)


@dataclass(frozen=True, slots=True)
class Validation:
    """What `validate_results` found: how many rows are good, and each problem with its place."""

    rows: int
    problems: tuple[str, ...]


def validate_results(path: Path) -> Validation:
    """Check a `results.jsonl` or its Parquet form, to its end, whatever is wrong with a row.

    Raises:
        NoInputError: it cannot be read.
        RuntimeUnavailableError: it is Parquet, and pyarrow is missing.
    """
    header: RunHeader | None = None
    seen: dict[str, str | None] = {}
    problems: list[str] = []
    rows = 0
    for place, entry in parquet_entries(path) if is_parquet(path) else _line_entries(path):
        if isinstance(entry, RunHeader):
            header = entry
        elif isinstance(entry, CodecError):
            problems.append(str(entry))
        else:
            rows += 1
            problems += [f"{place}: {problem}" for problem in _contradictions(entry, header, seen)]
            seen[entry.file] = entry.sha256
    if not seen and not problems and header is None:
        problems.append("line 1: the line that describes the run is missing")
    return Validation(rows=rows, problems=tuple(problems))


def _line_entries(path: Path) -> Iterator[tuple[str, RunHeader | ResultRow | CodecError]]:
    for number, line in numbered_lines(path):
        place = f"line {number}"
        try:
            if number == 1:
                yield place, decode_line(decode_header, number, line)
            else:
                yield place, decode_line(decode_row, number, line)
        except CodecError as error:
            yield place, error


def _contradictions(
    row: ResultRow, header: RunHeader | None, seen: Mapping[str, str | None]
) -> Iterator[str]:
    # Under a watch, a file that was overwritten has a later row of its new content.
    is_watch = header is not None and header.parameters.get("watch") is True
    if row.file in seen and not (is_watch and seen[row.file] != row.sha256):
        yield f"{row.file!r} has a row already"
    if header is None:
        return
    if (row.model_id, row.model_sha256) != (header.model_id, header.model_sha256):
        yield f"model {row.model_id} ({row.model_sha256[:12]}) is not the header's"
    if row.runtime != header.runtime:
        yield f"runtime {row.runtime!r} is not the header's"
    point = header.operating_point
    if row.operating_point != point.name:
        yield f"operating point {row.operating_point!r} is not the header's"
    elif row.raw_score is not None and row.decision != point.decide(row.raw_score):
        yield f"raw_score {row.raw_score} means {point.decide(row.raw_score)} here"
