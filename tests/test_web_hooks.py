"""Webhooks: told after changes, of nothing but that; never off the machine and its network."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from edge_app.decision import Reason
from edge_app.errors import UsageError
from edge_app.images.radiograph import hash_bytes
from edge_app.record.record import Record
from edge_app.record.studies import NewStudy, Patient
from edge_app.results.rows import Asked, failed_row
from edge_app.web.webhooks import Webhook, Webhooks, parse_webhook


def test_a_change_is_told_and_names_nobody(tmp_path: Path) -> None:
    asked = Asked("balanced", "m", "0" * 64, "litert")
    sha256 = hash_bytes(b"a picture")
    row = failed_row("x.png", Reason.UNREADABLE, "no picture", 1.0, asked, sha256=sha256)
    told: Queue[tuple[str, Any]] = Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.put((self.path, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        dead = parse_webhook("http://127.0.0.1:9/nobody")
        alive = parse_webhook(f"http://127.0.0.1:{server.server_port}/hook?x=1")
        with Record.open(tmp_path) as record, Webhooks(record, (dead, alive)):
            record.add_study(NewStudy(row, b"a picture", Patient("P-1")), "amina")
            path, event = told.get(timeout=10)
        server.shutdown()
    assert path == "/hook?x=1"
    assert event["event"] == "changed"
    assert event["counter"] >= 1
    assert set(event) == {"event", "counter"}


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7/x", "http://192.168.1.5:81", "http://[::1]:80/", "http://[fd00::2]/"]
)
def test_near_addresses_are_taken(url: str) -> None:
    assert isinstance(parse_webhook(url), Webhook)


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/x",
        "http://example.org/",
        "http://localhost/",
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "http://user@127.0.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://[::1",
        "",
    ],
)
def test_others_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="webhook"):
        parse_webhook(url)
