"""What a command does to the world outside of it: files and sockets, as the kernel is asked.

`strace` reads every call that makes a file or reaches for a network, of the command and of all the
processes that it starts; what C libraries do behind Python's back is among them.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

_CALLS = (
    "socket,connect,bind,sendto,sendmsg,sendmmsg,open,openat,openat2,creat,mkdir,mkdirat,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,mknod,mknodat,chdir"
)
_WRITING = re.compile(r"\b(?:O_WRONLY|O_RDWR|O_CREAT)\b")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ADDRESS = re.compile(r'inet_addr\("([^"]*)"\)|inet_pton\(AF_INET6, "([^"]*)"')
# What is no file: discards, terminals, shared memory for semaphores, a process's own settings.
_NO_FILES = ("/dev/", "/proc/self/", "/proc/thread-self/")

# A machine on which other programs are told to report to a collector.
_COLLECTOR = {
    "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://192.0.2.77:4318",
}


@dataclass(frozen=True)
class Trace:
    """What one command did.

    Attributes:
        code: it ended with this.
        said: on both streams.
        sockets: the calls that made one.
        beyond: the calls that reached for another address than this machine's own.
        written: files and folders that it opened for writing or made, absolute.
    """

    code: int
    said: str
    sockets: list[str]
    beyond: list[str]
    written: list[Path]


def home_variables(home: Path) -> dict[str, str]:
    """An environment in which everything of a user lies in one folder."""
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    names = ("PNEUMOSCOPE_DATA", "PNEUMOSCOPE_STATE", "PNEUMOSCOPE_RECORD", "XDG_DATA_HOME")
    names += ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    mine = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "PYTHONPATH": str(REPOSITORY)}
    return kept | mine | _COLLECTOR | {"PYTHONDONTWRITEBYTECODE": "1"}


def require_tracer() -> str:
    """The program; skips with a reason where it is missing or may not trace."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (Debian: apt-get install strace)")
    tried = subprocess.run([strace, "-qq", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()[:100]}")
    return strace


@contextmanager
def started(
    arguments: list[str], home: Path, log: Path
) -> Iterator[tuple["subprocess.Popen[str]", Callable[[], Trace]]]:
    """A Python process under the tracer, in `home`; and its trace, once it has ended."""
    program = [require_tracer(), "-f", "-qq", "-s", "4096", "--seccomp-bpf", "-e"]
    program += [f"trace={_CALLS}", "-o", str(log), sys.executable, "-u", *arguments]
    process = subprocess.Popen(
        program,
        cwd=home,
        env=home_variables(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def trace() -> Trace:
        said, _ = process.communicate(timeout=120)
        calls = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return _read(calls, process.returncode, said, home)

    try:
        yield process, trace
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C: the whole group gets it, and the tracer takes no notice."""
    os.killpg(process.pid, signal.SIGINT)


def traced(arguments: list[str], home: Path, log: Path) -> Trace:
    """Run a Python process to its end under the tracer."""
    with started(arguments, home, log) as (_, trace):
        return trace()


def _read(calls: list[str], code: int, said: str, home: Path) -> Trace:
    assert any("O_RDONLY" in call for call in calls), "nothing was traced"
    sockets = [call for call in calls if re.search(r"\bsocket\(", call)]
    beyond = [call for call in calls if _reaches_beyond(call)]
    written = [home / path for call in calls for path in _written(call)]
    return Trace(code, said, sockets, beyond, written)


def _reaches_beyond(call: str) -> bool:
    found = _ADDRESS.search(call)
    if found is None:
        return False
    address = found[1] or found[2]
    # A client that binds to no address in particular has the system choose one.
    return not (address.startswith("127.") or address in ("::1", "0.0.0.0", "::"))


def _written(call: str) -> Iterator[str]:
    """Paths that a call writes to or makes, where it succeeded."""
    if call.rstrip().endswith(")") and " = -1 " in call:
        return
    name = re.search(r"\b([a-z0-9]+)\(", call)
    if name is None or name[1] in ("chdir", "socket", "connect", "bind"):
        return
    paths = _PATH.findall(call)
    if name[1].startswith("open") and not _WRITING.search(call):
        return
    if name[1].startswith(("send",)) or not paths:
        return
    path = paths[-1]  # of a rename the new name
    if not path.startswith(_NO_FILES):
        yield path
