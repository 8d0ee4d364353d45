"""Labelled pictures: folders, CSVs and DICOM patients; what is refused; the hash of a split."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_app.errors import DataError, NoInputError
from edge_app.images.labelled_pictures import (
    Labelling,
    note_unknown_patients,
    patient_of,
    read_labelled_pictures,
    sizes_hash,
    split_hash,
)
from tests.pictures import dicom_bytes
from tests.train_inputs import write_phantoms

PIXELS = np.arange(16, dtype=np.uint16).reshape(4, 4)


def test_a_folder_of_classes(tmp_path: Path) -> None:
    samples = read_labelled_pictures(write_phantoms(tmp_path, 2))
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
    samples = read_labelled_pictures(root)
    assert len(samples) == 3 * 8
    assert {s.name.split("/")[0] for s in samples} == {"train", "val", "test"}
    assert {s.split for s in samples} == {"train", "validation", "test"}


def test_identical_files_share_a_group(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path, 2)
    shutil.copy(root / "NORMAL/IM-0000-0000.png", root / "NORMAL/IM-0777-0000.png")
    groups = {s.name: s.duplicate_group for s in read_labelled_pictures(root)}
    assert groups["NORMAL/IM-0000-0000.png"] == groups["NORMAL/IM-0777-0000.png"] != ""
    assert set(groups.values()) == {"", groups["NORMAL/IM-0000-0000.png"]}


def test_other_class_names(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 1)
    (tmp_path / "NORMAL").rename(tmp_path / "healthy")
    (tmp_path / "PNEUMONIA").rename(tmp_path / "Opacity")
    samples = read_labelled_pictures(tmp_path, Labelling(("OPACITY",), ("Healthy",)))
    assert [s.label for s in samples] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person1_bacteria_1.jpeg", "person1"),
        ("person1000_virus_1681.jpeg", "person1000"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("NORMAL2-IM-0587-0001-0002.jpeg", "NORMAL2-IM-0587"),
        ("scan_17.png", ""),
    ],
)
def test_patients_by_file_name(name: str, patient: str) -> None:
    assert patient_of(Path(name)) == patient


def test_patients_of_dicom_files(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    path = tmp_path / "one.dcm"
    path.write_bytes(dicom_bytes(PIXELS, PatientID="K-12 "))
    assert patient_of(path) == "K-12"
    # A viewer's export may be called as the Kermany files are: the header knows better.
    exported = path.rename(path.with_name("IM-0001-0001.dcm"))
    assert patient_of(exported) == "K-12"
    exported.write_bytes(dicom_bytes(PIXELS, PatientID=""))
    assert patient_of(exported) == "IM-0001"
    # A damaged header tells nothing; that the file cannot be read is for its reader to say.
    path.write_bytes(b"\x08\x00torn")
    assert patient_of(path) == ""


def test_the_test_split_is_found_at_any_depth_and_the_root_is_none(tmp_path: Path) -> None:
    root = tmp_path / "test"
    write_phantoms(root / "train", 1)
    write_phantoms(root / "test" / "site", 1)
    splits = {s.name.split("/")[0]: s.split for s in read_labelled_pictures(root)}
    assert splits == {"train": "train", "test": "test"}
    assert {s.split for s in read_labelled_pictures(root / "test")} == {""}


def test_files_of_one_name_and_size_are_two_pictures_unless_they_are_equal(tmp_path: Path) -> None:
    for site, value in (("a", 10), ("b", 20), ("c", 20)):
        for name in ("NORMAL", "PNEUMONIA"):
            folder = tmp_path / site / name
            folder.mkdir(parents=True)
            Image.new("L", (40, 40), value).save(folder / "0.bmp")
    samples = read_labelled_pictures(tmp_path)
    assert [s.name for s in samples if s.label == 0] == ["a/NORMAL/0.bmp", "b/NORMAL/0.bmp"]
    assert len({s.patient_id for s in samples}) == len(samples)
    assert all(s.patient_is_unknown for s in samples)
    assert "4 of 4 pictures tell no patient" in note_unknown_patients(samples)


def test_a_class_folder_without_pictures(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "train", 1)
    (tmp_path / "val" / "NORMAL").mkdir(parents=True)
    with pytest.raises(DataError, match="val/NORMAL: a class folder without pictures"):
        read_labelled_pictures(tmp_path)


def test_pictures_outside_of_the_classes(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 1)
    shutil.copytree(tmp_path / "NORMAL", tmp_path / "COVID")
    with pytest.raises(DataError, match=r"2 pictures lie in no class folder, such as .*COVID"):
        read_labelled_pictures(tmp_path)


def test_classes_that_are_left_out_by_name(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 1)
    shutil.copytree(tmp_path / "NORMAL", tmp_path / "COVID")
    samples = read_labelled_pictures(tmp_path, Labelling(left_out=("Covid",)))
    assert {s.name.partition("/")[0] for s in samples} == {"NORMAL", "PNEUMONIA"}
    both = read_labelled_pictures(tmp_path, Labelling(positive=("PNEUMONIA", "COVID")))
    assert sorted(s.label for s in both) == [0, 0, 1, 1, 1, 1]
    with pytest.raises(DataError, match="'covid' is given twice"):
        Labelling(positive=("COVID",), left_out=("Covid",))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere.csv"):
        with pytest.raises(NoInputError, match=f"{name}: no such folder or CSV file"):
            read_labelled_pictures(tmp_path / name)


def test_a_folder_without_classes_says_what_is_missing(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(NoInputError, match=r"NORMAL \(negative\), PNEUMONIA .*--positive"):
        read_labelled_pictures(tmp_path)


def test_one_class_alone_is_read(tmp_path: Path) -> None:
    shutil.rmtree(write_phantoms(tmp_path, 1) / "NORMAL")
    assert [s.label for s in read_labelled_pictures(tmp_path)] == [1, 1]


def test_a_blank_behind_a_number_makes_no_other_patient(tmp_path: Path) -> None:
    first, second = "NORMAL/IM-0000-0000.png", "NORMAL/IM-0000-0001.png"
    sick = "PNEUMONIA/person0_virus_0.png,1,b"
    path = _csv(tmp_path, f"file,label,patient_id\n{first},0,17 \n{second},0,17\n{sick}\n")
    assert [s.patient_id for s in read_labelled_pictures(path)] == ["17", "17", "b"]


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
    first, second = read_labelled_pictures(path)
    assert (first.label, first.patient_id, first.split) == (0, "a", "train")
    assert first.original_size == (1000, 800)
    assert (second.label, second.subtype, second.split) == (1, "virus", "validation")
    assert second.original_size is None


def test_a_csv_that_names_a_file_in_two_ways(tmp_path: Path) -> None:
    rows = "NORMAL/IM-0000-0000.png,0,a\n./NORMAL/IM-0000-0000.png,0,b\n"
    with pytest.raises(DataError, match=r":3: \./NORMAL/.* stands in line 2 already"):
        read_labelled_pictures(_csv(tmp_path, f"file,label,patient_id\n{rows}"))


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
    groups = {s.patient_id: s.duplicate_group for s in read_labelled_pictures(path)}
    assert groups["a"] == groups["b"] != ""
    assert groups["c"] == groups["d"] == groups["e"] == "given"
    assert groups["f"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\nx,1\n", "no column 'file'; there are name, label .*--column file=NAME"),
        ("file,class\nx,1\n", "no column 'label'"),
        ("file,label\n,1\n", ":2: an empty file name is not there"),
        ("file,label,patient_id\nnone.png,1,a\n", ":2: none.png is not there"),
        ("file,label,patient_id\nNORMAL/IM-0000-0000.png,sick,a\n", ":2: label 'sick'"),
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
    ],
)
def test_a_csv_with_a_fault(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labelled_pictures(_csv(tmp_path, text))


def test_a_csv_with_its_own_names(tmp_path: Path) -> None:
    path = _csv(
        tmp_path,
        "Path,Finding,Patient,Age,Sex,View\n"
        "NORMAL/IM-0000-0000.png,Clear,7,004Y,f,ap\n"
        "PNEUMONIA/person0_virus_0.png,Opacity,8,018M,,\n"
        "PNEUMONIA/person0_virus_1.png,Other,9,,,\n",
    )
    columns = {"file": "Path", "label": "Finding", "patient_id": "Patient"}
    columns |= {"age": "Age", "sex": "Sex", "view": "View"}
    labelling = Labelling(("Opacity",), ("Clear",), ("Other",), columns)
    healthy, sick = read_labelled_pictures(path, labelling)
    assert (healthy.label, healthy.patient_id, healthy.age_years) == (0, "7", 4)
    assert (healthy.sex, healthy.view) == ("F", "AP")
    # Without a column of sub-types, the file's name tells it.
    assert (sick.label, sick.age_years, sick.subtype) == (1, 1.5, "virus")
    with pytest.raises(DataError, match=r"label 'Other' is none of .*--leave-out"):
        read_labelled_pictures(path, Labelling(("Opacity",), ("Clear",), (), columns))
    with pytest.raises(DataError, match="no column 'Kind'"):
        read_labelled_pictures(path, Labelling(columns=columns | {"subtype": "Kind"}))
    with pytest.raises(DataError, match="no column 'pages' is read"):
        Labelling(columns={"pages": "Pages"})


def test_patients_of_a_csv_without_that_column(tmp_path: Path) -> None:
    path = _csv(tmp_path, "file,label\nNORMAL/IM-0000-0000.png,0\n")
    assert [s.patient_id for s in read_labelled_pictures(path)] == ["IM-0000"]
    path = _csv(tmp_path, "file,label,patient_id\nNORMAL/IM-0000-0000.png,0, \n")
    assert [s.patient_is_unknown for s in read_labelled_pictures(path)] == [True]


def test_a_split_and_a_root(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "data", 1)
    table = tmp_path / "elsewhere" / "split.csv"
    table.parent.mkdir()
    table.write_text(
        "file,label,split\nNORMAL/IM-0000-0000.png,0,val\nPNEUMONIA/not_here.png,1,train\n"
    )
    roots = (tmp_path / "data",)
    # A split that is not asked for need not be there.
    (held_out,) = read_labelled_pictures(table, roots=roots, split="validation")
    assert (held_out.name, held_out.split) == ("NORMAL/IM-0000-0000.png", "validation")
    with pytest.raises(DataError, match=r"not_here\.png is not there"):
        read_labelled_pictures(table, roots=roots)
    with pytest.raises(NoInputError, match="split test: no picture"):
        read_labelled_pictures(table, roots=roots, split="test")
    with pytest.raises(DataError, match="split 'held out' is none of"):
        read_labelled_pictures(table, roots=roots, split="held out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\n\u00e9.png,1\n".encode("latin-1"), "not a CSV in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a CSV"),
        (b"label,file\n1\n", "an empty file name"),
    ],
)
def test_a_file_that_is_no_such_csv(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_labelled_pictures(tmp_path / "labels.csv")


def test_the_hash_in_figures() -> None:
    """Worked out with sha256sum: the runs and bundles that exist hold this hash."""
    identities = [("b.png", 1, "p2"), ("a.png", 0, "p1")]
    expected = "c857f6946510e7de8520538968501d77f02997ec84acdbd60a0e5cbd57664cda"
    assert split_hash(identities) == split_hash([*identities, identities[0]]) == expected


IDENTITIES = st.lists(
    st.tuples(st.text("abc/.", min_size=1), st.integers(0, 1), st.text("pq1")), min_size=1
)


@given(IDENTITIES, st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_the_order(
    identities: list[tuple[str, int, str]], random: object
) -> None:
    shuffled = list(identities)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split_hash(shuffled) == split_hash(identities)


@given(IDENTITIES, IDENTITIES)
def test_other_pictures_labels_or_patients_have_another_hash(
    one: list[tuple[str, int, str]], other: list[tuple[str, int, str]]
) -> None:
    assert (split_hash(one) == split_hash(other)) == (set(one) == set(other))


def test_the_hash_does_not_depend_on_the_place(tmp_path: Path) -> None:
    hashes, sizes = set(), set()
    for side, place in ((48, "x"), (64, "y")):
        pictures = read_labelled_pictures(write_phantoms(tmp_path / place, 2, side=side))
        hashes.add(split_hash(picture.identity for picture in pictures))
        sizes.add(sizes_hash({picture.name: picture.path for picture in pictures}))
    assert (len(hashes), len(sizes)) == (1, 2)
