"""Asking a PACS for films: from Orthanc and dcmqrscp, again after an interruption."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_app.cli import main
from edge_app.dicom_net.archive import Archive, Fetched, Progress, Query, check_dates, retrieve
from edge_app.dicom_net.receiver import Receiver, ReceiverOptions
from edge_app.dicom_net.sender import Destination
from edge_app.dicom_net.spool import Spool
from edge_app.errors import EXIT_NO_INPUT, NoInputError
from tests.dicom_files import phantom_dataset
from tests.dicom_peers import free_port, needs, needs_orthanc, orthanc, wait_for

pytest.importorskip("pynetdicom", reason="needs the extra dicom-net")

FILMS: dict[str, dict[str, Any]] = {
    "1.2.3.1": {},
    "1.2.3.2": {"StudyDate": "20261015"},
    "1.2.3.3": {"Modality": "DX", "BodyPartExamined": ""},
    "1.2.3.4": {"BodyPartExamined": "HAND"},
    "1.2.3.5": {"Modality": "CT"},
}
WANTED = {"1.2.3.1", "1.2.3.2", "1.2.3.3"}


def write_films(folder: Path) -> None:
    folder.mkdir()
    for n, (uid, changes) in enumerate(FILMS.items()):
        film = phantom_dataset(uid, study=f"1.2.77.{n}", side=64, **changes)
        film.save_as(folder / f"{n}.dcm", enforce_file_format=True)


@contextmanager
def dcmqrscp(folder: Path, our_port: int) -> Iterator[int]:
    """Dcmtk's archive with the films, AE title ARCHIVE; its port."""
    port = free_port()
    (folder / "db").mkdir(parents=True)
    (folder / "c.cfg").write_text(
        f"""NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 8
HostTable BEGIN
us = (PNEUMOSCOPE, 127.0.0.1, {our_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
ARCHIVE {folder / "db"} RW (200, 1024mb) ANY
AETable END
"""
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        ["dcmqrscp", "-c", str(folder / "c.cfg")], stdout=log, stderr=log, cwd=folder
    )
    try:
        echo = ["echoscu", "-aec", "ARCHIVE", "127.0.0.1", str(port)]
        wait_for(lambda: subprocess.run(echo, capture_output=True).returncode == 0, 20)
        yield port
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def store(port: int, title: str, folder: Path) -> None:
    command = ["storescu", "-aec", title, "127.0.0.1", str(port), *map(str, folder.iterdir())]
    assert subprocess.run(command, capture_output=True).returncode == 0


def names(spool: Spool) -> set[str]:
    return {path.stem for path in spool.inbox.rglob("*.dcm")}


def ask(archive: Archive, tmp_path: Path, *, knows_body_parts: bool = True) -> None:
    """Queries and C-GET, against whatever archive; a series of no known part is taken."""
    found = list(archive.find(Query(modalities=("CR", "DX"), body_part="CHEST")))
    others = set() if knows_body_parts else {"1.2.77.3"}
    assert {one.study_uid for one in found} == {"1.2.77.0", "1.2.77.1", "1.2.77.2"} | others
    october = list(archive.find(Query("20261001-20261031")))
    assert [(one.study_uid, one.date) for one in october] == [("1.2.77.1", "20261015")]
    assert len(list(archive.find(Query()))) == 5
    spool = Spool(tmp_path / "get")
    for series in found:
        assert archive.fetch(series, spool) == Fetched(1, 0)
    assert names(spool) == WANTED | ({"1.2.3.4"} if others else set())
    assert list(spool.arriving.iterdir()) == []


