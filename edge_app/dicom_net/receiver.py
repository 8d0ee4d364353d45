"""A storage SCP: what X-ray machines and a PACS send is on the disk before they are told so.

Associations come in on threads of pynetdicom; objects leave as files of a `Spool`. Nothing is
decoded here: a hostile or odd object harms the worker that scores it, never this process. Bounded
are associations, their idle time, the size of a PDU and of an object, and the room that is left on
the disk. The log names UIDs, AE titles and addresses, no patient.
"""

import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from edge_app.dicom_net import tables
from edge_app.dicom_net.spool import Arrival, Spool, is_uid, require_free_bytes
from edge_app.errors import RuntimeUnavailableError, UsageError
from edge_app.images.dicom_library import load_pydicom
from edge_app.results.identifiers import FULL, Identifiers

Log = Callable[[str], None]

_SECONDS_TO_NEGOTIATE = 30.0
_MAX_PDU_BYTES = 128 * 1024
# pynetdicom reads a PDU whole; a length that nobody negotiated would be read all the same.
_PDU_MARGIN_BYTES = 64 * 1024
# Connections that have said nothing yet, and those that have begun to ask for an association but
# not ended: of more, the oldest is hung up on. The latter have two threads of pynetdicom each,
# which look for something to do a hundred times a second.
_MOST_SILENT, _MOST_ASKING = 128, 16
_PDU_HEADER_BYTES, _ASSOCIATE_RQ = 6, 0x01
_SECONDS_BETWEEN_PEEKS = 0.05
_BYTES_BETWEEN_LOOKS = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Peer:
    """Who may send: an AE title, and the address that it must come from ("" any)."""

    ae_title: str
    address: str = ""

    @classmethod
    def from_text(cls, text: str) -> "Peer":
        """Read `AET` or `AET@ADDRESS`; raises ValueError for anything else."""
        ae_title, at, address = (part.strip() for part in text.partition("@"))
        check_ae_title(ae_title)
        if at:
            ip_address(address)  # an empty one, or a name, would never match or always
        return cls(ae_title, address)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM; with `authority` a sender must show a certificate that it has signed."""

    certificate: Path
    key: Path
    authority: Path | None = None


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """How to listen.

    Attributes:
        ae_title, host, port: our own; port 0 takes a free one.
        allowed: who may send; empty allows everyone.
        most_associations: at a time; more are refused until one ends.
        most_object_bytes: of one object; a larger one ends its association.
        keep_free_bytes: room that stays on the disk; below it, status 0xA700.
        idle_seconds: without a message, after which an association ends.
        tls: None speaks without encryption.
        identifiers: what the log may say of an object.
    """

    ae_title: str = "PNEUMOSCOPE"
    host: str = ""
    port: int = 11112
    allowed: tuple[Peer, ...] = ()
    most_associations: int = 10
    most_object_bytes: int = 512 * 1024 * 1024
    keep_free_bytes: int = 500_000_000
    idle_seconds: float = 60.0
    tls: Tls | None = None
    identifiers: Identifiers = FULL


@dataclass(slots=True)
class _Counter:
    """Bytes of an association since its last complete object, and at the last look at the disk."""

    received: int = 0
    asked: int = 0
    is_ended: bool = False


class Receiver:
    """A running storage SCP; closing it ends associations and leaves the spool whole."""

    def __init__(
        self,
        spool: Spool,
        options: ReceiverOptions,
        log: Log,
        on_report: Callable[[Any], tuple[int, None]] | None = None,
    ) -> None:
        """Begin to listen.

        Args:
            spool: where objects go.
            options: how to listen.
            log: gets a line for what an administrator may want to know; called from threads.
            on_report: gets the events in which a PACS reports a storage commitment.

        Raises:
            RuntimeUnavailableError: pynetdicom is not installed.
            StorageError: the disk is nearly full.
            UsageError: the port is taken, or a certificate cannot be used.
        """
        require_pynetdicom()
        require_free_bytes(spool, options.keep_free_bytes)
        self._spool = spool
        self._options = options
        self._log = log
        self._on_report = on_report
        self._counters: dict[int, _Counter] = {}
        context = None if options.tls is None else server_context(options.tls)
        self._server = self._listen(context)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening and end associations; a sender tries again what it has no answer for."""
        self._server.shutdown()

    def __enter__(self) -> "Receiver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, context: ssl.SSLContext | None) -> Any:
        from pynetdicom import AE, _config, evt

        # Objects go to the disk as they come, beside the inbox: memory stays bounded, and taking
        # one in is a link. These are settings of the whole process, which is the receiver's own.
        _config.STORE_RECV_CHUNKED_DATASET = True
        _config.LOG_HANDLER_LEVEL = "none"  # texts of every PDU, which nobody reads here
        tempfile.tempdir = str(self._spool.arriving)
        options = self._options
        entity = AE(ae_title=options.ae_title)
        # It would count what only holds a connection open, and refuse who has something to send.
        entity.maximum_associations = 2**31
        entity.maximum_pdu_size = _MAX_PDU_BYTES
        # The first is PS3.8's ARTIM timer too: how long a connection may say nothing at all.
        entity.acse_timeout = min(_SECONDS_TO_NEGOTIATE, options.idle_seconds)
        entity.dimse_timeout = _SECONDS_TO_NEGOTIATE
        entity.network_timeout = options.idle_seconds
        entity.require_called_aet = True
        entity.require_calling_aet = sorted({peer.ae_title for peer in options.allowed})
        syntaxes = list(tables.TRANSFER_SYNTAXES)
        for classes in (tables.IMAGE_CLASSES, tables.MULTI_FRAME_CLASSES, tables.REPORT_CLASSES):
            for uid in classes:
                entity.add_supported_context(uid, syntaxes)
        entity.add_supported_context(tables.VERIFICATION)
        # Both roles: asked by machines, and told by the PACS that we have asked.
        entity.add_supported_context(tables.STORAGE_COMMITMENT, scu_role=True, scp_role=True)
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_N_ACTION, self._on_commitment),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_DATA_RECV, self._on_data),
            (evt.EVT_CONN_CLOSE, self._on_close),
        ]
        if self._on_report is not None:
            handlers.append((evt.EVT_N_EVENT_REPORT, self._on_report))
        try:
            server = entity.make_server(
                (options.host, options.port),
                evt_handlers=handlers,
                server_class=server_class(context, options.idle_seconds),
            )
        except OSError as error:
            raise UsageError(
                f"port {options.port} of {options.host or 'all addresses'} cannot be listened on: "
                f"{error.strerror or error}"
            ) from error
        entity._servers.append(server)  # as `start_server` does; shutting down takes it out
        threading.Thread(target=server.serve_forever, daemon=True, name="receiver").start()
        return server

    def _on_open(self, event: Any) -> None:
        """Bound what connections may hold up before anything is known of who they are.

        pynetdicom waits for a PDU as long as it takes, and reads one whole, up to 4 GB, before it
        asks anybody.
        """
        asking = [each for each in self._acceptors() if each.requestor.primitive is None]
        for each in asking[:-_MOST_ASKING]:
            with suppress(OSError, AttributeError):  # it has gone meanwhile
                each.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        wire = event.assoc.dul.socket
        wire.socket.settimeout(self._options.idle_seconds)
        receive = wire.recv

        def bounded(nr_bytes: int) -> Any:
            if nr_bytes > _MAX_PDU_BYTES + _PDU_MARGIN_BYTES:
                raise OSError(f"a PDU of {nr_bytes} bytes, which nobody negotiated")
            return receive(nr_bytes)

        wire.recv = bounded

    def _acceptors(self) -> list[Any]:
        """What runs, the oldest first: its thread may be about to begin or to end."""
        return list(self._server.active_associations)

    def _on_request(self, event: Any) -> None:
        """Refuse one association too many, and an AE title from another address than it may."""
        asked = [each for each in self._acceptors() if each.requestor.primitive is not None]
        if len(asked) > self._options.most_associations:
            self._log(f"refused an association of {_who(event)}: {len(asked) - 1} are open")
            # PS3.8 table 9-21: transient, from the presentation layer, local limit exceeded.
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            event.assoc.kill()
            return
        requestor = event.assoc.requestor
        # The requestor's own title is known after this event only.
        title = str(requestor.primitive.calling_ae_title).strip()
        address = str(requestor.address)
        bound = [peer for peer in self._options.allowed if peer.ae_title == title]
        if bound and not any(peer.address in ("", address) for peer in bound):
            self._log(f"refused {title}@{address}: this AE title may not come from there")
            # PS3.8 table 9-21: permanent, from the service user, calling AE title not recognised.
            event.assoc.acse.send_reject(0x01, 0x01, 0x03)
            event.assoc.kill()

    def _on_rejected(self, event: Any) -> None:
        self._log(f"refused an association of {_who(event)}")

    def _on_data(self, event: Any) -> None:
        counter = self._counters.setdefault(id(event.assoc), _Counter())
        counter.received += len(event.data)
        if counter.is_ended:
            return
        if counter.received > self._options.most_object_bytes + _PDU_MARGIN_BYTES:
            why = f"an object of over {self._options.most_object_bytes / 1e6:.0f} MB"
        elif counter.received >= counter.asked + _BYTES_BETWEEN_LOOKS:
            counter.asked = counter.received
            if self._spool.free_bytes() >= self._options.keep_free_bytes:
                return
            why = "the disk is nearly full"
        else:
            return
        counter.is_ended = True
        self._log(f"ended the association of {_who(event)}: {why}")
        event.assoc.abort()

    def _on_close(self, event: Any) -> None:
        """Forget the association, and what of an object it has left on the disk."""
        self._counters.pop(id(event.assoc), None)
        if event.assoc.requestor.primitive is None:
            # Its thread would wait for a request that can't come any more.
            event.assoc.dul.to_user_queue.put(None)
        message = event.assoc.dimse.message
        path = getattr(message, "_data_set_path", None)
        if path is not None and path.parent == self._spool.arriving:
            with suppress(OSError):
                path.unlink()

    def _on_store(self, event: Any) -> int:
        """Store an object; the status is given when it is safe."""
        counter = self._counters.get(id(event.assoc))
        if counter is not None:
            counter.received = counter.asked = 0
        uid = str(event.request.AffectedSOPInstanceUID)
        if not is_uid(uid):
            self._log(f"refused an object of {_who(event)}: its SOP Instance UID is not valid")
            return tables.CANNOT_UNDERSTAND
        called = self._options.identifiers.uid(uid)
        if str(event.request.AffectedSOPClassUID) in tables.MULTI_FRAME_CLASSES:
            self._log(f"refused {called} of {_who(event)}: it holds several frames")
            return tables.DATA_SET_DOES_NOT_MATCH
        if self._spool.free_bytes() < self._options.keep_free_bytes:
            self._log(f"refused {called} of {_who(event)}: the disk is nearly full")
            return tables.OUT_OF_RESOURCES
        try:
            arrival = self._spool.store(event.dataset_path, uid)
        except OSError as error:
            self._log(f"refused {called} of {_who(event)}: {error.strerror or error}")
            return tables.OUT_OF_RESOURCES
        if arrival is Arrival.OTHER_CONTENT:
            self._log(f"{called} of {_who(event)} came with another content; both are kept")
        return tables.SUCCESS

    def _on_commitment(self, event: Any) -> tuple[int, None]:
        """Say which objects are safe, by an event report on the same association (PS3.4 J)."""
        information = event.action_information
        report = commitment_report(information, self._spool)
        assoc = event.assoc

        def send() -> None:
            failed = "FailedSOPSequence" in report
            try:
                assoc.send_n_event_report(
                    report,
                    2 if failed else 1,
                    tables.STORAGE_COMMITMENT,
                    tables.STORAGE_COMMITMENT_INSTANCE,
                )
            except (RuntimeError, ValueError) as error:
                self._log(f"storage commitment could not be reported to {_who(event)}: {error}")

        threading.Timer(0.1, send).start()  # after the response to this very request
        return tables.SUCCESS, None


