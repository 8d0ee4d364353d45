"""Names in place of identifiers: a keyed hash, whose key stays on this device.

An identifier and its kind enter, always the same pseudonym leaves (HMAC-SHA-256, RFC 2104, cut to
128 bits). Without the key nobody can try whose it is by hashing a list of names; with it, the
device can find the same patient, film or site again, and nothing is stored for that.
"""

import base64
import hmac
import os
import secrets
from pathlib import Path
from threading import get_ident

from edge_app.errors import StorageError
from edge_app.files.user_folders import data_folder
from edge_app.files.whole import PART, make_folder, sync_folder, unwritable

_FILE = "pseudonyms.key"
_KEY_BYTES = 32
_PSEUDONYM_BYTES = 16


class Pseudonyms:
    """Pseudonyms under one key; two devices give the same identifier different ones."""

    def __init__(self, key: bytes) -> None:
        """Take a key of 32 bytes.

        Raises:
            ValueError: it is of another length.
        """
        if len(key) != _KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes instead of {_KEY_BYTES}")
        self.key = key

    def of(self, kind: str, identifier: str) -> str:
        """The pseudonym of an identifier: 32 hex digits.

        Args:
            kind: what it identifies, such as "patient": of another kind, it has another pseudonym.
            identifier: any text; bytes of a path that are no UTF-8 as Python escapes them.
        """
        return self._digest(kind, identifier).hex()

    def uid_of(self, uid: str) -> str:
        """The pseudonym of a DICOM UID, itself one: below 2.25, as made of UUIDs (PS3.5 B.2)."""
        return f"2.25.{int.from_bytes(self._digest('uid', uid), 'big')}"

    def _digest(self, kind: str, identifier: str) -> bytes:
        text = f"{kind}\0{identifier}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.key, text, "sha256")[:_PSEUDONYM_BYTES]


def device_pseudonyms() -> Pseudonyms:
    """Those of this device; its key is made where there is none, in the user's data folder.

    Raises:
        StorageError: the key cannot be read or written, or is damaged.
    """
    return open_pseudonyms(data_folder() / _FILE)


def passing_pseudonyms() -> Pseudonyms:
    """Those of a new key that nobody keeps."""
    return Pseudonyms(secrets.token_bytes(_KEY_BYTES))


def open_pseudonyms(path: Path) -> Pseudonyms:
    """Those of a key's file; made where it is missing, its owner's alone, and once only.

    Raises:
        StorageError: it cannot be read or written, or holds something else.
    """
    if not path.exists():
        _make_key(path)
    try:
        return Pseudonyms(base64.b64decode(path.read_bytes()))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise StorageError(
            f"{path}: is no key of pseudonyms; with another key everybody has another pseudonym"
        ) from error


def _make_key(path: Path) -> None:
    """Put a new key in place unless another process has done so meanwhile."""
    make_folder(path.parent)
    partial = path.with_name(f"{PART}{os.getpid()}-{get_ident()}-{path.name}")
    try:
        # Not by the umask, which is the whole process's: a server may ask in any of its threads.
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
            stream.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        _place(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _place(partial: Path, path: Path) -> None:
    """By a link, which never replaces what is there as a rename would."""
    try:
        os.link(partial, path)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        partial.rename(path)
