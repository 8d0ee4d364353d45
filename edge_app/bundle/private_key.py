"""Ed25519 pairs of keys, and signing with them. Verifying is `bundle.signature`.

`generate_keys` writes `NAME.key` (PKCS 8 PEM, readable by its owner only) and `NAME.pub` (the raw
32 bytes in base64, what `trusted_keys` folders hold). Keys that sign models stay where the
maintainer puts them; a clinic's own key signs nothing but its site profiles.
"""

import base64
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.bundle.signature import Signature, key_id, read_public_key
from edge_app.errors import BundleIntegrityError, StorageError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def generate_keys(target: Path) -> tuple[Path, Path]:
    """Make a pair: `target.key`, mode 0600, and `target.pub`.

    Raises:
        UsageError: one of them exists, since keys are never overwritten; or no name was given.
        StorageError: they cannot be written; then there is none of the two.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if target.name in ("", ".."):
        raise UsageError(f"{target}: names a folder; name the pair, such as {target / 'clinic'}")
    private, public = target.with_name(f"{target.name}.key"), target.with_name(f"{target.name}.pub")
    for path in (private, public):
        if path.exists():
            raise UsageError(f"{path}: exists; a key that was used must not be overwritten")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Created closed: between a write and a chmod anyone could read it.
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        public.write_bytes(base64.b64encode(_raw_public(key)) + b"\n")
    except FileExistsError as error:  # made since the look above, so it is somebody's key
        raise UsageError(f"{error.filename}: exists; a key must not be overwritten") from error
    except OSError as error:
        # Half a pair is of no use, and would stand in the way of the next try.
        for path in (private, public):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise StorageError(f"{target}: the keys cannot be written: {error}") from error
    return private, public


def open_signer(private_key: Path, public_key: Path | None = None) -> Callable[[bytes], Signature]:
    """Read and check the keys at once, sign later: a function of the exact bytes.

    Args:
        private_key: PEM file of `generate_keys`.
        public_key: the `.pub` that the edge was installed with, when given: the pair must fit.

    Raises:
        BundleIntegrityError: no Ed25519 private key, or the public key is not the pair's.
    """
    key = _load_private(private_key)
    raw = _raw_public(key)
    if public_key is not None and read_public_key(public_key) != raw:
        raise BundleIntegrityError(
            f"{private_key} and {public_key} are not a pair: bundles signed with this key would "
            "be refused wherever that public key is installed"
        )

    def sign_bytes(content: bytes) -> Signature:
        signature = base64.b64encode(key.sign(content)).decode("ascii")
        return Signature(algorithm="ed25519", key_id=key_id(raw), signature=signature)

    return sign_bytes


def _load_private(path: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BundleIntegrityError(f"{path}: not a readable private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleIntegrityError(f"{path}: not an Ed25519 key")
    return key


def _raw_public(key: "Ed25519PrivateKey") -> bytes:
    return bytes(key.public_key().public_bytes_raw())
