"""A workstation around the tiny bundle, for tests of its pages and API."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.testclient import TestClient

from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.record.record import Record
from edge_app.web.app import make_app
from edge_app.web.scoring_desk import DeskOptions, ScoringDesk
from edge_app.web.uploads import Uploads
from edge_app.web.views import Views
from edge_app.web.workstation import Workstation
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
