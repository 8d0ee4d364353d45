"""Which files a folder run takes, and in which order."""

import errno
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_app.errors import NoInputError, UsageError
from edge_app.runs.discovery import Folders, Inputs, portable_name
from tests.pictures import encoded, gradient

PNG = encoded(Image.fromarray(gradient(8, 8)), "PNG")
DICOM = bytes(128) + b"DICM" + bytes(50)


def names(folder: Path, **options: Path) -> list[str]:
    return [file.name for file in Inputs([folder], **options)]


def test_names_and_content_decide(tmp_path: Path) -> None:
    files = {
        "b.PNG": PNG,
        "broken.jpeg": b"",
        "IM000001": DICOM,
        "1.2.840.113619": DICOM,
        "picture.dat": PNG,
        "README.txt": b"no picture",
        "labels.csv": b"a,b",
        "DICOMDIR": DICOM,
        ".DS_Store": PNG,
        "._b.png": b"AppleDouble",
        "a/x.dcm": b"",
        "a/.hidden/y.png": PNG,
        "c/z.webp": PNG,
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert names(tmp_path) == [
        "1.2.840.113619",
        "IM000001",
        "a/x.dcm",
        "b.PNG",
        "broken.jpeg",
        "c/z.webp",
        "picture.dat",
    ]


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = [f"{i:03d}.png" for i in range(50)]
    for index in rng.permutation(50):
        (tmp_path / expected[index]).write_bytes(PNG)
    assert names(tmp_path) == expected


def test_the_results_own_folder_is_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thumbnail.png").write_bytes(PNG)
    (tmp_path / "a.png").write_bytes(PNG)
    assert names(tmp_path, excluded=out) == ["a.png"]
    assert names(tmp_path, excluded=tmp_path / "sub" / ".." / "out") == ["a.png"]


def test_links(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    # A dead link is named like a picture: its row says that it cannot be read.
    assert names(tmp_path) == ["a.png", "gone.png", "link.png"]


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="none"):
        Inputs([tmp_path / "none"])
    assert NoInputError.exit_code == 4
    assert names(tmp_path) == []


def deny(monkeypatch: pytest.MonkeyPatch, *denied: Path, number: int = errno.EACCES) -> None:
    """Let the system refuse to list or open these, as it does for whoever is not root."""
    scandir, open_file = os.scandir, open

    def refuse(path: Any) -> None:
        if not isinstance(path, int) and os.fsdecode(path) in map(str, denied):
            raise OSError(number, os.strerror(number), path)

    def denied_scandir(path: Any) -> Any:
        refuse(path)
        return scandir(path)

    def denied_open(path: Any, *rest: Any, **options: Any) -> Any:
        refuse(path)
        return open_file(path, *rest, **options)

    monkeypatch.setattr(os, "scandir", denied_scandir)
    monkeypatch.setattr("edge_app.runs.discovery.open", denied_open, raising=False)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENOTCONN, errno.ESTALE])
@pytest.mark.parametrize("pattern", ["", "**/*.png"])
def test_a_folder_that_cannot_be_listed_stands_for_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, pattern: str
) -> None:
    for name in ("a/1.png", "b/deep/2.png", "c/3.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(PNG)
    deny(monkeypatch, tmp_path / "b", number=number)
    inputs = Inputs([tmp_path / pattern])
    assert [(file.name, file.trouble) for file in inputs] == [
        ("a/1.png", None),
        ("b", os.strerror(number)),
        ("c/3.png", None),
    ]


def test_a_named_folder_that_cannot_be_listed_ends_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(monkeypatch, tmp_path)
    with pytest.raises(NoInputError, match="Permission denied"):
        names(tmp_path)


def test_one_of_several_named_folders_that_cannot_be_listed_stands_for_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.png", "b/2.png", "c/3.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(PNG)
    deny(monkeypatch, tmp_path / "b")
    inputs = Inputs([tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert [(file.name, file.trouble is None) for file in inputs] == [
        ("a/1.png", True),
        ("b", False),
        ("c/3.png", True),
    ]


def test_a_file_without_an_ending_that_cannot_be_opened_may_be_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "IM000001").write_bytes(DICOM)
    (tmp_path / "IM000002").write_bytes(b"no picture")
    (tmp_path / "IM000003").symlink_to("nowhere")
    deny(monkeypatch, tmp_path / "IM000001")
    assert names(tmp_path) == ["IM000001"]


def test_empty_folders_and_links_to_folders_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    for number in range(5):
        (tmp_path / f"stick{number}").mkdir()
    (tmp_path / "link").symlink_to("stick0")
    for name in ("notes/.DS_Store", "notes/.hidden/a.png", "links/.empty"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    inputs = Inputs([tmp_path])
    for _ in range(2):  # a second walk counts anew
        assert [file.name for file in inputs] == ["a.png"]
        assert inputs.empty == Folders(5, ["stick0", "stick1", "stick2"])
        assert str(inputs.empty) == "stick0, stick1, stick2 and 2 more"
        assert inputs.links == Folders(1, ["link"])


def test_a_name_that_is_no_utf8_is_kept_readable(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"r\xf6ntgen.png")
    try:
        path.write_bytes(PNG)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert names(tmp_path) == [r"r\xf6ntgen.png"]


def test_names_are_told_apart_from_those_that_look_escaped(tmp_path: Path) -> None:
    written = [b"\xff.png", rb"\xff.png", rb"\x5cxff.png", b"\\\xff.png", rb"a\b.png", rb"\xFF.png"]
    portable = [portable_name(tmp_path / os.fsdecode(name), tmp_path) for name in written]
    assert portable == [
        r"\xff.png",
        r"\x5cxff.png",
        r"\x5cx5cxff.png",
        r"\\xff.png",
        r"a\b.png",
        r"\xFF.png",
    ]


def test_a_link_that_leads_to_itself_costs_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert names(tmp_path) == ["a.png", "loop.png"]


def test_folders_may_be_nested_deeper_than_python_recurses(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
        deep.mkdir()
    (deep / "a.png").write_bytes(PNG)
    (tmp_path / "z.png").write_bytes(PNG)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        found = names(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert found == ["d/" * 300 + "a.png", "z.png"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_list_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("a.png\nb.png\n".encode(encoding))
    with pytest.raises(UsageError, match="UTF-32" if encoding == "utf-32" else "UTF-16"):
        Inputs([path])
    path.write_bytes("a.png\nb.png\n".encode("utf-8-sig"))
    assert [file.name for file in Inputs([path])] == ["a.png", "b.png"]
