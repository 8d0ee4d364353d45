"""Receiving by DICOM: what is acknowledged is on the disk; what is not welcome is told so."""

import contextlib
import io
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_app.cli import main
from edge_app.dicom_net import tables
from edge_app.dicom_net.receiver import Peer, Receiver, ReceiverOptions, Tls, client_context
from edge_app.dicom_net.spool import Arrival, Spool, is_uid
from edge_app.errors import EXIT_STORAGE, StorageError, UsageError
from edge_app.files.pseudonyms import Pseudonyms
from edge_app.results.identifiers import Choice, Identifiers
from edge_app.results.rows import read_results
from tests.conftest import REPOSITORY
from tests.dicom_files import phantom_dataset

pynetdicom = pytest.importorskip("pynetdicom", reason="needs the extra dicom-net")

CR = "1.2.840.10008.5.1.4.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
needs_dcmtk = pytest.mark.skipif(
    shutil.which("storescu") is None, reason="needs dcmtk (Debian: apt-get install dcmtk)"
)
Start = Callable[..., Receiver]


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def start(spool: Spool, log: list[str]) -> Iterator[Start]:
    running: list[Receiver] = []

    def begin(**options: Any) -> Receiver:
        chosen = {"host": "127.0.0.1", "port": 0, "keep_free_bytes": 1000} | options
        running.append(Receiver(spool, ReceiverOptions(**chosen), log.append))
        return running[-1]

    yield begin
    for receiver in running:
        receiver.close()


def associate(
    receiver: Receiver, title: str = "XRAY1", called: str = "PNEUMOSCOPE", **more: Any
) -> Any:
    entity = pynetdicom.AE(ae_title=title)
    for uid in (CR, *tables.MULTI_FRAME_CLASSES, tables.VERIFICATION, tables.STORAGE_COMMITMENT):
        entity.add_requested_context(uid, EXPLICIT)
    return entity.associate("127.0.0.1", receiver.port, ae_title=called, **more)


def send(receiver: Receiver, *datasets: Any, **how: Any) -> list[int | None]:
    """Statuses of C-STOREs over one association; None where it ended."""
    association = associate(receiver, **how)
    assert association.is_established
    statuses = []
    for dataset in datasets:
        try:
            statuses.append(association.send_c_store(dataset).get("Status"))
        except RuntimeError:  # it was ended
            statuses.append(None)
    association.release()
    return statuses


def echo(receiver: Receiver) -> bool:
    association = associate(receiver)
    if not association.is_established:
        return False
    status = association.send_c_echo().Status
    association.release()
    return bool(status == 0)


def files(spool: Spool) -> list[Path]:
    return sorted(path for path in spool.inbox.rglob("*") if path.is_file())


def test_a_stored_object_is_the_one_that_was_sent(spool: Spool, start: Start) -> None:
    import pydicom

    sent = phantom_dataset("1.2.3.4")
    assert send(start(), sent) == [tables.SUCCESS]
    (path,) = files(spool)
    assert path.name == "1.2.3.4.dcm"
    assert pydicom.dcmread(path) == sent
    assert list(spool.arriving.iterdir()) == []
    assert spool.holds("1.2.3.4")
    assert not spool.holds("1.2.3.5")


def test_the_same_object_twice_is_one_and_another_content_is_kept(
    spool: Spool, start: Start, log: list[str]
) -> None:
    receiver = start()
    first, other = phantom_dataset("1.2.3.4"), phantom_dataset("1.2.3.4", seed=2)
    assert send(receiver, first, first, other, other, first) == [0] * 5
    assert [path.name for path in files(spool)] == ["1.2.3.4.dcm", "1.2.3.4~2.dcm"]
    assert sum("another content" in line for line in log) == 1


@pytest.mark.parametrize("choice", ["pseudonymous", "none"])
def test_the_log_names_no_object_where_it_must_not(
    start: Start, log: list[str], choice: Choice
) -> None:
    identifiers = Identifiers(choice, Pseudonyms(bytes(32)))
    receiver = start(identifiers=identifiers)
    send(receiver, phantom_dataset("1.2.3.4"), phantom_dataset("1.2.3.4", seed=2))
    (line,) = [line for line in log if "another content" in line]
    assert line.startswith(f"{identifiers.uid('1.2.3.4')} of ")
    assert "1.2.3.4" not in line


