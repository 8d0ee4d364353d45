"""Files in S3-compatible storage: what lies at `s3://bucket/key`, when it changed, its bytes.

Such an address is held as the path `s3:/bucket/key`, which `Path` makes of it and no file has, so
that names, folders and endings are told as of any path. Credentials, region and endpoint come from
where every AWS tool looks (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, ~/.aws, the machine's
role). A request that fails is tried again, with growing pauses. Nothing is written. Needs pyarrow,
which is imported where it is used.
"""

import os
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from edge_app.errors import RuntimeUnavailableError, StorageError

_SCHEME = "s3:"
# One of ten requests failing, all of these fail for one in 10^10.
_MOST_ATTEMPTS = 10
_PAUSES = (0.1, 0.3, 1.0, 3.0, 9.0)
_NO_RIGHT = frozenset({"access denied", "invalid access key id", "signature does not match"})
_SECONDS_TO_CONNECT, _SECONDS_OF_A_REQUEST = 10.0, 60.0


class Entry(NamedTuple):
    """Something below a prefix: a `name` of its own, and for a file its size and time."""

    name: str
    is_folder: bool
    size: int
    mtime_ns: int


class BucketFileError(Exception):
    """A file cannot be read; the text says why."""


def input_path(text: str) -> Path:
    """The path of what a command line names: `file://` is a local one, `s3://` one of ours."""
    if text.lower().startswith("file://"):
        from urllib.parse import unquote, urlsplit

        return Path(unquote(urlsplit(text).path))
    return Path(text)


def is_in_bucket(path: Path) -> bool:
    """Whether a path stands for an address `s3://`."""
    return path.parts[:1] == (_SCHEME,) and len(path.parts) > 1


def address_of(path: Path) -> str:
    """The address that a path stands for."""
    return f"s3://{_key(path)}"


def require_prefix(path: Path) -> None:
    """See that there is something at an address, and that it may be listed.

    Raises:
        StorageError: there is nothing, or no right to see it, or nobody answers.
        RuntimeUnavailableError: pyarrow is missing.
    """
    store = _store()
    from pyarrow import fs

    try:
        # A bucket that denies a look at itself looks like one that is not there: so list.
        found = store.get_file_info(_key(path))
        if found.type == fs.FileType.NotFound:
            next(_listed(path), None)
            raise StorageError(f"{address_of(path)}: nothing is there")
    except OSError as error:
        raise StorageError(f"{address_of(path)}: {_why(error)}") from error


def is_file_in_bucket(path: Path) -> bool:
    """Whether an address is that of a file, not of a prefix."""
    return file_facts(path) is not None


def list_prefix(path: Path) -> list[Entry]:
    """What lies directly below a prefix.

    Raises:
        StorageError: it cannot be listed.
    """
    try:
        return list(_listed(path))
    except OSError as error:
        raise StorageError(f"{address_of(path)}: cannot be listed: {_why(error)}") from error


def file_facts(path: Path) -> Entry | None:
    """Size and time of a file; None where there is none, or it cannot be told."""
    from pyarrow import fs

    try:
        found = _store().get_file_info(_key(path))
    except OSError:
        return None
    return _entry(found) if found.type == fs.FileType.File else None


def read_from_bucket(path: Path, most: int, *, beginning: bool = False) -> bytes:
    """The bytes of a file.

    Args:
        path: of the file.
        most: bytes that are read at most.
        beginning: whether only these are wanted; else a larger file is an error.

    Raises:
        BucketFileError: it cannot be read, or is larger.
    """
    for pause in (*_PAUSES, None):
        try:
            return _read(path, most, beginning)
        except OSError as error:
            # Arrow reads into room for the file alone: where that is shorter than what the storage
            # says of a refusal, its own attempts end with the first.
            if pause is None or _is_final(error):
                raise BucketFileError(_why(error)) from error
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _read(path: Path, most: int, beginning: bool) -> bytes:
    with _store().open_input_file(_key(path)) as stream:
        size = stream.size()
        if size > most and not beginning:
            raise BucketFileError(f"{size} bytes; more than {most} are not read")
        return bytes(stream.read(min(size, most)))


def _is_final(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError) or _word(error) in _NO_RIGHT


def _listed(path: Path) -> Iterator[Entry]:
    from pyarrow import fs

    for found in _store().get_file_info(fs.FileSelector(_key(path), recursive=False)):
        if found.base_name:
            yield _entry(found)


def _entry(found: Any) -> Entry:
    return Entry(found.base_name, not found.is_file, found.size or 0, found.mtime_ns or 0)


def _key(path: Path) -> str:
    return "/".join(path.parts[1:])


@cache
def _store() -> Any:
    """The storage, opened once a process."""
    try:
        from pyarrow import fs
    except ImportError as error:
        raise RuntimeUnavailableError(
            "s3:// needs pyarrow: pip install 'pneumoscope[parquet]'"
        ) from error
    options: dict[str, Any] = {}
    from urllib.parse import urlsplit

    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if named:
        endpoint = urlsplit(named)
        options = {"scheme": endpoint.scheme, "endpoint_override": endpoint.netloc}
    return fs.S3FileSystem(
        # 25 ms before the second attempt, then twice as long each time; the "standard" one waits
        # up to a second before it, and takes a busy storage's refusals for a reason to give up.
        retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=_MOST_ATTEMPTS),
        connect_timeout=_SECONDS_TO_CONNECT,
        request_timeout=_SECONDS_OF_A_REQUEST,
        **options,
    )


def _why(error: OSError) -> str:
    """The storage's own word for it, without what only its developers want to know."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    word = _word(error)
    if word is None:
        return "the storage does not answer"
    if word in _NO_RIGHT:
        return f"{word}: do the credentials allow to list and read it?"
    return f"the storage says: {word}"


def _word(error: OSError) -> str | None:
    said = re.search(r"AWS Error ([A-Z_]+)", str(error))
    return None if said is None else said[1].replace("_", " ").lower()
