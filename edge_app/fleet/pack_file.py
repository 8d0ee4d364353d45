"""A pack as one file, `NAME.pack`: what a device puts on a USB stick.

```
{"pack":{...},"signature":{...}}     one line: what it is, and the device's signature of that
gzip of JSON Lines                   the answers, in the order of their pseudonyms
```

`head -1` and `tail -n +2 | zcat` look inside. The signature covers the first line, which holds the
answers' SHA-256, so a pack that was cut off or changed anywhere is refused.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from edge_app.bundle.signature import Signature, check_signature
from edge_app.errors import BundleError, PackError
from edge_app.files.codec import CodecError, canonical_json, compact_json, decode, parse_json
from edge_app.fleet.registry import Registry
from edge_app.results.rows import check_utc_time
from edge_app.site.profile import SiteProfile

SUFFIX = ".pack"
FORMAT_VERSION = 1
# Ten years of a busy clinic; a file that promises more is none of ours.
MOST_BYTES = 1 << 28
# A site's profile is some 10,000 bytes of it.
_MOST_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Pack:
    """The first line of a pack, format version 1.

    Attributes:
        format_version: of the pack.
        pneumoscope_version: the program that wrote it.
        sequence: 1, 2, 3, ... of this device, so that a pack that is missing is noticed.
        packed_at: ISO 8601, UTC, by the device's clock.
        clock_is_trusted, clock: whether nothing spoke against that clock, and why.
        model_id, model_created: of the bundle in use, whatever has answered.
        profile: the site's, where it has one: what its films looked like at its calibration.
        answers: how many follow.
        body_bytes, body_sha256: of what follows, as it stands in the file.
        lines_bytes: of the same, unpacked.
    """

    format_version: int
    pneumoscope_version: str
    sequence: int
    packed_at: str
    clock_is_trusted: bool
    clock: str
    model_id: str
    model_created: str
    profile: SiteProfile | None
    answers: int
    body_bytes: int
    body_sha256: str
    lines_bytes: int

    def __post_init__(self) -> None:
        """Raises ValueError for a time that is not UTC, or sizes that no pack has."""
        check_utc_time(self.packed_at)
        if self.sequence < 1 or self.answers < 0:
            raise ValueError("sequence and answers count from 1 and from 0")
        if not (0 <= self.lines_bytes <= MOST_BYTES and 0 <= self.body_bytes <= MOST_BYTES):
            raise ValueError(f"a pack holds at most {MOST_BYTES} bytes of answers")


@dataclass(frozen=True, slots=True)
class SignedPack:
    """The first line: the pack, and its device's signature of `canonical_json(pack)`."""

    pack: Pack
    signature: Signature


def encode_pack(pack: Pack, lines: Sequence[str], sign: Callable[[bytes], Signature]) -> bytes:
    """The bytes of a pack.

    Args:
        pack: its numbers of the answers are filled in here.
        lines: of JSON, without newlines.
        sign: of `private_key.open_signer`.
    """
    text = "".join(f"{line}\n" for line in lines).encode("utf-8")
    body = gzip.compress(text, mtime=0)  # a time would be the clock's, and change the hash
    pack = replace(
        pack,
        answers=len(lines),
        body_bytes=len(body),
        body_sha256=hashlib.sha256(body).hexdigest(),
        lines_bytes=len(text),
    )
    signed = SignedPack(pack, sign(canonical_json(pack)))
    return f"{compact_json(signed)}\n".encode() + body


def read_head(path: Path, registry: Registry) -> SignedPack:
    """What a pack says of itself, with its signature checked; of what follows nothing is read.

    Raises:
        PackError: it cannot be read, is no pack, is changed, of another version or of a device
            that is not registered.
    """
    with _opened(path) as stream:
        return _read_head(stream, registry)


def read_pack(path: Path, registry: Registry) -> tuple[SignedPack, bytes]:
    """A pack, and its answers as JSON Lines, all of it checked.

    Raises:
        PackError: as of `read_head`, or it is cut off.
    """
    with _opened(path) as stream:
        signed = _read_head(stream, registry)
        return signed, _unpack(signed.pack, stream.read(signed.pack.body_bytes + 1))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise PackError(f"cannot be read: {error.strerror or error}") from error


def _read_head(stream: BinaryIO, registry: Registry) -> SignedPack:
    head = stream.readline(_MOST_HEAD_BYTES)
    if not head.endswith(b"\n"):
        raise PackError("cut off, or no pack at all: its first line has no end")
    signed = _decode_head(head[:-1])
    device = registry.get(signed.signature.key_id)
    if device is None:
        raise PackError(
            f"of a device that is not registered, its key is {signed.signature.key_id}; "
            "`pneumoscope fleet enrol` adds one"
        )
    keys = {signed.signature.key_id: device.public_key}
    try:
        check_signature(signed.signature, canonical_json(signed.pack), keys, "the pack")
    except BundleError as error:
        raise PackError(f"changed, or not signed by its device: {error}") from error
    return signed


def _decode_head(head: bytes) -> SignedPack:
    try:
        document = parse_json(head)
        _require_version(document)
        signed = decode(SignedPack, document)
    except CodecError as error:
        raise PackError(f"no pack of this format: {error}") from error
    if compact_json(signed).encode("utf-8") != head:
        raise PackError("changed: its first line is not in the form in which a device writes it")
    return signed


def _require_version(document: object) -> None:
    pack = document.get("pack") if isinstance(document, dict) else None
    version = pack.get("format_version") if isinstance(pack, dict) else None
    if isinstance(version, int) and version != FORMAT_VERSION:
        cure = "update the program that merges" if version > FORMAT_VERSION else "pack again"
        raise PackError(f"format version {version}; this program reads {FORMAT_VERSION}: {cure}")


def _unpack(pack: Pack, body: bytes) -> bytes:
    """The lines, never more of them than the device has signed."""
    if len(body) < pack.body_bytes:
        raise PackError(f"cut off: {len(body):,} of {pack.body_bytes:,} bytes of answers are there")
    if hashlib.sha256(body).hexdigest() != pack.body_sha256:
        raise PackError("changed: its answers are not those that its device has signed")
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(body, pack.lines_bytes + 1)
    except zlib.error as error:
        raise PackError("its answers cannot be unpacked") from error
    if len(text) != pack.lines_bytes or text.count(b"\n") != pack.answers:
        raise PackError("its answers are not as many as it says")
    return text
