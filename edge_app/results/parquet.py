"""Result rows as Parquet, for tools that read columns: the same rows, and the way back to them.

A header and rows enter; one file leaves, or a folder of shards `part-00000.parquet`, ... Each file
carries the run's header and its place among the shards in its metadata, so that one which is
missing is noticed. `results.jsonl` stays the truth: from either form the other comes out byte for
byte. Columns are the keys of a row; `quality` and `measures` are maps, `lungs` a struct. Needs
pyarrow, which is imported where it is used.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from edge_app.errors import NoInputError, RuntimeUnavailableError, StorageError
from edge_app.files.codec import CodecError, compact_json, decode, encode, parse_json
from edge_app.files.whole import make_folder, unwritable, whole
from edge_app.results.arrow_schema import arrow_schema
from edge_app.results.rows import ResultRow, RunHeader

SUFFIX = ".parquet"
# About 30 MB in a file; a cluster's tools read one shard a core.
ROWS_A_SHARD = 100_000

_SHARD = re.compile(r"part-\d{5,}\.parquet")
_NOTE_KEY = b"pneumoscope"
# Rows in memory at a time, about 20 MB of them.
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True)
class ShardNote:
    """What a file says of itself, beside its rows.

    Attributes:
        header: of the run, the same in every shard.
        shard: its number, from 0.
        rows_before: in the shards before it.
        is_last: whether no shard follows.
    """

    header: RunHeader
    shard: int
    rows_before: int
    is_last: bool


def is_parquet(path: Path) -> bool:
    """Whether a path names the Parquet form: a file by its ending, or a folder of shards."""
    return path.suffix.lower() == SUFFIX or (path.is_dir() and bool(_shards(path)))


def write_parquet(path: Path, header: RunHeader, rows: Iterable[ResultRow]) -> None:
    """Write one file, in full or not at all.

    Raises:
        RuntimeUnavailableError: pyarrow is missing.
        StorageError: it cannot be written.
    """
    require_pyarrow()
    _write_shard(path, header, iter(rows), None, 0, 0)


def write_shards(
    folder: Path, header: RunHeader, rows: Iterable[ResultRow], rows_a_shard: int = ROWS_A_SHARD
) -> int:
    """Write a folder of shards, each in full or not at all; gives how many.

    Shards that an earlier writing has left are replaced, those beyond the last one removed.

    Raises:
        RuntimeUnavailableError: pyarrow is missing.
        StorageError: one cannot be written.
    """
    require_pyarrow()
    make_folder(folder)
    left: Iterator[ResultRow] | None = iter(rows)
    before = shard = 0
    while left is not None:
        path = folder / f"part-{shard:05}{SUFFIX}"
        written, left = _write_shard(path, header, left, rows_a_shard, shard, before)
        before, shard = before + written, shard + 1
    try:
        for old in _shards(folder)[shard:]:
            old.unlink()
    except OSError as error:
        raise unwritable(folder, error) from error
    return shard


def read_parquet(path: Path) -> tuple[RunHeader, Iterator[ResultRow]]:
    """Read a file or a folder of shards: the header at once, the rows one after another.

    Raises:
        RuntimeUnavailableError: pyarrow is missing.
        NoInputError: there is none.
        CodecError: it does not fit the format (for a row: when it is reached).
    """
    entries = parquet_entries(path)
    _, header = next(entries)
    if not isinstance(header, RunHeader):
        raise header if isinstance(header, CodecError) else CodecError("rows without a header")
    return header, _rows(entries)


def parquet_entries(path: Path) -> Iterator[tuple[str, RunHeader | ResultRow | CodecError]]:
    """The header, then every row, with their places; what is wrong stands in a row's place.

    Raises:
        RuntimeUnavailableError: pyarrow is missing.
        NoInputError: there is none.
    """
    require_pyarrow()
    shards = _shards(path) if path.is_dir() else [path]
    if not shards or not all(shard.is_file() for shard in shards):
        raise NoInputError(f"{path}: no such file, or no part-00000.parquet in it")
    note: ShardNote | None = None
    before = 0
    is_ended = False
    for shard in shards:
        try:
            file, found = _open(shard)
        except CodecError as error:
            is_ended = True  # whatever it said of itself: its own fault is said
            yield shard.name, error
            continue
        if note is None:
            yield shard.name, found.header
        problem = _break(found, note, before)
        if problem is not None:
            yield shard.name, CodecError(f"{shard.name}: {problem}")
        note, before, is_ended = found, found.rows_before, found.is_last
        try:
            for document in _documents(shard, file):
                before += 1
                place = f"{shard.name} row {before - found.rows_before}"
                yield place, _decoded(place, document)
        except CodecError as error:
            yield shard.name, error
    if not is_ended:
        yield path.name, CodecError(f"{path.name}: the last shard is missing")


def require_pyarrow() -> None:
    """Raise RuntimeUnavailableError, with what to install, where it is missing."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailableError(
            "Parquet needs pyarrow: pip install 'pneumoscope[parquet]'"
        ) from error