def test_several_frames_are_refused_with_a_status(spool: Spool, start: Start) -> None:
    dataset = phantom_dataset("1.2.3.4")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = next(
        iter(tables.MULTI_FRAME_CLASSES)
    )
    assert send(start(), dataset) == [tables.DATA_SET_DOES_NOT_MATCH]
    assert files(spool) == []


@pytest.mark.parametrize("uid", ["../../../etc/x", "1.2.a", "", "1" * 65])
def test_a_name_that_is_no_uid_is_none(uid: str, spool: Spool) -> None:
    assert not is_uid(uid)
    assert not spool.holds(uid)


def test_a_full_disk_is_a_status_and_nothing_is_half_there(
    spool: Spool, start: Start, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = start()
    monkeypatch.setattr(Spool, "free_bytes", lambda self: 999)
    assert send(receiver, phantom_dataset("1.2.3.4")) == [tables.OUT_OF_RESOURCES]
    monkeypatch.undo()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_app.dicom_net.spool.os.fsync", full)
    assert send(receiver, phantom_dataset("1.2.3.4")) == [tables.OUT_OF_RESOURCES]
    monkeypatch.undo()
    assert files(spool) == []
    assert list(spool.arriving.iterdir()) == []
    assert "No space left on device" in log[-1]
    assert send(receiver, phantom_dataset("1.2.3.4")) == [tables.SUCCESS]


def test_it_does_not_begin_on_a_full_disk(start: Start) -> None:
    with pytest.raises(StorageError, match="--keep-free"):
        start(keep_free_bytes=10**18)


def test_strangers_are_refused(spool: Spool, start: Start, log: list[str]) -> None:
    receiver = start(allowed=(Peer("XRAY1"), Peer("XRAY2", "10.9.9.9")))
    assert send(receiver, phantom_dataset("1.2.3.4"), title="XRAY1") == [0]
    assert associate(receiver, title="STRANGER").is_rejected
    assert associate(receiver, called="SOMEBODY").is_rejected
    assert not associate(receiver, title="XRAY2").is_established
    assert any("may not come from there" in line for line in log)
    assert len(files(spool)) == 1


@pytest.mark.parametrize("text", ["", "A" * 17, "A\\B", "ä", "   "])
def test_what_is_no_ae_title(text: str) -> None:
    with pytest.raises(ValueError, match="not an AE title"):
        Peer.from_text(text)


def test_an_object_of_any_size_ends_its_association_only(
    spool: Spool, start: Start, log: list[str]
) -> None:
    receiver = start(most_object_bytes=50_000)
    assert send(receiver, phantom_dataset("1.2.3.4", side=600)) != [tables.SUCCESS]
    assert any("an object of over" in line for line in log)
    assert files(spool) == []
    assert echo(receiver)


def test_associations_are_bounded(start: Start) -> None:
    receiver = start(most_associations=2)
    open_ones = [associate(receiver) for _ in range(2)]
    assert all(association.is_established for association in open_ones)
    assert associate(receiver).is_rejected
    open_ones[0].release()
    time.sleep(0.2)
    assert echo(receiver)
    open_ones[1].release()


def test_storage_commitment_says_what_is_held(start: Start) -> None:
    from pydicom.dataset import Dataset

    receiver = start()
    assert send(receiver, phantom_dataset("1.2.3.4")) == [0]
    reports: list[Any] = []
    came = threading.Event()

    def on_report(event: Any) -> tuple[int, None]:
        reports.append((event.request.EventTypeID, event.event_information))
        came.set()
        return 0x0000, None

    handlers = [(pynetdicom.evt.EVT_N_EVENT_REPORT, on_report)]
    association = associate(receiver, evt_handlers=handlers)
    request = Dataset()
    request.TransactionUID = "1.2.9"
    request.ReferencedSOPSequence = [_reference("1.2.3.4"), _reference("1.2.3.5")]
    status, _ = association.send_n_action(
        request, 1, tables.STORAGE_COMMITMENT, tables.STORAGE_COMMITMENT_INSTANCE
    )
    assert status.Status == 0
    assert came.wait(10)
    association.release()
    ((event_type, report),) = reports
    assert (event_type, report.TransactionUID) == (2, "1.2.9")
    assert [i.ReferencedSOPInstanceUID for i in report.ReferencedSOPSequence] == ["1.2.3.4"]
    (failed,) = report.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.2.3.5", 0x0112)


def _reference(uid: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CR, uid
    return item


def certificate(folder: Path, days: int) -> Tls:
    """A self-signed certificate that ends in so many days."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "clinic")])
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "k.pem").write_bytes(private)
    return Tls(folder / "c.pem", folder / "k.pem", folder / "c.pem")


def test_tls_and_a_certificate_that_has_run_out(tmp_path: Path, spool: Spool, start: Start) -> None:
    tls = certificate(tmp_path, days=20)
    receiver = start(tls=tls)
    context = (client_context(tls), None)
    assert send(receiver, phantom_dataset("1.2.3.4"), tls_args=context) == [0]
    assert not associate(receiver).is_established  # without TLS
    assert len(files(spool)) == 1
    with pytest.raises(UsageError, match="it ran out on"):
        start(tls=certificate(tmp_path, days=-1))


def test_a_port_that_is_taken_is_said(start: Start) -> None:
    receiver = start()
    with pytest.raises(UsageError, match="cannot be listened on"):
        start(port=receiver.port)


def test_malformed_messages_and_silence_leave_the_port_open(start: Start) -> None:
    receiver = start(most_associations=5, idle_seconds=0.5)
    silent = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(3)]
    rng = __import__("random").Random(0)
    for kind in range(18):
        with socket.create_connection(("127.0.0.1", receiver.port)) as wire:
            body = rng.randbytes(rng.randrange(200))
            length = (len(body) if kind % 3 else 2**31).to_bytes(4, "big")
            wire.sendall(bytes([kind % 9, 0]) + length + body)
    began = time.monotonic()
    while not echo(receiver):
        assert time.monotonic() - began < 60
        time.sleep(0.2)
    for wire in silent:
        wire.close()


def test_who_holds_connections_open_keeps_nobody_out(start: Start) -> None:
    """More silent connections than associations; at the default a silent one lasts 30 seconds."""
    receiver = start(most_associations=1)
    silent = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(140)]
    asking: list[socket.socket] = []

    def are_hung_up_on() -> bool:
        """After another one that begins to ask, and then says nothing of its 256 bytes."""
        asking.append(socket.create_connection(("127.0.0.1", receiver.port)))
        asking[-1].sendall(b"\x01\x00\x00\x00\x01\x00")
        hung_up = [len(select.select(wires, [], [], 0)[0]) for wires in (silent, asking)]
        return hung_up[0] >= 140 - 128 and hung_up[1] >= 5

    wait_for(are_hung_up_on, 60)
    assert echo(receiver)
    for wire in silent + asking:
        wire.close()
    wait_for(lambda: not receiver._acceptors(), 20)


def test_half_a_message_and_a_huge_one_end_within_the_idle_time(start: Start) -> None:
    receiver = start(idle_seconds=1.0)
    for head in (b"\x01\x00\x00", b"\x01\x00\x00\x00\x01\x00", b"\x01\x00\xff\xff\xff\xff"):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as wire:
            wire.sendall(head)
            with contextlib.suppress(ConnectionResetError):
                while wire.recv(100):  # until it hangs up; a timeout fails
                    pass
    assert echo(receiver)


@needs_dcmtk
def test_dcmtk_sends_and_is_answered(spool: Spool, start: Start, tmp_path: Path) -> None:
    port = str(start().port)
    assert subprocess.run(["echoscu", "-aec", "PNEUMOSCOPE", "127.0.0.1", port]).returncode == 0
    phantom_dataset("1.2.3.4").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    command = ["storescu", "-aec", "PNEUMOSCOPE", "127.0.0.1", port, str(tmp_path / "a.dcm")]
    assert subprocess.run(command).returncode == 0
    assert [path.name for path in files(spool)] == ["1.2.3.4.dcm"]


def receive(out: Path, bundle: Path, *more: str) -> tuple["subprocess.Popen[str]", int]:
    """Start the command; its process and port."""
    command = [sys.executable, "-u", "-m", "edge_app", "receive", "-o", str(out), "--port", "0"]
    command += ["--host", "127.0.0.1", "--bundle", str(bundle), "--workers", "1"]
    command += ["--keep-free", "1", *more]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "listens on port" in line:
            return process, int(line.rpartition("port ")[2].split(";")[0])
    raise AssertionError(f"it ended with {process.wait()}")


def rows(out: Path) -> dict[str, Any]:
    path = out / "results.jsonl"
    if not path.is_file() or path.stat().st_size == 0:
        return {}
    return {Path(row.file).name: row for row in read_results(path)[1]}


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_the_command_scores_what_comes_and_goes_on_after_a_kill(
    tmp_path: Path, signed_bundle_folder: Path
) -> None:
    out = tmp_path / "out"
    process, port = receive(out, signed_bundle_folder)
    remote = type("Remote", (), {"port": port})
    assert send(remote, phantom_dataset("1.2.1"), phantom_dataset("1.2.2", seed=2)) == [0, 0]  # type: ignore[arg-type]
    wait_for(lambda: len(rows(out)) == 2)
    process.send_signal(signal.SIGSTOP)  # so that it is killed with an object unscored
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    data = io.BytesIO()
    phantom_dataset("1.2.3", seed=3).save_as(data, enforce_file_format=True)
    (tmp_path / "x").write_bytes(data.getvalue())
    assert Spool(out).store(tmp_path / "x", "1.2.3") is Arrival.NEW
    process, port = receive(out, signed_bundle_folder)
    try:
        wait_for(lambda: len(rows(out)) == 3)
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert {row.sop_instance_uid for row in rows(out).values()} == {"1.2.1", "1.2.2", "1.2.3"}
    assert "1.2.1" not in (out / "receive.log").read_text()


def test_a_second_one_leaves_the_first_alone(tmp_path: Path, signed_bundle_folder: Path) -> None:
    out = tmp_path / "out"
    process, _ = receive(out, signed_bundle_folder)
    try:
        (out / "arriving" / "tmp1.dcm").write_bytes(b"coming")
        command = ["receive", "-o", str(out), "--port", "0", "--bundle", str(signed_bundle_folder)]
        assert main(command) == EXIT_STORAGE
        assert (out / "arriving" / "tmp1.dcm").exists()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_only_what_was_received_in_part_is_forgotten(tmp_path: Path) -> None:
    arriving = tmp_path / "arriving"
    arriving.mkdir()
    for name in ("tmp1.dcm", "1.2.3.7.part", "letter.txt", "1.2.3.dcm"):
        (arriving / name).write_bytes(b"")
    Spool(tmp_path)
    assert sorted(path.name for path in arriving.iterdir()) == ["1.2.3.dcm", "letter.txt"]


@pytest.mark.parametrize("text", ["XRAY1@", "XRAY1@pacs.local", "@10.0.0.1", ""])
def test_what_names_no_peer(text: str) -> None:
    with pytest.raises(ValueError, match=r"AE title|IP"):
        Peer.from_text(text)


def test_a_peer_is_read_with_and_without_an_address() -> None:
    assert Peer.from_text(" XRAY1 ") == Peer("XRAY1")
    assert Peer.from_text("XRAY1 @ 10.0.0.1") == Peer("XRAY1", "10.0.0.1")


@pytest.mark.slow
def test_a_thousand_objects_through_five_kills(tmp_path: Path, signed_bundle_folder: Path) -> None:
    """10 associations at once, the receiver killed five times, the senders trying again."""
    out = tmp_path / "out"
    state: dict[str, Any] = {}
    state["process"], state["port"] = receive(out, signed_bundle_folder)
    remote = type("Remote", (), {"port": property(lambda self: state["port"])})()
    failures: list[BaseException] = []

    def sender(number: int) -> None:
        try:
            left = [phantom_dataset(f"1.2.{number}.{i}", seed=i, side=140) for i in range(100)]
            while left:
                association = associate(remote)
                if not association.is_established:
                    time.sleep(0.2)
                    continue
                while left:
                    try:
                        status = association.send_c_store(left[0])
                    except RuntimeError:
                        break
                    if status.get("Status") != 0:
                        break
                    left.pop(0)
                else:
                    association.release()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=sender, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        time.sleep(3)
        os.kill(state["process"].pid, signal.SIGKILL)
        state["process"].wait()
        state["process"], state["port"] = receive(out, signed_bundle_folder)
    for thread in threads:
        thread.join(300)
    wait_for(lambda: len(rows(out)) == 1000, 300)
    state["process"].send_signal(signal.SIGINT)
    state["process"].wait(60)
    assert failures == []
    found = [row.file for row in read_results(out / "results.jsonl")[1]]
    assert len(found) == len(set(found)) == 1000
