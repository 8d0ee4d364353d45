"""A bundle as one file, `NAME.pneumo`: what goes on a USB stick.

A ZIP archive whose entries are stored without compression, in the order of their names, with
fixed dates and no other freedom: for one bundle there is one archive. Any tool can look inside;
this module accepts nothing but those very bytes, so a changed or cut-off file never passes, and an
entry can neither leave its folder nor grow on unpacking. (PKWARE's APPNOTE 6.3.10, sections 4.3.7,
4.3.12 and 4.3.16, names the fields below.)
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from edge_app.bundle.manifest import MANIFEST_FILE, check_file_names
from edge_app.bundle.signature import SIGNATURE_FILE
from edge_app.errors import BundleFormatError, BundleIntegrityError, StorageError
from edge_app.files.whole import write_whole

SUFFIX = ".pneumo"
# Ours has 4 megabytes and a dozen files; a Raspberry Pi can hold this in memory three times.
MOST_BYTES = 64 * 1024 * 1024
MOST_FILES = 256

_NEEDED_VERSION = 20
_MADE_BY_UNIX = 3 << 8 | _NEEDED_VERSION
_UTF8_NAMES = 0x0800
_DATE = 1 << 5 | 1  # 1980-01-01, where a ZIP archive's time begins
_PLAIN_FILE = 0o100644 << 16


def encode_archive(files: Mapping[str, bytes]) -> bytes:
    """The one archive of these files.

    Args:
        files: content by name with forward slashes; at most `MOST_FILES` and `MOST_BYTES` of them.

    Raises:
        BundleFormatError: more than that, or a name that is not a plain relative path.
    """
    _check_names(list(files))
    if sum(map(len, files.values())) > MOST_BYTES:
        raise BundleFormatError(f"the bundle has more than {MOST_BYTES} bytes")
    body: list[bytes] = []
    directory: list[bytes] = []
    place = 0
    for name in sorted(files):
        content, raw_name = files[name], name.encode("utf-8")
        flags = 0 if name.isascii() else _UTF8_NAMES
        sizes = (zlib.crc32(content), len(content), len(content), len(raw_name), 0)
        common = (_NEEDED_VERSION, flags, zipfile.ZIP_STORED, 0, _DATE, *sizes)
        local = struct.pack("<4s5H3L2H", b"PK\x03\x04", *common) + raw_name
        body += [local, content]
        rest = (0, 0, 0, _PLAIN_FILE, place)
        header = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", _MADE_BY_UNIX, *common, *rest)
        directory.append(header + raw_name)
        place += len(local) + len(content)
    counts = (0, 0, len(files), len(files), sum(map(len, directory)), place, 0)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", *counts)
    return b"".join([*body, *directory, end])


def decode_archive(content: bytes) -> dict[str, bytes]:
    """The files of an archive; the inverse of `encode_archive`.

    Raises:
        BundleFormatError: not such an archive, cut off, too large, or a name that leaves it.
        BundleIntegrityError: some byte is not the one that `encode_archive` writes.
    """
    if len(content) > MOST_BYTES:
        raise BundleFormatError(f"more than {MOST_BYTES} bytes are not read")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_names([entry.filename for entry in entries])
            if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
                raise BundleFormatError("an entry is compressed or encrypted")
            # A stored entry cannot grow, but entries that lie over each other can: 250 of them
            # would make 500 MB of 2 MB before any signature is looked at.
            if sum(max(e.file_size, e.compress_size) for e in entries) > len(content):
                raise BundleFormatError("the entries hold more bytes than the whole file")
            files = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError) as error:
        raise BundleFormatError(f"not a whole bundle file: {error}") from error
    if encode_archive(files) != content:
        raise BundleIntegrityError("some byte of it has been changed")
    return files


def read_archive(path: Path) -> dict[str, bytes]:
    """The files of a `.pneumo` file.

    Raises:
        BundleFormatError: no such file, or not a whole one.
        BundleIntegrityError: it has been changed.
    """
    try:
        with path.open("rb") as stream:
            # Not by the size that the system tells: a device or a growing file tells another.
            content = stream.read(MOST_BYTES + 1)
        return decode_archive(content)
    except OSError as error:
        raise BundleFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (BundleFormatError, BundleIntegrityError) as error:
        raise type(error)(f"{path}: {error}") from error


def pack_bundle(folder: Path, target: Path) -> None:
    """Write a bundle's folder as one file; the folder must have been loaded and so checked.

    Raises:
        StorageError: `target` exists or cannot be written.
    """
    if target.exists():
        raise StorageError(f"{target}: exists already; name another file")
    # On the disk: the stick may be pulled out right after.
    write_whole(target, bundle_archive(folder))


def bundle_archive(folder: Path) -> bytes:
    """The archive of a bundle's folder.

    Raises:
        StorageError: it cannot be read.
    """
    names = (p for p in sorted(folder.rglob("*")) if p.is_file())
    try:
        return encode_archive({p.relative_to(folder).as_posix(): p.read_bytes() for p in names})
    except OSError as error:
        raise StorageError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _check_names(names: list[str]) -> None:
    if len(names) > MOST_FILES:
        raise BundleFormatError(f"{len(names)} files; a bundle has at most {MOST_FILES}")
    check_file_names(name for name in names if name not in (MANIFEST_FILE, SIGNATURE_FILE))
    # Two names that differ in case are one file on Windows and macOS.
    if len({name.casefold() for name in names}) != len(names):
        raise BundleFormatError("a name stands twice")
    if MANIFEST_FILE not in names:
        raise BundleFormatError(f"{MANIFEST_FILE} is missing: this is not a model bundle")
