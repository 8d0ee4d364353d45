"""Wakes a watch when something arrives below its folder, so that it need not wait for its look.

Linux tells through inotify, of what this machine changes; what others change on a network share is
found by looking. On other systems, and where anything fails, this only waits. A watch decides by
what it sees when it looks, never by a wake-up.
"""

import ctypes
import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path

# inotify(7): closed after writing, moved here, made here.
_IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE = 0x8, 0x80, 0x100
_IN_NONBLOCK = 0o4000
# The system gives a user some thousand watches for all programs; files in more folders than this
# are found at the next look.
_MOST_FOLDERS = 512


class FolderSignal:
    """The system's notices of a folder and its sub-folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle = -1
        self._library: ctypes.CDLL | None = None
        if sys.platform.startswith("linux"):
            with suppress(OSError, AttributeError):
                self._library = ctypes.CDLL(None, use_errno=True)
                self._handle = self._library.inotify_init1(_IN_NONBLOCK)
        self.renew()

    def renew(self) -> None:
        """Ask for notices of the sub-folders that are there now.

        Also of those that are known: after a remount another folder has their names.
        """
        if self._handle < 0 or self._library is None:
            return
        mask = _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_CREATE
        with suppress(OSError):
            for number, (path, folders, _) in enumerate(os.walk(self._folder)):
                if number >= _MOST_FOLDERS:
                    folders.clear()
                self._library.inotify_add_watch(self._handle, os.fsencode(path), mask)

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; True where something may have arrived."""
        if self._handle < 0:
            time.sleep(seconds)
            return False
        if not select.select([self._handle], [], [], seconds)[0]:
            return False
        with suppress(OSError):
            while os.read(self._handle, 1 << 16):
                pass
        return True

    def close(self) -> None:
        """Let go of the system's handle."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
