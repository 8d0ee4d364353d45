"""The clinic's record: what is kept, who sees it, and that nothing that was answered is lost."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from edge_app.decision import Decision
from edge_app.errors import (
    ChangedMeanwhileError,
    NotInRecordError,
    RecordError,
    StorageError,
    UsageError,
)
from edge_app.record.record import Record
from edge_app.record.studies import Basis, Kind, Label, Order, Patient, Sex, StudyFilter
from edge_app.record.tables import METADATA
from tests.conftest import REPOSITORY
from tests.record_inputs import answer, new_study

SUSPECTED, CLEAR = Decision.PNEUMONIA_SUSPECTED, Decision.NO_PNEUMONIA_SEEN
BETWEEN, REFUSED = Decision.INDETERMINATE, Decision.NOT_ASSESSABLE


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record.open(tmp_path / "record") as opened:
        yield opened


def test_a_study_comes_back_as_it_was_added(record: Record) -> None:
    new = replace(new_study(b"bytes"), patient=Patient("K-17", 3.5, Sex.FEMALE), heat=b"png")
    added = record.add_study(new, "ann")
    found = record.study(f" {added.id[:5].lower()}-{added.id[5:]}")
    assert found == added
    assert (found.patient, found.decision, found.probability) == (new.patient, SUSPECTED, 0.9)
    assert record.pictures.read(found.picture_sha256) == b"bytes"
    assert found.heat_sha256 is not None
    assert record.pictures.read(found.heat_sha256) == b"png"
    with pytest.raises(NotInRecordError):
        record.study("nonesuch")


def test_what_cannot_be_kept_is_refused_and_leaves_nothing(record: Record) -> None:
    with pytest.raises(UsageError, match="not of this picture"):
        record.add_study(replace(new_study(), picture=b"another"), "ann")
    for patient in (Patient(age_years=-1), Patient(age_years=float("nan")), Patient("x" * 65)):
        with pytest.raises(UsageError):
            record.add_study(replace(new_study(), patient=patient), "ann")
    assert record.studies().total == 0
    assert record.audit.head().counter == 0


def test_hostile_names_are_kept_as_text(record: Record) -> None:
    name = "../<script>\x00\x1b[2J'; DROP TABLE studies; --\udcff.png"
    added = record.add_study(new_study(file="a\\x00.png", code="<b>\x00'"), "ann")
    assert record.study(added.id).patient.code == "<b> '"
    added = record.add_study(replace(new_study(), row=answer(b"a picture", file=name[:-5])), "a")
    assert "\x00" not in record.study(added.id).file
    assert record.studies(StudyFilter(text="'; DROP")).total == 1
    assert record.studies(StudyFilter(text="%")).total == 0


def test_a_picture_path_cannot_leave_its_folder(record: Record) -> None:
    for name in ("../record.sqlite", "", "a" * 63, "A" * 64, "0" * 64):
        with pytest.raises(NotInRecordError):
            record.pictures.path(name)


def test_a_damaged_picture_is_not_given_out(record: Record) -> None:
    study = record.add_study(new_study(), "ann")
    record.pictures.path(study.picture_sha256).write_bytes(b"a picturE")
    with pytest.raises(NotInRecordError, match="damaged"):
        record.pictures.read(study.picture_sha256)


def test_the_worklist_has_the_worst_first(record: Record) -> None:
    for decision, probability in (
        (CLEAR, 0.01),
        (REFUSED, 0.0),
        (SUSPECTED, 0.7),
        (BETWEEN, 0.4),
        (SUSPECTED, 0.99),
        (CLEAR, 0.1),
    ):
        record.add_study(new_study(decision=decision, probability=probability), "ann")
    page = record.studies()
    assert [(s.decision, s.probability) for s in page.studies] == [
        (SUSPECTED, 0.99),
        (SUSPECTED, 0.7),
        (BETWEEN, 0.4),
        (REFUSED, None),
        (CLEAR, 0.1),
        (CLEAR, 0.01),
    ]
    second = record.studies(page=2, page_size=4)
    assert (second.studies, second.total) == (page.studies[4:], 6)
    assert record.studies(order=Order.NEWEST_FIRST).studies[0].probability == 0.1


def test_filters(record: Record) -> None:
    first = record.add_study(new_study(code="K-1", file="chest one.png"), "ann")
    second = record.add_study(new_study(b"2", CLEAR, code="K-2", kind=Kind.PHOTOGRAPH), "ann")
    record.save_reading(first.id, Label.NORMAL, "bob")
    record.save_outcome(second.id, Label.NORMAL, Basis.OTHER, "bob", version=1)

    def ids(**wanted: object) -> set[str]:
        return {s.id for s in record.studies(StudyFilter(**wanted)).studies}  # type: ignore

    assert ids(text="k-1") == ids(text="CHEST") == ids(text=first.id.lower()) == {first.id}
    assert ids(decisions=frozenset({CLEAR})) == ids(kind=Kind.PHOTOGRAPH) == {second.id}
    assert ids(has_outcome=True) == ids(unread_by="bob") == {second.id}
    assert ids(has_outcome=False) == ids(patient_code="K-1") == {first.id}
    assert ids(unread_by="ann") == {first.id, second.id}
    assert ids(since=second.added_at) >= {second.id}
    assert second.id not in ids(until=second.added_at)


def test_earlier_pictures_of_a_patient(record: Record) -> None:
    first, other, second = (
        record.add_study(new_study(code=code), "ann") for code in ("K-1", "K-2", "K-1")
    )
    assert [study.id for study in record.earlier_of_patient(second)] == [first.id]
    assert record.earlier_of_patient(first) == record.earlier_of_patient(other) == ()
    unknown = [record.add_study(new_study(), "ann") for _ in range(2)]
    assert record.earlier_of_patient(unknown[1]) == ()


def test_a_reading_is_blind_until_the_answer_was_shown(record: Record) -> None:
    study = record.add_study(new_study(), "ann")
    record.save_reading(study.id, Label.NORMAL, "ann", "clear")
    record.mark_shown([study.id], "ann")
    record.mark_shown([study.id], "ann")
    record.save_reading(study.id, Label.PNEUMONIA, "ann")
    read = record.save_reading(study.id, Label.UNCERTAIN, "bob").readings
    assert [(r.worker, r.label, r.is_blind) for r in read] == [
        ("ann", Label.NORMAL, True),
        ("ann", Label.PNEUMONIA, False),
        ("bob", Label.UNCERTAIN, True),
    ]
    shown = [e for e in record.audit.entries() if e.action == "answer_shown"]
    assert len(shown) == 1


def test_of_two_outcomes_at_once_neither_is_lost(record: Record) -> None:
    study = record.add_study(new_study(), "ann")
    refused: list[str] = []

    def enter(worker: str, label: Label) -> None:
        try:
            record.save_outcome(study.id, label, Basis.OTHER, worker, version=1)
        except ChangedMeanwhileError:
            refused.append(worker)

    workers = [
        threading.Thread(target=enter, args=(f"w{i}", label))
        for i, label in enumerate([Label.NORMAL, Label.PNEUMONIA] * 3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = record.study(study.id)
    assert len(refused) == 5
    assert found.version == 2
    (outcome,) = found.outcomes
    assert outcome.worker not in refused
    for worker in refused:  # who looked again and enters theirs
        version = record.study(study.id).version
        record.save_outcome(study.id, Label.NORMAL, Basis.OTHER, worker, version=version)
    assert {o.worker for o in record.study(study.id).outcomes} == {f"w{i}" for i in range(6)}
    assert record.audit.verify().problems == ()


def test_a_patient_is_put_right_on_the_version_that_was_seen(record: Record) -> None:
    study = record.add_study(new_study(code="K-1"), "ann")
    changed = record.change_patient(study.id, Patient("K-2", 2.0), "bob", version=1)
    assert (changed.patient.code, changed.version) == ("K-2", 2)
    with pytest.raises(ChangedMeanwhileError, match="look at it again"):
        record.change_patient(study.id, Patient("K-3"), "ann", version=1)


def test_a_page_that_polls_learns_of_changes(record: Record) -> None:
    calls: list[int] = []
    record.on_change(lambda: calls.append(1))
    before = record.audit.head().counter
    record.accounts.first_code()
    record.audit.append("ann", "slip_printed")
    assert not record.changed_since(before)
    record.add_study(new_study(), "ann")
    assert record.changed_since(before)
    assert calls == [1]


def test_the_tables_are_those_that_the_migrations_make(record: Record) -> None:
    with record.database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_a_record_of_a_newer_version_is_not_touched(tmp_path: Path, record: Record) -> None:
    with record.database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RecordError, match="newer version"):
        Record.open(tmp_path / "record")


def test_the_database_brings_every_transaction_onto_the_disk(record: Record) -> None:
    with record.database.reading() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_no_room_on_the_disk_is_said_and_loses_nothing(record: Record) -> None:
    kept = record.add_study(new_study(), "ann")
    with record.database.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    # Each connection has its own bound; the pool gives the same one again.
    with record.database.reading() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for i in range(1000):
            record.save_reading(kept.id, Label.NORMAL, "ann", f"{i} " * 400)

    with pytest.raises(StorageError, match="the disk is full; nothing was saved"):
        fill()
    n_read = len(record.study(kept.id).readings)
    assert n_read < 1000
    assert record.audit.verify().problems == ()


def test_a_full_disk_while_a_picture_is_kept(tmp_path: Path) -> None:
    """The system's limit on a file's size stands for the disk's."""
    code = """
import resource, signal, sys
from pathlib import Path
from edge_app.errors import StorageError
from edge_app.record.record import Record
from tests.record_inputs import new_study
record = Record.open(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    record.add_study(new_study(bytes(2_000_000)), "ann")
except StorageError as error:
    print(error)
print(record.studies().total, len(list(record.pictures.folder.rglob("*.*"))))
"""
    done = _run(code, tmp_path / "record")
    assert "cannot be written: File too large" in done
    assert done.endswith("0 0\n")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        Record.open(tmp_path / "file" / "record")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "record.sqlite").write_bytes(b"not a database, but long enough " * 9)
    with pytest.raises(StorageError, match="is not a record's database"):
        Record.open(tmp_path / "other")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system read-only, as root only")
