"""Writing: nothing half-written stays, whatever the disk does."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_app.errors import StorageError
from edge_app.storage import Journal, make_folder, write_whole
from tests.conftest import REPOSITORY


@dataclass(frozen=True, slots=True)
class Entry:
    text: str


def test_a_journal_holds_a_line_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.append(Entry("one"))
        # Written through: another process sees it before the journal is closed.
        assert path.read_text() == '{"text":"one"}\n'
        journal.append(Entry("zwei\nDRÖI"))
    assert path.read_text(encoding="utf-8") == '{"text":"one"}\n{"text":"zwei\\nDRÖI"}\n'


def test_a_journal_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text("old")
    with pytest.raises(StorageError, match="never overwritten"):
        Journal(path)
    assert path.read_text() == "old"


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from edge_app.errors import StorageError
from edge_app.storage import Journal, write_whole
from tests.test_storage import Entry

folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
written = 0
try:
    with Journal(folder / "j.jsonl") as journal:
        while True:
            journal.append(Entry("x" * 90))
            written += 1
except StorageError:
    print(written)
try:
    write_whole(folder / "table.csv", ["y" * 5000])
except StorageError:
    print("refused")
"""


def test_a_full_disk_leaves_whole_lines_and_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("before")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    written, verdict = done.stdout.split()
    lines = (tmp_path / "j.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == int(written) == 9
    assert all(line.endswith(b"\n") and len(line) == 102 for line in lines)
    assert verdict == "refused"
    assert (tmp_path / "table.csv").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["j.jsonl", "table.csv"]


def test_folders(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(StorageError):
        make_folder(Path("/proc/pneumoscope"))
    assert StorageError.exit_code == 5


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