def server_class(context: ssl.SSLContext | None, idle_seconds: float) -> Any:
    """The threaded server of pynetdicom, whose handshakes hold up nobody else.

    Its own does them where connections are accepted, without a timeout: one that says nothing
    would keep every other out.
    """
    from pynetdicom.transport import ThreadedAssociationServer

    silent = _Silent()

    class Server(ThreadedAssociationServer):
        daemon_threads = True
        # Of Python's 5, a burst fills all; then the system drops who calls, for seconds.
        request_queue_size = 128

        def get_request(self) -> Any:
            assert self.socket is not None  # it listens
            wire, address = self.socket.accept()
            wire.settimeout(idle_seconds)
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # answers are small
            return wire, address

        def finish_request(self, request: Any, client_address: Any) -> None:
            if context is not None:
                request = context.wrap_socket(request, server_side=True)
            elif not silent.asks(request, idle_seconds):
                raise ConnectionError("it asks for no association")
            super().finish_request(request, client_address)

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A handshake that fails is no error of ours, and no text for a terminal."""

    return Server


class _Silent:
    """Connections that have said nothing yet; one that waits costs a thread that sleeps."""

    def __init__(self) -> None:
        self._wires: dict[int, socket.socket] = {}
        self._lock = threading.Lock()

    def asks(self, wire: socket.socket, seconds: float) -> bool:
        """Wait for what it says first, and leave that unread: whether it asks for an association.

        An association costs pynetdicom milliseconds; what is none, and what says nothing, must not.
        """
        with self._lock:
            self._wires[id(wire)] = wire
            excess = len(self._wires) - _MOST_SILENT
            for each in [*self._wires.values()][: max(0, excess)]:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        try:
            return _begins_to_ask(wire, time.monotonic() + seconds)
        except OSError:
            return False
        finally:
            with self._lock:
                self._wires.pop(id(wire), None)


def _begins_to_ask(wire: socket.socket, deadline: float) -> bool:
    """Whether a connection begins with the header of an A-ASSOCIATE-RQ (PS3.8, 9.3.2)."""
    while time.monotonic() < deadline:
        header = wire.recv(_PDU_HEADER_BYTES, socket.MSG_PEEK)
        if not header or header[0] != _ASSOCIATE_RQ:
            return False
        if len(header) == _PDU_HEADER_BYTES:
            return int.from_bytes(header[2:], "big") <= _MAX_PDU_BYTES + _PDU_MARGIN_BYTES
        time.sleep(_SECONDS_BETWEEN_PEEKS)
    return False


def commitment_report(information: Any, spool: Spool) -> Any:
    """The data set of a storage commitment's event report (PS3.4 table J.3-2)."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    report = Dataset()
    report.TransactionUID = information.TransactionUID
    held, missing = [], []
    for item in information.get("ReferencedSOPSequence", []):
        reference = Dataset()
        reference.ReferencedSOPClassUID = item.ReferencedSOPClassUID
        reference.ReferencedSOPInstanceUID = item.ReferencedSOPInstanceUID
        if spool.holds(str(item.ReferencedSOPInstanceUID)):
            held.append(reference)
        else:
            reference.FailureReason = 0x0112  # PS3.3 C.14-1: no such object instance
            missing.append(reference)
    if held:
        report.ReferencedSOPSequence = Sequence(held)
    if missing:
        report.FailedSOPSequence = Sequence(missing)
    return report


