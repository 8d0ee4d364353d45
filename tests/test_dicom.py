"""DICOM to radiographs: polarity, windows and look-up tables as the standard has them."""

import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_app.errors import InputError, UnreadableImageError, UnsupportedDicomError
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import decode_image, read_image
from tests.pictures import dicom_bytes

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")

from edge_app.images.dicom_facts import parse_age
from edge_app.images.dicom_grey import apply_window

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
RAMP = np.array([[0, 100, 200, 400]], np.uint16)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def decode(stored: np.ndarray, **elements: Any) -> Radiograph:
    return decode_image(dicom_bytes(stored, **elements), "x.dcm")


def shades(stored: np.ndarray, **elements: Any) -> list[float]:
    """The decoded first row as shares of white, to four digits."""
    return [round(float(v) / 65535, 4) for v in decode(stored, **elements).pixels[0]]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_without_a_window_the_used_range_is_shown(syntax: str, dtype: type) -> None:
    low = np.iinfo(dtype).min // 2
    stored = (np.array([[0, 10, 20, 40]]) + low).astype(dtype)
    radiograph = decode(stored, transfer_syntax=syntax)
    assert radiograph.pixels.dtype == np.uint16
    assert radiograph.max_value == 65535
    assert radiograph.source_format == "DICOM"
    assert radiograph.pixels.tolist() == [[0, 16384, 32768, 65535]]


def test_the_header_s_facts() -> None:
    elements = {"PatientAge": "018M", "PresentationIntentType": "FOR PRESENTATION"}
    radiograph = decode(np.zeros((3, 4), np.uint16), ViewPosition="pa", **elements)
    facts = radiograph.dicom
    assert facts is not None
    assert (facts.modality, facts.body_part, facts.view_position) == ("DX", "CHEST", "PA")
    assert facts.patient_age_years == 1.5
    assert facts.photometric_interpretation == "MONOCHROME2"
    assert facts.transfer_syntax_uid == EXPLICIT
    assert facts.presentation_intent == "FOR PRESENTATION"
    assert radiograph.sop_instance_uid == "1.2.3.4.5"
    assert radiograph.original_size == (4, 3)


pictures = hnp.arrays(
    np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4095)
)


@settings(deadline=None)
@given(pictures, st.none() | st.tuples(st.integers(0, 4095), st.integers(1, 5000)))
def test_a_monochrome1_picture_is_its_inverted_monochrome2_twin(
    stored: np.ndarray, window: tuple[int, int] | None
) -> None:
    elements: dict[str, Any] = {"BitsStored": 12}
    twin = dict(elements)
    if window is not None:
        center, width = window
        elements |= {"WindowCenter": center, "WindowWidth": width}
        # The window's midpoint, center - 0.5, mirrors at 4095 / 2.
        twin |= {"WindowCenter": 4096 - center, "WindowWidth": width}
    first = decode(stored, PhotometricInterpretation="MONOCHROME1", **elements)
    second = decode(4095 - stored, PhotometricInterpretation="MONOCHROME2", **twin)
    # Halves round to even, so the two may differ in the last of 16 bits.
    assert np.abs(first.pixels.astype(int) - second.pixels).max() <= 1


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),  # both say one thing, so it happens once
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_polarity(photometric: str, shape: str | None, is_inverted: bool) -> None:
    row = shades(RAMP, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    assert row == ([1, 0.75, 0.5, 0] if is_inverted else [0, 0.25, 0.5, 1])


def test_window_functions_by_hand() -> None:
    values = np.array([-1e6, 0.0, 50, 99.5, 100, 150, 199, 1e6])
    # PS3.3 C.11.2.1.2.1, center 100, width 200: from 99.5 - 99.5 = 0 to 99.5 + 99.5 = 199.
    linear = apply_window(values, 100, 200, "LINEAR")
    assert linear is not None
    assert linear == pytest.approx([0, 0, 50 / 199, 0.5, 100 / 199, 150 / 199, 1, 1])
    exact = apply_window(values, 100, 200, "LINEAR_EXACT")
    assert exact is not None
    assert exact == pytest.approx([0, 0, 0.25, 0.4975, 0.5, 0.75, 0.995, 1])
    sigmoid = apply_window(values, 100, 200, "SIGMOID")
    assert sigmoid is not None
    assert sigmoid[2] == pytest.approx(1 / (1 + math.exp(1)))
    assert sigmoid[4] == 0.5
    assert sigmoid[0] < 1e-9
    # A width of 1 is a threshold.
    threshold = apply_window(np.array([99.0, 100.0]), 100, 1, "LINEAR")
    assert threshold is not None
    assert threshold.tolist() == [0, 1]
    for width, function in [(0, "LINEAR"), (0.5, "LINEAR"), (0, "SIGMOID"), (-1, "LINEAR_EXACT")]:
        assert apply_window(values, 100, width, function) is None


def test_the_first_window_counts_and_an_impossible_one_does_not() -> None:
    exact = {"VOILUTFunction": "LINEAR_EXACT"}
    row = shades(RAMP, WindowCenter=[100, 300], WindowWidth=[200, 10], **exact)
    assert row == [0, 0.5, 1, 1]
    assert shades(RAMP, WindowCenter=100, WindowWidth=0) == [0, 0.25, 0.5, 1]
    assert shades(RAMP, WindowCenter=100) == [0, 0.25, 0.5, 1]


def test_windows_lie_in_rescaled_units_also_where_the_slope_is_negative() -> None:
    exact = {"VOILUTFunction": "LINEAR_EXACT", "WindowCenter": 0, "WindowWidth": 400}
    assert shades(RAMP, RescaleSlope=1, RescaleIntercept=-200, **exact) == [0, 0.25, 0.5, 1]
    assert shades(RAMP, RescaleSlope=-1, RescaleIntercept=200, **exact) == [1, 0.75, 0.5, 0]


def lut(first: int, values: list[int], bits: int = 16) -> Any:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "US", values)
    return pydicom.Sequence([item])


