"""The bytes of a DICOM file in, a `Radiograph` out: the picture as a viewer would show it first.

Stored values pass through the modality LUT (PS3.3 C.11.1), the first VOI LUT or window (C.11.2)
and the presentation's polarity (C.7.6.3.1.2, C.8.11.3.1.2) to uint16 with bright = dense. All of
it is one look-up table over the at most 65,536 stored values, so no floating-point picture is
made. Reads what pydicom and its decoders read; draws no overlays; refuses what is not one grey
picture.
"""

import io
import math
import re
from datetime import date
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_app.errors import InputError, UnreadableImageError, UnsupportedDicomError
from edge_app.images.radiograph import DicomFacts, Radiograph, check_size, hash_bytes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

Codes = npt.NDArray[np.unsignedinteger[Any]]
Floats = npt.NDArray[np.float64]

INSTALL_HINT = "pip install 'pneumoscope[dicom]'"
MAX_VALUE = 65535
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_BLOCK_PIXELS = 1 << 20
_DAYS_PER_YEAR = 365.25
# De-identification leaves 1 January 1900 behind as a date of birth: that is no age.
_MAX_AGE_YEARS = 115.0


def decode_dicom(data: bytes) -> Radiograph:
    """Decode a DICOM file.

    Args:
        data: the whole file, with or without the preamble of PS3.10.

    Raises:
        UnsupportedDicomError: no picture, several frames, colour, or no decoder for it.
        UnreadableImageError: damaged.
    """
    dataset = _parse(data)
    _require_one_grey_picture(dataset)
    width, height = int(dataset.Columns), int(dataset.Rows)
    check_size(width, height)
    _require_decoder(dataset)
    bits = int(dataset.BitsStored)
    codes = _stored_codes(dataset, bits)
    pixels = _look_up(codes, _display_table(dataset, codes, bits))
    return Radiograph(
        pixels=pixels,
        max_value=MAX_VALUE,
        source_format="DICOM",
        sha256=hash_bytes(data),
        original_size=(width, height),
        sop_instance_uid=_text(dataset, "SOPInstanceUID") or None,
        dicom=_facts(dataset),
    )


def _parse(data: bytes) -> "Dataset":
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise UnsupportedDicomError(f"reading DICOM needs a package: {INSTALL_HINT}") from error
    # Inflating has no bound: a few kilobytes could become gigabytes. No modality sends this.
    if _DEFLATED in data[:4096]:
        raise UnsupportedDicomError("Transfer Syntax 1.2.840.10008.1.2.1.99 (Deflated) is not read")
    try:
        dataset = dcmread(io.BytesIO(data), force=True)
    except (InvalidDicomError, EOFError) as error:
        raise UnreadableImageError(f"damaged DICOM file: {error}") from error
    if dataset.file_meta.get("TransferSyntaxUID") is None:
        dataset.file_meta.TransferSyntaxUID = _assumed_transfer_syntax(dataset)
    return dataset


