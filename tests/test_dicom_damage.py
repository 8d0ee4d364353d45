"""DICOM files with something wrong in them: right values or a plain sentence, nobody's name."""

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import features

from edge_app.errors import InputError, UnreadableImageError, UnsupportedDicomError
from edge_app.images.read import decode_image
from tests.pictures import dicom_bytes, encoded
from tests.test_jpeg import film

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")

from pydicom.encaps import encapsulate

BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG, JPEG_2000, HTJ2K = (f"1.2.840.10008.1.2.4.{end}" for end in (50, 90, 201))
RAMP = np.array([[0, 100, 200, 400]], np.uint16)
# What no message may hold: words of Python's and addresses.
PYTHON = re.compile(
    r"0x[0-9a-f]{6,}|NoneType|object|Traceback|unsupported operand|dtype|<_io", re.I
)


def shades(stored: np.ndarray, **elements: Any) -> list[float]:
    pixels = decode_image(dicom_bytes(stored, **elements), "x.dcm").pixels
    return [round(float(v) / 65535, 4) for v in pixels[0]]


def sequence(**elements: tuple[str, Any]) -> Any:
    item = pydicom.Dataset()
    for keyword, (representation, value) in elements.items():
        item.add_new(keyword, representation, value)
    return pydicom.Sequence([item])


def lut(descriptor: list[int], data: Any, representation: str = "US") -> Any:
    return sequence(LUTDescriptor=("US", descriptor), LUTData=(representation, data))