@needs_orthanc
@needs("storescu")
def test_orthanc_is_asked_and_sends(tmp_path: Path) -> None:
    write_films(tmp_path / "films")
    spool = Spool(tmp_path / "moved")
    options = ReceiverOptions(host="127.0.0.1", port=0, keep_free_bytes=1000)
    with (
        Receiver(spool, options, lambda text: None) as receiver,
        orthanc(tmp_path / "orthanc", receiver.port) as pacs,
    ):
        store(pacs.dicom_port, "ORTHANC", tmp_path / "films")
        archive = Archive(Destination("ORTHANC", "127.0.0.1", pacs.dicom_port), "PNEUMOSCOPE")
        ask(archive, tmp_path)
        for series in archive.find(Query(body_part="CHEST", modalities=("CR", "DX"))):
            assert archive.move(series, "PNEUMOSCOPE").completed == 1
        assert names(spool) == WANTED
        peer = f"ORTHANC@127.0.0.1:{pacs.dicom_port}"
        out = tmp_path / "out"
        for _ in range(2):
            assert main(["retrieve", "--pacs", peer, "-o", str(out)]) == 0
        assert names(Spool(out)) == WANTED
        assert len((out / "retrieved.txt").read_text().split()) == 3
        assert main(["query", "--pacs", peer, "--date", "20261015", "--modality", "CR"]) == 0


@needs("dcmqrscp", "storescu")
def test_dcmqrscp_is_asked_and_sends(tmp_path: Path) -> None:
    write_films(tmp_path / "films")
    with dcmqrscp(tmp_path / "qr", free_port()) as port:
        store(port, "ARCHIVE", tmp_path / "films")
        archive = Archive(Destination("ARCHIVE", "127.0.0.1", port), "PNEUMOSCOPE")
        ask(archive, tmp_path, knows_body_parts=False)


def test_an_interrupted_retrieval_goes_on_behind_what_came_in_full(tmp_path: Path) -> None:
    from edge_app.dicom_net.archive import SeriesFound

    series = [SeriesFound("1.2", f"1.2.{n}", "", "CR", "", 1) for n in range(4)]
    brought: list[str] = []

    def bring(one: SeriesFound) -> Fetched:
        if len(brought) == 2:
            raise KeyboardInterrupt
        brought.append(one.series_uid)
        return Fetched(1, 1 if one.series_uid == "1.2.0" else 0)

    with Progress(tmp_path) as progress, pytest.raises(KeyboardInterrupt):
        retrieve(iter(series), progress, bring, lambda text: None)
    with (tmp_path / "retrieved.txt").open("ab") as stream:
        stream.write(b"1.2.")  # a power cut
    brought.clear()
    with Progress(tmp_path) as progress:
        again = retrieve(
            iter(series),
            progress,
            lambda one: brought.append(one.series_uid) or Fetched(1, 0),
            lambda text: None,
        )
    assert brought == ["1.2.0", "1.2.2", "1.2.3"]  # the first had lost an object
    assert again == (3, 0)


def test_a_pacs_that_is_not_there_is_said(tmp_path: Path) -> None:
    archive = Archive(Destination("A", "127.0.0.1", free_port()), "PNEUMOSCOPE")
    with pytest.raises(NoInputError, match="cannot be reached"):
        list(archive.find(Query()))
    peer = f"A@127.0.0.1:{free_port()}"
    assert main(["query", "--pacs", peer]) == EXIT_NO_INPUT
    assert main(["retrieve", "--pacs", peer, "-o", str(tmp_path / "out")]) == EXIT_NO_INPUT


def test_one_that_offers_no_queries_is_said(tmp_path: Path) -> None:
    options = ReceiverOptions(host="127.0.0.1", port=0, keep_free_bytes=1000)
    with Receiver(Spool(tmp_path), options, lambda text: None) as receiver:
        archive = Archive(Destination("PNEUMOSCOPE", "127.0.0.1", receiver.port), "US")
        with pytest.raises(NoInputError, match="no such service"):
            list(archive.find(Query()))


@pytest.mark.parametrize("text", ["20261101", "20261101-20261130", "20261101-", "-20261130"])
def test_dates(text: str) -> None:
    assert check_dates(text) == text


@pytest.mark.parametrize("text", ["", "-", "2026", "20261301", "20261130-20261101", "x", "1-2-3"])
def test_what_are_no_dates(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_dates(text)
