"""Where a user's files of this program lie on each system; makes none of them."""

import os
import sys
from pathlib import Path

from edge_app.errors import StorageError


def data_folder() -> Path:
    """Of models and keys; `PNEUMOSCOPE_DATA` names another one than the system's.

    Raises:
        StorageError: there is no home folder to be found.
    """
    return _folder("PNEUMOSCOPE_DATA", "XDG_DATA_HOME", ".local/share")


def state_folder() -> Path:
    """Of what was measured on this machine; `PNEUMOSCOPE_STATE` names another one.

    Raises:
        StorageError: there is no home folder to be found.
    """
    return _folder("PNEUMOSCOPE_STATE", "XDG_STATE_HOME", ".local/state")


def _folder(own: str, xdg: str, below_home: str) -> Path:
    named = os.environ.get(own)
    if named:
        return Path(named)
    if os.name == "nt":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local or _home(own) / "AppData" / "Local") / "pneumoscope"
    if sys.platform == "darwin":
        return _home(own) / "Library" / "Application Support" / "pneumoscope"
    shared = os.environ.get(xdg)
    # The XDG specification tells programs to ignore a relative path there.
    if shared and Path(shared).is_absolute():
        return Path(shared) / "pneumoscope"
    return _home(own) / below_home / "pneumoscope"


def _home(own: str) -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise StorageError(f"there is no home folder; name a folder: {own}=FOLDER") from error
