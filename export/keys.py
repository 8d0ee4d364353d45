"""Ed25519 keys and signatures of bundles. Private keys stay where the maintainer puts them.

`keygen` writes `NAME.key` (PKCS 8 PEM, readable by its owner only) and `NAME.pub` (the raw 32
bytes in base64, what `edge_app/trusted_keys` holds). `sign` adds `SIGNATURE` to a bundle.
"""

import base64
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import MANIFEST_FILE
from edge_app.bundle.signature import SIGNATURE_FILE, Signature, key_id, read_public_key
from edge_app.errors import BundleIntegrityError, StorageError, UsageError
from edge_app.files.whole import whole

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


def sign(manifest: bytes, private_key: Path, public_key: Path | None = None) -> Signature:
    """Sign the exact bytes of a `bundle.json`.

    Args:
        manifest: those bytes.
        private_key: PEM file of `generate_keys`.
        public_key: the `.pub` that the edge was installed with, when given: the pair must fit.

    Raises:
        BundleIntegrityError: no Ed25519 private key, or the public key is not the pair's.
    """
    return open_signer(private_key, public_key)(manifest)


def open_signer(private_key: Path, public_key: Path | None = None) -> Callable[[bytes], Signature]:
    """Read and check the keys at once, sign later: `sign` as a function of the manifest alone.

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

    def sign_bytes(manifest: bytes) -> Signature:
        signature = base64.b64encode(key.sign(manifest)).decode("ascii")
        return Signature(algorithm="ed25519", key_id=key_id(raw), signature=signature)

    return sign_bytes


def sign_bundle(folder: Path, private_key: Path, public_key: Path | None = None) -> str:
    """Add `SIGNATURE` to a bundle that has none; returns the key's identifier.

    Raises:
        UsageError: it is signed already: a bundle is written once.
        BundleError: the bundle does not load, or the keys do not fit.
        StorageError: it cannot be written.
    """
    folder = folder.resolve()  # "." has no name of its own
    target = folder / SIGNATURE_FILE
    if target.exists():
        raise UsageError(f"{target}: the bundle is signed already")
    load_bundle(folder)
    signature = sign((folder / MANIFEST_FILE).read_bytes(), private_key, public_key)
    # A file more in the bundle, left by a kill, would be one that does not belong there.
    with whole(target, beside=folder.parent) as partial:
        partial.write_bytes(signature.to_json())
    return signature.key_id


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
