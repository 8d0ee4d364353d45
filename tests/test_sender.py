"""Sending answers: to a PACS that is there, that is away for a week, that refuses, that commits."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_app.decision import Reason
from edge_app.dicom_net.outbox import STATE_VERSION, Outbox, OutboxState
from edge_app.dicom_net.receiver import Receiver, ReceiverOptions
from edge_app.dicom_net.sender import (
    AwayError,
    Commitments,
    Delivery,
    Destination,
    DicomWire,
    Sender,
)
from edge_app.dicom_net.spool import Spool
from edge_app.dicom_out.answers import answer_paths, write_answers
from edge_app.errors import StorageError
from edge_app.files.codec import compact_json
from edge_app.results.rows import (
    FORMAT_VERSION,
    Asked,
    CutOffs,
    ResultRow,
    RunHeader,
    encode_row,
    failed_row,
    utc_now,
)
from tests.dicom_files import phantom_dataset
from tests.dicom_peers import free_port, needs, needs_orthanc, orthanc, storescp, wait_for

pytest.importorskip("highdicom", reason="needs the extra dicom-net")

ASKED = Asked("balanced", "m", "a" * 64, "litert")
HEADER = RunHeader(
    format_version=FORMAT_VERSION,
    pneumoscope_version="0",
    started_at=utc_now(),
    input="films",
    model_id="m",
    model_sha256="a" * 64,
    runtime="litert",
    runtime_version="1",
    operating_point=CutOffs("balanced", 0.0, -1.0, 1.0),
    parameters={},
)


def row(name: str) -> ResultRow:
    return failed_row(name, Reason.UNREADABLE, "damaged", 1.0, ASKED, sha256="b" * 64)


def add_rows(out: Path, *names: str) -> None:
    """Rows with answers that hold nothing but their names."""
    out.mkdir(exist_ok=True)
    path = out / "results.jsonl"
    with path.open("ab") as stream:
        if not stream.tell():
            stream.write((compact_json(HEADER) + "\n").encode())
        for name in names:
            for answer in answer_paths(out / "answers", name):
                answer.parent.mkdir(parents=True, exist_ok=True)
                answer.write_bytes(name.encode())
            stream.write(encode_row(row(name)))


class FakeWire:
    """A PACS in memory, which is away while `away` is set."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.away = ""
        self.tries = 0
        self.most = 0

    def deliver(self, files: Sequence[Path]) -> Delivery:
        self.tries += 1
        self.most = max(self.most, len(files))
        if self.away:
            raise AwayError(self.away)
        self.got += [path.name for path in files]
        return Delivery(len(files), 0, ())


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drain(sender: Sender) -> None:
    while sender.step():
        pass


@pytest.mark.parametrize(
    "text", ["A@h:1", "PACS@192.0.2.7:104", "P@[::1]:11112", "PACS@pacs.clinic:104"]
)
def test_a_destination_is_read_and_said(text: str) -> None:
    destination = Destination.from_text(text)
    assert destination.port == int(text.rpartition(":")[2])
    assert "[" not in destination.host


@pytest.mark.parametrize("text", ["", "A", "A@h", "A@h:", "A@:1", "@h:1", "A@h:0", "A@h:99999"])
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Destination.from_text(text)


def test_a_week_away_costs_no_result_and_no_memory(tmp_path: Path) -> None:
    """5,000 results wait; the clock moves a week; all are sent once, a batch at a time."""
    out, clock, wire, log = tmp_path / "out", Clock(), FakeWire(), []
    wire.away = "it cannot be reached"
    sender = Sender(Outbox(out, "A@h:1"), wire, "A@h:1", log.append, clock=clock)
    names = [f"{n:04}.dcm" for n in range(5000)]
    for begin in range(0, 5000, 500):
        add_rows(out, *names[begin : begin + 500])
        for _ in range(20):  # while it is away somebody looks now and then
            clock.now += 7 * 86400 / 200
            assert not sender.step()
    assert wire.got == []
    assert len(log) == 1  # said once in a week
    assert list((out / "outbox").iterdir()) == []  # nothing was copied for it
    wire.away = ""
    clock.now += 300
    drain(sender)
    assert sorted(wire.got) == sorted(f"{n}.{kind}.dcm" for n in names for kind in ("sr", "sc"))
    assert log[1:] == ["A@h:1 is back"]
    assert wire.most <= 100
    again = Sender(Outbox(out, "A@h:1"), wire, "A@h:1", log.append, clock=clock)
    assert not again.step()


