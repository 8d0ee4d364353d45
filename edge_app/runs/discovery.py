r"""Which files are to be scored, in which order, and what their rows call them.

Folders, files, patterns or a list enter; `ImageFile`s leave one by one, in an order that depends
on the names only. Memory is bounded: of a folder with more names than fit, sorted runs are spilled
to disk and merged. No picture is decoded here.
"""

import errno
import heapq
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from edge_app.errors import NoInputError, StorageError, UsageError
from edge_app.images.formats import SNIFF_BYTES, SUFFIXES, UNREAD_SUFFIXES, sniff_format
from edge_app.results.rows import printable
from edge_app.runs.file_stamps import FileStamp

LIST_SUFFIX = ".txt"

# The index of a DICOM medium: DICOM by its content, a table of contents by its meaning.
NOT_PICTURES = frozenset({b"DICOMDIR"})
_SUFFIXES = tuple(suffix.encode("ascii") for suffix in SUFFIXES | UNREAD_SUFFIXES)

# About 2 MB of names. Larger folders are sorted on disk.
_NAMES_IN_MEMORY = 16_384
_SPILL_BLOCK_BYTES = 1 << 13
_LONGEST_LIST_LINE = 1 << 16

_FOLDER, _FILE = b"d", b"f"
# In the place of a folder's trouble, none of which has a newline.
_NO_PICTURE = "no\npicture"
# After the last name of a folder.
_END = b"", b""

# UTF-32 first, since its mark begins with that of UTF-16.
_OTHER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_LIST_BYTES_LOOKED_AT = 4096

_MOST_FOLDERS_NAMED = 3
_MOST_ENDINGS = 50
# Of a link: it leads nowhere, or to itself. All else (no permission, a dead share) hides a file.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