def test_look_up_tables() -> None:
    stored = np.array([[0, 1, 2, 3]], np.uint16)
    # A modality LUT that reverses the order, then the used range.
    assert shades(stored, ModalityLUTSequence=lut(0, [30, 20, 10, 0])) == [1, 0.6667, 0.3333, 0]
    # A VOI LUT of 10 bits: values below its first entry take the first, above its last the last.
    assert shades(stored, VOILUTSequence=lut(1, [0, 1023], bits=10)) == [0, 0, 1, 1]
    # It goes before a window.
    window = {"WindowCenter": 0, "WindowWidth": 1}
    assert shades(stored, VOILUTSequence=lut(0, [0, 0, 65535, 65535]), **window) == [0, 0, 1, 1]


def test_padding_is_black_and_sets_no_range() -> None:
    stored = np.array([[5000, 100, 200, 300]], np.uint16)
    padding = {"PixelPaddingValue": 5000}
    assert shades(stored, **padding) == [0, 0, 0.5, 1]
    assert shades(stored, PhotometricInterpretation="MONOCHROME1", **padding) == [0, 1, 0.5, 0]
    stored = np.array([[10, 11, 12, 100, 200, 300]], np.uint16)
    row = shades(stored, PixelPaddingValue=10, PixelPaddingRangeLimit=12)
    assert row == [0, 0, 0, 0, 0.5, 1]
    signed = np.array([[-2000, -100, 0, 100]], np.int16)
    assert shades(signed, PixelPaddingValue=-2000) == [0, 0, 0.5, 1]
    assert set(shades(np.full((1, 4), 9, np.uint16), PixelPaddingValue=9)) == {0}


def test_bits_beside_the_stored_ones_are_no_picture() -> None:
    # An overlay in the upper four bits of 12 stored ones.
    stored = RAMP | np.array([[0xF000, 0, 0x1000, 0x8000]], np.uint16)
    assert shades(stored, BitsStored=12) == [0, 0.25, 0.5, 1]
    # Left-aligned, as before 2014 allowed: HighBit 15 with 12 bits stored.
    assert shades(RAMP << 4, BitsStored=12, HighBit=15) == [0, 0.25, 0.5, 1]
    # A 12-bit two's complement number without its sign extended.
    signed = (np.array([[-200, -100, 0, 200]]) & 0x0FFF).astype(np.int16)
    assert shades(signed, BitsStored=12) == [0, 0.25, 0.5, 1]


