"""Export, retention, backup and restore, and the commands for them."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from edge_app.cli import main
from edge_app.errors import NotAllowedError, NotInRecordError, RecordError, StorageError, UsageError
from edge_app.images.labelled_pictures import read_labelled_pictures
from edge_app.record.accounts import Role
from edge_app.record.backup import make_backup, restore_backup
from edge_app.record.export import export_studies
from edge_app.record.head import read_head
from edge_app.record.record import Record
from edge_app.record.retention import apply_retention
from edge_app.record.studies import Basis, Kind, Label
from tests.record_inputs import answer, new_study


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record.open(tmp_path / "record") as opened:
        yield opened


def _add(record: Record, label: Label | None = None, *, code: str = "", file: str = "a.png") -> str:
    picture = f"{label} {code} {file}".encode()
    new = replace(new_study(code=code), row=answer(picture, file=file), picture=picture)
    study = record.add_study(new, "ann")
    if label is not None:
        record.save_outcome(study.id, label, Basis.RADIOLOGIST, "ann", version=1)
    return study.id


def _age(record: Record) -> None:
    """As if all that is there had been added long ago."""
    with record.database.writing() as connection:
        connection.execute(text("UPDATE studies SET added_at = '2026-01-01T00:00:00.000Z'"))


def test_an_export_holds_everything_and_a_truth_that_is_read(
    record: Record, tmp_path: Path
) -> None:
    sick = _add(record, Label.PNEUMONIA, code="=K-1")
    well = _add(record, Label.NORMAL, code="=K-1", file="../x/CHEST.JPG")
    for unlabelled in (None, Label.UNCERTAIN):
        _add(record, unlabelled)
    photograph = record.add_study(new_study(b"photo", kind=Kind.PHOTOGRAPH), "ann")
    record.save_outcome(photograph.id, Label.NORMAL, Basis.OTHER, "ann", version=1)
    export = export_studies(record, tmp_path / "export", "ann")
    assert (export.studies, export.labelled) == (5, 2)
    truth = tmp_path / "export" / "pictures" / "truth.csv"
    found = {p.name: (p.label, p.patient_id) for p in read_labelled_pictures(truth)}
    assert found == {f"{sick}.png": (1, "P1"), f"{well}.jpg": (0, "P1")}
    studies = (tmp_path / "export" / "studies.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcomes"] != [] for line in studies] == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert len(list((tmp_path / "export" / "pictures").iterdir())) == 6
    assert record.audit.verify([read_head(export.audit_head)]).problems == ()
    with pytest.raises(UsageError, match="is there already"):
        export_studies(record, tmp_path / "export", "ann")


def test_an_export_of_what_is_new(record: Record, tmp_path: Path) -> None:
    first = _add(record)
    export_studies(record, tmp_path / "one", "ann")
    assert export_studies(record, tmp_path / "two", "ann", only_new=True).studies == 0
    record.save_reading(first, Label.NORMAL, "ann")
    assert export_studies(record, tmp_path / "three", "ann", only_new=True).studies == 1


def test_an_export_that_cannot_be_whole_leaves_nothing(record: Record, tmp_path: Path) -> None:
    study = record.study(_add(record))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        export_studies(record, tmp_path / "file" / "export", "ann")
    record.pictures.path(study.picture_sha256).write_bytes(b"damaged")
    with pytest.raises(NotInRecordError, match="damaged"):
        export_studies(record, tmp_path / "export", "ann")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "record"]
    assert record.study(study.id).exported_at is None


def test_retention_deletes_nothing_that_was_not_exported_as_it_stands(
    record: Record, tmp_path: Path
) -> None:
    exported, changed = _add(record, file="1.png"), _add(record, file="2.png")
    export_studies(record, tmp_path / "export", "ann")
    record.save_outcome(changed, Label.NORMAL, Basis.OTHER, "ann", version=1)
    never = _add(record, file="3.png")
    assert apply_retention(record, 30, "ann").deleted == 0  # all are of today
    before = record.study(exported)
    _age(record)
    done = apply_retention(record, 30, "ann")
    assert (done.deleted, done.kept, done.pictures) == (1, 2, 1)
    assert {s.id for s in record.studies().studies} == {changed, never}
    with pytest.raises(NotInRecordError):
        record.pictures.path(before.picture_sha256)
    with pytest.raises(UsageError):
        apply_retention(record, 0, "ann")


def test_a_picture_that_another_study_needs_stays(record: Record, tmp_path: Path) -> None:
    record.add_study(new_study(), "ann")
    export_studies(record, tmp_path / "export", "ann")
    _age(record)
    kept = record.add_study(new_study(), "ann")
    assert apply_retention(record, 30, "ann").deleted == 1
    assert record.pictures.read(kept.picture_sha256) == b"a picture"


def test_a_deletion_by_retention_is_no_problem_for_the_audit_log(
    record: Record, tmp_path: Path
) -> None:
    study = _add(record, Label.NORMAL)
    record.save_reading(study, Label.NORMAL, "ann")
    export_studies(record, tmp_path / "export", "ann")
    _age(record)
    apply_retention(record, 1, "ann")
    assert record.audit.verify().problems == ()


def test_a_backup_is_made_while_others_write_and_is_restored(
    record: Record, tmp_path: Path
) -> None:
    first = _add(record, Label.PNEUMONIA, code="K-1")
    record.accounts.redeem(record.accounts.add("bob", Role.ADMIN, "ann"), "bob", "password 1", "x")
    session = record.accounts.log_in("bob", "password 1", "x")
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.005):
            _add(record, file=f"{(number := number + 1)}.png")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backups = [make_backup(record, tmp_path / "usb" / "backup", "ann") for _ in range(3)]
    finally:
        stop.set()
        writer.join()
    assert backups[0].studies <= backups[2].studies <= record.studies().total
    found = restore_backup(tmp_path / "usb" / "backup", tmp_path / "new")
    assert found.problems == ()
    with Record.open(tmp_path / "new") as restored:
        assert restored.studies(page_size=500).total == backups[2].studies
        study = restored.study(first)
        assert study == record.study(first)
        assert restored.pictures.read(study.picture_sha256)
        assert restored.accounts.log_in("bob", "password 1", "x").account.role is Role.ADMIN
        with pytest.raises(NotAllowedError):
            restored.accounts.session(session.token)
        # The log goes on, under a key of the new device.
        _add(restored)
        assert restored.audit.verify([read_head(backups[2].audit_head)]).problems == ()
    assert not list((tmp_path / "usb").rglob("audit.key"))
    with pytest.raises(UsageError, match="is not empty"):
        restore_backup(tmp_path / "usb" / "backup", tmp_path / "new")


def test_a_later_backup_drops_what_the_record_has_deleted(record: Record, tmp_path: Path) -> None:
    _add(record)
    make_backup(record, tmp_path / "backup", "ann")
    export_studies(record, tmp_path / "export", "ann")
    _age(record)
    apply_retention(record, 1, "ann")
    make_backup(record, tmp_path / "backup", "ann")
    assert [p for p in (tmp_path / "backup" / "pictures").rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("damage", ["database", "picture", "missing", "about", "none"])
def test_a_damaged_backup_is_refused_and_makes_nothing(
    record: Record, tmp_path: Path, damage: str
) -> None:
    _add(record)
    backup = tmp_path / "backup"
    make_backup(record, backup, "ann")
    picture = next(path for path in (backup / "pictures").rglob("*") if path.is_file())
    if damage == "database":
        with (backup / "record.sqlite").open("r+b") as stream:
            stream.seek(5000)
            stream.write(b"damage")
    elif damage == "picture":
        picture.write_bytes(b"damage")
    elif damage == "missing":
        picture.unlink()
    elif damage == "about":
        (backup / "backup.json").write_text("{}", encoding="ascii")
    else:
        backup = tmp_path / "nowhere"
    with pytest.raises(RecordError):
        restore_backup(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / ".part-new").exists()


def test_the_commands(
    record: Record,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_RECORD", str(tmp_path / "record"))
    _add(record, Label.NORMAL)

    def said(*arguments: object, code: int = 0) -> str:
        assert main([str(argument) for argument in arguments]) == code
        return capsys.readouterr().out

    assert "worker; one-time code" in said("account", "add", "bob")
    assert said("account", "list") == "bob  worker  no password yet\n"
    code = said("account", "reset", "bob").split()[-1]
    assert record.accounts.redeem(code, "bob", "password 1", "x").account.name == "bob"
    assert "1 studies, 1 of them with a known outcome" in said("record", "export", tmp_path / "e")
    assert "0 studies and 0 pictures deleted" in said("record", "retain", "--days", 1)
    assert "1 studies; witness" in said("backup", tmp_path / "b")
    out = said("restore", tmp_path / "b", "--record", tmp_path / "new")
    assert "verified" in out
    assert "study_added" in said("audit", "show")
    verdict = said("audit", "verify", "--witness", tmp_path / "e", "--witness", tmp_path / "b")
    assert "2 witnesses: as it was written" in verdict
    wrong = said("audit", "verify", "--witness", "2-0123456789abcdef", code=1)
    assert "the log was written anew" in wrong
    assert main(["audit", "verify", "--witness", "x"]) == 2
    assert "form 137-9f2c41aa07bed3c5" in capsys.readouterr().err
    assert main(["audit", "verify", "--record", str(tmp_path / "none")]) == 1
    assert "holds no record" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_patients_data_is_its_owners_alone(record: Record, tmp_path: Path) -> None:
    _add(record)
    export_studies(record, tmp_path / "export", "ann")
    make_backup(record, tmp_path / "backup", "ann")
    restore_backup(tmp_path / "backup", tmp_path / "new")
    for name in ("record", "export", "backup", "new"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name


def test_a_stick_that_knows_no_owners_takes_a_backup(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))  # as vfat does

    _add(record)
    monkeypatch.setattr(Path, "chmod", refuse)
    assert make_backup(record, tmp_path / "stick" / "backup", "ann").studies == 1
    assert export_studies(record, tmp_path / "stick" / "export", "ann").studies == 1
