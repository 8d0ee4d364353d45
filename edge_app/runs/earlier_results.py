"""Contents that earlier runs have scored or refused: a run can leave them out (`--only-new`)."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_app.decision import Status
from edge_app.errors import NoInputError, UsageError
from edge_app.files.bucket import BucketFileError, is_in_bucket, read_from_bucket
from edge_app.files.codec import CodecError
from edge_app.files.disk_table import DiskTable
from edge_app.results.folder import RunFolder
from edge_app.results.rows import ResultRow, read_results


def results_file(named: Path) -> Path:
    """A results file, or the one in a folder of results."""
    return RunFolder(named).results if os.path.isdir(named) else named


def require_results(earlier: Sequence[Path]) -> None:
    """See, before anything is written, that there are results of the format.

    Raises:
        UsageError: there are none.
    """
    for named in earlier:
        next(_rows_of(named), None)


def add_contents(table: DiskTable, earlier: Sequence[Path]) -> None:
    """Add the SHA-256 of what earlier results have scored or refused; what failed is tried again.

    Raises:
        UsageError: there are no results, or they are not of the format.
        StorageError: the table cannot be written.
    """
    for named in earlier:
        for row in _rows_of(named):
            digest = digest_of(row.sha256)
            if digest is not None and row.status is not Status.FAILED:
                table.add(digest)


def digest_of(sha256: str | None) -> bytes | None:
    """A row's SHA-256 as 32 bytes, None where it has none."""
    try:
        digest = bytes.fromhex(sha256 or "")
    except ValueError:
        return None
    return digest if len(digest) == hashlib.sha256().digest_size else None


def content_digest(path: Path) -> bytes | None:
    """SHA-256 of a file's content, None where it cannot be read now."""
    try:
        if is_in_bucket(path):
            from edge_app.images.read import MAX_FILE_BYTES  # with numpy

            return hashlib.sha256(read_from_bucket(path, MAX_FILE_BYTES)).digest()
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    # ValueError: a list names a file with a NUL in it.
    except (BucketFileError, OSError, ValueError):
        return None


def _rows_of(named: Path) -> Iterator[ResultRow]:
    path = results_file(named)
    try:
        yield from read_results(path)[1]
    except (NoInputError, CodecError) as error:
        raise UsageError(f"{path}: no results to compare with: {error}") from error
