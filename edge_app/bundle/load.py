"""A bundle's folder in, a checked `Bundle` out.

Every file is hashed, the signature verified, `bundle.json` parsed and its parts checked against
each other; one byte that differs stops the load. Nothing here runs a model.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge_app.bundle.location import current_bundle_folder
from edge_app.bundle.manifest import MANIFEST_FILE, Bundle, FileEntry, Manifest
from edge_app.bundle.signature import SIGNATURE_FILE, verify_signature
from edge_app.errors import BundleError, BundleFormatError, BundleIntegrityError

_HASH_BLOCK_BYTES = 1 << 20


def load_bundle(
    path: str | Path | None = None, *, trusted_keys: Mapping[str, bytes] | None = None
) -> Bundle:
    """Load a bundle and check all of it.

    Args:
        path: the bundle's folder; None loads the one that `pneumoscope model install` made the
            current one, else the one that ships with the package. These two must be signed; a
            folder that was named may lack a signature, and whoever named it is to be told.
        trusted_keys: raw 32-byte Ed25519 public keys by identifier; None takes the ones that
            were installed with the package.

    Raises:
        BundleFormatError: `bundle.json` is missing or does not fit the format.
        BundleIntegrityError: a file is missing, extra, changed, or the signature is wrong.
        BundleError: the folder cannot be read.
    """
    folder = current_bundle_folder() if path is None else Path(path)
    if not folder.is_dir():
        hint = "" if path is not None else " (this installation carries no default bundle)"
        raise BundleError(f"{folder}: no model bundle here{hint}; name one with --bundle FOLDER")
    try:
        bundle = _load(folder, trusted_keys)
    except OSError as error:
        raise BundleError(f"{folder}: the bundle cannot be read: {error}") from error
    if path is None:
        require_signature(bundle)
    return bundle


def require_signature(bundle: Bundle) -> None:
    """Refuse a bundle that no trusted key has signed.

    Without its signature nothing tells a released bundle from one whose cut-offs were edited.

    Raises:
        BundleIntegrityError: it is unsigned.
    """
    if bundle.signed_by is None:
        raise BundleIntegrityError(
            f"{bundle.folder}: nobody has signed this bundle, so nobody vouches for its answers. "
            "If you made it yourself, sign it (python -m export sign) and trust your key "
            "(pneumoscope model trust KEY.pub)"
        )


def _load(folder: Path, trusted_keys: Mapping[str, bytes] | None) -> Bundle:
    manifest_path = folder / MANIFEST_FILE
    if not manifest_path.is_file():
        raise BundleFormatError(f"{folder}: {MANIFEST_FILE} is missing: this is not a model bundle")
    content = manifest_path.read_bytes()
    try:
        signed_by = verify_signature(folder, content, trusted_keys)
        manifest = Manifest.from_json(content)
        _check_files(folder, manifest.files)
        bundle = Bundle(folder=folder, manifest=manifest, signed_by=signed_by)
        _ = bundle.lacks  # read once, so that a damaged list stops the load
    except BundleError as error:
        raise type(error)(f"{folder}: {error}") from error
    return bundle


def _check_files(folder: Path, files: Mapping[str, FileEntry]) -> None:
    """Compare what lies in the folder with what the manifest promises, byte for byte."""
    present = set(_files_below(folder)) - {MANIFEST_FILE, SIGNATURE_FILE}
    for name in sorted(present - set(files)):
        raise BundleIntegrityError(f"{name}: not part of the bundle")
    for name in sorted(set(files) - present):
        raise BundleIntegrityError(f"{name}: missing from the bundle")
    for name, entry in sorted(files.items()):
        size, sha256 = _hash_file(folder / name)
        if (size, sha256) != (entry.bytes, entry.sha256):
            raise BundleIntegrityError(
                f"{name}: changed since the bundle was written (SHA-256 {sha256[:12]}..., "
                f"{size} bytes; expected {entry.sha256[:12]}..., {entry.bytes} bytes)"
            )


def _files_below(folder: Path) -> Iterable[str]:
    """Relative names of everything below a folder that is not a folder itself."""
    return (p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


def _hash_file(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()
