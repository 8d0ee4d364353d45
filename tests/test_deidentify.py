"""Copies without identities: nothing of table E.1-1 survives at any depth, and the picture does."""

import io
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge_app.cli import main
from edge_app.errors import (
    EXIT_SOME_FAILED,
    InputError,
    UnreadableImageError,
    UnsupportedDicomError,
)
from edge_app.files.pseudonyms import Pseudonyms
from tests.dicom_files import phantom_dataset
from tests.dicom_peers import needs

pydicom = pytest.importorskip("pydicom")
fields = pytest.importorskip(
    "dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c",
    reason="needs the extra deidentify",
)

from edge_app.dicom_out.deidentified import METHOD, deidentify

PSEUDONYMS = Pseudonyms(bytes(32))
MARK = "ZQXJ"  # occurs nowhere else
_TEXTS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR"}


def content(dataset: Any) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def copy_of(dataset: Any) -> Any:
    uid, data = deidentify(content(dataset), "a.dcm", PSEUDONYMS)
    copy = pydicom.dcmread(io.BytesIO(data))
    assert copy.SOPInstanceUID == uid
    return copy


def marked(dataset: Any) -> int:
    """Put a mark into each attribute of the table that holds text; how many there are."""
    count = 0
    for tag in fields.ALL_TAGS:
        if len(tag) > 2 or tag[0] in (0, 2):
            continue
        is_known = pydicom.datadict.dictionary_has_tag(tag)
        kind = pydicom.datadict.dictionary_VR(tag) if is_known else ""
        if kind in _TEXTS:
            dataset.add_new(tag, kind, MARK)
            count += 1
        elif kind == "UI" and tag != (8, 0x18):
            dataset.add_new(tag, kind, "1.2.777.1")
            count += 1
        elif kind == "DA":
            dataset.add_new(tag, kind, "20200229")
            count += 1
    return count


def test_nothing_of_the_table_survives_at_any_depth() -> None:
    film = phantom_dataset("1.2.777.2", side=64)
    assert marked(film) > 300
    item, inner = pydicom.Dataset(), pydicom.Dataset()
    marked(inner)
    item.ViewCodeSequence = [inner]  # neither sequence is in the table itself
    film.AnatomicRegionSequence = [item]
    film.add_new((0x0009, 0x0010), "LO", "ACME")
    film.add_new((0x0009, 0x1001), "LO", MARK)
    film.add_new((0x6000, 0x4000), "LT", MARK)
    film.add_new((0x5000, 0x2500), "LO", MARK)
    film.file_meta.SourceApplicationEntityTitle = MARK
    film.preamble = (MARK.encode() * 32)[:128]
    before = content(film)
    assert before.count(MARK.encode()) > 500
    _, after = deidentify(before, "a.dcm", PSEUDONYMS)
    for trace in (MARK.encode(), b"1.2.777", b"20200229"):
        assert trace in before
        assert trace not in after
    copy = pydicom.dcmread(io.BytesIO(after))
    assert copy.PixelData == film.PixelData
    assert copy.ViewPosition == "AP"
    assert copy.PatientIdentityRemoved == "YES"
    assert copy.DeidentificationMethod == METHOD
    assert copy.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert not [element for element in copy.iterall() if element.tag.is_private]


def test_copies_of_one_study_stay_together_and_another_device_gives_other_uids() -> None:
    one, two = (copy_of(phantom_dataset(uid, side=64)) for uid in ("1.2.3", "1.2.4"))
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    film = phantom_dataset("1.2.4", side=64)
    reference = pydicom.Dataset()
    reference.ReferencedSOPClassUID = film.SOPClassUID
    reference.ReferencedSOPInstanceUID = "1.2.3"
    film.SourceImageSequence = [reference]
    copy = copy_of(film)
    # The table removes, empties or replaces this one (X/Z/U*): replaced, it leads to the copy.
    assert copy.SourceImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert copy.SourceImageSequence[0].ReferencedSOPClassUID == film.SOPClassUID
    other, _ = deidentify(content(film), "a", Pseudonyms(b"1" * 32))
    assert other != copy.SOPInstanceUID


def test_what_is_no_film_gets_no_copy() -> None:
    report = phantom_dataset("1.2.3", side=64)
    del report.PixelData
    for data, error in (
        (b"\x89PNG\r\n\x1a\n" + bytes(200), UnreadableImageError),
        (content(phantom_dataset("1.2.3", side=64))[:300], InputError),
        (content(report), UnsupportedDicomError),
    ):
        with pytest.raises(error, match=r"^a\.dcm: "):
            deidentify(data, "a.dcm", PSEUDONYMS)


def errors_of(path: Path) -> set[str]:
    told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    said = (told.stdout + told.stderr).splitlines()
    assert "CRImage" in said
    return {line for line in said if line.startswith("Error")}


@needs("dciodvfy", "dcmdump")
def test_dciodvfy_and_dcmdump_read_the_copy(tmp_path: Path) -> None:
    """No error that the film itself has not, and no trace of the patient in dcmtk's eyes."""
    film, path = tmp_path / "film.dcm", tmp_path / "copy.dcm"
    film.write_bytes(content(phantom_dataset("1.2.3", BodyPartExamined="", Laterality="L")))
    path.write_bytes(deidentify(film.read_bytes(), "a", PSEUDONYMS)[1])
    assert errors_of(path) <= errors_of(film)
    dumped = subprocess.run(["dcmdump", str(path)], capture_output=True, text=True, check=True)
    assert "(0010,0010) PN" in dumped.stdout
    assert "TEST" not in dumped.stdout


def test_the_command_copies_films_and_says_what_it_did_not_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_DATA", str(tmp_path / "data"))
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    phantom_dataset("1.2.3", side=64).save_as(films / "Ana.dcm", enforce_file_format=True)
    (films / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 10)
    for _ in range(2):  # the same copy again
        assert main(["deidentify", str(films), "-o", str(out)]) == EXIT_SOME_FAILED
        said = capsys.readouterr()
        assert "1 copies" in said.out
        assert "NOT" in said.out or "not looked at" in said.out
        assert "broken.dcm: " in said.err
    (copy,) = out.iterdir()
    assert copy.stem == pydicom.dcmread(copy).SOPInstanceUID


def test_real_films_keep_their_picture(shared_data: Path) -> None:
    from edge_app.images.read import decode_image

    for path in sorted((shared_data / "dicom" / "chest").glob("*.dcm")):
        data = path.read_bytes()
        try:
            _, copy = deidentify(data, path.name, PSEUDONYMS)
        except UnsupportedDicomError:
            continue
        before, after = pydicom.dcmread(path), pydicom.dcmread(io.BytesIO(copy))
        assert after.PixelData == before.PixelData
        for keyword in ("PatientID", "StudyInstanceUID", "InstitutionName"):
            assert not before.get(keyword) or after.get(keyword) != before.get(keyword)
        try:
            expected = decode_image(data, path.name).pixels
        except InputError:  # it is a damaged one
            continue
        assert (decode_image(copy, "b.dcm").pixels == expected).all()
