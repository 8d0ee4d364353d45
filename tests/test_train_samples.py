"""What training asks of labelled pictures besides: both classes, told patients, larger copies."""

import argparse
import shutil
from pathlib import Path

import pytest

from edge_app.errors import DataError
from tests.train_inputs import write_phantoms
from train.cli.options import add_data, samples_of
from train.samples import read_samples


def _options(data: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_data(parser)
    return parser.parse_args(["--data", str(data)])


def test_larger_copies_are_found_by_class_and_name(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path / "small", 2)
    larger = write_phantoms(tmp_path / "large", 1, side=96)
    found = {s.name: s.larger for s in read_samples(root, larger)}
    assert found["NORMAL/IM-0000-0000.png"] == larger / "NORMAL/IM-0000-0000.png"
    assert found["NORMAL/IM-0001-0000.png"] is None


def test_unknown_patients_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_phantoms(tmp_path / "data", 2)
    samples_of(_options(root))
    assert capsys.readouterr().err == ""
    # Some names tell a patient and some do not: those that do not are the danger.
    for number, path in enumerate(sorted(root.rglob("*.png"))[:3]):
        path.rename(path.with_name(f"{number}.png"))
    samples_of(_options(root))
    assert "note: 3 of 8 pictures tell no patient" in capsys.readouterr().err
    # One picture a patient, and each of them told: nothing to note.
    table = _csv(
        tmp_path / "csv",
        "file,label,patient_id\nNORMAL/IM-0000-0000.png,0,a\nPNEUMONIA/person0_virus_0.png,1,b\n",
    )
    samples_of(_options(table))
    assert capsys.readouterr().err == ""


def test_patients_of_the_test_split_that_are_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantoms(tmp_path / "train", 4)
    write_phantoms(tmp_path / "test", 3, side=64, first=3)
    shutil.copy(
        tmp_path / "train" / "NORMAL" / "IM-0000-0000.png",
        tmp_path / "test" / "NORMAL" / "IM-0888-0000.png",
    )
    assert len(samples_of(_options(tmp_path))) == 16 + 13
    notes = capsys.readouterr().err
    # Number 3 of both classes, and the copied picture.
    assert "note: 2 patients of the data's test split are also in" in notes
    assert "note: 1 pictures of the data's test split are also in" in notes
    shutil.rmtree(tmp_path / "test")
    samples_of(_options(tmp_path))
    assert capsys.readouterr().err == ""


def test_a_missing_class(tmp_path: Path) -> None:
    shutil.rmtree(write_phantoms(tmp_path, 1) / "PNEUMONIA")
    with pytest.raises(DataError, match="no picture of class PNEUMONIA"):
        read_samples(tmp_path)


def test_a_csv_tells_every_patient(tmp_path: Path) -> None:
    """Unlike a folder, which may not be able to: a picture without one could be on both sides."""
    rows = "PNEUMONIA/person0_virus_0.png,1,{}\nNORMAL/IM-0000-0000.png,0,a\n"
    table = _csv(tmp_path, "file,label,patient_id\n" + rows.format(" "))
    with pytest.raises(DataError, match=r"person0_virus_0\.png has no patient_id"):
        read_samples(table)
    table.write_text("file,label,patient_id,subtype\n" + rows.format("b,fungus"))
    with pytest.raises(DataError, match="subtype 'fungus' is none of bacteria, virus"):
        read_samples(table)


def test_a_larger_copy_is_of_one_picture_only(tmp_path: Path) -> None:
    """Two sites number their pictures alike: whose is the copy? The other's would be trained on."""
    for site in ("a", "b"):
        write_phantoms(tmp_path / "data" / site, 1, side=48 if site == "a" else 64)
    larger = write_phantoms(tmp_path / "larger", 1, side=96)
    message = r"would be a copy of both a/NORMAL/.* and b/NORMAL/"
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / "data", larger)
    # Laid out as the pictures are, each copy has its own.
    for site in ("a", "b"):
        shutil.copytree(larger, tmp_path / "sites" / site)
    found = {s.name: s.larger for s in read_samples(tmp_path / "data", tmp_path / "sites")}
    assert len(set(found.values())) == len(found) == 8
    assert found["b/NORMAL/IM-0000-0000.png"] == tmp_path / "sites/b/NORMAL/IM-0000-0000.png"


def test_larger_copies_of_something_else(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path / "a", 1)
    other = write_phantoms(tmp_path / "b", 1, first=50)
    with pytest.raises(DataError, match="holds none of the pictures again"):
        read_samples(root, other)


def _csv(tmp_path: Path, text: str) -> Path:
    write_phantoms(tmp_path, 1)
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_larger_copies_of_pictures_that_a_csv_names_by_their_whole_path(tmp_path: Path) -> None:
    small, larger = tmp_path / "small", write_phantoms(tmp_path / "large", 1, side=96)
    names = ("NORMAL/IM-0000-0000.png", "PNEUMONIA/person0_virus_0.png")
    rows = "".join(f"{small / name},{label},{label}\n" for label, name in enumerate(names))
    samples = read_samples(_csv(small, f"file,label,patient_id\n{rows}"), larger)
    assert [sample.larger for sample in samples] == [larger / name for name in names]


def test_the_pictures_themselves_are_no_larger_copies(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path, 1)
    with pytest.raises(DataError, match="holds none of the pictures again"):
        read_samples(root, root)


def test_the_real_labels(shared_data: Path) -> None:
    samples = read_samples(
        shared_data / "chest_xray/labels.csv", shared_data / "chest_xray_448/train"
    )
    assert len(samples) == 5232
    assert sum(s.label for s in samples) == 3883
    assert sum(s.larger is not None for s in samples) == 2158
    assert {s.subtype for s in samples} == {"", "bacteria", "virus"}
