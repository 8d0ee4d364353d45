"""Reading labelled pictures: the Kaggle archive as it is unpacked, CSVs, and what is refused."""

import argparse
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.train_inputs import write_phantoms
from train.commands.options import samples_of
from train.evaluate import find_copies
from train.samples import ClassNames, DataError, patient_is_unknown, patient_of, read_samples


def test_a_folder_of_classes(tmp_path: Path) -> None:
    samples = read_samples(write_phantoms(tmp_path, 2))
    assert [(s.name, s.label, s.subtype, s.patient_id) for s in samples] == [
        ("NORMAL/IM-0000-0000.png", 0, "", "IM-0000"),
        ("NORMAL/IM-0000-0001.png", 0, "", "IM-0000"),
        ("NORMAL/IM-0001-0000.png", 0, "", "IM-0001"),
        ("NORMAL/IM-0001-0001.png", 0, "", "IM-0001"),
        ("PNEUMONIA/person0_virus_0.png", 1, "virus", "person0"),
        ("PNEUMONIA/person0_virus_1.png", 1, "virus", "person0"),
        ("PNEUMONIA/person1_bacteria_2.png", 1, "bacteria", "person1"),
        ("PNEUMONIA/person1_bacteria_3.png", 1, "bacteria", "person1"),
    ]


def test_the_kaggle_archive_as_it_is_unpacked(tmp_path: Path) -> None:
    """It holds itself a second time, and what a Mac adds."""
    root = tmp_path / "chest_xray"
    for first, part in enumerate(("train", "val", "test")):
        write_phantoms(root / part, 2, first=10 * first)
    shutil.copytree(root, tmp_path / "copy")
    shutil.move(tmp_path / "copy", root / "chest_xray")
    for junk in ("__MACOSX/train/NORMAL/._IM-0000-0000.png", "train/NORMAL/.DS_Store"):
        (root / junk).parent.mkdir(parents=True, exist_ok=True)
        (root / junk).write_bytes(b"no picture")
    samples = read_samples(root)
    assert len(samples) == 3 * 8
    assert {s.name.split("/")[0] for s in samples} == {"train", "val", "test"}
    assert {s.given_split for s in samples} == {"train", "validation", "test"}


def test_identical_files_share_a_group(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path, 2)
    shutil.copy(root / "NORMAL/IM-0000-0000.png", root / "NORMAL/IM-0777-0000.png")
    groups = {s.name: s.duplicate_group for s in read_samples(root)}
    assert groups["NORMAL/IM-0000-0000.png"] == groups["NORMAL/IM-0777-0000.png"] != ""
    assert set(groups.values()) == {"", groups["NORMAL/IM-0000-0000.png"]}


def test_other_class_names(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 1)
    (tmp_path / "NORMAL").rename(tmp_path / "healthy")
    (tmp_path / "PNEUMONIA").rename(tmp_path / "Opacity")
    samples = read_samples(tmp_path, classes=ClassNames("OPACITY", "Healthy"))
    assert [s.label for s in samples] == [1, 1, 0, 0]


def test_larger_copies_are_found_by_class_and_name(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path / "small", 2)
    larger = write_phantoms(tmp_path / "large", 1, side=96)
    found = {s.name: s.larger for s in read_samples(root, larger)}
    assert found["NORMAL/IM-0000-0000.png"] == larger / "NORMAL/IM-0000-0000.png"
    assert found["NORMAL/IM-0001-0000.png"] is None


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person1_bacteria_1.jpeg", "person1"),
        ("person1000_virus_1681.jpeg", "person1000"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("NORMAL2-IM-0587-0001-0002.jpeg", "NORMAL2-IM-0587"),
        ("scan_17.png", None),
    ],
)
def test_patients_by_file_name(name: str, patient: str | None) -> None:
    assert patient_of(Path(name)) == patient


