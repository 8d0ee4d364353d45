"""Writing: nothing half-written stays, whatever the disk does."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_app.errors import StorageError
from edge_app.files.whole import (
    make_folder,
    put_in_place,
    require_writable,
    write_files,
    write_whole,
)
from tests.conftest import REPOSITORY

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from edge_app.errors import StorageError
from edge_app.files.whole import write_whole

folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(folder / "table.csv", ["y" * 5000])
except StorageError:
    print("refused")
"""


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("before")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["refused"]
    assert (tmp_path / "table.csv").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["table.csv"]


def test_folders(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(StorageError):
        make_folder(Path("/proc/pneumoscope"))
    assert StorageError.exit_code == 5


def test_whether_a_file_can_be_written_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("before")
    require_writable(tmp_path / "there.json")
    require_writable(tmp_path / "new.json")
    assert (tmp_path / "there.json").read_text() == "before"
    assert os.listdir(tmp_path) == ["there.json"]
    for path in (tmp_path, tmp_path / "none" / "s.json", tmp_path / "there.json" / "s.json"):
        with pytest.raises(StorageError, match="cannot be written"):
            require_writable(path)


def test_a_whole_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_whole(path, ["a", "ü\r\n"])
    assert path.read_bytes() == "aü\r\n".encode()

    def failing() -> object:
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, failing())  # type: ignore[arg-type]
    assert path.read_bytes() == "aü\r\n".encode()
    assert os.listdir(tmp_path) == ["t.csv"]


@pytest.mark.skipif(os.name == "nt", reason="no folder can be opened there")
def test_the_folder_is_synced_behind_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a power cut takes a finished file's name away, or brings the old one back."""
    path = tmp_path / "bundle"
    events: list[tuple[str, bool]] = []
    honest = os.fsync

    def fsync(handle: int) -> None:
        honest(handle)
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        events.append((kind, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, b"content")
    assert events == [("file", False), ("folder", True)]
    path.unlink()
    events.clear()
    write_files(tmp_path / "unpacked", [("golden/1.npy", b"a"), ("bundle.json", b"b")])
    put_in_place(tmp_path / "unpacked", path)
    # Two files, the two folders that hold their names, then the one that got the new name.
    assert events == [*[("file", False)] * 2, *[("folder", False)] * 2, ("folder", True)]
