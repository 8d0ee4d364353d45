"""What an evaluation refuses before any network is loaded: seen pictures, torn files, one name."""

import csv
import shutil
from pathlib import Path

import pytest

from edge_app.errors import DataError, UnreadableImageError
from tests.train_inputs import write_phantoms
from train.adult_nih import read_adult_nih
from train.external import check_judgeable, check_readable, check_unseen, distinct_names
from train.samples import read_samples


def _as_csv(root: Path, prefix: str) -> Path:
    """The pictures of `root` as a CSV whose patients carry the site's prefix."""
    path = root / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "patient_id"))
        for sample in read_samples(root):
            writer.writerow((sample.name, sample.label, f"{prefix}{sample.patient_id}"))
    return path


def test_patients_that_were_trained_on(tmp_path: Path) -> None:
    training = read_samples(write_phantoms(tmp_path / "a", 4))
    # Patients 3 to 6 of another site: number 3 of both classes stands in both, as other files.
    other = write_phantoms(tmp_path / "b", 4, side=64, first=3)
    message = r"site: 2 of its patients were trained on, such as IM-0003, person3; .* prefix"
    with pytest.raises(DataError, match=message):
        check_unseen({"site": read_samples(other)}, training)
    check_unseen({"site": read_samples(_as_csv(other, "b-"))}, training)


def test_a_files_own_name_is_no_patient(tmp_path: Path) -> None:
    """Two sites number their files alike: that tells nothing about who is on them."""
    for site, side in (("a", 48), ("b", 64)):
        root = write_phantoms(tmp_path / site, 3, side=side)
        for label in ("NORMAL", "PNEUMONIA"):
            for number, path in enumerate(sorted((root / label).iterdir())):
                path.rename(path.with_name(f"{number}.png"))
    training, other = (read_samples(tmp_path / site) for site in ("a", "b"))
    assert {s.patient_id for s in training} == {s.patient_id for s in other}
    check_unseen({"site": other}, training)


@pytest.mark.parametrize("larger", [False, True])
def test_the_very_files_that_were_trained_on(tmp_path: Path, larger: bool) -> None:
    root = write_phantoms(tmp_path / "a", 4)
    copies = write_phantoms(tmp_path / "large", 4, side=96)
    training = read_samples(root, copies)
    other = write_phantoms(tmp_path / "b", 3, side=64, first=20)
    source = (copies if larger else root) / "NORMAL" / "IM-0001-0000.png"
    shutil.copy(source, other / "NORMAL" / "IM-0555-0001.png")
    with pytest.raises(DataError, match=r"1 of its pictures were trained on, .*IM-0555"):
        check_unseen({"site": read_samples(other)}, training)


def test_names_of_folders_stay_apart(tmp_path: Path) -> None:
    folders = [tmp_path / site / "data" / "train" for site in ("a", "b")]
    names = distinct_names([*folders, tmp_path / "c"])
    assert list(names.values()) == [*folders, tmp_path / "c"]
    assert [name.split("/")[-3] for name in names][:2] == ["a", "b"]
    assert list(distinct_names([folders[0]])) == ["data/train"]
    with pytest.raises(DataError, match="is named twice"):
        distinct_names([folders[0], folders[1] / ".." / ".." / ".." / "a" / "data" / "train"])
    assert distinct_names([]) == {}


def test_torn_files_are_all_named(tmp_path: Path) -> None:
    paths = sorted(write_phantoms(tmp_path, 2).rglob("*.png"))
    check_readable(paths)
    for path in (paths[1], paths[5]):
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UnreadableImageError, match="2 of 8 cannot be read") as caught:
        check_readable(paths)
    assert paths[1].name in str(caught.value)
    assert paths[5].name in str(caught.value)


def test_sets_that_are_too_small(tmp_path: Path) -> None:
    check_judgeable({"site": read_samples(write_phantoms(tmp_path / "a", 2))})
    one = read_samples(write_phantoms(tmp_path / "b", 1))
    with pytest.raises(DataError, match="site: 1 patients of class normal"):
        check_judgeable({"site": one})


def test_a_torn_table_of_adults(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,patient_id,view,rsna_class\na.png,1,AP,Normal\nb.png,2\n")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"labels\.csv:3: label '' is none of"):
        read_adult_nih(tmp_path)
