"""Systems that lack something: no home, a home that is a file, no room for temporary files."""

import io
import os
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from edge_app.cli import main
from edge_app.files.scratch import scratch_file
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.runtimes.native_log import info_lines_dropped

FOLDERS = ("PNEUMOSCOPE_DATA", "PNEUMOSCOPE_STATE", "PNEUMOSCOPE_RECORD", "XDG_DATA_HOME")


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "chest.png"
    Image.fromarray(draw_phantom(Phantom(1), 256, 256)).save(path)
    return path


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a service whose user has no entry in the system's list."""

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (*FOLDERS, "XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)


@pytest.fixture
def roomless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No temporary file can be made, as on a read-only system or a full disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    with pytest.raises(OSError, match="No such file"), tempfile.TemporaryFile():
        pass


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    "command",
    ["account list", "audit verify", "serve --port 0", "info --recommend", "model rollback"],
)
def test_without_a_home_what_needs_one_says_how_to_name_another(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sqlalchemy", reason="needs the extra web")
    assert main(command.split()) == 5
    said = capsys.readouterr().err
    assert said.startswith("pneumoscope: there is no home folder; name a folder: PNEUMOSCOPE_")
    assert said.rstrip().endswith("=FOLDER")


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("command", ["info", "model list", "doctor"])
def test_without_a_home_what_needs_none_works(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 0


@pytest.mark.parametrize("name", ["PNEUMOSCOPE_DATA", "XDG_DATA_HOME", "HOME"])
def test_a_home_that_is_a_file_holds_no_models(
    name: str, png: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `/dev/null`, which is the home of many a service."""
    if sys.platform != "linux":
        pytest.skip("other systems have other folders")
    for folder in FOLDERS:
        monkeypatch.delenv(folder, raising=False)
    monkeypatch.setenv(name, str(png))
    assert main(["score", str(png)]) == 0
    assert "chest.png: " in capsys.readouterr().out
    assert main(["model", "install", "x.pneumo"]) == 3  # there is none; the file is looked at first
    assert main(["model", "rollback"]) == 5
    assert "cannot be written: " in capsys.readouterr().err


@pytest.mark.usefixtures("roomless")
def test_without_room_for_temporary_files_pictures_are_scored(
    png: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("this system has no files in memory")
    assert main(["score", str(png), "--bundle", str(tiny_bundle_folder)]) == 0
    assert "chest.png: pneumonia_suspected" in capsys.readouterr().out


@pytest.mark.usefixtures("roomless")
def test_what_cannot_lie_in_memory_says_where_it_could(
    png: Path,
    tiny_bundle_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(png.read_bytes())))
    assert main(["score", "-", "--bundle", str(tiny_bundle_folder)]) == 5
    assert main(["batch", str(png), "-o", str(tmp_path / "o"), "--dry-run"]) == 5
    assert capsys.readouterr().err.count("TMPDIR=FOLDER") == 2


def test_a_scratch_file_leaves_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for in_memory in (True, False):
        if not in_memory:
            monkeypatch.delattr(os, "memfd_create", raising=False)
        with scratch_file() as file:
            file.write(b"held")
            file.seek(0)
            assert file.read() == b"held"
            assert list(tmp_path.iterdir()) == []


def test_a_librarys_lines_of_information_are_dropped_and_others_passed_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with info_lines_dropped():
        os.write(2, b"INFO: a delegate\nERROR: a fault\n")
    assert capfd.readouterr().err == "ERROR: a fault\n"
