"""What results and logs say of whom a film is: all, pseudonyms, or nothing to be traced."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_app.cli import main
from edge_app.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE
from edge_app.files.pseudonyms import Pseudonyms
from edge_app.results.identifiers import (
    FULL,
    IDENTIFIERS,
    Identifiers,
    open_identifiers,
)
from edge_app.results.rows import read_results
from edge_app.results.validate import validate_results
from tests.dicom_files import phantom_dataset

PSEUDONYMOUS = Identifiers("pseudonymous", Pseudonyms(bytes(32)))
# Of one patient: the folder, the file's name and both UIDs.
TRACES = ("MILLER", "Ana", "1.2.840.7.1", "1.2.840.7.2")


@pytest.fixture(autouse=True)
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_DATA", str(tmp_path / "data"))


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    """A good film, and a torn one, whose message names it."""
    folder = tmp_path / "ward" / "MILLER"
    folder.mkdir(parents=True)
    phantom_dataset("1.2.840.7.1").save_as(folder / "Ana.dcm", enforce_file_format=True)
    phantom_dataset("1.2.840.7.2", seed=2).save_as(folder / "torn Ana.dcm")
    whole = (folder / "torn Ana.dcm").read_bytes()
    (folder / "torn Ana.dcm").write_bytes(whole[:-1000])
    return folder.parent


def batch(ward: Path, out: Path, bundle: Path, choice: str, *more: str) -> int:
    command = ["batch", str(ward), "-o", str(out), "--bundle", str(bundle), "--workers", "1"]
    return main([*command, "--quiet", "--identifiers", choice, *more])


def written(out: Path) -> str:
    return "\n".join(
        f"{path}\n{path.read_bytes().decode('latin-1')}"
        for path in out.rglob("*")
        if path.is_file()
    )


@pytest.mark.parametrize("choice", ["pseudonymous", "none"])
def test_no_file_of_a_run_holds_a_trace_of_the_patient(
    tmp_path: Path, ward: Path, signed_bundle_folder: Path, choice: str
) -> None:
    full, out = tmp_path / "full", tmp_path / "out"
    assert batch(ward, full, signed_bundle_folder, "full") == EXIT_SOME_FAILED
    assert batch(ward, out, signed_bundle_folder, choice) == EXIT_SOME_FAILED
    assert all(trace in written(full) for trace in TRACES[:3])
    assert not [trace for trace in (*TRACES, str(ward)) if trace in written(out)]
    assert validate_results(out / "results.jsonl").problems == ()
    header, rows = read_results(out / "results.jsonl")
    assert header.parameters[IDENTIFIERS] == choice
    for plain, masked in zip(read_results(full / "results.jsonl")[1], rows, strict=True):
        assert (masked.raw_score, masked.decision) == (plain.raw_score, plain.decision)
        assert re.fullmatch("[0-9a-f]{32}/[0-9a-f]{32}.dcm", masked.file)
        assert masked.sha256 == (None if choice == "none" else plain.sha256)
        if choice == "none" or plain.sop_instance_uid is None:
            assert masked.sop_instance_uid is None
        else:
            assert re.fullmatch(r"2\.25\.\d+", masked.sop_instance_uid or "")
        if plain.message is not None:
            assert masked.message is not None
            assert masked.message.startswith(masked.file.rpartition("/")[2])
    assert [path for path in out.iterdir() if path.suffix == ".key"] == []


def test_pseudonyms_are_the_same_in_every_run_and_a_run_goes_on(
    tmp_path: Path, ward: Path, signed_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for out in (tmp_path / "one", tmp_path / "two", tmp_path / "one"):
        batch(ward, out, signed_bundle_folder, "pseudonymous")
        names.append([row.file for row in read_results(out / "results.jsonl")[1]])
    assert names[0] == names[1] == names[2]
    assert len(set(names[0])) == 2
    capsys.readouterr()
    new = tmp_path / "new"
    assert batch(ward, new, signed_bundle_folder, "pseudonymous", "--dry-run") == EXIT_OK
    lines = capsys.readouterr().out.splitlines()  # who has the films can tell
    assert lines[0] == f"{names[0][0]}  {ward / 'MILLER' / 'Ana.dcm'}"
    assert not new.exists()


def test_names_that_say_nothing_are_other_names_each_time_and_end_with_the_run(
    tmp_path: Path, ward: Path, signed_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in (tmp_path / "one", tmp_path / "two"):
        batch(ward, out, signed_bundle_folder, "none")
    rows = [
        {row.file for row in read_results(tmp_path / out / "results.jsonl")[1]}
        for out in ("one", "two")
    ]
    assert not rows[0] & rows[1]
    assert batch(ward, tmp_path / "one", signed_bundle_folder, "none") == EXIT_USAGE
    assert "the key of their names was removed" in capsys.readouterr().err


def test_a_run_that_was_interrupted_goes_on_under_its_names(tmp_path: Path) -> None:
    begun = open_identifiers("none", tmp_path / "out")
    (tmp_path / "out" / "results.jsonl").write_bytes(b"")
    assert open_identifiers("none", tmp_path / "out").name("a.dcm") == begun.name("a.dcm")
    begun.forget()
    assert begun.key_file is not None
    assert not begun.key_file.exists()


def test_another_key_is_another_run(
    tmp_path: Path,
    ward: Path,
    signed_bundle_folder: Path,
) -> None:
    batch(ward, tmp_path / "out", signed_bundle_folder, "pseudonymous")
    (tmp_path / "data" / "pseudonyms.key").unlink()
    for choice in ("pseudonymous", "full"):
        assert batch(ward, tmp_path / "out", signed_bundle_folder, choice) == EXIT_USAGE


def test_score_names_nobody(
    ward: Path, signed_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [str(path) for path in sorted((ward / "MILLER").iterdir())]
    command = ["score", *films, "--bundle", str(signed_bundle_folder), "--identifiers"]
    for more in ([], ["--json"]):
        assert main([*command, "pseudonymous", *more]) == EXIT_SOME_FAILED
        said = capsys.readouterr().out
        assert not [trace for trace in TRACES if trace in said]


@given(st.lists(st.text("abc.", min_size=1, max_size=6), min_size=1, max_size=4))
def test_a_name_keeps_its_folders_and_its_suffix(parts: list[str]) -> None:
    name = "/".join([*parts, "film.PNG"])
    masked = PSEUDONYMOUS.name(name)
    assert FULL.name(name) == name
    assert masked.endswith(".png")
    assert masked.count("/") == name.count("/")
    assert (
        PSEUDONYMOUS.name("/".join([*parts, "other.PNG"])).rpartition("/")[0]
        == (masked.rpartition("/")[0])
    )


def test_a_log_names_uids_as_rows_do() -> None:
    assert FULL.uid("1.2.3") == "1.2.3"
    assert PSEUDONYMOUS.uid("1.2.3") == PSEUDONYMOUS.pseudonyms.uid_of("1.2.3")  # type: ignore[union-attr]
    assert Identifiers("none", Pseudonyms(bytes(32))).uid("1.2.3") == "an object"


@pytest.mark.parametrize("one", [FULL, PSEUDONYMOUS])
def test_a_worker_masks_as_its_run_does(one: Identifiers) -> None:
    there = Identifiers.from_settings(one.settings())
    assert (there.choice, there.name("a/b.dcm")) == (one.choice, one.name("a/b.dcm"))