def test_it_is_tried_at_longer_and_longer_intervals(tmp_path: Path) -> None:
    clock, wire = Clock(), FakeWire()
    wire.away = "no"
    add_rows(tmp_path / "out", "a.dcm")
    sender = Sender(Outbox(tmp_path / "out", "A@h:1"), wire, "A", lambda text: None, clock=clock)
    for _ in range(3600):
        clock.now += 1
        sender.step()
    assert 15 <= wire.tries <= 25  # 2, 4, 8, ... 256, then 300 seconds


def test_one_that_is_down_delays_no_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    add_rows(out, "a.dcm")
    stuck, release, works = threading.Event(), threading.Event(), FakeWire()

    class Stuck:
        def deliver(self, files: Sequence[Path]) -> Delivery:
            stuck.set()
            release.wait(30)
            raise AwayError("gone")

    senders = [
        Sender(Outbox(out, name), wire, name, lambda text: None)
        for name, wire in (("STUCK@h:1", Stuck()), ("WORKS@h:1", works))
    ]
    for sender in senders:
        sender.start()
    assert stuck.wait(10)
    for n in range(3):
        add_rows(out, f"{n}.dcm")
        wait_for(lambda n=n: f"{n}.dcm.sr.dcm" in works.got, 10)
    release.set()
    for sender in senders:
        sender.close()


def test_a_batch_that_was_not_settled_is_sent_again_and_none_is_skipped(tmp_path: Path) -> None:
    out = tmp_path / "out"
    add_rows(out, "a.dcm", "b.dcm", "c.dcm")
    box = Outbox(out, "A@h:1")
    first = box.batch(3)  # the header is a line too
    assert first is not None
    again = Outbox(out, "A@h:1").batch(3)  # killed before `settle`
    assert again == first
    box.settle(first, sent=4, refused=0, committed=0)
    rest = Outbox(out, "A@h:1").batch(2)
    assert rest is not None
    assert [path.name for path in rest.files] == ["c.dcm.sr.dcm", "c.dcm.sc.dcm"]
    box.settle(rest, sent=2, refused=0, committed=0)
    assert Outbox(out, "A@h:1").batch(2) is None


def test_rows_that_a_power_cut_took_are_sent_when_they_are_there_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    add_rows(out, "a.dcm", "b.dcm")
    box = Outbox(out, "A@h:1")
    batch = box.batch(9)
    assert batch is not None
    box.settle(batch, sent=4, refused=0, committed=0)
    path = out / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])  # torn within the row of b.dcm
    torn = Outbox(out, "A@h:1")
    assert torn.batch(9) is None or not torn.batch(9).files  # type: ignore[union-attr]
    path.write_bytes(whole[: whole[:-1].rfind(b"\n") + 1])  # as the run cuts it
    add_rows(out, "c.dcm", "b.dcm")
    found = torn.batch(9)
    assert found is not None
    assert [p.name for p in found.files if "sr" in p.name] == ["c.dcm.sr.dcm", "b.dcm.sr.dcm"]


def test_damage_in_the_results_is_not_passed_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    add_rows(out, "a.dcm")
    with (out / "results.jsonl").open("ab") as stream:
        stream.write(b"\0\0\0\n")
    batch = Outbox(out, "A@h:1").batch(9)
    assert batch is not None
    assert batch.end == (out / "results.jsonl").stat().st_size - 4


def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    Outbox(tmp_path, "A@h:1")
    (tmp_path / "outbox" / "A_h_1.json").write_bytes(b"{}")
    with pytest.raises(StorageError, match="remove it"):
        Outbox(tmp_path, "A@h:1")
    with pytest.raises(ValueError, match="format version"):
        OutboxState(STATE_VERSION + 1, "A", 0, 0, 0, 0)


# Real answers over a real wire.


