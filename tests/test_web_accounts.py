"""Accounts in the browser: nothing without logging in, cookies that stay here, roles that hold."""

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from starlette.testclient import TestClient

from edge_app.record.accounts import Role
from edge_app.web import certificate
from edge_app.web.addresses import is_loopback, names_of, own_addresses
from edge_app.web.certificate import own_certificate
from edge_app.web.guard import host_name
from edge_app.web.scoring_desk import ScoringDesk
from edge_app.web.workstation import Workstation
from tests.test_web import token
from tests.tiny_bundle import write_tiny_bundle
from tests.web_station import client_of, film, opened_desk, opened_station

PASSWORD = "forty children waiting"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringDesk]:
    with opened_desk(write_tiny_bundle(tmp_path_factory.mktemp("tiny"))) as desk:
        yield desk


@pytest.fixture
def station(desk: ScoringDesk, tmp_path: Path) -> Iterator[Workstation]:
    settings = {"needs_accounts": True, "is_secure": True}
    with opened_station(desk, tmp_path / "record", **settings) as station:
        yield station


@pytest.fixture
def admin(station: Workstation) -> TestClient:
    """The first start: its code makes the administrator."""
    client = client_of(station)
    code = station.record.accounts.first_code()
    form = {"code": code, "name": "amina", "password": PASSWORD}
    assert client.post("/first", data=form).status_code == 303
    return client


def test_nothing_is_shown_before_a_log_in(station: Workstation) -> None:
    client = client_of(station)
    for where in ("/", "/about", "/people", "/studies/X", "/studies/X/small.jpg", "/changes"):
        answer = client.get(where)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login"), where
    for method, where in (
        ("GET", "/api/v1/studies"),
        ("POST", "/api/v1/studies"),
        ("GET", "/api/v1/studies/X"),
        ("GET", "/api/v1/studies/X/fhir"),
    ):
        assert client.request(method, where).status_code == 401, where
    assert client.get("/login").status_code == 200
    wrong = client.post("/login", data={"name": "amina", "password": "guess"})
    assert wrong.status_code == 403
    assert "set-cookie" not in wrong.headers


def test_the_cookie_stays_in_the_browser_and_on_the_encrypted_line(admin: TestClient) -> None:
    again = admin.post("/login", data={"name": "amina", "password": PASSWORD})
    cookie = again.headers["set-cookie"].lower()
    for word in ("httponly", "samesite=strict", "secure", "path=/"):
        assert word in cookie
    assert "max-age" not in cookie  # it ends with the browser


def test_a_log_out_ends_the_session_wherever_its_cookie_went(
    admin: TestClient, station: Workstation
) -> None:
    stolen = dict(admin.cookies)
    page = admin.get("/").text
    assert admin.post("/logout", data={"csrf": token(page)}).status_code == 303
    thief = client_of(station, cookies=stolen)
    assert thief.get("/").headers["location"] == "/login"


def test_a_stolen_cookie_alone_changes_nothing(admin: TestClient) -> None:
    """A cookie that another page makes the browser send comes without the form's token."""
    assert admin.post("/people", data={"name": "eve", "role": "admin"}).status_code == 403
    assert admin.post("/api/v1/studies", content=film(1)).status_code == 403
    headers = {"x-csrf-token": token(admin.get("/").text)}
    assert admin.post("/api/v1/studies", content=film(1), headers=headers).status_code == 201


def test_a_worker_may_not_change_accounts(admin: TestClient, station: Workstation) -> None:
    code = station.record.accounts.add("baraka", Role.WORKER, "amina")
    worker = client_of(station)
    worker.post("/first", data={"code": code, "name": "baraka", "password": PASSWORD})
    page = worker.get("/people").text
    assert "amina" not in page
    for where in ("/people", "/people/reset", "/people/change"):
        form = {"csrf": token(page), "name": "amina", "role": "admin", "disabled": "yes"}
        assert worker.post(where, data=form).status_code == 403, where


