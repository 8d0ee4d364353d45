"""Where a user's files of this program lie on each system; makes none of them."""

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """The user's data folder of this program; it need not exist."""
    named = os.environ.get("PNEUMOSCOPE_DATA")
    if named:
        return Path(named)
    if os.name == "nt":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local or Path.home() / "AppData" / "Local") / "pneumoscope"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "pneumoscope"
    shared = os.environ.get("XDG_DATA_HOME")
    # The XDG specification tells programs to ignore a relative path there.
    if shared and Path(shared).is_absolute():
        return Path(shared) / "pneumoscope"
    return Path.home() / ".local" / "share" / "pneumoscope"
