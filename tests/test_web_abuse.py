"""What a clinic's machine meets: floods, bombs, power cuts. A real server, the tiny bundle."""

import asyncio
import http.client
import os
import random
import signal
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from edge_app.record.record import Record
from tests.tiny_bundle import write_tiny_bundle
from tests.web_load import resident_megabytes
from tests.web_station import client_of, film, opened_desk, opened_station, start_server

GIGA = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Served:
    """A server in a process of its own."""

    address: str
    pid: int
    record: Path

    @property
    def total(self) -> int:
        """How many studies it has."""
        listed: dict[str, int] = httpx2.get(f"{self.address}/api/v1/studies", timeout=60).json()
        return listed["total"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    record = tmp_path_factory.mktemp("served") / "record"
    process, address = start_server(record, "--bundle", str(bundle))
    yield Served(address, process.pid, record)
    process.terminate()
    assert process.wait(20) == 0  # after all of it, it still ends well


def test_a_gigabyte_is_turned_away_and_leaves_nothing(server: Served) -> None:
    before, total = resident_megabytes(server.pid)["server"], server.total
    announced = http.client.HTTPConnection(urlsplit(server.address).netloc)
    announced.putrequest("POST", "/api/v1/studies")
    announced.putheader("content-length", str(GIGA))
    announced.endheaders()
    assert announced.getresponse().status == 413  # before a byte of it was sent

    def endless() -> Iterator[bytes]:
        for _ in range(GIGA // 1_000_000):
            yield bytes(1_000_000)

    # Turned away in the midst of it: the answer, or a line that was cut.
    with suppress(httpx2.TransportError):
        url = f"{server.address}/api/v1/studies"
        assert httpx2.post(url, content=endless(), timeout=60).status_code == 413
    assert server.total == total
    assert list((server.record / "uploads").iterdir()) == []
    assert resident_megabytes(server.pid)["server"] < before + 60


def test_a_bomb_is_an_answer_and_unpacks_nowhere(server: Served) -> None:
    """A PNG of 12,000 x 12,000 pixels in some hundred kilobytes, and a body that says deflate."""
    bomb = _png(12_000, 12_000)
    assert len(bomb) < 1_000_000
    url = f"{server.address}/api/v1/studies"
    answer = httpx2.post(url, content=bomb, timeout=60).json()
    assert (answer["status"], answer["reason"]) == ("failed", "unreadable")
    packed = zlib.compress(bytes(50_000_000))
    headers = {"content-encoding": "deflate"}
    answer = httpx2.post(url, content=packed, headers=headers, timeout=60).json()
    assert answer["reason"] == "unreadable"  # a body is a file, never unpacked
    assert resident_megabytes(server.pid)["with_workers"] < 500


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_flood_of_files_is_taken_or_told_to_come_again(server: Served, count: int) -> None:
    """All at once, 300 lines open at a time: each is added, or answered with 503."""

    async def send(client: httpx2.AsyncClient) -> int:
        try:
            return (await client.post("/api/v1/studies", content=b"no picture")).status_code
        except httpx2.TransportError:
            return 0  # turned away before it was read: the line is cut

    async def flood() -> Counter[int]:
        limits = httpx2.Limits(max_connections=300)
        async with httpx2.AsyncClient(
            base_url=server.address, timeout=None, limits=limits
        ) as client:
            return Counter(await asyncio.gather(*(send(client) for _ in range(count))))

    before = server.total
    found = asyncio.run(flood())
    assert set(found) <= {201, 503, 0}
    assert found[201] > 0
    assert found[0] < count / 50
    assert server.total == before + found[201]


def test_a_disk_that_fills_up_during_an_upload_leaves_nothing(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_app.web import uploads

    with opened_desk(bundle) as desk, opened_station(desk, tmp_path / "record") as station:
        client = client_of(station)
        opened = os.fdopen

        def filling(handle: int, mode: str) -> object:
            """A file that takes 64 kB, as the last of a disk does."""
            stream = opened(handle, mode)

            class Full:
                def __enter__(self) -> "Full":
                    return self

                def __exit__(self, *_: object) -> None:
                    stream.close()

                def write(self, chunk: bytes) -> None:
                    if stream.tell() + len(chunk) > 65_536:
                        raise OSError(28, "No space left on device")
                    stream.write(chunk)

            return Full()

        def body() -> Iterator[bytes]:
            for _ in range(4):
                yield bytes(32_768)

        monkeypatch.setattr(uploads.os, "fdopen", filling)
        answer = client.post("/api/v1/studies", content=body())
        monkeypatch.undo()
        assert answer.status_code == 507
        assert "No space left" in answer.json()["detail"]
        assert list((tmp_path / "record" / "uploads").iterdir()) == []
        assert client.post("/api/v1/studies", content=film(1)).status_code == 201


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_what_was_answered_outlives_a_killed_server(
    tmp_path: Path, bundle: Path, kills: int
) -> None:
    """Power cuts at random moments, three people adding films: no answer is lost, none is half."""
    record, moments = tmp_path / "record", random.Random(11)
    answered: dict[str, str] = {}
    films = [film(seed, 140) for seed in range(1, 6)]
    for _ in range(kills):
        process, address = start_server(record, "--bundle", str(bundle))
        people = [
            threading.Thread(target=_add_until_cut, args=(address, films, answered))
            for _ in range(3)
        ]
        for person in people:
            person.start()
        before, limit = len(answered), time.monotonic() + 60
        while len(answered) == before and time.monotonic() < limit:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        process.wait()
        for person in people:
            person.join()
    assert len(answered) >= kills
    with Record.open(record) as opened:
        for study_id, sha256 in answered.items():
            assert opened.study(study_id).picture_sha256 == sha256
            assert opened.pictures.read(sha256) in films
        assert opened.audit.verify().problems == ()


def _add_until_cut(address: str, films: list[bytes], answered: dict[str, str]) -> None:
    draw = random.Random()
    with httpx2.Client(base_url=address, timeout=20) as client:
        while True:
            try:
                answer = client.post("/api/v1/studies", content=draw.choice(films))
            except httpx2.TransportError:
                return
            study = answer.json()
            answered[study["id"]] = study["picture_sha256"]


def _png(width: int, height: int) -> bytes:
    """A black one, written line by line, so that it costs no memory here either."""
    packer = zlib.compressobj(9)
    line = bytes(1 + width)
    data = b"".join([*(packer.compress(line) for _ in range(height)), packer.flush()])
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in chunks
    )


def test_the_bomb_is_a_png() -> None:
    from edge_app.images.read import decode_image

    assert decode_image(_png(300, 200), "small").pixels.shape == (200, 300)
