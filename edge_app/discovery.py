"""Which files of a folder are pictures to score, and in which order.

A folder enters, paths leave one by one in an order that depends on the names only. Memory grows
with the largest folder on the way, not with the tree.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from edge_app.errors import NoInputError
from edge_app.image import SNIFF_BYTES, SUFFIXES, sniff_format

# The index of a DICOM medium: DICOM by its content, a table of contents by its meaning.
_NOT_PICTURES = frozenset({"DICOMDIR"})


def find_images(folder: Path, *, excluded: Path | None = None) -> Iterator[Path]:
    """Walk a folder and its sub-folders for pictures, sorted by name at each level.

    A file counts by its name's ending, or, as DICOM files often have none, by its content. Hidden
    files and folders (a leading dot) are left out; links to folders are not followed. A
    sub-folder that cannot be listed is given itself, so that it ends up among the failures
    instead of being missed in silence.

    Args:
        folder: where to look.
        excluded: a folder below it to leave out, as that of the results.

    Raises:
        NoInputError: the folder is missing, is no folder, or cannot be listed.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "no such folder"
        raise NoInputError(f"{folder}: {what}")
    try:
        entries = _listed(folder)
    except OSError as error:
        raise NoInputError(f"{folder}: {error.strerror or error}") from error
    return _walk(entries, excluded.resolve() if excluded is not None else None)


def _walk(entries: list["os.DirEntry[str]"], excluded: Path | None) -> Iterator[Path]:
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if path.resolve() != excluded:
                yield from _walk_below(path, excluded)
        elif _is_candidate(path):
            yield path


def _walk_below(folder: Path, excluded: Path | None) -> Iterator[Path]:
    try:
        entries = _listed(folder)
    except OSError:
        yield folder
        return
    yield from _walk(entries, excluded)


def _listed(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_candidate(path: Path) -> bool:
    if path.name.upper() in _NOT_PICTURES or path.is_dir():
        return False
    return path.suffix.lower() in SUFFIXES or _has_picture_content(path)


def _has_picture_content(path: Path) -> bool:
    """Whether the first bytes are those of a picture; a pipe or device is never opened."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return sniff_format(stream.read(SNIFF_BYTES)) is not None
    except OSError:
        return False


def portable_name(path: Path, folder: Path) -> str:
    r"""A path below a folder, with forward slashes; bytes that are no UTF-8 as `\xNN`."""
    name = path.relative_to(folder).as_posix()
    return os.fsencode(name).decode("utf-8", "backslashreplace")
