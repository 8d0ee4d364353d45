"""A workstation around the tiny bundle, for tests of its pages and API."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from PIL import Image
from starlette.testclient import TestClient

from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.record.record import Record
from edge_app.web.app import make_app
from edge_app.web.scoring_desk import DeskOptions, ScoringDesk
from edge_app.web.uploads import Uploads
from edge_app.web.views import Views
from edge_app.web.workstation import Workstation
from tests.conftest import REPOSITORY
from tests.pictures import encoded

HOST = "127.0.0.1"
MOST_BYTES = 3_000_000


def film(seed: int = 1, side: int = 256) -> bytes:
    """A phantom as PNG; of the tiny bundle's answers seed 1 is suspected, 3 clear."""
    return encoded(Image.fromarray(draw_phantom(Phantom(seed), side, side)), "PNG")


@contextmanager
def opened_desk(bundle: Path) -> Iterator[ScoringDesk]:
    with ScoringDesk(DeskOptions(bundle)) as desk:
        yield desk


@contextmanager
def opened_station(desk: ScoringDesk, folder: Path, **settings: bool) -> Iterator[Workstation]:
    with Record.open(folder) as record:
        yield Workstation(
            record=record,
            desk=desk,
            views=Views(folder / "views", record.pictures),
            uploads=Uploads(folder / "uploads", MOST_BYTES),
            **settings,
        )


def client_of(station: Workstation, **options: Any) -> TestClient:
    scheme = "https" if station.is_secure else "http"
    return TestClient(
        make_app(station, (HOST,)),
        base_url=f"{scheme}://{HOST}",
        follow_redirects=False,
        **options,
    )


def add(client: TestClient, content: bytes, **query: str) -> dict[str, Any]:
    """Add a picture as a program does; gives the study."""
    answer = client.post("/api/v1/studies", params=query, content=content)
    assert answer.status_code == 201, answer.text
    study: dict[str, Any] = answer.json()
    return study


@contextmanager
def served(record: Path, *options: str) -> Iterator[str]:
    """The address of a server in a process of its own, as the command starts it."""
    process, address = start_server(record, *options)
    try:
        yield address
    finally:
        process.terminate()
        ended = process.wait(20)
    assert ended == 0  # asked to stop, it ends well


def start_server(record: Path, *options: str) -> "tuple[subprocess.Popen[str], str]":
    """A server that answers, in a session of its own, and its address."""
    program = [sys.executable, "-m", "edge_app", "serve", "--port", "0", *options]
    process = subprocess.Popen(
        [*program, "--record", str(record)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1].rstrip("/")
    for _ in range(300):  # the address is printed before the server listens
        with suppress(OSError), urlopen(address):
            break
        time.sleep(0.05)
    return process, address
