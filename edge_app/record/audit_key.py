"""The device's own Ed25519 key, which signs its audit log, and the public keys that it knows.

The private key never leaves the device: no backup and no export holds it. Who holds the device can
sign with it, which is why slips and exports carry the log's head.
"""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_app.bundle.signature import key_id, read_public_key
from edge_app.errors import BundleIntegrityError, RecordError, StorageError
from edge_app.files.whole import owner_only, unwritable, write_whole

_PRIVATE = "audit.key"
PUBLIC_FOLDER = "keys"


class AuditKey:
    """A key to sign with.

    Attributes:
        id: of its public half, as bundles' keys have one.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.id = key_id(self.public)

    @property
    def public(self) -> bytes:
        """The raw 32 bytes of the public key."""
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, content: bytes) -> bytes:
        """The raw 64 bytes of a signature (RFC 8032)."""
        return self._private.sign(content)


def open_key(folder: Path) -> AuditKey:
    """The key of a record's folder; made where there is none, by one process at a time.

    Raises:
        StorageError: it cannot be read or written.
        RecordError: the file holds something else.
    """
    path = folder / _PRIVATE
    if not path.exists():
        private = Ed25519PrivateKey.generate()
        with owner_only(True):
            write_whole(path, base64.b64encode(private.private_bytes_raw()) + b"\n")
    try:
        private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(path.read_bytes()))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RecordError(f"{path}: is no key of an audit log; restore the last backup") from error
    key = AuditKey(private)
    _publish(folder / PUBLIC_FOLDER, key)
    return key


def known_keys(folder: Path) -> dict[str, bytes]:
    """The public keys of a record's folder by identifier: its own, and those put beside it.

    Raises:
        RecordError: a file there holds something else.
    """
    try:
        keys = [read_public_key(path) for path in (folder / PUBLIC_FOLDER).glob("[!.]*.pub")]
    except BundleIntegrityError as error:
        raise RecordError(str(error)) from error
    return {key_id(key): key for key in keys}


def _publish(folder: Path, key: AuditKey) -> None:
    path = folder / f"{key.id}.pub"
    if path.exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    write_whole(path, base64.b64encode(key.public) + b"\n")
