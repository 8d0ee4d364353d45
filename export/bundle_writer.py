"""Write a bundle once and whole: a new folder appears complete, or not at all."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import MANIFEST_FILE, FileEntry, Manifest
from edge_app.bundle.signature import SIGNATURE_FILE, Signature
from edge_app.errors import StorageError, UsageError
from edge_app.files.whole import put_in_place, write_files


def file_entries(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Hash and size of every file."""
    return {
        name: FileEntry(hashlib.sha256(content).hexdigest(), len(content))
        for name, content in files.items()
    }


def require_new(target: Path) -> None:
    """Raises UsageError where `target` exists: a bundle is never written over another."""
    if target.exists():
        raise UsageError(f"{target}: exists already; a bundle is never edited, name a new folder")


def write_bundle(
    target: Path, manifest: Manifest, files: Mapping[str, bytes], signature: Signature | None
) -> None:
    """Write `target`.

    Args:
        target: a folder that does not exist yet.
        manifest: its `bundle.json`; names exactly `files`.
        files: every other file's bytes by name.
        signature: over `manifest.to_json()`, None leaves the bundle unsigned.

    Raises:
        UsageError: `target` exists.
        BundleError: the manifest and the files do not fit; nothing stays.
        StorageError: the disk is full or read-only; nothing stays.
    """
    require_new(target)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write_files(partial, {**files, MANIFEST_FILE: manifest.to_json()}.items())
        # Before the signature: whether this installation trusts the key is not the writer's matter.
        load_bundle(partial)
        if signature is not None:
            write_files(partial, [(SIGNATURE_FILE, signature.to_json())])
        put_in_place(partial, target)
    except OSError as error:
        raise StorageError(f"{target}: the bundle cannot be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