def test_patients_of_dicom_files(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    dataset = pydicom.Dataset()
    dataset.PatientID = "K-12"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    path = tmp_path / "one.dcm"
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    assert patient_of(path) == "K-12"
    # A viewer's export may be called as the Kermany files are: the header knows better.
    exported = path.rename(path.with_name("IM-0001-0001.dcm"))
    assert patient_of(exported) == "K-12"


def test_the_test_part_is_found_at_any_depth_and_the_root_is_none(tmp_path: Path) -> None:
    root = tmp_path / "test"
    write_phantoms(root / "train", 1)
    write_phantoms(root / "test" / "site", 1)
    parts = {s.name.split("/")[0]: s.given_split for s in read_samples(root)}
    assert parts == {"train": "train", "test": "test"}
    assert {s.given_split for s in read_samples(root / "test")} == {""}


def test_files_of_one_name_and_size_are_two_pictures_unless_they_are_equal(tmp_path: Path) -> None:
    for site, value in (("a", 10), ("b", 20), ("c", 20)):
        for name in ("NORMAL", "PNEUMONIA"):
            folder = tmp_path / site / name
            folder.mkdir(parents=True)
            Image.new("L", (40, 40), value).save(folder / "0.bmp")
    samples = read_samples(tmp_path)
    assert [s.name for s in samples if s.label == 0] == ["a/NORMAL/0.bmp", "b/NORMAL/0.bmp"]
    assert len({s.patient_id for s in samples}) == len(samples)
    assert all(map(patient_is_unknown, samples))


def test_unknown_patients_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_phantoms(tmp_path / "data", 2)
    options = argparse.Namespace(data=root, larger=None, positive="PNEUMONIA", negative="NORMAL")
    samples_of(options)
    assert capsys.readouterr().err == ""
    # Some names tell a patient and some do not: those that do not are the danger.
    for number, path in enumerate(sorted(root.rglob("*.png"))[:3]):
        path.rename(path.with_name(f"{number}.png"))
    samples_of(options)
    assert "note: 3 of 8 file names tell no patient" in capsys.readouterr().err
    # One picture a patient, and each of them told: nothing to note.
    table = _csv(
        tmp_path / "csv",
        "file,label,patient_id\nNORMAL/IM-0000-0000.png,0,a\nPNEUMONIA/person0_virus_0.png,1,b\n",
    )
    samples_of(argparse.Namespace(**vars(options) | {"data": table}))
    assert capsys.readouterr().err == ""


def test_patients_of_the_test_part_that_are_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantoms(tmp_path / "train", 4)
    write_phantoms(tmp_path / "test", 3, side=64, first=3)
    shutil.copy(
        tmp_path / "train" / "NORMAL" / "IM-0000-0000.png",
        tmp_path / "test" / "NORMAL" / "IM-0888-0000.png",
    )
    options = argparse.Namespace(
        data=tmp_path, larger=None, positive="PNEUMONIA", negative="NORMAL"
    )
    assert len(samples_of(options)) == 16 + 13
    notes = capsys.readouterr().err
    # Number 3 of both classes, and the copied picture.
    assert "note: 2 patients of the data's test part also stand" in notes
    assert "note: 1 pictures of the data's test part also stand" in notes
    shutil.rmtree(tmp_path / "test")
    samples_of(options)
    assert capsys.readouterr().err == ""


def test_a_class_folder_without_pictures(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "train", 1)
    (tmp_path / "val" / "NORMAL").mkdir(parents=True)
    with pytest.raises(DataError, match="val/NORMAL: a class folder without pictures"):
        read_samples(tmp_path)


def test_a_missing_class(tmp_path: Path) -> None:
    shutil.rmtree(write_phantoms(tmp_path, 1) / "PNEUMONIA")
    with pytest.raises(DataError, match="no picture of class PNEUMONIA"):
        read_samples(tmp_path)


def test_pictures_outside_of_the_classes(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 1)
    shutil.copytree(tmp_path / "NORMAL", tmp_path / "COVID")
    with pytest.raises(DataError, match=r"2 pictures lie in no class folder, such as .*COVID"):
        read_samples(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_samples(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such file"):
        read_samples(tmp_path / "nowhere.csv")


def test_a_larger_copy_is_of_one_picture_only(tmp_path: Path) -> None:
    """Two sites number their pictures alike: whose is the copy? The other's would be trained on."""
    for site in ("a", "b"):
        write_phantoms(tmp_path / "data" / site, 1, side=48 if site == "a" else 64)
    larger = write_phantoms(tmp_path / "larger", 1, side=96)
    message = r"would be a copy of both a/NORMAL/.* and b/NORMAL/"
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / "data", larger)
    with pytest.raises(DataError, match=message):
        find_copies(larger, read_samples(tmp_path / "data"))
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


def test_a_csv(tmp_path: Path) -> None:
    path = _csv(
        tmp_path,
        "file,label,patient_id,split,original_width,original_height,subtype\n"
        "NORMAL/IM-0000-0000.png,NORMAL,a,train,1000,800,\n"
        "PNEUMONIA/person0_virus_0.png,1,b,val,,,virus\n",
    )
    first, second = read_samples(path)
    assert (first.label, first.patient_id, first.given_split) == (0, "a", "train")
    assert first.original_size == (1000, 800)
    assert (second.label, second.subtype, second.given_split) == (1, "virus", "validation")
    assert second.original_size is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nx,1\n", "missing columns"),
        ("file,label,patient_id\nnone.png,1,a\n", ":2: none.png is not there"),
        ("file,label,patient_id\nNORMAL/IM-0000-0000.png,sick,a\n", ":2: label 'sick'"),
        ("file,label,patient_id\nNORMAL/IM-0000-0000.png,0,\n", "patient_id is empty"),
        ("file,label,patient_id\nNORMAL/IM-0000-0000.png,0, \n", "patient_id is empty"),
        (
            "file,label,patient_id\nNORMAL/IM-0000-0000.png,0,a\nNORMAL/IM-0000-0000.png,1,a\n",
            ":3: .* stands in line 2 already",
        ),
        (
            "file,label,patient_id,split\nNORMAL/IM-0000-0000.png,0,a,dev\n",
            "split 'dev' is none of",
        ),
        (
            "file,label,patient_id,original_width,original_height\n"
            "NORMAL/IM-0000-0000.png,0,a,12,wide\n",
            "no size in pixels",
        ),
        ("file,label,patient_id\nNORMAL/IM-0000-0000.png,0,a\n", "no picture of class PNEUMONIA"),
    ],
)
def test_a_csv_with_a_fault(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_samples(_csv(tmp_path, text))


def test_a_blank_behind_a_number_makes_no_other_patient(tmp_path: Path) -> None:
    first, second = "NORMAL/IM-0000-0000.png", "NORMAL/IM-0000-0001.png"
    sick = "PNEUMONIA/person0_virus_0.png,1,b"
    path = _csv(tmp_path, f"file,label,patient_id\n{first},0,17 \n{second},0,17\n{sick}\n")
    assert [s.patient_id for s in read_samples(path)] == ["17", "17", "b"]


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


def test_a_csv_that_names_a_file_in_two_ways(tmp_path: Path) -> None:
    rows = "NORMAL/IM-0000-0000.png,0,a\n./NORMAL/IM-0000-0000.png,0,b\n"
    with pytest.raises(DataError, match=r":3: \./NORMAL/.* stands in line 2 already"):
        read_samples(_csv(tmp_path, f"file,label,patient_id\n{rows}"))


def test_equal_files_of_a_csv_stay_together(tmp_path: Path) -> None:
    """Under two patients they would stand on both sides of a split; given groups are kept."""
    write_phantoms(tmp_path, 2)
    first, second = "NORMAL/IM-0000-0000.png", "NORMAL/IM-0001-0000.png"
    for name, copy in ((first, "x"), (second, "y")):
        shutil.copy(tmp_path / name, tmp_path / f"NORMAL/{copy}.png")
    path = _csv(
        tmp_path,
        "file,label,patient_id,duplicate_group\n"
        f"{first},0,a,\nNORMAL/x.png,0,b,\n"
        f"{second},0,c,given\nNORMAL/y.png,0,d,\nNORMAL/IM-0001-0001.png,0,e,given\n"
        "PNEUMONIA/person0_virus_0.png,1,f,\n",
    )
    groups = {s.patient_id: s.duplicate_group for s in read_samples(path)}
    assert groups["a"] == groups["b"] != ""
    assert groups["c"] == groups["d"] == groups["e"] == "given"
    assert groups["f"] == ""


def test_the_real_labels(shared_data: Path) -> None:
    samples = read_samples(
        shared_data / "chest_xray/labels.csv", shared_data / "chest_xray_448/train"
    )
    assert len(samples) == 5232
    assert sum(s.label for s in samples) == 3883
    assert sum(s.larger is not None for s in samples) == 2158
    assert {s.subtype for s in samples} == {"", "bacteria", "virus"}
