"""Where the bundle in use lies: the installed one, else the one that ships.

`DATA/models/state.json` says which installed bundle is in use and which was before; `models.store`
writes it. Nothing here reads a bundle beyond the hash of its `bundle.json`.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_app.bundle.manifest import MANIFEST_FILE
from edge_app.errors import BundleError, BundleFormatError, BundleIntegrityError, StorageError
from edge_app.files.codec import CodecError, decode, parse_json
from edge_app.files.user_folders import data_folder


def default_bundle_folder() -> Path:
    """Where the bundle that ships inside the package lies."""
    return Path(__file__).parents[1] / "bundles" / "default"


def current_bundle_folder() -> Path:
    """Where the bundle in use lies: the installed one, else the one that ships.

    Raises:
        BundleError: one was installed and is not there any more, or the store is damaged.
    """
    return installed_folder() or default_bundle_folder()


STATE_VERSION: Literal[1] = 1


STATE_FILE = "state.json"


ROLLBACK_HINT = "go back with: pneumoscope model rollback"


@dataclass(frozen=True, slots=True)
class State:
    """`state.json`; null stands for the bundle that ships with the package.

    Attributes:
        format_version: of this file.
        current, previous: folder names below DATA/models.
    """

    format_version: Literal[1]
    current: str | None
    previous: str | None


def installed_folder() -> Path | None:
    """Folder of the installed bundle in use, None where the embedded one is.

    Raises:
        BundleError: the bundle in use is gone, another than was installed, or the store damaged.
    """
    try:
        models = models_folder()
    except StorageError:  # no home folder to be found, so nothing was ever installed
        return None
    state = read_state(models)
    if state.current is None:
        return None
    folder = models / state.current
    require_as_installed(folder)
    return folder


def models_folder() -> Path:
    """Where installed bundles lie: below the user's data folder."""
    return data_folder() / "models"


def manifest_digits(folder: Path) -> str:
    """The 16 hexadecimal digits by which an installed bundle's folder is named."""
    return hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()[:16]


def require_as_installed(folder: Path) -> None:
    """Refuse an installed bundle that is gone or is not the one that was installed.

    Raises:
        BundleError: it cannot be read.
        BundleIntegrityError: its `bundle.json` is another one.
    """
    try:
        same = folder.name.endswith(f"-{manifest_digits(folder)}")
    except OSError as error:
        text = error.strerror or str(error)
        raise BundleError(
            f"{folder}: the bundle in use is gone ({text}); {ROLLBACK_HINT}"
        ) from error
    if not same:
        raise BundleIntegrityError(
            f"{folder}: {MANIFEST_FILE} is not the one that was installed; {ROLLBACK_HINT}"
        )


def read_state(models: Path) -> State:
    """Which installed bundles are in use; none where nothing was installed.

    Raises:
        BundleError: the state file cannot be read or is damaged.
    """
    path = models / STATE_FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):  # a service's home may be /dev/null
        return State(STATE_VERSION, None, None)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        state = decode(State, parse_json(content))
    except CodecError as error:
        raise BundleFormatError(
            f"{path}: {error}; remove this file to use the bundle that came with the program"
        ) from error
    for name in (state.current, state.previous):
        if name is not None and (name in ("", ".", "..") or re.search(r"[/\\:]", name)):
            raise BundleFormatError(f"{path}: {name!r} does not name a stored bundle")
    return state
