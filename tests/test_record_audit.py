"""The audit log: whatever somebody does to it or beside it is found."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from edge_app.device.clock import clock_trust
from edge_app.errors import RecordError, StorageError
from edge_app.record.audit_entries import Verification
from edge_app.record.head import Head, read_head
from edge_app.record.record import Record
from edge_app.record.studies import Basis, Label, Patient
from tests.record_inputs import new_study


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed record with a log of 12 entries."""
    folder = tmp_path_factory.mktemp("written") / "record"
    with Record.open(folder) as record:
        for i in range(3):
            study = record.add_study(new_study(bytes([i]), code=f"K-{i}"), "ann")
            record.save_reading(study.id, Label.NORMAL, "bob")
            record.save_outcome(study.id, Label.NORMAL, Basis.OTHER, "bob", version=1)
            record.audit.append("ann", "slip_printed", study.id)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "record"))


def test_an_untouched_log_is_right(folder: Path) -> None:
    with Record.open(folder) as record:
        head = record.audit.head()
        found = record.audit.verify([head, read_head(f" {str(head).upper()} ")])
    assert found == Verification(12, head, 2, ())


@pytest.mark.parametrize(
    "change", ["UPDATE audit_entries SET actor = 'x'", "DELETE FROM audit_entries"]
)
def test_the_database_itself_refuses(folder: Path, change: str) -> None:
    with Record.open(folder) as record:
        with pytest.raises(StorageError, match="only be added to"), record.database.writing() as c:
            c.execute(text(change))
        assert record.audit.verify().problems == ()


_VALUES = {
    "at": "'2020-01-01T00:00:00.000Z'",
    "clock_is_trusted": "1 - clock_is_trusted",
    "actor": "actor || 'x'",
    "action": "'x' || action",
    "subject": "subject || 'x'",
    "detail": "'{\"x\":1}'",
    "previous": "'" + "1" * 64 + "'",
    "hash": "'" + "2" * 64 + "'",
    "signature": "'" + "A" * 86 + "=='",
    "key_id": "'0000000000000000'",
}


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(counter=st.integers(1, 12), column=st.sampled_from(sorted(_VALUES)))
def test_a_changed_entry_is_found(written: Path, tmp_path: Path, counter: int, column: str) -> None:
    problems = _after(
        written,
        tmp_path,
        f"UPDATE audit_entries SET {column} = {_VALUES[column]} WHERE counter = {counter}",
    )
    assert any(f"entry {counter} " in problem for problem in problems)


@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(counter=st.integers(1, 11))
def test_a_removed_entry_is_found(written: Path, tmp_path: Path, counter: int) -> None:
    remove = f"DELETE FROM audit_entries WHERE counter = {counter}"
    assert f"entry {counter} is missing" in _after(written, tmp_path, remove)
    # And where those behind it close the gap.
    close = (
        f"UPDATE audit_entries SET counter = -counter WHERE counter > {counter}",
        "UPDATE audit_entries SET counter = -counter - 1 WHERE counter < 0",
    )
    assert _after(written, tmp_path, remove, *close) != ()


def test_an_entry_that_was_put_in_is_found(written: Path, tmp_path: Path) -> None:
    copied = (
        "INSERT INTO audit_entries SELECT 13, at, clock_is_trusted, actor, action, subject, "
        "detail, previous, hash, key_id, signature FROM audit_entries WHERE counter = 12"
    )
    assert _after(written, tmp_path, copied) != ()


def test_an_end_that_was_cut_off_is_found_by_a_witness(folder: Path, tmp_path: Path) -> None:
    with Record.open(folder) as record:
        head = record.audit.head()
    with _altered(folder, tmp_path, "DELETE FROM audit_entries WHERE counter = 12") as record:
        assert record.audit.verify().problems == ()  # the chain alone cannot tell
        (problem,) = record.audit.verify([head]).problems
        assert "its end was cut off" in problem


