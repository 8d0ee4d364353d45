"""Signatures of bundles: `sign` adds `SIGNATURE` to one; keys are `edge_app.bundle.private_key`."""

from pathlib import Path

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import MANIFEST_FILE
from edge_app.bundle.private_key import open_signer
from edge_app.bundle.signature import SIGNATURE_FILE, Signature
from edge_app.errors import UsageError
from edge_app.files.whole import whole


def sign(manifest: bytes, private_key: Path, public_key: Path | None = None) -> Signature:
    """Sign the exact bytes of a `bundle.json`.

    Args:
        manifest: those bytes.
        private_key, public_key: as of `open_signer`.

    Raises:
        BundleIntegrityError: no Ed25519 private key, or the public key is not the pair's.
    """
    return open_signer(private_key, public_key)(manifest)


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
