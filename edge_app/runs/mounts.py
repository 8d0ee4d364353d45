"""Where devices and shares are mounted that a folder lies on or holds, and whether they still are.

After an unmount the folder beneath is found under the same name, with files of its own. A mount
that comes back may be another device by its number, so what counts is that something is mounted.
"""

import os
from pathlib import Path

# Folders whose mount is known; about 4 MB.
_MOST_FOLDERS = 16_384


class Mounts:
    """The mount points that were met."""

    def __init__(self, folder: Path) -> None:
        """Begin with the one that a folder lies on, if any."""
        self._points: set[str] = set()
        self._looked_at: set[str] = set()
        self.note(os.path.abspath(folder))

    def note(self, folder: str) -> None:
        """Look, once, where a folder lies."""
        if folder in self._looked_at:
            return
        if len(self._looked_at) >= _MOST_FOLDERS:
            self._looked_at.clear()
        self._looked_at.add(folder)
        point = folder
        while not os.path.ismount(point):
            point = os.path.dirname(point)
        if point != os.path.dirname(point):  # the root of a system is never unmounted
            self._points.add(point)

    def gone(self) -> tuple[str, ...]:
        """The mount points at which nothing is mounted now."""
        return tuple(sorted(point for point in self._points if not os.path.ismount(point)))


def lies_below(path: str, points: tuple[str, ...]) -> bool:
    """Whether a path is one of the folders or lies in one of them."""
    return any(path == point or path.startswith(os.path.join(point, "")) for point in points)
