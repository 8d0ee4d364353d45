"""Received objects on the disk: whole, synchronised, each content once, whatever is interrupted.

    FOLDER/arriving/          what is being received; forgotten at every start
    FOLDER/inbox/3f/UID.dcm   what is scored; 3f are digits of the UID's hash, so that no folder
                              grows beyond what a file system lists quickly

A file is in the inbox with all of its bytes or not at all, and stays there. An object that comes
again is one file; another content under the same SOP Instance UID is kept beside it, as UID~2.dcm.
"""

import errno
import filecmp
import hashlib
import os
import re
import shutil
import threading
from contextlib import suppress
from enum import Enum
from pathlib import Path

from edge_app.errors import StorageError
from edge_app.files.whole import make_folder, put_in_place, sync_folder

# PS3.5 section 9.1. Also what keeps a name within its folder.
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST_UID = 64

# What pynetdicom and `Spool.store` call what they write; only these are ours to delete.
_LEFT_BEHIND = ("tmp*.dcm", "*.part")


class Arrival(Enum):
    """What became of a received object."""

    NEW = "new"
    AGAIN = "again"  # the very same content
    OTHER_CONTENT = "other content"  # another one under a UID that is known


class Spool:
    """The folder of what was received; its methods may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        """Make the folders and forget what was received in part.

        Raises:
            StorageError: the folder cannot be written.
        """
        self.arriving = folder / "arriving"
        self.inbox = folder / "inbox"
        self._lock = threading.Lock()
        mask = os.umask(0o077)  # asked for here, where no other thread is yet
        os.umask(mask)
        self._rights = 0o666 & ~mask  # temporary files, as which objects arrive, have fewer
        for place in (folder, self.arriving, self.inbox):
            make_folder(place)
        for pattern in _LEFT_BEHIND:
            for path in self.arriving.glob(pattern):
                with suppress(OSError):
                    path.unlink()

    def free_bytes(self) -> int:
        """Room on the disk; 0 where it does not tell."""
        try:
            return shutil.disk_usage(self.inbox).free
        except OSError:
            return 0

    def store(self, received: Path, sop_instance_uid: str) -> Arrival:
        """Put a complete file into the inbox; when this returns, a power cut does not lose it.

        Args:
            received: the file, which its owner may remove afterwards.
            sop_instance_uid: see `is_uid`.

        Raises:
            OSError: the disk is full or fails; nothing is there then.
        """
        partial = self.arriving / f"{sop_instance_uid}.{threading.get_ident()}.part"
        try:
            _link_or_copy(received, partial)
            partial.chmod(self._rights)
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
            with self._lock:
                return self._place(partial, sop_instance_uid)
        finally:
            partial.unlink(missing_ok=True)

    def holds(self, sop_instance_uid: str) -> bool:
        """Whether an object of this UID is on the disk."""
        return is_uid(sop_instance_uid) and self._path(sop_instance_uid, 1).is_file()

    def _place(self, partial: Path, uid: str) -> Arrival:
        # It remembers answers by size and time, and objects of one machine may agree in both.
        filecmp.clear_cache()
        number = 1
        while (target := self._path(uid, number)).exists():
            if filecmp.cmp(partial, target, shallow=False):
                return Arrival.AGAIN
            number += 1
        target.parent.mkdir(exist_ok=True)
        put_in_place(partial, target)
        sync_folder(self.inbox)
        return Arrival.NEW if number == 1 else Arrival.OTHER_CONTENT

    def _path(self, uid: str, number: int) -> Path:
        shelf = hashlib.sha256(uid.encode("ascii")).hexdigest()[:2]
        suffix = "" if number == 1 else f"~{number}"
        return self.inbox / shelf / f"{uid}{suffix}.dcm"


def is_uid(text: str) -> bool:
    """Whether a text has the form of a DICOM UID."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        shutil.copyfile(source, target)  # a file system without links, such as a stick's


def require_free_bytes(spool: Spool, least: int) -> None:
    """Raise StorageError where there is less room than that before anything was received."""
    free = spool.free_bytes()
    if free < least:
        raise StorageError(
            f"{spool.inbox}: {free / 1e6:.0f} MB are free; at least {least / 1e6:.0f} MB must be "
            "to receive (--keep-free)"
        )
