"""The one picture in a DICOM file, decoded to its stored values; no header fact, no grey scale.

What is stored plainly or run-length encoded is read by pydicom, JPEG of 8 bits as a JPEG file is,
all else by GDCM in a process of its own. The codestream's own header is compared with the data
set's first: a few kilobytes could ask for gigabytes.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge_app.errors import UnreadableImageError, UnsupportedDicomError
from edge_app.images.codestream import Codestream, read_jpeg2000_header, read_jpeg_header
from edge_app.images.dicom_elements import INSTALL_HINT, value, whole_number

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Codes = npt.NDArray[np.unsignedinteger[Any]]
Stored = npt.NDArray[np.integer[Any]]

_RLE = "1.2.840.10008.1.2.5"
_PLAIN = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", _RLE})
_JPEG = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
# JPEG Lossless (processes 14, also with its first predictor) and JPEG-LS.
_OTHER_JPEG = frozenset(f"1.2.840.10008.1.2.4.{end}" for end in (57, 70, 80, 81))
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


def require_decoder(dataset: "Dataset") -> None:
    """Refuse an encoding that nothing here reads.

    Raises:
        UnsupportedDicomError: with what to do about it.
    """
    uid = dataset.file_meta.TransferSyntaxUID
    if uid in _PLAIN or uid in _JPEG:
        return
    if uid not in _JPEG_2000 | _OTHER_JPEG:
        raise UnsupportedDicomError(
            f"{_syntax(dataset)} is read by no decoder here; have it sent without compression"
        )
    if find_spec("gdcm") is None:
        raise UnsupportedDicomError(f"{_syntax(dataset)} needs a decoder: {INSTALL_HINT}")


def stored_codes(dataset: "Dataset", bits: int) -> Codes:
    """The stored bits as unsigned (height, width) codes below 2**bits; a sign bit stays a bit.

    Raises:
        UnreadableImageError: the picture is damaged.
        UnsupportedDicomError: it is of a depth that nothing here reads.
    """
    is_plain = dataset.file_meta.TransferSyntaxUID in _PLAIN
    stored = _plain(dataset) if is_plain else _encapsulated(dataset, bits)
    if stored.shape != (int(dataset.Rows), int(dataset.Columns)):
        raise UnreadableImageError("damaged DICOM file: its picture is of another size")
    unsigned = np.uint8 if stored.dtype.itemsize == 1 else np.uint16
    codes: Codes = stored.astype(unsigned)
    # Old equipment keeps an overlay in the bits above (and a few gaps below) the stored ones.
    high_bit = whole_number(dataset, "HighBit")
    shift = 0 if high_bit is None else high_bit + 1 - bits
    if is_plain and 0 < shift <= 16 - bits:
        codes >>= unsigned(shift)
    if bits < 8 * codes.dtype.itemsize:
        codes &= unsigned((1 << bits) - 1)
    return codes


def _plain(dataset: "Dataset") -> Stored:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        # pydicom's own correction clears the bits above BitsStored wherever HighBit lies.
        options: dict[str, Any] = {"correct_unused_bits": False}
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        return decoder.as_array(dataset, decoding_plugin="", **options)[0]
    except Exception as error:
        raise UnreadableImageError("damaged DICOM file: its picture is not whole") from error


def _encapsulated(dataset: "Dataset", bits: int) -> Stored:
    uid = dataset.file_meta.TransferSyntaxUID
    frame = _frame(dataset)
    header = read_jpeg2000_header(frame) if uid in _JPEG_2000 else read_jpeg_header(frame)
    _require_same_picture(dataset, header)
    is_signed = value(dataset, "PixelRepresentation") == 1
    if uid in _JPEG:
        stored = _decode_jpeg(dataset, frame, header)
    else:
        stored = _decode_foreign(str(uid), frame, header, is_signed)
    if header.bits > bits and not _has_overlay(dataset, bits):
        _require_depth(stored, bits, is_signed)
    return stored


def _frame(dataset: "Dataset") -> bytes:
    """The codestream of the only frame, whatever fragments it lies in."""
    from pydicom.encaps import generate_frames

    try:
        return next(generate_frames(dataset.PixelData, number_of_frames=1))
    except Exception as error:
        raise UnreadableImageError("damaged DICOM file: its picture is not whole") from error


def _require_same_picture(dataset: "Dataset", header: Codestream) -> None:
    size = int(dataset.Columns), int(dataset.Rows)
    if (header.width, header.height) != size:
        raise UnreadableImageError(
            f"damaged DICOM file: its header says {size[0]} x {size[1]} pixels, the picture in it "
            f"{header.width} x {header.height}"
        )
    if header.components != 1 or not 1 <= header.bits <= 16:
        raise UnreadableImageError(
            f"damaged DICOM file: the picture in it has {header.components} components of "
            f"{header.bits} bits"
        )


def _decode_jpeg(dataset: "Dataset", frame: bytes, header: Codestream) -> Stored:
    from edge_app.images import jpeg

    if header.bits != 8:
        raise UnsupportedDicomError(
            f"{_syntax(dataset)} with {header.bits} bits is read by no decoder here; convert it, "
            "for example with dcmdjpeg of DCMTK"
        )
    jpeg.require_few_scans(frame)
    size = header.width, header.height
    return jpeg.decode_grey(frame, size, size)


def _decode_foreign(uid: str, frame: bytes, header: Codestream, is_signed: bool) -> Stored:
    from edge_app.images import foreign_decoder

    samples = foreign_decoder.decode(
        frame,
        transfer_syntax_uid=uid,
        rows=header.height,
        columns=header.width,
        bits=header.bits,
        is_signed=is_signed,
    )
    stored = np.frombuffer(samples, "<u1" if header.bits <= 8 else "<u2")
    return stored.reshape(header.height, header.width)


def _has_overlay(dataset: "Dataset", bits: int) -> bool:
    """Whether the bits above the stored ones are said to be an overlay (PS3.5, 8.1.2)."""
    places = (whole_number(dataset, (group, 0x0102)) for group in _OVERLAY_GROUPS)
    return any(place is not None and place >= bits for place in places)


def _require_depth(stored: Stored, bits: int, is_signed: bool) -> None:
    """Refuse a codestream with values of more bits than the header says: which ones count?"""
    top = stored >> (bits - 1 if is_signed else bits)
    # The sign of a negative number may be extended over all bits above.
    most = (int(np.iinfo(stored.dtype).max) >> (bits - 1)) if is_signed else 0
    if not np.isin(top, (0, most)).all():
        raise UnreadableImageError(
            f"damaged DICOM file: BitsStored is {bits}, the picture in it has values of more bits"
        )


def _syntax(dataset: "Dataset") -> str:
    uid = dataset.file_meta.TransferSyntaxUID
    return f"Transfer Syntax {uid} ({uid.name})" if uid.is_transfer_syntax else "its encoding"
