"""Which files a folder run takes, and in which order."""

import inspect
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.discovery import Inputs, find_images, portable_name
from edge_app.errors import NoInputError, UsageError
from tests.pictures import encoded, gradient

PNG = encoded(Image.fromarray(gradient(8, 8)), "PNG")
DICOM = bytes(128) + b"DICM" + bytes(50)


def names(folder: Path, **options: Path) -> list[str]:
    return [portable_name(path, folder) for path in find_images(folder, **options)]


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
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(NoInputError, match=path.name):
            find_images(path)
    assert NoInputError.exit_code == 4
    assert names(tmp_path) == []


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