def test_a_locked_session_waits_for_its_pin(admin: TestClient) -> None:
    page = admin.get("/people").text
    assert admin.post("/pin", data={"csrf": token(page), "pin": "2468"}).status_code == 303
    assert admin.post("/lock", data={"csrf": token(page)}).status_code == 303
    assert admin.get("/").headers["location"] == "/unlock"
    assert admin.get("/api/v1/studies").status_code == 423
    csrf = token(admin.get("/unlock").text)
    assert admin.post("/unlock", data={"csrf": csrf, "pin": "1111"}).status_code == 403
    assert admin.post("/unlock", data={"csrf": csrf, "pin": "2468"}).status_code == 303
    assert admin.get("/").status_code == 200


def test_programs_log_in_for_a_token(admin: TestClient, station: Workstation) -> None:
    program = client_of(station)
    wrong = program.post("/api/v1/sessions", json={"name": "amina", "password": "x"})
    assert wrong.status_code == 403
    answer = program.post("/api/v1/sessions", json={"name": "amina", "password": PASSWORD})
    headers = {"authorization": f"Bearer {answer.json()['token']}"}
    assert program.post("/api/v1/studies", content=film(1), headers=headers).status_code == 201
    assert program.get("/api/v1/studies", headers=headers).json()["total"] == 1


def test_what_was_done_stands_under_the_name_of_who_did_it(
    admin: TestClient, station: Workstation
) -> None:
    headers = {"x-csrf-token": token(admin.get("/").text)}
    study = admin.post("/api/v1/studies", content=film(1), headers=headers).json()
    assert station.record.study(study["id"]).added_by == "amina"


def test_the_certificate_is_for_this_machine_and_made_once(tmp_path: Path) -> None:
    names = ("127.0.0.1", "clinic.local")
    own = own_certificate(tmp_path, names)
    again = own_certificate(tmp_path, names)
    assert own == again
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    parsed = x509.load_pem_x509_certificate(own.path.read_bytes())
    days = (parsed.not_valid_after_utc - parsed.not_valid_before_utc).days
    assert days <= 825  # more is refused by Apple's systems
    other = own_certificate(tmp_path, (*names, "192.168.4.1"))
    assert other.fingerprint != own.fingerprint


def test_a_certificate_that_ends_soon_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate, "_DAYS", 50)  # begins 30 days ago: 20 are left
    old = own_certificate(tmp_path, ("127.0.0.1",))
    monkeypatch.undo()
    new = own_certificate(tmp_path, ("127.0.0.1",))
    assert new.fingerprint != old.fingerprint
    parsed = x509.load_pem_x509_certificate(new.path.read_bytes())
    assert parsed.not_valid_after_utc > datetime.now(UTC) + timedelta(days=365)


def test_a_line_can_be_encrypted_with_it(tmp_path: Path) -> None:
    """A real handshake, by a client that trusts this certificate alone and checks the name."""
    own = own_certificate(tmp_path, ("127.0.0.1",))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(own.path, own.key_path)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            raw, _ = listener.accept()
            with server.wrap_socket(raw, server_side=True) as line:
                line.sendall(b"hello")

        thread = threading.Thread(target=answer)
        thread.start()
        context = ssl.create_default_context(cafile=str(own.path))
        with (
            socket.create_connection(listener.getsockname()) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as line,
        ):
            assert line.recv(5) == b"hello"
        thread.join()


def test_addresses() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("clinic.local")
    assert own_addresses("192.168.4.1") == ("192.168.4.1",)
    assert "192.168.4.1" in names_of("192.168.4.1", ("clinic",))
    assert "clinic" in names_of("192.168.4.1", ("clinic",))
    for host, name in (("127.0.0.1:8000", "127.0.0.1"), ("[::1]:80", "::1"), ("A.b", "a.b")):
        assert host_name(host) == name
    assert host_name("[::1") == ""
