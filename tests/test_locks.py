"""One process at a time: the lock dies with its holder, here and, as simulated, on Windows."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from edge_app.errors import StorageError
from edge_app.files import locks
from edge_app.files.locks import FileLock
from tests.conftest import REPOSITORY


def windows_locking(held: set[int]) -> types.ModuleType:
    """`msvcrt` as documented: the lock of a byte by another handle is EACCES."""
    module = types.ModuleType("msvcrt")

    def locking(descriptor: int, mode: int, count: int) -> None:
        node = os.fstat(descriptor).st_ino
        if node in held:
            raise PermissionError(13, "Permission denied")
        held.add(node)

    module.LK_NBLCK, module.locking = 2, locking  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("system", ["here", "windows"])
def test_a_lock_is_held_by_one(
    tmp_path: Path, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: set[int] = set()
    if system == "windows":
        monkeypatch.setattr(locks.sys, "platform", "win32")
        monkeypatch.setitem(sys.modules, "msvcrt", windows_locking(held))
    path = tmp_path / ".lock"
    with FileLock(path, "busy"), pytest.raises(StorageError, match=r"^busy$"):
        FileLock(path, "busy")
    held.clear()
    assert not path.exists()
    FileLock(path, "busy").close()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    script = (
        "import sys, time; from pathlib import Path; from edge_app.files.locks import FileLock\n"
        "lock = FileLock(Path(sys.argv[1]), 'busy'); print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StorageError, match="busy"):
            FileLock(path, "busy")
        process.kill()
        process.wait()
    assert path.exists()
    FileLock(path, "busy").close()


def test_what_the_holder_removes_meanwhile_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened while the holder had it, locked when it was gone: a third one would get in too."""
    path = tmp_path / ".lock"
    holder = FileLock(path, "busy")
    honest, calls = locks._try_lock, []

    def late(descriptor: int) -> bool:
        if not calls:
            holder.close()
        calls.append(descriptor)
        return honest(descriptor)

    monkeypatch.setattr(locks, "_try_lock", late)
    with FileLock(path, "busy"):
        assert len(calls) == 2
        with pytest.raises(StorageError):
            FileLock(path, "busy")


def test_a_share_without_locks_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    FileLock(tmp_path / ".lock", "busy").close()
    with pytest.raises(StorageError, match="cannot be written"):
        FileLock(tmp_path / "none" / ".lock", "busy")