def test_a_flat_picture_is_flat() -> None:
    assert np.unique(decode(np.full((4, 4), 77, np.uint16)).pixels).tolist() == [32768]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_a_data_set_without_preamble_and_meta_information(syntax: str) -> None:
    data = dicom_bytes(RAMP, transfer_syntax=syntax, with_meta=False)
    assert data[128:132] != b"DICM"
    assert decode_image(data, "x").pixels.tolist() == [[0, 16384, 32768, 65535]]


def test_a_tiff_header_in_the_preamble_does_not_make_it_a_tiff() -> None:
    # PS3.10, section 7.1; NEMA's sample set does it.
    data = dicom_bytes(RAMP)
    data = b"II*\0\x98\x08\0\0".ljust(128, b"\0") + data[128:]
    assert decode_image(data, "x").source_format == "DICOM"


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"NumberOfFrames": 2}, "2 frames"),
        ({"BitsStored": 32, "BitsAllocated": 32}, "32 bits"),
    ],
)
def test_what_is_not_one_grey_picture_is_unsupported(elements: Any, text: str) -> None:
    stored = np.zeros((2, 2, 3), np.uint16)
    with pytest.raises(UnsupportedDicomError, match=rf"x\.dcm: .*{text}"):
        decode(stored, Rows=2, Columns=2, **elements)


def test_an_object_without_pixels_is_unsupported() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(RAMP)))
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    del dataset.PixelData
    stream = io.BytesIO()
    dataset.save_as(stream)
    with pytest.raises(UnsupportedDicomError, match=r"holds no picture .*Basic Text SR"):
        decode_image(stream.getvalue(), "x")


@pytest.mark.parametrize(
    "elements",
    [{"Rows": None}, {"BitsStored": None}, {"Rows": 0}, {"Rows": 65535, "Columns": 65535}],
)
def test_impossible_dimensions_are_unreadable(elements: Any) -> None:
    with pytest.raises(UnreadableImageError):
        decode(RAMP, **elements)


def test_truncated_files_are_unreadable() -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (50, 50)).astype(np.uint16)
    data = dicom_bytes(stored, BitsStored=12)
    for share in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(InputError):
            decode_image(data[: int(len(data) * share)], "x")


def test_a_deflated_file_is_unsupported() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(RAMP)))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    stream = io.BytesIO()
    dataset.save_as(stream)
    with pytest.raises(UnsupportedDicomError, match="Deflated"):
        decode_image(stream.getvalue(), "x")


@pytest.mark.parametrize(
    ("uid", "name"),
    [("1.2.840.10008.1.2.4.70", "JPEG Lossless"), ("1.2.840.10008.1.2.4.80", "JPEG-LS")],
)
def test_a_missing_decoder_is_named_with_its_extra(
    uid: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.images.dicom_frame.find_spec", lambda name: None)
    data = dicom_bytes(RAMP)
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = uid
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    stream = io.BytesIO()
    dataset.save_as(stream)
    with pytest.raises(
        UnsupportedDicomError, match=rf"a\.dcm: Transfer Syntax {uid} \({name}.*pneumoscope\[dicom"
    ):
        decode_image(stream.getvalue(), "a.dcm")


def test_without_pydicom_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom_bytes(RAMP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnsupportedDicomError, match=r"pneumoscope\[dicom\]"):
        decode_image(data, "x")


def test_rle_is_read() -> None:
    stored = np.random.default_rng(0).integers(0, 4096, (20, 30)).astype(np.uint16)
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, BitsStored=12)))
    # GDCM's encoder aborts the process on aarch64 (seen with make test-pi).
    dataset.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom")
    stream = io.BytesIO()
    dataset.save_as(stream)
    plain = decode(stored, BitsStored=12)
    assert np.array_equal(decode_image(stream.getvalue(), "x").pixels, plain.pixels)


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("003Y", 3),
        ("018M", 1.5),
        ("026W", 26 * 7 / 365.25),
        ("000D", 0),
        ("62", 62),
        ("", None),
        ("45 Y", 45),
        ("045y", 45),
        ("4,5 Y", 4.5),
        ("18 months", 1.5),
        ("3 years old", 3),
        ("45.", 45),
        ("DOE^JOHN", None),
        ("3 4Y", None),
        ("999Y", None),
        ("-03Y", None),
        ("003X", None),
    ],
)
def test_ages(text: str, years: float | None) -> None:
    assert parse_age(text) == (years if years is None else pytest.approx(years))


