"""DICOM under load and under fire: `make slow-test`; each prints its figures."""

import io
import logging
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_app.dicom_net.outbox import Outbox
from edge_app.dicom_net.receiver import Receiver, ReceiverOptions
from edge_app.dicom_net.sender import Destination, DicomWire, Sender
from edge_app.dicom_net.spool import Spool
from edge_app.dicom_out.answers import answer_paths
from edge_app.dicom_out.picture import draw_answer
from edge_app.dicom_out.report_template import report_file
from edge_app.dicom_out.secondary_capture import secondary_capture
from edge_app.dicom_out.source import Source
from edge_app.results.rows import encode_row, read_results
from tests.conftest import REPOSITORY
from tests.dicom_files import phantom_dataset
from tests.dicom_peers import free_port, needs, storescp, wait_for
from tests.test_sender import Clock, FakeWire, add_rows, drain, row

pynetdicom = pytest.importorskip("pynetdicom", reason="needs the extra dicom-net")
pytestmark = pytest.mark.slow

CR = "1.2.840.10008.5.1.4.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
_ANSWERS = 5000


def start(out: Path, port: int, *more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "edge_app", "receive", "-o", str(out), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--keep-free", "1", "--quiet", *more]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    wait_for(lambda: echo_seconds(port) is not None or process.poll() is not None, 120)
    return process


def echo_seconds(port: int) -> float | None:
    """How long an association with a C-ECHO takes; None where there is no answer."""
    entity = pynetdicom.AE()
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = 5
    entity.add_requested_context(VERIFICATION)
    began = time.monotonic()
    association = entity.associate("127.0.0.1", port, ae_title="PNEUMOSCOPE")
    if not association.is_established:
        return None
    status = association.send_c_echo().get("Status")
    association.release()
    return time.monotonic() - began if status == 0 else None


def deliver(port: int, datasets: list[Any]) -> None:
    """Send until each is acknowledged, whatever happens to the receiver."""
    waiting = list(datasets)
    while waiting:
        entity = pynetdicom.AE()
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = 10
        entity.add_requested_context(CR, "1.2.840.10008.1.2.1")
        association = entity.associate("127.0.0.1", port, ae_title="PNEUMOSCOPE")
        with suppress(RuntimeError, ValueError):
            while association.is_established and waiting:
                if association.send_c_store(waiting[0]).get("Status") != 0:
                    break
                waiting.pop(0)
        if association.is_established:
            association.release()
        else:
            association.kill()  # else its thread outlives the receiver that was killed
            time.sleep(0.2)


def test_a_thousand_objects_and_five_kills(tmp_path: Path, signed_bundle_folder: Path) -> None:
    """Over ten associations at once; each is scored once, and none is lost."""
    out, port = tmp_path / "out", free_port()
    options = ("--bundle", str(signed_bundle_folder), "--workers", "1", "--format", "jsonl")
    objects = [phantom_dataset(f"1.2.3.{n}", seed=n % 7, side=64) for n in range(1000)]
    senders = [
        threading.Thread(target=deliver, args=(port, objects[begin::10])) for begin in range(10)
    ]
    process = start(out, port, *options)
    for sender in senders:
        sender.start()
    for _ in range(5):
        time.sleep(random.uniform(1.0, 3.0))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process = start(out, port, *options)
    for sender in senders:
        sender.join(400)
        assert not sender.is_alive()
    try:
        wait_for(lambda: len(uids(out)) >= 1000, 400)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert sorted(uids(out)) == sorted(str(one.SOPInstanceUID) for one in objects)


def uids(out: Path) -> list[str]:
    with suppress(Exception):  # a line that is being written
        return [str(row.sop_instance_uid) for row in read_results(out / "results.jsonl")[1]]
    return []


def test_ten_thousand_malformed_pdus_and_half_open_associations(tmp_path: Path) -> None:
    """The port answers each C-ECHO meanwhile, with its own bounds; prints how long that took."""
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # pytest keeps what it says
    rng, times = random.Random(1), []
    options = ReceiverOptions(host="127.0.0.1", port=0, keep_free_bytes=1000)
    with Receiver(Spool(tmp_path), options, lambda text: None) as receiver:
        half_open: list[socket.socket] = []
        for n in range(10_000):
            with suppress(OSError):
                wire = socket.create_connection(("127.0.0.1", receiver.port), timeout=5)
                body = rng.randbytes(rng.randrange(64))
                length = len(body) if n % 3 else rng.randrange(2**32)
                wire.sendall(struct.pack(">BBI", rng.randrange(9), 0, length) + body)
                half_open.append(wire)
                if len(half_open) > 40:
                    half_open.pop(0).close()
            if n % 100 == 99:
                times.append(echo_seconds(receiver.port))
        for wire in half_open:
            wire.close()
    answered = [one for one in times if one is not None]
    worst = f"{max(answered):.2f} s" if answered else "none"
    print(f"\nload {os.getloadavg()[0]:.0f}")
    print(f"C-ECHO: {len(answered)} of {len(times)} answered, the slowest in {worst}")
    assert len(answered) == len(times) == 100


def write_answers_of_many(out: Path, count: int) -> None:
    """A run of so many films, each of a study of its own, with real reports and pictures."""
    film, stream = phantom_dataset("1.2.3"), io.BytesIO()
    film.save_as(stream, enforce_file_format=True)
    source = Source.from_bytes(stream.getvalue())
    assert source is not None
    add_rows(out)
    with (out / "results.jsonl").open("ab") as results:
        for n in range(count):
            one = replace(source, sop_instance_uid=f"1.2.3.{n}", study_uid=f"1.2.77.{n}")
            made = replace(row(f"{n}.dcm"), sha256=f"{n:064}")
            capture = secondary_capture(one, made, draw_answer(made, None, None), is_turned=False)
            report_path, picture_path = answer_paths(out / "answers", made.file)
            report_path.parent.mkdir(exist_ok=True)
            report_path.write_bytes(report_file(one, made))
            capture.save_as(picture_path, enforce_file_format=True)
            results.write(encode_row(made))


@needs("storescp")
def test_a_week_away_with_5000_answers_and_a_real_peer(tmp_path: Path) -> None:
    """Nobody listens for a week of the clock; then dcmtk does, and gets each object once."""
    import resource

    count, out, port, log = _ANSWERS, tmp_path / "out", free_port(), []
    write_answers_of_many(out, count)
    week = Clock()
    destination = Destination("STORESCP", "127.0.0.1", port)
    box = Outbox(out, str(destination))
    sender = Sender(box, DicomWire(destination, "PNEUMOSCOPE"), "pacs", log.append, clock=week)
    for _ in range(100):
        week.now += 7 * 86400 / 100
        assert not sender.step()
    assert len(log) == 1  # said once
    assert list((out / "outbox").iterdir()) == []  # nothing is copied for one that is away
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with storescp(tmp_path / "got", port, "+xa"):
        week.now += 300
        drain(sender)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    got = [path.name for path in (tmp_path / "got").iterdir()]
    print(f"\n{len(got)} objects in {time.monotonic() - began:.0f} s, {grown:.0f} MB more memory")
    assert len(got) == box.state.sent == 2 * count
    assert grown < 50
    assert sum(path.stat().st_size for path in (out / "outbox").iterdir()) < 1000
    again = Sender(Outbox(out, str(destination)), FakeWire(), "pacs", log.append, clock=week)
    assert not again.step()


@needs("storescu", "storescp")
def test_throughput_from_receiving_to_the_sent_report(tmp_path: Path) -> None:
    """2-megapixel CR films with the shipped model; prints the share of a folder run's speed."""
    count = 40
    films = tmp_path / "films"
    films.mkdir()
    for n in range(count):
        film = phantom_dataset(f"1.2.3.{n}", seed=n % 9, side=1430, study=f"1.2.77.{n}")
        film.save_as(films / f"{n}.dcm", enforce_file_format=True)
    command = [sys.executable, "-m", "edge_app", "batch", str(films), "-o", str(tmp_path / "a")]
    began = time.monotonic()
    subprocess.run([*command, "--quiet"], cwd=REPOSITORY, check=True)
    folder_seconds = time.monotonic() - began
    pacs, port = free_port(), free_port()
    got = tmp_path / "got"
    with storescp(got, pacs, "+x="):
        process = start(tmp_path / "out", port, "--send-to", f"PACS@127.0.0.1:{pacs}")
        began = time.monotonic()
        send = ["storescu", "-aec", "PNEUMOSCOPE", "127.0.0.1", str(port)]
        subprocess.run([*send, *map(str, films.iterdir())], check=True, capture_output=True)
        wait_for(lambda: len(list(got.iterdir())) == 2 * count, 600)
        seconds = time.monotonic() - began
        process.send_signal(signal.SIGINT)
        process.wait(60)
    print(
        f"{count} films: folder {count / folder_seconds:.1f} a second with its start, received to "
        f"sent {count / seconds:.1f} a second: {folder_seconds / seconds:.2f} of the folder run"
    )
    shutil.rmtree(got)
