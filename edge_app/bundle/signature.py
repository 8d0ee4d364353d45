"""Ed25519 signatures over bundles and site profiles: who vouches for these bytes?

The exact bytes of `bundle.json` (which holds the hash of every other file) or of a site's profile,
and a `SIGNATURE` file enter, the identifier of the trusted key leaves. Private keys that sign
models never come near the edge.
"""

import base64
import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_app.errors import (
    BundleFormatError,
    BundleIntegrityError,
    RuntimeUnavailableError,
    StorageError,
)
from edge_app.files.codec import CodecError, canonical_json, decode, parse_json
from edge_app.files.user_folders import data_folder

SIGNATURE_FILE = "SIGNATURE"


@dataclass(frozen=True, slots=True)
class Signature:
    """The `SIGNATURE` file: an Ed25519 signature (RFC 8032) in base64 and its key's identifier."""

    algorithm: Literal["ed25519"]
    key_id: str
    signature: str

    def to_json(self) -> bytes:
        """The bytes of the file; only these are accepted on reading."""
        return canonical_json(self)


def key_id(public_key: bytes) -> str:
    """Identifier of a raw 32-byte public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def installed_keys() -> dict[str, bytes]:
    """Public keys that this installation trusts, by identifier.

    Each is a file `NAME.pub` that holds the raw 32 bytes in base64: those that came with the
    package, and those that its user has added (`pneumoscope model trust`).

    Raises:
        BundleIntegrityError: a file that came with the package holds something else.
    """
    with_package = Path(__file__).parents[1] / "trusted_keys"
    keys = [read_public_key(path) for path in sorted(with_package.glob("*.pub"))]
    with contextlib.suppress(StorageError):  # no home folder, so no key was ever added
        keys += added_keys(added_keys_folder())
    return {key_id(key): key for key in keys}


def added_keys(folder: Path) -> list[bytes]:
    """Public keys that a user has added to a folder.

    A file there that is damaged, or half-written (`files.whole`), is no key and trusts nobody; what
    others have signed is read all the same.
    """
    keys = []
    for path in sorted(folder.glob("[!.]*.pub")):
        with contextlib.suppress(BundleIntegrityError):
            keys.append(read_public_key(path))
    return keys


def added_keys_folder() -> Path:
    """Where the keys lie that the user has added; raises StorageError without a home folder."""
    return data_folder() / "trusted_keys"


def read_public_key(path: Path) -> bytes:
    """The raw 32 bytes of an Ed25519 public key that a file holds in base64.

    Raises:
        BundleIntegrityError: the file cannot be read or holds something else.
    """
    try:
        raw = base64.b64decode(path.read_bytes().strip(), validate=True)
    except OSError as error:
        raise BundleIntegrityError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise BundleIntegrityError(
            f"{path}: no public key, which is 32 bytes in base64 on one line"
        ) from error
    if len(raw) != 32:
        raise BundleIntegrityError(f"{path}: no Ed25519 public key: {len(raw)} bytes, not 32")
    return raw


def verify_signature(
    folder: Path,
    signed: bytes,
    trusted_keys: Mapping[str, bytes] | None,
    what: str = "bundle.json",
) -> str | None:
    """Check the `SIGNATURE` of a folder.

    Args:
        folder: the bundle's folder.
        signed: the exact bytes of its `bundle.json`.
        trusted_keys: raw public keys by identifier; None takes the installed ones.
        what: name of the file with these bytes, for messages.

    Returns:
        The signing key's identifier, None where there is no `SIGNATURE` file.

    Raises:
        BundleFormatError: the file is not a signature in its canonical form.
        BundleIntegrityError: the key is not trusted here, or the bytes are not what it signed.
        RuntimeUnavailableError: the package `cryptography` is missing.
    """
    path = folder / SIGNATURE_FILE
    if not path.is_file():
        return None
    signature = _parse(path.read_bytes())
    keys = installed_keys() if trusted_keys is None else trusted_keys
    return check_signature(signature, signed, keys, what)


def check_signature(
    signature: Signature, signed: bytes, keys: Mapping[str, bytes], what: str
) -> str:
    """Check that one of these keys has signed these bytes; gives its identifier.

    Args:
        signature: of them.
        signed: the exact bytes.
        keys: raw public keys by identifier.
        what: they are, for messages.

    Raises:
        BundleFormatError, BundleIntegrityError, RuntimeUnavailableError: as of `verify_signature`.
    """
    raw = _raw(signature)
    if signature.key_id not in keys:
        raise BundleIntegrityError(
            f"{SIGNATURE_FILE}: signed with the key {signature.key_id}, "
            "which this installation does not trust"
        )
    if not is_valid(keys[signature.key_id], raw, signed):
        raise BundleIntegrityError(
            f"{SIGNATURE_FILE}: does not match {what}: one of the two has been changed"
        )
    return signature.key_id


def _parse(content: bytes) -> Signature:
    try:
        signature = decode(Signature, parse_json(content))
    except CodecError as error:
        raise BundleFormatError(f"{SIGNATURE_FILE}: {error}") from error
    _raw(signature)
    # Only the canonical bytes: a changed space would go unseen.
    if content != signature.to_json():
        raise BundleFormatError(f"{SIGNATURE_FILE}: not in canonical form")
    return signature


def _raw(signature: Signature) -> bytes:
    try:
        raw = base64.b64decode(signature.signature, validate=True)
    except ValueError as error:
        raise BundleFormatError(f"{SIGNATURE_FILE}: signature is not base64") from error
    # Base64's unused bits would go unseen.
    if signature.signature != base64.b64encode(raw).decode("ascii"):
        raise BundleFormatError(f"{SIGNATURE_FILE}: not in canonical form")
    return raw


def is_valid(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether a raw public key's owner has made a raw signature of these bytes.

    Raises:
        RuntimeUnavailableError: the package `cryptography` is missing.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise RuntimeUnavailableError(
            "checking a signature needs a package: pip install cryptography"
        ) from error
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed)
    except InvalidSignature:
        return False
    return True