def _shards(folder: Path) -> list[Path]:
    names = (path for path in folder.iterdir() if _SHARD.fullmatch(path.name))
    return sorted(names, key=lambda path: int(path.stem.partition("-")[2]))


def _rows(entries: Iterator[tuple[str, RunHeader | ResultRow | CodecError]]) -> Iterator[ResultRow]:
    for _, entry in entries:
        if isinstance(entry, CodecError):
            raise entry
        assert isinstance(entry, ResultRow)
        yield entry


def _write_shard(
    path: Path,
    header: RunHeader,
    rows: Iterator[ResultRow],
    most: int | None,
    shard: int,
    before: int,
) -> tuple[int, Iterator[ResultRow] | None]:
    """Write the next rows; gives how many, and the rest where there is one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted, written = islice(rows, most), 0
    with whole(path) as partial:
        try:
            with pq.ParquetWriter(
                partial, arrow_schema(ResultRow), compression="zstd", write_page_checksum=True
            ) as writer:
                while block := list(islice(wanted, _ROWS_AT_ONCE)):
                    writer.write_table(_table(block))
                    written += len(block)
                first = next(rows, None)
                note = ShardNote(header, shard, before, first is None)
                writer.add_key_value_metadata({_NOTE_KEY: compact_json(note).encode("utf-8")})
        except pa.ArrowException as error:
            raise StorageError(f"{path}: cannot be written as Parquet: {error}") from error
    return written, None if first is None else chain([first], rows)


def _table(rows: list[ResultRow]) -> Any:
    import pyarrow as pa

    documents = [encode(row) for row in rows]
    return pa.Table.from_pylist(documents, schema=arrow_schema(ResultRow))


def _open(path: Path) -> tuple[Any, ShardNote]:
    """A file and what it says of itself."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise CodecError(f"{path.name}: no Parquet file, damaged or cut off") from error
    content = (file.metadata.metadata or {}).get(_NOTE_KEY)
    if content is None:
        raise CodecError(f"{path.name}: no results of Pneumoscope: its metadata say nothing of it")
    if not file.schema_arrow.remove_metadata().equals(arrow_schema(ResultRow)):
        raise CodecError(f"{path.name}: its columns are not those of the results format")
    try:
        return file, decode(ShardNote, parse_json(content))
    except CodecError as error:
        raise CodecError(f"{path.name}: {error}") from error


def _break(found: ShardNote, last: ShardNote | None, before: int) -> str | None:
    """Why a shard does not follow the one before it; None where it does."""
    if last is not None and found.header != last.header:
        return "of another run than the shards before it"
    wanted = 0 if last is None else last.shard + 1
    if found.shard == wanted and found.rows_before == before:
        return None
    return (
        f"it is shard {found.shard} and begins with row {found.rows_before + 1} of the run, but "
        f"shard {wanted} and row {before + 1} are next: one is missing or cut short"
    )


def _documents(path: Path, file: Any) -> Iterator[Any]:
    import pyarrow as pa

    try:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise CodecError(f"{path.name}: damaged: a page cannot be read") from error


def _decoded(place: str, document: Any) -> ResultRow | CodecError:
    try:
        maps = {name: document[name] for name in ("quality", "measures")}
        known = {name: None if value is None else dict(value) for name, value in maps.items()}
        return decode(ResultRow, document | known)
    except CodecError as error:
        return CodecError(f"{place}: {error}")