def answered_run(out: Path, n_films: int = 2) -> None:
    """A run of damaged films, whose answers are real."""
    films = out.parent / "films"
    films.mkdir()
    add_rows(out)
    with (out / "results.jsonl").open("ab") as stream:
        for n in range(n_films):
            name = f"{n}.dcm"
            film = phantom_dataset(f"1.2.3.{n}", study=f"1.2.77.{n}")
            film.save_as(films / name, enforce_file_format=True)
            made = replace(row(name), sha256=f"{n:064}")
            assert write_answers(out / "answers", films / name, made)
            stream.write(encode_row(made))


def send_all(out: Path, port: int, title: str, **how: Any) -> tuple[Outbox, list[str]]:
    destination, log = Destination(title, "127.0.0.1", port), []
    box = Outbox(out, str(destination))
    drain(Sender(box, DicomWire(destination, "PNEUMOSCOPE", **how), str(destination), log.append))
    return box, log


@needs("storescp")
@pytest.mark.parametrize("options", [("+xa",), ("+x=",), ("+xi",)])
def test_dcmtk_takes_both_compressed_or_not(tmp_path: Path, options: tuple[str, ...]) -> None:
    import pydicom

    out, port = tmp_path / "out", free_port()
    answered_run(out)
    with storescp(tmp_path / "got", port, *options):
        box, log = send_all(out, port, "STORESCP")
    assert (box.state.sent, box.state.refused, log) == (4, 0, [])
    got = {
        pydicom.dcmread(p).SOPInstanceUID: pydicom.dcmread(p) for p in (tmp_path / "got").iterdir()
    }
    for path in (out / "answers").iterdir():
        sent = pydicom.dcmread(path)
        assert got[sent.SOPInstanceUID].StudyInstanceUID == sent.StudyInstanceUID


@needs_orthanc
def test_orthanc_commits_itself_to_keep_them(tmp_path: Path) -> None:
    out, commitments = tmp_path / "out", Commitments()
    answered_run(out)
    options = ReceiverOptions(host="127.0.0.1", port=0, keep_free_bytes=1000)
    spool = Spool(tmp_path / "spool")
    with (
        Receiver(spool, options, lambda text: None, commitments.on_report) as receiver,
        orthanc(tmp_path / "orthanc", receiver.port) as pacs,
    ):
        box, log = send_all(out, pacs.dicom_port, "ORTHANC", commitments=commitments)
        assert (box.state.sent, box.state.committed, log) == (4, 4, [])
        held = pacs.instances()
        assert {one["Modality"] for one in held} == {"SR", "OT"}
        for one in held:
            assert one["StudyInstanceUID"] in ("1.2.77.0", "1.2.77.1")
            if one["Modality"] == "SR":
                assert one["CurrentRequestedProcedureEvidenceSequence"]


def test_what_is_refused_for_good_is_said_and_no_room_is_waited_for(tmp_path: Path) -> None:
    from pynetdicom import AE, evt

    out = tmp_path / "out"
    answered_run(out, 1)
    statuses = [0xA700]
    entity = AE(ae_title="PACS")
    for uid in ("1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.7"):
        entity.add_supported_context(uid, ["1.2.840.10008.1.2.1"])
    handlers: Any = [(evt.EVT_C_STORE, lambda event: statuses[-1])]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        port = server.server_address[1]
        box, log = send_all(out, port, "PACS")
        assert (box.state.position, len(log)) == (0, 1)
        assert "no room" in log[0]
        statuses.append(0xA900)
        box, log = send_all(out, port, "PACS")
        assert (box.state.sent, box.state.refused) == (0, 2)
        assert all("0xA900" in line for line in log)
        box, log = send_all(tmp_path / "none", port, "OTHER", commitments=Commitments())
        assert log == []  # nothing to send: not even an association
        out2 = tmp_path / "b" / "out"
        out2.parent.mkdir()
        answered_run(out2, 1)
        statuses.append(0x0000)
        box, log = send_all(out2, port, "PACS", commitments=Commitments())
        assert "does not offer storage commitment" in log[0]
        assert box.state.sent == 0
    finally:
        server.shutdown()


def test_a_report_that_does_not_come_leaves_them_unsent() -> None:
    commitments = Commitments()
    commitments.expect("1.2.3")
    began = time.monotonic()
    assert commitments.wait("1.2.3", 0.05) == set()
    assert time.monotonic() - began < 10