def encapsulated(frame: bytes, syntax: str, **elements: Any) -> bytes:
    shape = elements.pop("shape", (300, 260))
    dtype = np.uint8 if elements.get("BitsAllocated", 8) == 8 else np.uint16
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(np.zeros(shape, dtype), **elements)))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    dataset["PixelData"].VR = "OB"
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def message(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        decode_image(data, "x.dcm")
    text = str(caught.value)
    assert not PYTHON.search(text)
    return text


def test_empty_and_zero_rescale_values_are_none() -> None:
    for empty in ({"RescaleSlope": ""}, {"RescaleIntercept": ""}, {"RescaleSlope": 0}):
        assert shades(RAMP, **empty) == [0, 0.25, 0.5, 1]


def test_a_rescale_that_is_no_number_says_so() -> None:
    data = dicom_bytes(RAMP, RescaleSlope="1.5", RescaleIntercept="0")
    assert "RescaleSlope is no number" in message(data.replace(b"1.5 ", b"DOE "))


def test_empty_look_up_tables_are_passed_over() -> None:
    item = lut([], [])
    assert shades(RAMP, ModalityLUTSequence=item, VOILUTSequence=item) == [0, 0.25, 0.5, 1]


@pytest.mark.parametrize("data", [[0, 51, 255, 255], None], ids=["in words", "in bytes"])
def test_entries_of_8_bits_lie_in_words_or_in_bytes(data: list[int] | None) -> None:
    stored = np.array([[0, 1, 2, 3]], np.uint16)
    content: Any = struct.pack("<4H", *data) if data else bytes([0, 51, 255, 255])
    assert shades(stored, VOILUTSequence=lut([4, 0, 8], content, "OW")) == [0, 0.2, 1, 1]


def test_the_first_mapped_value_is_signed_where_the_values_are() -> None:
    stored = np.array([[-2, -1, 0, 1]], np.int16)
    table = lut([4, 65536 - 2, 16], [0, 0x3333, 0x6666, 0xFFFF])
    assert shades(stored, VOILUTSequence=table) == [0, 0.2, 0.4, 1]
    high = np.array([[60000, 60001, 60002, 60003]], np.uint16)
    table = lut([4, 60000, 16], [0, 0x3333, 0x6666, 0xFFFF])
    assert shades(high, VOILUTSequence=table) == [0, 0.2, 0.4, 1]


def test_a_modality_table_of_12_bits_is_read_and_a_short_one_is_not() -> None:
    stored = np.array([[0, 1, 2, 3]], np.uint16)
    assert shades(stored, ModalityLUTSequence=lut([4, 0, 12], [0, 1000, 2000, 4000])) == [
        0,
        0.25,
        0.5,
        1,
    ]
    short = dicom_bytes(stored, VOILUTSequence=lut([4096, 0, 12], [0, 1000]))
    assert "look-up table of 4096 entries holds 2" in message(short)


@pytest.mark.parametrize("groups", ["Shared", "PerFrame"])
def test_windows_and_rescaling_stand_in_functional_groups(groups: str) -> None:
    window = sequence(WindowCenter=("DS", "0"), WindowWidth=("DS", "400"))
    window[0].VOILUTFunction = "LINEAR_EXACT"
    rescale = sequence(RescaleSlope=("DS", "-1"), RescaleIntercept=("DS", "200"))
    group = sequence(
        FrameVOILUTSequence=("SQ", window), PixelValueTransformationSequence=("SQ", rescale)
    )
    elements = {f"{groups}FunctionalGroupsSequence": group}
    assert shades(RAMP, NumberOfFrames=1, **elements) == [1, 0.75, 0.5, 0]


def test_a_big_endian_data_set_without_meta_information_is_read() -> None:
    data = dicom_bytes(RAMP, transfer_syntax=BIG_ENDIAN, with_meta=False)
    assert decode_image(data, "x").pixels.tolist() == [[0, 16384, 32768, 65535]]


def test_bits_allocated_that_no_sample_has() -> None:
    data = encapsulated(encoded(film(), "JPEG"), JPEG)
    allocated = struct.pack("<HH2sHH", 0x28, 0x100, b"US", 2, 8)
    assert data.count(allocated) == 1
    broken = data.replace(allocated, allocated[:-2] + struct.pack("<H", 64))
    assert "64 bits allocated" in message(broken)
    # A JPEG's 8 bits are cut down to one no more than those of a JPEG 2000.
    assert "more bits" in message(encapsulated(encoded(film(), "JPEG"), JPEG, BitsStored=1))


def test_a_jpeg_in_dicom_is_read_as_strictly_as_a_file() -> None:
    jpeg = encoded(film(), "JPEG")
    intact = decode_image(encapsulated(jpeg, JPEG, WindowCenter=128, WindowWidth=256), "x")
    expected = decode_image(jpeg, "x").pixels
    assert np.abs(intact.pixels / 257.0 - expected).max() <= 1
    for lost in (
        jpeg[: len(jpeg) // 2] + b"\xff\xd9",
        jpeg[:5000] + jpeg[9000:],
        encoded(film(64, 64), "JPEG"),
        encoded(film().convert("RGB"), "JPEG"),
    ):
        message(encapsulated(lost, JPEG))


def test_encapsulated_data_that_ends_early_is_truncated() -> None:
    data = encapsulated(encoded(film(), "JPEG"), JPEG)
    assert "ends within its picture" in message(data[:-500])


def test_high_throughput_jpeg_2000_asks_for_no_package() -> None:
    text = message(encapsulated(b"\xff\x4f\xff\x51" + bytes(60), HTJ2K))
    assert "read by no decoder here" in text
    assert "pip" not in text


def jpeg_2000(picture: np.ndarray) -> bytes:
    if not features.check("jpg_2000"):
        pytest.skip("needs Pillow with OpenJPEG")
    pytest.importorskip("gdcm", reason="needs GDCM's decoders")
    from PIL import Image

    return encoded(Image.fromarray(picture), "JPEG2000", no_jp2=True)


def test_a_jpeg_2000_is_read_to_its_end_or_not_at_all() -> None:
    picture = np.asarray(film())
    codestream = jpeg_2000(picture)
    window = {"WindowCenter": 128, "WindowWidth": 256, "VOILUTFunction": "LINEAR_EXACT"}
    intact = decode_image(encapsulated(codestream, JPEG_2000, **window), "x").pixels
    assert np.abs(intact / 256.0 - picture).max() < 1
    end = b"\xff\xd9"
    for cut in (codestream[:-700], codestream[:-700] + end, codestream[:9000] + codestream[9500:]):
        message(encapsulated(cut, JPEG_2000))
    size = codestream.index(b"\xff\x51")
    large = codestream[: size + 6] + struct.pack(">II", 20_000, 20_000) + codestream[size + 14 :]
    assert "20000 x 20000" in message(encapsulated(large, JPEG_2000))


def test_a_codestream_deeper_than_bits_stored_is_not_cut_down() -> None:
    picture = np.asarray(film()).astype(np.uint16) * 16
    depth = {"BitsAllocated": 16, "BitsStored": 12}
    shallow = decode_image(encapsulated(jpeg_2000(picture), JPEG_2000, **depth), "x").pixels
    assert np.ptp(shallow) > 60_000
    deep = jpeg_2000(picture * 16)
    assert "more bits" in message(encapsulated(deep, JPEG_2000, **depth))


def test_a_deflated_data_set_is_refused_however_far_back_it_says_so() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(np.zeros((2000, 2000), np.uint16))))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
    dataset.file_meta.PrivateInformation = bytes(9000)
    dataset.file_meta.SendingApplicationEntityTitle = "A" * 16
    stream = io.BytesIO()
    dataset.save_as(stream)
    with pytest.raises(UnsupportedDicomError, match="Deflated"):
        decode_image(stream.getvalue(), "x")


