"""What a browser is offered to screen by itself: which bundles, which files, which policy."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from edge_app.bundle.load import load_bundle
from edge_app.web.scoring_desk import ScoringDesk
from tests.tiny_bundle import write_tiny_bundle
from tests.web_station import client_of, opened_desk, opened_station


@pytest.fixture(scope="module")
def desk() -> Iterator[ScoringDesk]:
    """Of the shipped bundle."""
    with opened_desk(load_bundle().folder) as desk:
        yield desk


@pytest.fixture
def client(desk: ScoringDesk, tmp_path: Path) -> Iterator[TestClient]:
    with opened_station(desk, tmp_path) as station:
        yield client_of(station)


def test_every_file_that_a_browser_keeps_is_there(client: TestClient, desk: ScoringDesk) -> None:
    names = client.get("/phone/files.json").json()
    for name in names:
        answer = client.get(name)
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["cache-control"]
        assert answer.content, name
    model = desk.bundle.model("onnx")
    assert model is not None
    (served,) = [name for name in names if name.endswith(model.file)]
    assert client.get(served).content == desk.bundle.path(model.file).read_bytes()
    packed = next(name for name in names if name.endswith(".wasm"))
    assert client.get(packed).content.startswith(b"\0asm")  # the client has unpacked it


def test_the_runtime_is_as_it_was_published(client: TestClient) -> None:
    """Licences lie beside it; its script names its version."""
    from edge_app.web import phone

    folder = Path(phone.__file__).parent / "phone" / "ort"
    assert "MIT License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert b"Eigen" in gzip.decompress((folder / "ThirdPartyNotices.txt.gz").read_bytes())
    assert "ONNX Runtime Web v1.30.0" in (folder / "ort.wasm.min.mjs").read_text(encoding="utf-8")


def test_the_cut_offs_are_those_of_the_machine_s_operating_point(
    client: TestClient, desk: ScoringDesk
) -> None:
    (name,) = [n for n in client.get("/phone/files.json").json() if n.endswith("settings.json")]
    settings, model = client.get(name).json(), desk.bundle.model("onnx")
    assert model is not None
    point = desk.bundle.operating_point(model, desk.header.operating_point.name)
    assert (settings["refer_low"], settings["refer_high"]) == (point.refer_low, point.refer_high)
    assert settings["model_sha256"] == model.sha256


def test_only_this_page_may_compile(client: TestClient) -> None:
    assert "wasm-unsafe-eval" in client.get("/phone/").headers["content-security-policy"]
    assert "wasm" not in client.get("/").headers["content-security-policy"]


@pytest.mark.parametrize(
    "name", ["0/phone.js", "MARK/%2e%2e/worker.js", "MARK/..%2f..%2fapp.py", "MARK/none"]
)
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    mark = client.get("/phone/files.json").json()[0].split("/")[2]
    assert client.get(f"/phone/{name.replace('MARK', mark)}").status_code in (404, 405)


def test_it_is_not_offered_where_a_reading_comes_first(desk: ScoringDesk, tmp_path: Path) -> None:
    with opened_station(desk, tmp_path, read_first=True) as station:
        client = client_of(station)
        assert client.get("/phone/").status_code == 404
        assert "/phone/" not in client.get("/").text


def test_a_bundle_without_a_gate_is_not_offered(tmp_path: Path) -> None:
    with (
        opened_desk(write_tiny_bundle(tmp_path / "tiny")) as desk,
        opened_station(desk, tmp_path / "record") as station,
    ):
        assert client_of(station).get("/phone/").status_code == 404
