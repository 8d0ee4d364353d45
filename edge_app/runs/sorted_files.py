"""A run's films in one folder for each answer, as links or copies; the originals stay untouched.

Below each answer's folder a film keeps the path that its row names, so films of one name do not
meet; what would lead out of the folder is replaced. Doing it again changes nothing, and moves the
films whose answer has changed.
"""

import filecmp
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_app.decision import Decision
from edge_app.errors import StorageError, UsageError
from edge_app.files.whole import make_folder
from edge_app.results.folder import RunFolder
from edge_app.results.rows import ResultRow, read_results
from edge_app.runs.discovery import path_of

_MOST_OF_ONE_NAME = 1000


@dataclass(slots=True)
class Sorted:
    """How many films lie there now, and how many could not be found any more."""

    films: int = 0
    missing: int = 0


def require_outside(into: Path, inputs: tuple[Path, ...], out: Path) -> None:
    """See that sorted films are not taken for new ones by the next run.

    Raises:
        UsageError: the folder lies in what is scored.
    """
    place = into.resolve()
    if place.is_relative_to(out.resolve()):
        return
    for named in inputs:
        if os.path.isdir(named) and place.is_relative_to(named.resolve()):
            raise UsageError(f"{into} lies in {named}: the next run would score its films again")


def sort_files(
    folder: RunFolder,
    root: Path,
    into: Path,
    *,
    copies: bool,
    on_note: Callable[[str], None] = lambda text: None,
) -> Sorted:
    """Sort the films of a run.

    Args:
        folder: of the run.
        root: what the rows' names are relative to.
        into: gets a folder for each answer.
        copies: whether films are copied; else linked, and copied where links are not possible.
        on_note: told where they are not.

    Raises:
        StorageError: the disk is full, read-only or gone.
    """
    done = Sorted()
    place = _linker(copies, on_note)
    # The last row of a file holds.
    answers = {row.file: row.decision for row in _rows(folder)}
    make_folder(into)
    for name, decision in answers.items():
        source = path_of(name, root)
        if not os.path.isfile(source):
            done.missing += 1
            continue
        try:
            for other in Decision:
                target = _target(into / other.value, name, source)
                if other is decision:
                    _put(source, target, place)
                elif os.path.lexists(target):
                    target.unlink()
        except OSError as error:
            raise StorageError(f"{into}: {name}: {error.strerror or error}") from error
        done.films += 1
    return done


def _rows(folder: RunFolder) -> Iterator[ResultRow]:
    return read_results(folder.results)[1]


def _target(folder: Path, name: str, source: Path) -> Path:
    """Where a film lies or is to lie below an answer's folder.

    Two names that differ in what was replaced, or in case on a disk that ignores it, get a number.
    """
    wanted = folder.joinpath(*_safe_parts(name))
    for number in range(1, _MOST_OF_ONE_NAME):
        mark = "" if number == 1 else f" ({number})"
        target = wanted.with_name(f"{wanted.stem}{mark}{wanted.suffix}")
        if not os.path.lexists(target) or _is_same(target, source):
            return target
    raise StorageError(f"{wanted}: {_MOST_OF_ONE_NAME} films of this name")


def _safe_parts(name: str) -> Iterator[str]:
    """A row's name without what leaves its folder, means a drive, or is no name anywhere."""
    for part in PurePosixPath(name).parts:
        if part == "/":
            continue
        safe = re.sub(r'[\x00-\x1f\\:*?"<>|]', "_", part)
        yield "_" if safe.strip(". ") == "" else safe


def _is_same(target: Path, source: Path) -> bool:
    """Whether what lies there was made from this film: a link to it, or its copy."""
    if target.is_symlink():
        return os.path.abspath(os.readlink(target)) == os.path.abspath(source)
    return filecmp.cmp(target, source, shallow=False)


def _put(source: Path, target: Path, place: Callable[[Path, Path], None]) -> None:
    if os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    place(source, target)


def _linker(copies: bool, on_note: Callable[[str], None]) -> Callable[[Path, Path], None]:
    """A function that links, or copies from the first refusal of the file system on."""
    is_copying = copies

    def place(source: Path, target: Path) -> None:
        nonlocal is_copying
        if not is_copying:
            try:
                os.symlink(os.path.abspath(source), target)
            except (OSError, NotImplementedError) as error:
                is_copying = True
                on_note(f"{target.parent}: no links here ({error}), so films are copied")
            else:
                return
        try:
            shutil.copy2(source, target)
        except OSError:
            with suppress(OSError):  # half a film is none
                target.unlink(missing_ok=True)
            raise

    return place
