"""A folder of pictures that every contender can read: the same ones under as many names as needed.

A folder enters; `Chosen` pictures leave, and links to them in a folder of their own.
"""

import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edge_app.errors import NoInputError, StorageError
from edge_app.images.labelled_pictures import list_pictures

_DICOM_SUFFIXES = (".dcm", ".dicom")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Pictures that every loop can read.

    Attributes:
        pictures: at most as many as were asked for.
        dicom: DICOM files in the folder, left out since the loops read none.
        unreadable: files that were chosen first and are damaged or no pictures.
    """

    pictures: tuple[Path, ...]
    dicom: int
    unreadable: int

    def __str__(self) -> str:
        """What was left out, "" where nothing was."""
        parts = [f"{self.dicom} DICOM"] if self.dicom else []
        parts += [f"{self.unreadable} unreadable"] if self.unreadable else []
        return f"left out: {' and '.join(parts)} files" if parts else ""

    def median_megapixels(self) -> float:
        """Median size of the pictures."""
        sizes = []
        for picture in self.pictures:
            with Image.open(picture) as image:
                sizes.append(image.width * image.height / 1e6)
        return statistics.median(sizes)


def choose_pictures(folder: Path, most: int) -> Chosen:
    """At most `most` pictures of a folder, evenly spread over the order of their names.

    Raises:
        NoInputError: there are none that a loop with Pillow can read.
    """
    found = list_pictures(folder)
    plain = [path for path in found if path.suffix.lower() not in _DICOM_SUFFIXES]
    taken = min(most, len(plain))
    spread = [plain[index * len(plain) // taken] for index in range(taken)]
    pictures = tuple(path for path in spread if _is_whole(path))
    chosen = Chosen(pictures, len(found) - len(plain), len(spread) - len(pictures))
    if not pictures:
        why = f"; {chosen}" if str(chosen) else ""
        raise NoInputError(f"{folder}: no PNG, JPEG, TIFF, BMP or WebP file to read in it{why}")
    return chosen


def _is_whole(path: Path) -> bool:
    """Whether Pillow decodes it to the end: other people's loops die of a damaged file."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return False
    return True


def link_pictures(pictures: Sequence[Path], folder: Path, files: int) -> Path:
    """Put pictures under `files` names into a folder, as links where allowed.

    A picture's own folder is kept, since it may be its class; so is its index, in the name.

    Raises:
        StorageError: no kind of link is allowed here and copies would fill the disk.
    """
    for picture in pictures:
        (folder / picture.parent.name).mkdir(parents=True, exist_ok=True)
    put = _way_to_put(pictures, folder, files)
    originals = [picture.resolve() for picture in pictures]
    for number in range(files):
        copy, index = divmod(number, len(pictures))
        picture = pictures[index]
        name = f"{copy:04d}_{index:05d}{picture.suffix}"
        put(originals[index], folder / picture.parent.name / name)
    return folder


def _way_to_put(
    pictures: Sequence[Path], folder: Path, files: int
) -> Callable[[Path, Path], object]:
    """Symbolic links; hard ones where those are forbidden (Windows); copies where they fit."""
    probe = folder / "probe"
    for link in (_symlink, os.link):
        try:
            link(pictures[0].resolve(), probe)
        except OSError:
            continue
        probe.unlink()
        return link
    needed = sum(picture.stat().st_size for picture in pictures) * files / len(pictures)
    free = shutil.disk_usage(folder).free
    if needed > free / 2:
        raise StorageError(
            f"{folder}: no links are allowed here, and {needed / 1e6:.0f} MB of copies are more "
            f"than half of the {free / 1e6:.0f} MB that are free; name fewer files, or another "
            "place for temporary files with TMPDIR"
        )
    return shutil.copyfile


def _symlink(original: Path, target: Path) -> None:
    target.symlink_to(original)
