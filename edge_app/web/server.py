"""`pneumoscope serve`: opens everything, tells where it is reached, and answers until stopped."""

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from edge_app.errors import UsageError
from edge_app.record.record import Record
from edge_app.runs.interruption import Interruption
from edge_app.web.addresses import is_loopback, names_of, own_addresses
from edge_app.web.app import make_app
from edge_app.web.certificate import own_certificate
from edge_app.web.retaining import DailyRetention
from edge_app.web.scoring_desk import DeskOptions, ScoringDesk
from edge_app.web.uploads import Uploads
from edge_app.web.views import Views
from edge_app.web.webhooks import Webhook, Webhooks
from edge_app.web.workstation import Workstation

# Beyond so many open requests at once further ones are told to come again.
_MOST_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where and how to serve.

    Attributes:
        record: a folder, or a PostgreSQL URL.
        desk: how to score.
        folder: of pictures, where the record is a URL.
        host, port: to listen on; port 0 for any that is free.
        names: further names by which this machine is reached.
        most_bytes: of one upload.
        webhooks: told of changes.
        read_first: whether a worker's own reading comes before the machine's answer.
        keep_days: exported studies that are older are deleted each day; None keeps all.
    """

    record: str
    desk: DeskOptions
    folder: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    most_bytes: int = 100_000_000
    read_first: bool = False
    webhooks: tuple[Webhook, ...] = ()
    keep_days: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What a person must know once it runs; `first_code` is None where an admin is there."""

    addresses: tuple[str, ...]
    fingerprint: str | None
    first_code: str | None


def serve(options: ServeOptions, on_opened: Callable[[Opened], None]) -> None:
    """Serve until interrupted (SIGINT, SIGTERM).

    Raises:
        PneumoscopeError: the record, the bundle or the port cannot be used.
    """
    is_local = is_loopback(options.host)
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(options.host, options.port))
        port = listener.getsockname()[1]
        record = stack.enter_context(Record.open(options.record, options.folder))
        stack.enter_context(Webhooks(record, options.webhooks))
        stack.enter_context(DailyRetention(record, options.keep_days))
        hosts = names_of(options.host, options.names)
        certificate = None if is_local else own_certificate(record.folder / "tls", hosts)
        station = Workstation(
            record=record,
            desk=stack.enter_context(ScoringDesk(options.desk)),
            views=Views(record.folder / "views", record.pictures),
            uploads=Uploads(record.folder / "uploads", options.most_bytes),
            needs_accounts=not is_local,
            is_secure=certificate is not None,
            read_first=options.read_first,
        )
        shown = ("127.0.0.1",) if is_local else own_addresses(options.host)
        scheme = "http" if certificate is None else "https"
        on_opened(
            Opened(
                addresses=tuple(f"{scheme}://{_bracketed(host)}:{port}/" for host in shown),
                fingerprint=None if certificate is None else certificate.fingerprint,
                first_code=None if is_local else record.accounts.first_code(),
            )
        )
        config = uvicorn.Config(
            make_app(station, hosts),
            log_level="error",  # each request beyond the limit would be a line of the log
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_AT_ONCE,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
            lifespan="off",
            ssl_certfile=None if certificate is None else certificate.path,
            ssl_keyfile=None if certificate is None else certificate.key_path,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        )
        # uvicorn raises the signal that stopped it once more: the rest is still to be closed.
        with Interruption():
            uvicorn.Server(config).run([listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(f"{host}:{port} cannot be used: {error.strerror or error}") from error
    return listener


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
