"""Sends answers to PACS: each has a thread, a queue and a patience of its own.

Files of an `Outbox` enter; they leave over one association a batch. An object counts as sent after
status 0x0000 or a warning of it (PS3.4 table B.2-1), and where storage commitment is asked for only
after the PACS has reported that it keeps it. A PACS that is away is tried again, at longer and
longer intervals, for as long as it takes, and keeps nobody else waiting.
"""

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edge_app.dicom_net import tables
from edge_app.dicom_net.outbox import Batch, Outbox
from edge_app.dicom_net.receiver import check_ae_title
from edge_app.errors import PneumoscopeError

Log = Callable[[str], None]

_LINES_A_BATCH = 50
_SECONDS_BETWEEN_LOOKS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 10.0, 60.0
# A PACS may report long after it was asked; until then nothing is asked again.
_SECONDS_TO_COMMIT = 120.0


@dataclass(frozen=True, slots=True)
class Destination:
    """A PACS: its AE title and where it listens."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def from_text(cls, text: str) -> "Destination":
        """Read `AET@HOST:PORT`, an IPv6 address in brackets; raises ValueError."""
        ae_title, at, place = text.partition("@")
        host, colon, port = place.rpartition(":")
        check_ae_title(ae_title)
        if not (at and colon and host and port.isascii() and port.isdigit()):
            raise ValueError(f"{text!r} is not AET@HOST:PORT")
        if not 0 < int(port) <= 65535:
            raise ValueError(f"{port} is not a port")
        return cls(ae_title, host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


class Wire(Protocol):
    """What takes objects to a PACS."""

    def deliver(self, files: Sequence[Path]) -> "Delivery":
        """Send files.

        Raises:
            AwayError: the PACS cannot be reached, or asks to be left alone for now.
        """


class AwayError(Exception):
    """A PACS that is not to be reached now; the text says why."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of files.

    Attributes:
        sent: how many were taken.
        committed: how many of these the PACS has committed itself to keep.
        refused: those that it will never take, and its status.
    """

    sent: int
    committed: int
    refused: tuple[tuple[Path, int], ...]


class Sender:
    """A running queue for one PACS; closing it leaves what waits on the disk."""

    def __init__(
        self,
        outbox: Outbox,
        wire: Wire,
        name: str,
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it; `start` begins.

        Args:
            outbox: what to send.
            wire: how.
            name: of the PACS, for the log.
            log: gets a line when it goes away, is back or refuses something.
            clock: in seconds.
        """
        self._outbox, self._wire, self._name, self._log = outbox, wire, name, log
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"sender {name}")
        self._failures = 0
        self._next_try = clock()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Stop after the batch that is under way, or after so long."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def step(self) -> bool:
        """Send a batch where it is time to; whether there may be another one at once."""
        if self._clock() < self._next_try:
            return False
        batch = self._outbox.batch(_LINES_A_BATCH)
        if batch is None:
            return False
        try:
            self._send(batch)
        except (AwayError, PneumoscopeError) as error:
            self._wait(str(error))
            return False
        if self._failures:
            self._log(f"{self._name} is back")
        self._failures = 0
        return True

    def _send(self, batch: Batch) -> None:
        delivery = self._wire.deliver(batch.files) if batch.files else Delivery(0, 0, ())
        for path, status in delivery.refused:
            self._log(f"{self._name} refused {path.name} with status 0x{status:04X}")
        self._outbox.settle(
            batch,
            sent=delivery.sent,
            refused=len(delivery.refused),
            committed=delivery.committed,
        )

    def _wait(self, why: str) -> None:
        """Try again later, at most every five minutes; said once."""
        if not self._failures:
            self._log(f"{self._name}: {why}; what it is to get waits and is tried again")
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        self._failures += 1
        # Jitter: several devices must not come back to a PACS in one moment.
        self._next_try = self._clock() + pause * random.uniform(0.8, 1.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self.step():
                self._stop.wait(_SECONDS_BETWEEN_LOOKS)


class Commitments:
    """Reports of storage commitment, which come on any association (PS3.4 J.3.3)."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[threading.Event, list[str]]] = {}
        self._lock = threading.Lock()

    def expect(self, transaction_uid: str) -> None:
        """Before it is asked for."""
        with self._lock:
            self._waiting[transaction_uid] = (threading.Event(), [])

    def on_report(self, event: Any) -> tuple[int, None]:
        """Pynetdicom's handler of N-EVENT-REPORT."""
        information = event.event_information
        with self._lock:
            waiting = self._waiting.get(str(information.get("TransactionUID", "")))
        if waiting is not None:
            came, kept = waiting
            items = information.get("ReferencedSOPSequence", [])
            kept += [str(item.ReferencedSOPInstanceUID) for item in items]
            came.set()
        return tables.SUCCESS, None

    def wait(self, transaction_uid: str, seconds: float) -> set[str]:
        """UIDs that are kept; empty where no report came."""
        came, kept = self._waiting[transaction_uid]
        came.wait(seconds)
        with self._lock:
            del self._waiting[transaction_uid]
        return set(kept)


@dataclass(frozen=True, slots=True)
class DicomWire:
    """C-STORE to a PACS.

    Attributes:
        destination: which.
        ae_title: ours.
        context: for TLS, None without.
        commitments: where reports arrive; None asks for none.
        seconds_to_commit: for a report.
    """

    destination: Destination
    ae_title: str
    context: ssl.SSLContext | None = None
    commitments: Commitments | None = None
    seconds_to_commit: float = _SECONDS_TO_COMMIT

    def deliver(self, files: Sequence[Path]) -> Delivery:
        """Send files over one association; see `Wire`."""
        association = self._associate()
        try:
            taken, refused = [], []
            for path in files:
                uids, status = self._store(association, path)
                if status is None:
                    taken.append(uids)
                else:
                    refused.append((path, status))
            committed = self._commit(association, taken) if self.commitments and taken else 0
        finally:
            if association.is_established:
                association.release()
        return Delivery(len(taken), committed, tuple(refused))

    def _associate(self) -> Any:
        from pynetdicom import AE, evt

        entity = AE(ae_title=self.ae_title)
        entity.connection_timeout = _SECONDS_TO_CONNECT
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS_TO_ANSWER
        for sop_class, syntaxes in tables.SENT_CLASSES.items():
            for syntax in syntaxes:  # one a context: so each is accepted or refused by itself
                entity.add_requested_context(sop_class, syntax)
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, _send_at_once),
            (evt.EVT_DATA_SENT, _acknowledge_at_once),
        ]
        if self.commitments is not None:
            entity.add_requested_context(tables.STORAGE_COMMITMENT)
            handlers.append((evt.EVT_N_EVENT_REPORT, self.commitments.on_report))
        association = entity.associate(
            self.destination.host,
            self.destination.port,
            ae_title=self.destination.ae_title,
            tls_args=None if self.context is None else (self.context, self.destination.host),
            evt_handlers=handlers,
        )
        if association.is_established:
            return association
        raise AwayError(f"it {why_not_established(association)}")

    def _store(self, association: Any, path: Path) -> tuple[tuple[str, str], int | None]:
        """UIDs of an object, and the status with which it was refused, None where it was taken."""
        from pydicom import dcmread

        try:
            dataset = dcmread(path)
        except (OSError, ValueError) as error:
            raise AwayError(f"{path.name} cannot be read: {error}") from error
        uids = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
        accepted = _accepted(association, uids[0])
        if not accepted:
            return uids, tables.CLASS_NOT_SUPPORTED
        is_plain = dataset.file_meta.TransferSyntaxUID in tables.UNCOMPRESSED
        if not is_plain and dataset.file_meta.TransferSyntaxUID not in accepted:
            # Pillow takes half of GDCM's time for the JPEG of our own pictures.
            is_jpeg = dataset.file_meta.TransferSyntaxUID == tables.JPEG_BASELINE
            plugin = "pillow" if is_jpeg else ""
            dataset.decompress(decoding_plugin=plugin, generate_instance_uid=False)
        try:
            answer = association.send_c_store(dataset)
        except (RuntimeError, ValueError) as error:
            raise AwayError("the association ended") from error
        status = answer.get("Status")
        if status is None:
            raise AwayError("it did not answer")
        # A warning says that it was stored, a duplicate that it was there.
        if status in (tables.SUCCESS, tables.DUPLICATE) or status >> 12 == 0xB:
            return uids, None
        if status >> 8 == 0xA7 or status == tables.NOT_AUTHORISED:
            raise AwayError(f"it has no room or does not let us store (status 0x{status:04X})")
        return uids, int(status)

    def _commit(self, association: Any, taken: list[tuple[str, str]]) -> int:
        """Ask that objects are kept, and wait for the report.

        Raises:
            AwayError: it does not commit itself to all of them.
        """
        from pydicom.dataset import Dataset
        from pydicom.uid import generate_uid

        assert self.commitments is not None
        if not any(
            context.abstract_syntax == tables.STORAGE_COMMITMENT
            for context in association.accepted_contexts
        ):
            raise AwayError("it does not offer storage commitment, which was asked for")
        request = Dataset()
        request.TransactionUID = transaction = str(generate_uid(prefix=None))
        request.ReferencedSOPSequence = []
        for sop_class, instance in dict.fromkeys(taken):
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            request.ReferencedSOPSequence.append(item)
        self.commitments.expect(transaction)
        status, _ = association.send_n_action(
            request, 1, tables.STORAGE_COMMITMENT, tables.STORAGE_COMMITMENT_INSTANCE
        )
        if status.get("Status") != tables.SUCCESS:
            raise AwayError("it refuses storage commitment, which was asked for")
        kept = self.commitments.wait(transaction, self.seconds_to_commit)
        if not {instance for _, instance in taken} <= kept:
            raise AwayError(f"it has committed itself to {len(kept)} of {len(taken)} objects")
        return len(taken)


def _send_at_once(event: Any) -> None:
    """Without Nagle's algorithm (RFC 896).

    A C-STORE is a small message and a large one; the second would wait for the peer's delayed
    acknowledgement of the first, 40 ms an object on Linux.
    """
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _acknowledge_at_once(event: Any) -> None:
    """Do not delay the next acknowledgement (Linux; the kernel forgets it, so after each message).

    A peer that has Nagle's algorithm on, as dcmtk has, holds the second half of its answer back
    until the first is acknowledged: another 40 ms an object.
    """
    if (option := getattr(socket, "TCP_QUICKACK", None)) is not None:
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, option, 1)


def why_not_established(association: Any) -> str:
    """What became of an association that is none, said of the peer."""
    if association.is_rejected:
        return "refuses the association; is our AE title known there?"
    if association.is_aborted and association.rejected_contexts:
        return "offers no such service to us"
    return "cannot be reached"


def _accepted(association: Any, sop_class: str) -> set[str]:
    """Transfer syntaxes in which the PACS takes a class."""
    contexts = association.accepted_contexts
    return {
        str(syntax)
        for context in contexts
        if context.abstract_syntax == sop_class
        for syntax in context.transfer_syntax
    }