def check_ae_title(text: str) -> None:
    """Raise ValueError for what is no AE title (PS3.5 6.2: 1 to 16 characters, no backslash)."""
    is_title = 0 < len(text) <= 16 and text.isascii() and text.isprintable() and text.strip()
    if not is_title or "\\" in text:
        raise ValueError(f"{text!r} is not an AE title, which has 1 to 16 characters")


def require_pynetdicom() -> None:
    """Raise RuntimeUnavailableError, with what to install, where pynetdicom is missing."""
    try:
        load_pydicom()
        import pynetdicom  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailableError(
            "DICOM over the network needs pynetdicom: pip install 'pneumoscope[dicom-net]'"
        ) from error


def server_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer as a server (PS3.15 B.9, BCP 195).

    Raises:
        UsageError: a file cannot be used, or the certificate has run out.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, tls)
    if tls.authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """The same as a client; with an authority, the server must show a certificate of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A PACS is known by its authority: few carry their address in the certificate.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if tls.authority is not None else ssl.CERT_NONE
    _load(context, tls)
    return context


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    try:
        _require_valid(tls.certificate)
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.authority is not None:
            context.load_verify_locations(tls.authority)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(f"{tls.certificate}: the certificate cannot be used: {error}") from error


def _require_valid(certificate: Path) -> None:
    from datetime import UTC, datetime

    from cryptography.x509 import load_pem_x509_certificate

    loaded = load_pem_x509_certificate(certificate.read_bytes())
    if loaded.not_valid_after_utc < datetime.now(UTC):
        raise ValueError(f"it ran out on {loaded.not_valid_after_utc:%Y-%m-%d}")


def _who(event: Any) -> str:
    requestor = event.assoc.requestor
    title = "".join(c if c.isprintable() else "?" for c in str(requestor.ae_title or ""))
    return f"{title.strip() or 'an unnamed AE'}@{requestor.address}"