def test_a_header_that_takes_minutes_to_read_is_refused() -> None:
    item = pydicom.Dataset()
    item.CodeValue = "1"
    many = dicom_bytes(RAMP, ViewCodeSequence=pydicom.Sequence([item] * 11_000))
    assert "items are not read" in message(many)
    data = dicom_bytes(RAMP)
    element = struct.pack("<HH2sH", 0x09, 0x1001, b"LO", 0)
    place = data.index(struct.pack("<HH2s", 0x18, 0x15, b"CS"))
    assert "elements is not read" in message(data[:place] + element * 110_000 + data[place:])


def test_a_wrong_length_lets_no_patient_s_data_out(capfd: pytest.CaptureFixture[str]) -> None:
    elements = {"PatientName": "CANARY^JOHN", "PatientID": "CANARY77", "StudyDate": "20200913"}
    data = dicom_bytes(RAMP, AccessionNumber="CANARY", **elements)
    for keyword in ((0x08, 0x16), (0x08, 0x18), (0x08, 0x60), (0x18, 0x15), (0x28, 0x04)):
        place = data.index(struct.pack("<HH", *keyword)) + 6
        for length in (0, 4, 100, 200, 0xFFFF):
            wrong = data[:place] + struct.pack("<H", length) + data[place + 2 :]
            try:
                found = repr(decode_image(wrong, "x.dcm").dicom)
            except InputError as error:
                found = str(error)
            assert not re.search("CANARY|JOHN|20200913", found)
            assert not PYTHON.search(found)
    assert capfd.readouterr() == ("", "")


VALUES = {
    "leadtools-8BitsJpegLossyGrayScale.dcm": (0, 65535, 39022.1),
    "slope_empty.dcm": (10338, 62126, 57811.6),
    "modality_lut_12bit.dcm": (3408, 55196, 7722.4),
    "voilut8_in_words.dcm": (1536, 58880, 52586.0),
    "voilut_signed_US.dcm": (1630, 58881, 52718.8),
}


@pytest.mark.parametrize("file", VALUES)
def test_reported_files_have_dcmtk_s_values(shared_cases: Path, file: str) -> None:
    pixels = decode_image((shared_cases / file).read_bytes(), file).pixels
    found = int(pixels.min()), int(pixels.max()), float(pixels.mean())
    # DCMTK widens 8 bits by 256 where white becomes 65280; here white is 65535.
    assert found == pytest.approx(VALUES[file], rel=0.005, abs=2)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("dcm_jpeg_scan_cut.dcm", "damaged"),
        ("dcm_j2k_truncated.dcm", "ends within its picture"),
        ("htj2k_hint.dcm", "read by no decoder here"),
        ("j2k_prec16_full_bits12.dcm", "more bits"),
        ("hostile/gdcm_abort_00791_tag.dcm", "more bits"),
        ("hostile/d_j2k20000_rows512.dcm", "20000 x 20000"),
        ("hostile/d_jpeg8900hdr.dcm", "damaged"),
        ("hostile/d_1m_items.dcm.xz", "items are not read"),
        ("hostile/d_jls60000.dcm.xz", "60000 x 60000"),
        ("hostile/d_deflated_hidden_3g.dcm.xz", "Deflated"),
        ("hostile/privacy_00133_flip.dcm", "holds no picture"),
    ],
)
def test_reported_files_get_a_plain_sentence(shared_cases: Path, file: str, said: str) -> None:
    data = (shared_cases / file).read_bytes()
    if file.endswith(".xz"):
        import lzma

        data = lzma.decompress(data)
    text = message(data)
    assert said in text
    assert "CANARY" not in text


def test_a_decoder_that_dies_costs_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_app.images import foreign_decoder

    good = encapsulated(jpeg_2000(np.asarray(film())), JPEG_2000)
    aborting = tmp_path / "abort.py"
    aborting.write_text("import os, sys\nsys.stdin.buffer.readline()\nos.abort()\n")
    with monkeypatch.context() as patched:
        foreign_decoder._end()
        patched.setattr(foreign_decoder, "_PROGRAM", aborting)
        with pytest.raises(UnreadableImageError, match="broke off"):
            decode_image(good, "x.dcm")
    assert decode_image(good, "x.dcm").pixels.shape == (300, 260)
