"""Which files of S3-compatible storage are to be scored: a walk below one prefix.

The same files in the same order as of a local copy, and the same names. Of a prefix one folder at
a time is listed, and its names are in memory while it is walked.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edge_app.errors import NoInputError, StorageError, UsageError
from edge_app.files.bucket import (
    BucketFileError,
    Entry,
    address_of,
    is_file_in_bucket,
    is_in_bucket,
    list_prefix,
    read_from_bucket,
    require_prefix,
)
from edge_app.images.formats import SNIFF_BYTES, sniff_format
from edge_app.runs.discovery import (
    NOT_PICTURES,
    Folders,
    ImageFile,
    Inputs,
    LeftOut,
    has_picture_name,
)
from edge_app.runs.file_stamps import FileStamp


class BucketInputs(Inputs):
    """One `s3://` address, as a sequence of files that can be walked again and again."""

    def __init__(
        self,
        named: Sequence[Path],
        *,
        recursive: bool = True,
        called: Callable[[str], str] = str,
    ) -> None:
        """Look at what is named, without walking it.

        Args:
            named: one address.
            recursive: whether folders below it are walked.
            called: gives what rows call a file of this name.

        Raises:
            NoInputError: it is not there, or cannot be listed.
            UsageError: it stands beside another input.
            RuntimeUnavailableError: pyarrow is missing.
        """
        self.empty, self.links, self.left_out = Folders(), Folders(), LeftOut()
        self.is_list = self.may_repeat = False
        self._recursive = recursive
        self._called = called
        if len(named) > 1:
            raise UsageError("an s3:// address stands alone, without other inputs")
        self._top = named[0]
        try:
            require_prefix(self._top)
        except StorageError as error:
            raise NoInputError(str(error)) from error
        self._is_file = is_file_in_bucket(self._top)
        self.root = self._top.parent if self._is_file else self._top

    def __iter__(self) -> Iterator[ImageFile]:
        """Walk everything anew.

        Raises:
            StorageError: a prefix cannot be listed any more.
        """
        self.left_out = LeftOut()
        if self._is_file:
            return iter([ImageFile(self._top, self._name(self._top))])
        return self._below(self._top)

    def _below(self, top: Path) -> Iterator[ImageFile]:
        open_folders = [self._entries(top)]
        while open_folders:
            found = next(open_folders[-1], None)
            if found is None:
                open_folders.pop()
                continue
            path, entry = found
            if entry.is_folder:
                if self._recursive:
                    open_folders.append(self._entries(path))
            elif has_picture_name(entry.name.encode("utf-8")) or _may_be_picture(path):
                stamp = FileStamp(entry.size, entry.mtime_ns)
                yield ImageFile(path, self._name(path), listed=stamp)
            else:
                self.left_out.add(entry.name.encode("utf-8"))

    def _entries(self, folder: Path) -> Iterator[tuple[Path, Entry]]:
        """What counts in a folder, sorted by the name's bytes as of a local one."""
        wanted = (
            entry
            for entry in list_prefix(folder)
            if not entry.name.startswith(".")
            and (entry.is_folder or entry.name.upper().encode("utf-8") not in NOT_PICTURES)
        )
        ordered = sorted(wanted, key=lambda entry: entry.name.encode("utf-8"))
        return ((folder / entry.name, entry) for entry in ordered)


def open_inputs(
    named: Sequence[Path],
    *,
    recursive: bool,
    excluded: Path | None,
    spill_folder: Path | None,
    called: Callable[[str], str],
) -> Inputs:
    """What a command line names, wherever it lies; as of `Inputs` and `BucketInputs`."""
    if any(is_in_bucket(path) for path in named):
        return BucketInputs(named, recursive=recursive, called=called)
    return Inputs(
        named,
        recursive=recursive,
        excluded=excluded,
        spill_folder=spill_folder,
        called=called,
    )


def require_reachable(root: Path) -> None:
    """After a file that could not be read: is the storage at fault, and not the file?

    Raises:
        StorageError: it is.
    """
    try:
        require_prefix(root)
    except StorageError as error:
        raise StorageError(f"{error}; once it answers, the same command goes on") from error


def _may_be_picture(path: Path) -> bool:
    try:
        return sniff_format(read_from_bucket(path, SNIFF_BYTES, beginning=True)) is not None
    except BucketFileError:
        return True  # it gets a row that says so


def place_of(path: Path) -> str:
    """Where inputs lie, for the results: an address, or an absolute path with links resolved."""
    return address_of(path) if is_in_bucket(path) else os.path.realpath(path)