def test_a_log_written_anew_with_the_devices_own_key_is_found_by_a_witness(folder: Path) -> None:
    with Record.open(folder) as record:
        head = record.audit.head()
    (folder / "record.sqlite").unlink()
    with Record.open(folder) as record:
        for _ in range(20):
            record.audit.append("mallory", "slip_printed")
        assert record.audit.verify().problems == ()
        (problem,) = record.audit.verify([head]).problems
        assert "was written anew" in problem


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE studies SET row = replace(row, '0.9', '0.1')", "its answer is not the one"),
        ("UPDATE studies SET added_by = 'x'", "its answer is not the one"),
        ("UPDATE studies SET patient_code = 'x'", "its patient is not the one"),
        ("UPDATE outcomes SET label = 'pneumonia'", "the outcome of study"),
        ("UPDATE readings SET is_blind = 0", "the reading of study"),
        ("DELETE FROM readings", "is no longer there"),
        ("DELETE FROM studies", "is no longer there"),
        ("UPDATE studies SET id = substr(id, 2)", "the log does not tell of it"),
    ],
)
def test_what_was_changed_beside_the_log_is_found(
    written: Path, tmp_path: Path, change: str, words: str
) -> None:
    assert any(words in problem for problem in _after(written, tmp_path, change))


def test_changes_by_the_record_itself_are_no_problem(folder: Path) -> None:
    with Record.open(folder) as record:
        study = record.studies().studies[0]
        record.change_patient(study.id, Patient("K-9"), "ann", version=study.version)
        assert record.audit.verify().problems == ()


def test_no_patients_code_stands_in_the_log(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "record.sqlite")) as database:
        (log,) = database.execute("SELECT group_concat(detail) FROM audit_entries").fetchone()
    assert "K-" not in log


def test_a_key_that_is_none(folder: Path) -> None:
    (folder / "audit.key").write_bytes(b"x")
    with pytest.raises(RecordError, match="no key of an audit log"):
        Record.open(folder)


def test_the_private_key_is_its_owners_alone(folder: Path) -> None:
    assert (folder / "audit.key").stat().st_mode & 0o077 == 0


@given(
    counter=st.integers(0, 10**12 - 1), digits=st.text("0123456789abcdef", min_size=16, max_size=16)
)
def test_a_head_is_read_back(counter: int, digits: str) -> None:
    assert read_head(str(Head(counter, digits))) == Head(counter, digits)


@pytest.mark.parametrize(
    "wrong", ["", "12", "x-9f2c41aa07bed3c5", "1-9f2c41aa07bed3c", "-1-" + "0" * 16]
)
def test_what_is_no_head_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        read_head(wrong)


_NOW = "2026-11-28T12:00:00.000Z"


def test_a_clock_that_went_back_is_not_trusted(tmp_path: Path) -> None:
    for now, latest in (("1970-01-01T00:00:00.000Z", ""), (_NOW, "2026-11-28T12:00:00.001Z")):
        trust = clock_trust(now, latest, tmp_path)
        assert not trust.is_trusted
        assert "long passed" in trust.reason


@pytest.mark.parametrize(
    ("clocks", "is_trusted"),
    [
        ({}, False),
        ({"hctosys": "1"}, True),
        ({"hctosys": "0"}, False),
        ({"hctosys": "1", "battery_voltage": "3000000"}, True),
        ({"hctosys": "1", "battery_voltage": "12000"}, False),
    ],
)
def test_a_clock_without_a_time_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clocks: dict[str, str], is_trusted: bool
) -> None:
    monkeypatch.setattr("edge_app.device.clock.is_synchronized", lambda: False)
    monkeypatch.setattr("sys.platform", "linux")
    rtc = tmp_path / "class" / "rtc" / "rtc0"
    rtc.mkdir(parents=True)
    for name, content in clocks.items():
        (rtc / name).write_text(content + "\n", encoding="ascii")
    assert clock_trust(_NOW, "", tmp_path).is_trusted is is_trusted


def _after(written: Path, tmp_path: Path, *changes: str) -> tuple[str, ...]:
    with _altered(written, tmp_path, *changes) as record:
        return record.audit.verify().problems


def _altered(written: Path, tmp_path: Path, *changes: str) -> Record:
    """A copy, changed by somebody who knows the file: guards and foreign keys do not stop them."""
    copy = tmp_path / "altered"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(written, copy)
    with closing(sqlite3.connect(copy / "record.sqlite")) as database:
        for trigger in ("update", "delete"):
            database.execute(f"DROP TRIGGER audit_no_{trigger}")
        for change in changes:
            database.execute(change)
        database.commit()
    return Record.open(copy)