_LOOKS_ESCAPED = re.compile(rb"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class ImageFile:
    r"""A file to score.

    Attributes:
        path: where it lies.
        name: what its row calls it: relative to the input's root, forward slashes, bytes that are
            no UTF-8 as `\xNN`; see `portable_name`.
        trouble: why it is a folder that cannot be listed, in the place of the files that may be in
            it; None for a file.
        listed: size and time as the listing of a bucket says; None elsewhere, where a look at the
            file tells.
    """

    path: Path
    name: str
    trouble: str | None = None
    listed: FileStamp | None = None


@dataclass(slots=True)
class Folders:
    """Folders that nothing was found in: how many, and the names of the first few."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Count one."""
        self.count += 1
        if self.count <= _MOST_FOLDERS_NAMED:
            self.first.append(name)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        return ", ".join(self.first) + (f" and {more} more" if more else "")


@dataclass(slots=True)
class LeftOut:
    """Files that are no pictures, by name and content: how many of each ending."""

    endings: Counter[str] = field(default_factory=Counter)

    def add(self, name: bytes) -> None:
        """Count one."""
        ending = os.path.splitext(os.fsdecode(name))[1].lower()
        known = ending in self.endings or len(self.endings) < _MOST_ENDINGS
        # Endings that are numbers, as of a log: a table of them must not grow without bound.
        self.endings[printable(ending) if known and len(ending) < 12 else "others"] += 1


@dataclass(frozen=True, slots=True)
class _Branch:
    """A folder to walk, or a single file; `pattern` filters paths relative to the folder."""

    path: Path
    pattern: str | None


class Inputs:
    """What a command line names, as a sequence that can be walked again and again.

    Attributes:
        root: the folder that the rows' names are relative to.
        empty: sub-folders without a name in them, as a place where nothing is mounted.
        links: links to folders, which are not followed.
        left_out: files that are no pictures.
        is_list: whether the files stand in a list, so that they may lie anywhere.
        may_repeat: whether one file can come up twice (named twice, in a list, links aside).
    """

    def __init__(
        self,
        named: Sequence[Path],
        *,
        recursive: bool = True,
        excluded: Path | None = None,
        spill_folder: Path | None = None,
        called: Callable[[str], str] = str,
    ) -> None:
        """Look at what is named, without walking it.

        Args:
            named: one list (`LIST.txt`), or any number of folders, files and patterns. A pattern
                holds `*`, `?` or `[...]`; `**` stands for any number of folders.
            recursive: whether sub-folders are walked; a pattern decides that itself.
            excluded: a folder to leave out, as that of the results.
            spill_folder: where names are sorted that do not fit into memory; None takes the
                system's folder for temporary files.
            called: gives what rows and notes call a file or folder of this name.

        Raises:
            NoInputError: something that is named is not there.
            UsageError: a list beside something else, or one that is no UTF-8 text.
        """
        self.empty, self.links, self.left_out = Folders(), Folders(), LeftOut()
        self._recursive = recursive
        self._excluded = excluded.resolve() if excluded is not None else None
        self._spill_folder = spill_folder
        self._called = called
        self._list: Path | None = None
        self._branches: tuple[_Branch, ...] = ()
        lists = [path for path in named if _is_list(path)]
        if lists:
            if len(named) > 1:
                raise UsageError(f"{lists[0]}: a list of files stands alone, without other inputs")
            _require_utf8(lists[0])
            self._list = lists[0]
            self.root = lists[0].parent
        else:
            # Names relative to a common root need paths that have one.
            several = len(named) > 1
            self._branches = tuple(_branch(p.absolute() if several else p) for p in named)
            self.root = _common_root(self._branches)
        self.is_list = self._list is not None
        self.may_repeat = self.is_list or len(named) > 1

    def __iter__(self) -> Iterator[ImageFile]:
        """Walk everything anew.

        Raises:
            NoInputError: the list or a named folder cannot be read.
            StorageError: the root went away meanwhile, or names could not be spilled.
        """
        self.empty, self.links, self.left_out = Folders(), Folders(), LeftOut()
        return self._listed_files() if self._list is not None else self._walked_files()

    def _listed_files(self) -> Iterator[ImageFile]:
        assert self._list is not None
        for line in _list_lines(self._list):
            path = self._list.parent / line
            yield ImageFile(path, self._name(path))

    def _walked_files(self) -> Iterator[ImageFile]:
        for branch in self._branches:
            if not os.path.isdir(branch.path):
                yield ImageFile(branch.path, self._name(branch.path))
                continue
            matches = _matcher(branch.pattern)
            recursive = self._recursive if branch.pattern is None else "/" in branch.pattern
            folder = os.fsencode(branch.path)
            prefix = len(os.path.join(folder, b""))
            for found, trouble in self._walk(folder, recursive):
                # A folder that could not be listed is kept whatever the pattern says.
                if trouble in (None, _NO_PICTURE) and not matches(found[prefix:]):
                    continue
                if trouble == _NO_PICTURE:
                    self.left_out.add(os.path.basename(found))
                    continue
                path = Path(os.fsdecode(found))
                yield ImageFile(path, self._name(path), trouble)

    def _name(self, path: Path) -> str:
        return self._called(portable_name(path, self.root))

    def _walk(self, top: bytes, recursive: bool) -> Iterator[tuple[bytes, str | None]]:
        """Files, `_NO_PICTURE` beside those; and folders that cannot be listed, beside why."""
        # A list of folders that are open, rather than recursion: trees may be thousands deep.
        try:
            open_folders = [(top, self._sorted_names(top))]
        except OSError as error:
            text = error.strerror or str(error)
            if len(self._branches) == 1:
                raise NoInputError(f"{os.fsdecode(top)}: {text}") from error
            yield top, text
            return
        while open_folders:
            folder, names = open_folders[-1]
            name, kind = next(names, _END)
            path = os.path.join(folder, name)
            if kind == _FILE:
                is_picture = has_picture_name(name) or _may_be_picture(path)
                yield path, None if is_picture else _NO_PICTURE
            elif kind != _FOLDER:
                open_folders.pop()
            elif recursive and not self._is_excluded(path):
                try:
                    open_folders.append((path, self._sorted_names(path)))
                except OSError as error:
                    if not os.path.isdir(self.root):
                        raise gone(self.root) from error
                    # Given itself, so that it ends up among the failures, not missed in silence.
                    yield path, error.strerror or str(error)

    def _is_excluded(self, path: bytes) -> bool:
        return self._excluded is not None and Path(os.fsdecode(path)).resolve() == self._excluded

    def _sorted_names(self, folder: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(name, kind) of all that counts in a folder, sorted by the name's bytes."""
        with os.scandir(folder) as entries:
            records = self._records(entries)
            chunk = sorted(islice(records, _NAMES_IN_MEMORY))
            # Without any name at all: hidden files and links show that something is mounted there.
            if not chunk and folder != os.fsencode(self.root) and not os.listdir(folder):
                self.empty.add(self._name(Path(os.fsdecode(folder))))
            if len(chunk) < _NAMES_IN_MEMORY:
                return iter(chunk)
            return _merged_on_disk(chunk, records, self._spill_folder)

    def _records(self, entries: Iterable["os.DirEntry[bytes]"]) -> Iterator[tuple[bytes, bytes]]:
        for entry in entries:
            # Hidden files: `._scan.png` on a USB stick is a Mac's note about scan.png.
            if entry.name.startswith(b"."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield entry.name, _FOLDER
            elif _is_folder_link(entry):
                self.links.add(self._name(Path(os.fsdecode(entry.path))))
            elif entry.name.upper() not in NOT_PICTURES:
                yield entry.name, _FILE


def gone(root: Path) -> StorageError:
    """The error for an input folder that was there and is not any more (unplugged, unmounted)."""
    return StorageError(f"{root}: the folder has gone; once it is back, the same command goes on")


def has_picture_name(name: bytes) -> bool:
    """Whether a file's name ends like a picture's, of a kind that is read or not."""
    return name.lower().endswith(_SUFFIXES)


def portable_name(path: Path, root: Path) -> str:
    r"""A path below `root` as rows write it, a path elsewhere absolute; no UTF-8 as `\xNN`.

    Every `\xNN` in it stands for a byte: a name that holds such a text of its own has `\x5c` (a
    backslash) for its backslash. So two files never have one name.
    """
    name = path.relative_to(root) if path.is_relative_to(root) else path.absolute()
    plain = _LOOKS_ESCAPED.sub(rb"\\x5c", os.fsencode(name.as_posix()))
    return plain.decode("utf-8", "backslashreplace")


def path_of(name: str, root: Path) -> Path:
    """Where a file lies that has this `portable_name` below `root`."""
    plain = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), name.encode("utf-8"))
    return root / os.fsdecode(plain)


def _is_folder_link(entry: "os.DirEntry[bytes]") -> bool:
    """Links to folders are not followed: they lead out, in circles, or to the same files twice."""
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # it leads to itself, or to where nobody may look
        return False


def _may_be_picture(path: bytes) -> bool:
    """Whether the first bytes are a picture's (DICOM files often have no ending).

    So may be those of a file that cannot be read: it gets a row that says so. A pipe or device is
    never opened.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as stream:
            return sniff_format(stream.read(SNIFF_BYTES)) is not None
    except OSError as error:
        return error.errno not in _NOT_THERE


def _merged_on_disk(
    first: list[tuple[bytes, bytes]],
    rest: Iterator[tuple[bytes, bytes]],
    folder: Path | None,
) -> Iterator[tuple[bytes, bytes]]:
    """External merge sort: sorted runs in temporary files, read back a block at a time."""
    runs: list[BinaryIO] = []
    chunk = first
    while chunk:
        runs.append(_spilled(chunk, folder))
        chunk = sorted(islice(rest, _NAMES_IN_MEMORY))
    return heapq.merge(*map(_read_back, runs))


def _spilled(chunk: list[tuple[bytes, bytes]], folder: Path | None) -> BinaryIO:
    try:
        # Deleted when `_read_back` closes it, also when the process is killed (on POSIX).
        run = tempfile.TemporaryFile(  # noqa: SIM115
            dir=folder, prefix=".pneumoscope-", buffering=_SPILL_BLOCK_BYTES
        )
        # The kind stands first; a name holds no null character.
        run.writelines(kind + name + b"\0" for name, kind in chunk)
        run.seek(0)
    except OSError as error:
        text = error.strerror or str(error)
        raise StorageError(f"{folder or tempfile.gettempdir()}: names to sort: {text}") from error
    return run  # type: ignore[return-value]


def _read_back(run: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    with run:
        kept = b""
        while block := run.read(_SPILL_BLOCK_BYTES):
            *records, kept = (kept + block).split(b"\0")
            yield from ((record[1:], record[:1]) for record in records)


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == LIST_SUFFIX and os.path.isfile(path)


def _require_utf8(path: Path) -> None:
    """Raise UsageError for a list in another Unicode encoding, as PowerShell 5 writes them."""
    try:
        with path.open("rb") as stream:
            begin = stream.read(_LIST_BYTES_LOOKED_AT)
    except OSError as error:
        raise NoInputError(f"{path}: {error.strerror or error}") from error
    marked = next((name for mark, name in _OTHER_MARKS.items() if begin.startswith(mark)), None)
    # Without a mark they are known by the zeros beside each letter; no path holds one.
    if marked is not None or b"\0" in begin:
        raise UsageError(
            f"{path}: the list is in {marked or 'UTF-16'}; save it as UTF-8 (PowerShell: "
            "Out-File -Encoding utf8)"
        )


def _list_lines(path: Path) -> Iterator[str]:
    """Paths of a list, one a line in UTF-8; empty lines and those that begin with # are skipped."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LIST_LINE), b"")):
                text = os.fsdecode(line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line)
                text = text.strip("\r\n")
                if text.strip() and not text.startswith("#"):
                    yield text
    except OSError as error:
        raise NoInputError(f"{path}: {error.strerror or error}") from error


def _branch(path: Path) -> _Branch:
    if os.path.exists(path):  # Path.exists raises where a share has died
        return _Branch(path, None)
    if not re.search(r"[*?\[]", str(path)):
        raise NoInputError(f"{path}: no such file or folder")
    parts = path.parts
    plain = next(i for i, part in enumerate(parts) if re.search(r"[*?\[]", part))
    base = Path(*parts[:plain])
    if not os.path.isdir(base):
        raise NoInputError(f"{path}: no such folder: {base}")
    return _Branch(base, "/".join(parts[plain:]))


def _common_root(branches: Sequence[_Branch]) -> Path:
    if len(branches) == 1:
        path = branches[0].path
        return path if os.path.isdir(path) else path.parent
    folders = [b.path if os.path.isdir(b.path) else b.path.parent for b in branches]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # two drives of a Windows machine
        return folders[0]


def _matcher(pattern: str | None) -> Callable[[bytes], bool]:
    """A test of paths below a branch's folder; no pattern lets everything through."""
    if pattern is None:
        return lambda _: True
    expression = re.compile(_expression(pattern))
    return lambda path: expression.fullmatch(os.fsdecode(path)) is not None


def _expression(pattern: str) -> str:
    """The regular expression of a pattern: `*`, `?` and `[...]` stay within one folder."""
    parts = pattern.split("/")
    steps = ["(?:[^/]+/)*" if part == "**" else _step(part) + "/" for part in parts[:-1]]
    last = "(?:[^/]+/)*[^/]+" if parts[-1] == "**" else _step(parts[-1])
    return "".join(steps) + last


def _step(part: str) -> str:
    tokens = re.findall(r"\[!?\]?[^\]]*\]|.", part, re.DOTALL)
    return "".join(_token(token) for token in tokens)


def _token(token: str) -> str:
    if token == "*":
        return "[^/]*"
    if token == "?":
        return "[^/]"
    if len(token) == 1:
        return re.escape(token)
    negated = token.startswith("[!")
    body = token[2 if negated else 1 : -1].replace("\\", r"\\").replace("]", r"\]")
    body = body.replace("[", r"\[").replace("&&", r"\&&").replace("^", r"\^")
    return f"[{'^/' if negated else ''}{body}]"
