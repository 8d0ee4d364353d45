"""Results from one form to the other: `results.jsonl` and Parquet, the same rows in both."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge_app.errors import StorageError, UsageError
from edge_app.files.codec import CodecError, compact_json
from edge_app.files.whole import PART, put_in_place, unwritable, write_whole
from edge_app.results.parquet import (
    SUFFIX,
    is_parquet,
    read_parquet,
    require_pyarrow,
    write_parquet,
    write_shards,
)
from edge_app.results.rows import ResultRow, RunHeader, encode_row, read_results

_LINES_SUFFIX = ".jsonl"


def convert_results(source: Path, target: Path, rows_a_shard: int | None = None) -> None:
    """Write results in the other form; the target is there in full or not at all.

    Args:
        source: a `results.jsonl`, a Parquet file or a folder of shards.
        target: ends in `.parquet` or `.jsonl`.
        rows_a_shard: of a folder of shards; None writes one file.

    Raises:
        UsageError: the forms do not fit, or the source is not of the format.
        NoInputError: there is no source.
        StorageError: the target exists or cannot be written.
        RuntimeUnavailableError: pyarrow is missing.
    """
    to_parquet = _is_to_parquet(source, target)
    if rows_a_shard is not None and not to_parquet:
        raise UsageError("shards are of Parquet: results.jsonl is one file")
    if target.exists():
        raise StorageError(f"{target}: exists already; name another file")
    require_pyarrow()
    try:
        if not to_parquet:
            write_whole(target, _lines(*read_parquet(source)))
        elif rows_a_shard is None:
            write_parquet(target, *read_results(source))
        else:
            _write_folder(target, source, rows_a_shard)
    except CodecError as error:
        raise UsageError(f"{source}: cannot be converted: {error}") from error


def _is_to_parquet(source: Path, target: Path) -> bool:
    is_back = is_parquet(source)
    wanted = _LINES_SUFFIX if is_back else SUFFIX
    if target.suffix.lower() != wanted:
        what = "Parquet" if is_back else "lines of JSON"
        raise UsageError(f"{source} holds {what}, so the target must end in {wanted}: {target}")
    return not is_back


def _write_folder(target: Path, source: Path, rows_a_shard: int) -> None:
    """All shards or none: they lie beside their place until the last one is written."""
    partial = target.with_name(f"{PART}{os.getpid()}-{target.name}")
    try:
        write_shards(partial, *read_results(source), rows_a_shard)
        put_in_place(partial, target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _lines(header: RunHeader, rows: Iterator[ResultRow]) -> Iterator[str]:
    yield compact_json(header) + "\n"
    for row in rows:
        yield encode_row(row).decode("utf-8")