def test_age_from_the_date_of_birth() -> None:
    def age(**elements: Any) -> float | None:
        facts = decode(RAMP, **elements).dicom
        assert facts is not None
        return facts.patient_age_years

    birth = {"PatientBirthDate": "20200101"}
    assert age(**birth, StudyDate="20230101") == pytest.approx(3, abs=0.01)
    assert age(**birth, AcquisitionDate="20200701") == pytest.approx(0.5, abs=0.01)
    assert age(**birth, StudyDate="20230101", PatientAge="002Y") == 2
    assert age(**birth) is None
    assert age(**birth, StudyDate="20190101") is None
    assert age(PatientBirthDate="19000101", StudyDate="20200101") is None
    assert age(PatientBirthDate="20201399", StudyDate="20230101") is None


# File, rows and columns, and grey values (of 65535) at (row, column) as a viewer shows them: NEMA
# RG1 is stored once plain and in other syntaxes; the rest was read from pydicom's own array.
REAL_FILES = {
    "chest/NEMA_RG1_J2KR.dcm": (1955, 1841),
    "chest/NEMA_RG1_J2KI.dcm": (1955, 1841),
    "chest/NEMA_RG1_JLSN.dcm": (1955, 1841),
    "chest/966_fixed_DX_MONO1_12bit_J2KR.dcm": (2128, 2000),
    "chest/gdcm-CR-MONO1-10-chest.dcm": (440, 440),
    "chest/nih_google_DX.dcm": (1024, 1024),
    "chest/rsna_Fake_MONOCHROME1.dcm": (1024, 1024),
    "not_chest/RG3_J2KI.dcm": (1760, 1760),
    "not_chest/RG3_JLSL.dcm": (1760, 1760),
    "not_chest/RG3_JPLL.dcm": (1760, 1760),
    "not_chest/RG3_RLE.dcm": (1760, 1760),
    "not_chest/CR_teeth_ModalityLUTSeq.dcm": (1576, 1976),
    "not_chest/anon_apct_CT.dcm": (512, 512),
}


@pytest.mark.parametrize("file", REAL_FILES)
def test_real_files_are_read(shared_data: Path, file: str) -> None:
    pytest.importorskip("gdcm", reason="needs GDCM's decoders")
    radiograph = read_image(shared_data / "dicom" / file)
    assert radiograph.pixels.shape == REAL_FILES[file]
    assert np.ptp(radiograph.pixels) > 10_000


def test_every_encoding_of_one_picture_gives_that_picture(shared_data: Path) -> None:
    pytest.importorskip("gdcm", reason="needs GDCM's decoders")
    folder = shared_data / "dicom" / "not_chest"
    plain = read_image(folder / "RG3_RLE.dcm").pixels
    for lossless in ("RG3_JLSL.dcm", "RG3_JPLL.dcm"):
        assert np.array_equal(read_image(folder / lossless).pixels, plain)
    lossy = read_image(folder / "RG3_J2KI.dcm").pixels.astype(int)
    assert np.abs(lossy - plain).mean() < 65535 * 0.005


def test_the_fake_monochrome1_is_its_twin_s_negative(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "chest"
    (true,) = folder.glob("rsna_1.*.dcm")
    fake = read_image(folder / "rsna_Fake_MONOCHROME1.dcm").pixels.astype(int)
    assert np.abs(65535 - fake - read_image(true).pixels).max() <= 1


def test_the_damaged_file_is_unreadable(shared_data: Path) -> None:
    with pytest.raises(InputError, match="966_DX"):
        read_image(shared_data / "dicom" / "chest" / "966_DX_MONO1_12bit_J2KR.dcm")


def test_12_bit_jpeg_extended_is_unsupported(shared_data: Path) -> None:
    with pytest.raises(UnsupportedDicomError, match=r"1\.2\.840\.10008\.1\.2\.4\.51"):
        read_image(shared_data / "dicom" / "not_chest" / "RG3_JPLY.dcm")
