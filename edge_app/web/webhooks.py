"""Tells other programs on this machine or its network that something has changed.

Addresses enter; after each change of the record one JSON object, `{"event": "changed", "counter":
...}`, is posted to each, in a thread of its own. What changed is fetched by the API: no patient's
data leaves by a webhook. Addresses are numbers of this machine or of a private network, never names
and never the internet.
"""

import http.client
import ipaddress
import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge_app.errors import UsageError
from edge_app.record.record import Record

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to post."""

    host: str
    port: int
    path: str


def parse_webhook(url: str) -> Webhook:
    """A webhook's address, such as `http://127.0.0.1:9000/hook`.

    Raises:
        UsageError: it is none, or leads off this machine and its network.
    """
    try:
        parts = urlsplit(url)
        address = ipaddress.ip_address(parts.hostname or "")
        port = parts.port or 80
    except ValueError:
        raise UsageError(f"{url}: a webhook is http://ADDRESS[:PORT]/PATH by number") from None
    if parts.scheme != "http" or parts.username is not None:
        raise UsageError(f"{url}: a webhook is http://ADDRESS[:PORT]/PATH by number")
    if not _is_near(address):
        raise UsageError(f"{url}: webhooks go to this machine or its own network only")
    query = f"?{parts.query}" if parts.query else ""
    return Webhook(str(address), port, (parts.path or "/") + query)


def _is_near(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Loopback, link-local (RFC 3927, 4291) or private (RFC 1918, 4193), and not "any"."""
    near = address.is_loopback or address.is_link_local or address.is_private
    return near and not address.is_unspecified and not address.is_multicast


class Webhooks:
    """Posts after changes; changes while a post is under way are told by the next one."""

    def __init__(self, record: Record, hooks: tuple[Webhook, ...]) -> None:
        self._record = record
        self._hooks = hooks
        self._changed = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)

    def __enter__(self) -> "Webhooks":
        if self._hooks:
            self._record.on_change(self._changed.set)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._changed.set()
        if self._hooks:
            self._thread.join(_SECONDS)

    def _work(self) -> None:
        while not self._is_closed:
            self._changed.wait()
            self._changed.clear()
            if self._is_closed:
                return
            event = {"event": "changed", "counter": self._record.audit.head().counter}
            for hook in self._hooks:
                with suppress(OSError, http.client.HTTPException):  # told again by the next change
                    _post(hook, json.dumps(event).encode("ascii"))


def _post(hook: Webhook, body: bytes) -> None:
    """One request; its answer is not looked at, and no redirect is followed."""
    connection = http.client.HTTPConnection(hook.host, hook.port, timeout=_SECONDS)
    try:
        connection.request("POST", hook.path, body, {"content-type": "application/json"})
        connection.getresponse().read(1)
    finally:
        connection.close()
