"""Which files a folder run takes, and in which order."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.discovery import find_images, portable_name
from edge_app.errors import NoInputError
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