def _assumed_transfer_syntax(dataset: "Dataset") -> "UID":
    """What a file without meta information (PS3.10, section 7.1) was read as."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _require_one_grey_picture(dataset: "Dataset") -> None:
    if "PixelData" not in dataset:
        kind = getattr(dataset.get("SOPClassUID"), "name", "") or "unknown SOP class"
        raise UnsupportedDicomError(f"holds no picture ({kind})")
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation"):
        if dataset.get(keyword) in (None, ""):
            raise UnreadableImageError(f"damaged DICOM file: {keyword} is missing")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise UnsupportedDicomError(f"holds {frames} frames; a radiograph is a single one")
    photometric = _text(dataset, "PhotometricInterpretation")
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedDicomError(
            f"{photometric} with {samples} samples per pixel is a colour picture, no radiograph"
        )
    if not 1 <= int(dataset.BitsStored) <= 16:
        raise UnsupportedDicomError(f"{dataset.BitsStored} bits stored; at most 16 are read")


def _require_decoder(dataset: "Dataset") -> None:
    from pydicom.pixels.decoders.base import get_decoder

    uid = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(uid).is_available
    except NotImplementedError as error:
        raise UnsupportedDicomError(f"Transfer Syntax {uid} ({uid.name}) is not read") from error
    if not available:
        raise _missing_decoder(dataset)


def _missing_decoder(dataset: "Dataset") -> UnsupportedDicomError:
    uid = dataset.file_meta.TransferSyntaxUID
    return UnsupportedDicomError(
        f"Transfer Syntax {uid} ({uid.name}) needs a decoder: {INSTALL_HINT}"
    )


def _stored_codes(dataset: "Dataset", bits: int) -> Codes:
    """The stored bits as unsigned (height, width) codes below 2**bits; a sign bit stays a bit."""
    from pydicom.pixels.decoders.base import get_decoder

    try:
        # pydicom's own correction clears the bits above BitsStored wherever HighBit lies.
        options: dict[str, Any] = {"correct_unused_bits": False}
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        stored, _ = decoder.as_array(dataset, **options)
    except Exception as error:
        raise _decoding_error(dataset, error) from error
    if stored.shape != (int(dataset.Rows), int(dataset.Columns)):
        raise UnreadableImageError(f"damaged DICOM file: pixels of shape {stored.shape}")
    unsigned = np.uint8 if stored.dtype.itemsize == 1 else np.uint16
    codes: Codes = stored.astype(unsigned)
    # Old equipment keeps an overlay in the bits above (and a few gaps below) the stored ones.
    shift = int(dataset.get("HighBit", bits - 1)) + 1 - bits
    if shift > 0 and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        codes >>= unsigned(shift)
    if bits < 8 * codes.dtype.itemsize:
        codes &= unsigned((1 << bits) - 1)
    return codes


def _decoding_error(dataset: "Dataset", error: Exception) -> InputError:
    """Tell a decoder that cannot do this depth from damage: pydicom raises the same for both."""
    uid = dataset.file_meta.TransferSyntaxUID
    text = " ".join(str(error).split())
    if not uid.is_encapsulated or "does not support" not in text:
        return UnreadableImageError(f"damaged DICOM file: {text}")
    if find_spec("gdcm") is None:
        return _missing_decoder(dataset)
    return UnsupportedDicomError(
        f"Transfer Syntax {uid} ({uid.name}) with {dataset.BitsStored} bits stored is read by "
        "none of the installed decoders; convert it, for example with dcmdjpeg of DCMTK"
    )


def _display_table(dataset: "Dataset", codes: Codes, bits: int) -> npt.NDArray[np.uint16]:
    """The grey value that a viewer would show for each stored code: uint16 (2**bits,)."""
    from pydicom.pixels.processing import apply_modality_lut

    stored = np.arange(1 << bits, dtype=np.int32)
    if int(dataset.get("PixelRepresentation") or 0) == 1:
        stored[1 << (bits - 1) :] -= 1 << bits
    padding = _padding(dataset, stored)
    modality = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    shown = _apply_voi(dataset, modality)
    if shown is None:
        shown = _full_range(modality, _present(codes, bits) & ~padding)
    if _is_inverse(dataset):
        shown = 1 - shown
    table = np.rint(shown * MAX_VALUE).astype(np.uint16)
    table[padding] = 0
    return table


def _apply_voi(dataset: "Dataset", values: Floats) -> Floats | None:
    """Values of interest in 0..1 by the first VOI LUT, else the first window, else None."""
    from pydicom.pixels.processing import apply_voi

    luts = dataset.get("VOILUTSequence")
    if luts and luts[0].get("LUTData") is not None and luts[0].get("LUTDescriptor") is not None:
        depth = int(luts[0].LUTDescriptor[2])
        looked_up = apply_voi(np.rint(values).astype(np.int64), dataset, 0)
        return np.clip(looked_up / float((1 << depth) - 1), 0, 1)
    center, width = _first_number(dataset, "WindowCenter"), _first_number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    return apply_window(values, center, width, _text(dataset, "VOILUTFunction") or "LINEAR")


def apply_window(values: Floats, center: float, width: float, function: str) -> Floats | None:
    """Window values onto 0..1 by the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3.

    Args:
        values: modality values, any shape, float64.
        center, width: (0028,1050) and (0028,1051), in modality units.
        function: (0028,1056): LINEAR, LINEAR_EXACT or SIGMOID.

    Returns:
        float64 of the same shape; None for a width that the function does not allow (LINEAR asks
        for at least 1, the others for more than 0), as some exporters write a 0 for "no window".
    """
    if width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - center) / width, -700, 700)
        return 1 / (1 + np.exp(exponent))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
        if width == 0:
            return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _full_range(values: Floats, used: npt.NDArray[np.bool_]) -> Floats:
    """Map the values that the picture uses onto 0..1; a flat picture becomes middle grey."""
    if not used.any():
        return np.zeros_like(values)
    low, high = float(values[used].min()), float(values[used].max())
    if high <= low:
        return np.full_like(values, 0.5)
    return np.clip((values - low) / (high - low), 0, 1)


def _is_inverse(dataset: "Dataset") -> bool:
    """Whether low values are meant to be white.

    MONOCHROME1 and the shape INVERSE say the same thing about one picture (PS3.3 C.8.11.3.1.2),
    so either or both invert once.
    """
    shape = _text(dataset, "PresentationLUTShape")
    return _text(dataset, "PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE"


def _padding(dataset: "Dataset", stored: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which codes fill the surroundings: (0028,0120), up to (0028,0121) where that is given."""
    first = _first_number(dataset, "PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, np.bool_)
    last = _first_number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    return (stored >= low) & (stored <= high)


def _present(codes: Codes, bits: int) -> npt.NDArray[np.bool_]:
    """Which codes occur in the picture: bool (2**bits,)."""
    present = np.zeros(1 << bits, np.bool_)
    for block in _blocks(codes):
        present[block] = True
    return present


def _look_up(codes: Codes, table: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    pixels = np.empty(codes.shape, np.uint16)
    for source, target in zip(_blocks(codes), _blocks(pixels), strict=True):
        target[:] = table[source]
    return pixels


def _blocks(pixels: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Views of whole rows: numpy widens an index to 64 bits, for the whole picture at once."""
    rows = max(1, _BLOCK_PIXELS // pixels.shape[1])
    return [pixels[top : top + rows] for top in range(0, pixels.shape[0], rows)]


def _facts(dataset: "Dataset") -> DicomFacts:
    return DicomFacts(
        modality=_text(dataset, "Modality"),
        body_part=_text(dataset, "BodyPartExamined"),
        view_position=_text(dataset, "ViewPosition"),
        patient_age_years=_age_years(dataset),
        photometric_interpretation=_text(dataset, "PhotometricInterpretation"),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        presentation_intent=_text(dataset, "PresentationIntentType"),
    )


def _age_years(dataset: "Dataset") -> float | None:
    """Age at the examination, from (0010,1010) or the date of birth; None where unknown."""
    stated = parse_age(_text(dataset, "PatientAge"))
    if stated is not None:
        return stated
    birth = _date(dataset, "PatientBirthDate")
    dates = (_date(dataset, key) for key in ("StudyDate", "SeriesDate", "AcquisitionDate"))
    examined = next((day for day in dates if day is not None), None)
    if birth is None or examined is None:
        return None
    years = (examined - birth).days / _DAYS_PER_YEAR
    return years if 0 <= years <= _MAX_AGE_YEARS else None


def parse_age(text: str) -> float | None:
    """Years from an Age String (PS3.5, section 6.2: 018M, 003Y); bare digits are years."""
    match = re.fullmatch(r"(\d{1,3})([DWMY]?)", text)
    if match is None:
        return None
    per_year = {"D": _DAYS_PER_YEAR, "W": _DAYS_PER_YEAR / 7, "M": 12.0, "Y": 1.0, "": 1.0}
    years = int(match[1]) / per_year[match[2]]
    return years if years <= _MAX_AGE_YEARS else None


def _date(dataset: "Dataset", keyword: str) -> date | None:
    text = _text(dataset, keyword).replace(".", "")
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 else None
    except ValueError:
        return None


def _text(dataset: "Dataset", keyword: str) -> str:
    """An element's first value as upper-case text, empty where it is missing."""
    value = dataset.get(keyword)
    if isinstance(value, str):
        return value.strip().upper()
    if hasattr(value, "__len__"):
        return str(value[0]).strip().upper() if len(value) else ""
    return "" if value is None else str(value).strip().upper()


def _first_number(dataset: "Dataset", keyword: str) -> float | None:
    """An element's first value as a number, None where it is missing or none."""
    text = _text(dataset, keyword)
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