def test_a_read_only_disk(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    Record.open(folder).close()
    mount = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        with pytest.raises(StorageError, match=r"may not be written|read-only"):
            Record.open(folder).add_study(new_study(), "ann")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("mysql://host/name", "postgresql://USER"),
        ("://", "postgresql://USER"),
        ("postgresql://nobody:secret@127.0.0.1:1/none", "does not answer"),
    ],
)
def test_a_server_that_cannot_be_used(tmp_path: Path, location: str, words: str) -> None:
    with pytest.raises((UsageError, StorageError), match=words) as caught:
        Record.open(location, tmp_path)
    assert "secret" not in str(caught.value)


_WRITER = """
import sys
from pathlib import Path
from edge_app.record.record import Record
from edge_app.record.studies import Basis, Label
from tests.record_inputs import new_study
with Record.open(Path(sys.argv[1])) as record:
    print("open", flush=True)
    for i in range(100_000):
        study = record.add_study(new_study(f"{sys.argv[2]} {i}".encode() * 500), "ann")
        print(study.id, "added", flush=True)
        record.save_outcome(study.id, Label.NORMAL, Basis.OTHER, "ann", version=1)
        print(study.id, "outcome", flush=True)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)], ids=["3", "100"])
def test_nothing_that_was_answered_is_lost_by_a_kill(tmp_path: Path, kills: int) -> None:
    moments = random.Random(7)
    folder = tmp_path / "record"
    answered: set[tuple[str, str]] = set()
    for kill in range(kills):
        answered |= _write_until_killed(folder, kill, moments.uniform(0.0, 0.4))
    with Record.open(folder) as record:
        assert len(answered) > kills
        for study_id, what in answered:
            study = record.study(study_id)
            assert record.pictures.read(study.picture_sha256)
            assert (study.outcome is not None) or what == "added"
        assert record.audit.verify().problems == ()


def _write_until_killed(folder: Path, number: int, seconds: float) -> set[tuple[str, str]]:
    command = [sys.executable, "-c", _WRITER, str(folder), str(number)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
        lines = writer.stdout.read().split("\n")[:-1]
    return {(line.split()[0], line.split()[1]) for line in lines}


def _run(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL server; skips where none is installed."""
    if (initdb := shutil.which("initdb")) is None or shutil.which("pg_ctl") is None:
        pytest.skip("needs PostgreSQL's initdb and pg_ctl (apt install postgresql)")
    folder = Path(tmp_path_factory.mktemp("postgres"))
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:  # the server refuses to run as root
        for path in (folder, *folder.parents[:3]):  # one more for each process of the tests
            path.chmod(0o755)
        if subprocess.run(["chown", "postgres", str(folder)], check=False).returncode:
            pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    made = subprocess.run(
        [*user, initdb, "--no-sync", "-A", "trust", "-U", "clinic", "-D", data],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    start = [*user, "pg_ctl", "-D", data, "-w", "-o", options, "-l", f"{folder}/log", "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"postgresql://clinic@127.0.0.1:{port}/postgres"
    finally:
        stop = [*user, "pg_ctl", "-D", data, "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL)


def test_two_devices_share_a_record_on_a_postgresql_server(server: str, tmp_path: Path) -> None:
    with Record.open(server, tmp_path / "one") as one, Record.open(server, tmp_path / "two") as two:
        study = one.add_study(new_study(code="K-1"), "ann")
        two.save_reading(study.id, Label.NORMAL, "bob")
        two.save_outcome(study.id, Label.NORMAL, Basis.OTHER, "bob", version=1)
        with pytest.raises(ChangedMeanwhileError):
            one.save_outcome(study.id, Label.PNEUMONIA, Basis.OTHER, "ann", version=1)
        assert one.studies(StudyFilter(text="k-1", has_outcome=True)).total == 1

        def add(record: Record, number: int) -> None:
            for i in range(10):
                record.add_study(new_study(f"{number} {i}".encode()), f"w{number}")

        workers = [threading.Thread(target=add, args=(r, i)) for i, r in enumerate((one, two) * 2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert one.studies().total == 41
        (problem,) = one.audit.verify().problems
        assert "is not known here" in problem
        for key in (tmp_path / "two" / "keys").iterdir():
            shutil.copy(key, tmp_path / "one" / "keys")
        assert one.audit.verify([two.audit.head()]).problems == ()
        session = one.accounts.redeem(str(one.accounts.first_code()), "ann", "correct horse", "x")
        assert two.accounts.session(session.token) == session
        with two.database.reading() as connection:
            assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        for change in ("UPDATE audit_entries SET actor = 'x'", "DELETE FROM audit_entries"):
            with pytest.raises(StorageError, match="only be added"), two.database.writing() as open:
                open.execute(text(change))
