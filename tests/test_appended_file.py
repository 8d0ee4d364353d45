"""A file that only grows: whole lines or none, whatever happens to the disk or the process."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_app.errors import StorageError
from edge_app.files.appended_file import AppendedFile
from edge_app.report.gallery import Gallery
from edge_app.results.journal import Journal
from edge_app.runs.file_stamps import FileStamps
from tests.conftest import REPOSITORY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines.jsonl"


def test_lines_wait_until_they_are_flushed_and_their_place_is_told(path: Path) -> None:
    path.write_bytes(b"old\n")
    with AppendedFile(path) as file:
        assert [file.append(b"a\n"), file.append(b"bc\n")] == [4, 6]
        assert (file.end, file.waiting) == (4, 2)
        assert path.read_bytes() == b"old\n"
        file.flush()
        assert path.read_bytes() == b"old\na\nbc\n"
        assert (file.end, file.waiting) == (9, 0)
        file.append(b"d\n")
    assert path.read_bytes() == b"old\na\nbc\nd\n"


@pytest.mark.parametrize("tail", [b"", b"torn", b"\0" * 200_000, b"x" * 65536])
@pytest.mark.parametrize("whole", [b"", b"one\n", b"one\n" * 40_000])
def test_a_torn_line_is_cut_off_however_long(path: Path, whole: bytes, tail: bytes) -> None:
    path.write_bytes(whole + tail)
    with AppendedFile(path) as file:
        file.cut_torn_line()
        assert path.read_bytes() == whole
        assert file.append(b"next\n") == len(whole)
    assert path.read_bytes() == whole + b"next\n"


def test_what_is_written_anew_is_there_in_full_or_not_at_all(path: Path) -> None:
    path.write_bytes(b"a\nb\nc\n")

    def lines(*, fails: bool) -> Iterator[bytes]:
        yield b"b\n"
        if fails:
            raise OSError(28, os.strerror(28))

    with AppendedFile(path) as file:
        with pytest.raises(StorageError, match="No space left"):
            file.rewrite(lines(fails=True))
        assert path.read_bytes() == b"a\nb\nc\n"
        file.rewrite(lines(fails=False))
        assert file.append(b"d\n") == 2
        file.sync()
    assert path.read_bytes() == b"b\nd\n"
    assert os.listdir(path.parent) == [path.name]


FULL_DISK = r"""
import resource, signal, sys
from pathlib import Path
from edge_app.files.appended_file import AppendedFile
from edge_app.errors import StorageError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with AppendedFile(Path(sys.argv[1])) as file:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    for number in range(30):
        file.append(b"%098d\n" % number)
        file.append(b"%098d\n" % number)
        try:
            file.flush()
        except StorageError as error:
            print(number, error.exit_code, Path(sys.argv[1]).stat().st_size)
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    file.append(b"once there is room\n")
"""


def test_on_a_full_disk_no_half_of_what_waited_is_left(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    # Five times two lines of 99 bytes fit; of the sixth, one would have: both come later.
    assert done.stdout.split() == ["5", "5", "990"]
    lines = path.read_bytes().splitlines()
    assert [int(line) for line in lines[:-1]] == [n for n in range(6) for _ in range(2)]
    assert lines[-1] == b"once there is room"


@pytest.mark.parametrize("kind", [AppendedFile, Journal, FileStamps, Gallery])
def test_each_says_why_it_cannot_be_written(kind: type[object], path: Path) -> None:
    path.mkdir()
    with pytest.raises(StorageError, match="cannot be written: Is a directory"):
        kind(path)  # type: ignore[call-arg]


def test_a_file_that_another_program_holds_open_can_be_gone_on_with(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows what is open is not replaced, by a virus scanner as little as by ourselves."""

    def replace(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "in use")

    path.write_bytes(b"old\n")
    with AppendedFile(path) as file:
        file.append(b"a\n")
        file.flush()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            with pytest.raises(StorageError, match="in use"):
                file.rewrite([b"new\n"])
        file.append(b"b\n")
    assert path.read_bytes() == b"old\na\nb\n"
    assert sorted(path.parent.iterdir()) == [path]
