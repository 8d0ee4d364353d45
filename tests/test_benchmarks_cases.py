"""Labelled pictures: the Kaggle layout, CSV files, and what cannot be used."""

from pathlib import Path

import pytest

from benchmarks.cases import Labels, age_band, cases_hash, read_cases
from edge_app.errors import NoInputError, UsageError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_kaggle_layout_at_any_depth(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "train/PNEUMONIA/person12_bacteria_47.jpeg",
        "test/normal/NORMAL2-IM-0587-0001.png",
        "train/PNEUMONIA/._person12_bacteria_47.jpeg",
        "train/PNEUMONIA/notes.txt",
        "train/other/x.png",
    )
    healthy, sick = read_cases(tmp_path)
    assert (healthy.name, healthy.label) == ("test/normal/NORMAL2-IM-0587-0001.png", 0)
    assert healthy.patient_id == "NORMAL2-IM-0587"
    assert (sick.label, sick.patient_id, sick.groups) == (1, "person12", {"subtype": "bacteria"})


def test_folder_without_classes_says_what_is_missing(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "sub/b.png")
    with pytest.raises(NoInputError, match=r"'PNEUMONIA' or 'NORMAL'.*--positive"):
        read_cases(tmp_path)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="no such folder"):
        read_cases(tmp_path / "absent")


def test_one_class_alone_is_read(tmp_path: Path) -> None:
    assert [c.label for c in read_cases(touch(tmp_path, "PNEUMONIA/a.png"))] == [1]


def test_csv_with_subgroups_and_other_labels(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.png", "images/2.png", "images/3.png")
    table = write_csv(
        tmp_path / "labels.csv",
        "file,patient_id,age,sex,view,class",
        "images/1.png,7,54,M,AP,Opacity",
        "images/2.png,8,004Y,F,PA,Clear",
        "images/3.png,9,,,,Unsure",
    )
    cases = read_cases(table, Labels("Opacity", "Clear", "class"))
    assert [c.label for c in cases] == [1, 0]
    assert cases[0].groups == {"view": "AP", "sex": "M", "age": "40 to 64"}
    assert cases[1].groups["age"] == "1 to 5"


def test_csv_part_and_root(tmp_path: Path) -> None:
    touch(tmp_path / "data", "a.png", "b.png")
    table = write_csv(tmp_path / "split.csv", "file,label,part", "a.png,1,train", "b.png,0,held")
    (case,) = read_cases(table, root=tmp_path / "data", part="held")
    assert (case.name, case.label) == ("b.png", 0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("name,label", "a.png,NORMAL"), "no column 'file'"),
        (("file,class", "a.png,NORMAL"), "no column 'label'"),
        (("file,label", "absent.png,NORMAL"), "absent.png: no such file"),
    ],
)
def test_csv_that_does_not_fit(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_cases(write_csv(tmp_path / "labels.csv", *lines))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\né.png,1\n".encode("latin-1"), "not a CSV in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a CSV"),
        (b"label,file\n1\n", "names no file"),
    ],
)
def test_file_that_is_no_such_csv(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_cases(tmp_path / "labels.csv")


def test_equal_names_in_two_folders_are_two_patients(tmp_path: Path) -> None:
    touch(tmp_path, "NORMAL/001.png", "PNEUMONIA/001.png", "PNEUMONIA/002.png")
    assert len({case.patient_id for case in read_cases(tmp_path)}) == 3


def test_hash_depends_on_labels_not_on_place(tmp_path: Path) -> None:
    first = read_cases(touch(tmp_path / "x", "NORMAL/a.png", "PNEUMONIA/b.png"))
    second = read_cases(touch(tmp_path / "y", "NORMAL/a.png", "PNEUMONIA/b.png"))
    other = read_cases(touch(tmp_path / "z", "PNEUMONIA/a.png", "PNEUMONIA/b.png"))
    assert cases_hash(first) == cases_hash(second) != cases_hash(other)


@pytest.mark.parametrize(
    ("years", "band"), [(0.5, "under 1"), (1, "1 to 5"), (5.9, "1 to 5"), (90, "65 and over")]
)
def test_age_bands(years: float, band: str) -> None:
    assert age_band(years) == band
