"""Real peers on loopback, none of them ours: Orthanc and dcmtk's storescp."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip, with what to install, where one of dcmtk's or dicom3tools' programs is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(
        bool(missing),
        reason=f"needs {', '.join(missing)} (Debian: apt-get install dcmtk dicom3tools)",
    )


needs_orthanc = pytest.mark.skipif(
    ORTHANC is None, reason="needs Orthanc (Debian: apt-get install orthanc)"
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as wire:
        wire.bind(("127.0.0.1", 0))
        return int(wire.getsockname()[1])


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds; fails after so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


@dataclass(frozen=True)
class Orthanc:
    """A running one, AE title ORTHANC."""

    dicom_port: int
    http_port: int

    def get(self, path: str) -> Any:
        """What its REST interface says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}") as answer:
            content = answer.read()
        return json.loads(content) if content[:1] in (b"{", b"[") else content

    def is_up(self) -> bool:
        """Whether it answers."""
        with suppress(OSError):
            return bool(self.get("/system"))
        return False

    def instances(self) -> list[dict[str, Any]]:
        """All it holds, each as a data set by keyword."""
        return [self.get(f"/instances/{one}/simplified-tags") for one in self.get("/instances")]


@contextmanager
def orthanc(folder: Path, our_port: int, *, ports: tuple[int, int] | None = None) -> Iterator[Any]:
    """Run one that knows PNEUMOSCOPE at `our_port`; the same folder and ports go on."""
    assert ORTHANC is not None
    dicom_port, http_port = ports or (free_port(), free_port())
    folder.mkdir(exist_ok=True)
    us = {
        "AET": "PNEUMOSCOPE",
        "Host": "127.0.0.1",
        "Port": our_port,
        "AllowStorageCommitment": True,
    }
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomAet": "ORTHANC",
        "DicomPort": dicom_port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"pneumoscope": us},
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([ORTHANC, str(folder / "orthanc.json")], stderr=log, stdout=log)
    try:
        running = Orthanc(dicom_port, http_port)
        wait_for(running.is_up, 30)
        yield running
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def storescp(folder: Path, port: int, *options: str) -> Iterator[None]:
    """Dcmtk's storage SCP, which writes what comes into the folder."""
    folder.mkdir(exist_ok=True)
    command = ["storescp", "-od", str(folder), *options, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port), 20)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
