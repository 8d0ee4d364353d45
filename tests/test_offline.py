"""Offline means offline: scoring opens no socket and leaves no file that is not asked for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.runtimes import RUNTIMES
from tests.conftest import REPOSITORY

INSTALLED = [engine.name for engine in RUNTIMES if engine.is_installed]
_WRITTEN = re.compile(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]+)", [^)]*O_(?:WRONLY|RDWR|CREAT)')


def traced(folder: Path, command: list[str], **variables: str) -> tuple[list[str], list[str]]:
    """Calls of `socket`, and paths opened for writing, of a command whose home is `folder`."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    log = folder / "strace.log"
    home = {name: str(folder) for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR")}
    filters = ["-f", "-qq", "-s", "4096", "-e", "trace=socket,connect,open,openat", "-o", str(log)]
    done = subprocess.run(
        [strace, *filters, sys.executable, *command],
        env=os.environ | home | {"PYTHONPATH": str(REPOSITORY)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stderr
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    assert any("O_RDONLY" in line for line in lines), "nothing was traced"
    calls = [line for line in lines if re.search(r"\b(?:socket|connect)\(", line)]
    return calls, [found[1] for line in lines if (found := _WRITTEN.search(line))]


@pytest.mark.parametrize("name", INSTALLED)
def test_score_opens_no_socket_and_leaves_no_file(
    name: str, tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    png = tmp_path / "chest.png"
    Image.fromarray(draw_phantom(Phantom(1), 256, 256)).save(png)
    before = set(tmp_path.rglob("*"))
    command = ["-B", "-m", "edge_app", "score", str(png), "--bundle", str(tiny_bundle_folder)]
    sockets, written = traced(tmp_path, [*command, "--runtime", name])
    assert sockets == []
    # TMPDIR is this folder: what was made there and is gone again left nothing.
    assert [path for path in written if not path.startswith(("/dev/", str(tmp_path)))] == []
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "strace.log"}


def test_the_tracer_sees_what_it_looks_for(tmp_path: Path) -> None:
    """A socket and a file, so that the test above can fail."""
    target = tmp_path / "left.txt"
    program = f"import socket; socket.socket(); open({str(target)!r}, 'w').close()"
    sockets, written = traced(tmp_path, ["-c", program])
    assert len(sockets) == 1
    assert str(target) in written
