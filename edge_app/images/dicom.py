"""The bytes of a DICOM file in, a `Radiograph` out: the picture as a viewer would show it first.

`dicom_elements` reads the header, `dicom_frame` the stored values, `dicom_grey` makes greys of
them, `dicom_facts` says what the header tells of the patient. Draws no overlays; refuses what is
not one grey picture.
"""

from typing import TYPE_CHECKING

from edge_app.errors import InputError, UnreadableImageError, UnsupportedDicomError
from edge_app.images.dicom_elements import (
    mentions_pixel_data,
    parse,
    quiet,
    text,
    value,
    whole_number,
)
from edge_app.images.radiograph import Radiograph, check_size, hash_bytes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_VALUE = 65535


def decode_dicom(data: bytes) -> Radiograph:
    """Decode a DICOM file.

    Args:
        data: the whole file, with or without the preamble of PS3.10.

    Raises:
        UnsupportedDicomError: no picture, several frames, colour, or no decoder for it.
        UnreadableImageError: damaged.
    """
    with quiet():
        return _decode(data)


def _decode(data: bytes) -> Radiograph:
    # pydicom comes first: without it the message names the extra.
    dataset = parse(data)
    from edge_app.images.dicom_facts import read_facts
    from edge_app.images.dicom_frame import require_decoder, stored_codes
    from edge_app.images.dicom_grey import to_grey

    _require_one_grey_picture(dataset, data)
    require_decoder(dataset)
    bits = int(dataset.BitsStored)
    pixels = to_grey(dataset, stored_codes(dataset, bits), bits)
    return Radiograph(
        pixels=pixels,
        max_value=MAX_VALUE,
        source_format="DICOM",
        sha256=hash_bytes(data),
        original_size=(int(dataset.Columns), int(dataset.Rows)),
        sop_instance_uid=text(dataset, "SOPInstanceUID") or None,
        dicom=read_facts(dataset),
    )


def _require_one_grey_picture(dataset: "Dataset", data: bytes) -> None:
    if value(dataset, "PixelData") is None:
        raise _without_picture(dataset, data)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored"):
        if whole_number(dataset, keyword) is None:
            raise UnreadableImageError(f"damaged DICOM file: {keyword} is missing")
        # One of several, or one written as text, is one number from here on.
        setattr(dataset, keyword, whole_number(dataset, keyword))
    frames = whole_number(dataset, "NumberOfFrames") or 1
    if frames != 1:
        raise UnsupportedDicomError(f"holds {frames} frames; a radiograph is a single one")
    photometric = text(dataset, "PhotometricInterpretation")
    if not photometric:
        raise UnreadableImageError("damaged DICOM file: PhotometricInterpretation is missing")
    samples = whole_number(dataset, "SamplesPerPixel") or 1
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedDicomError(
            f"{_known_photometric(photometric)} with {samples} samples per pixel is a colour "
            "picture, no radiograph"
        )
    if not 1 <= dataset.BitsStored <= 16:
        raise UnsupportedDicomError(f"{dataset.BitsStored} bits stored; at most 16 are read")
    if dataset.BitsAllocated not in (8, 16):
        raise UnreadableImageError(f"{dataset.BitsAllocated} bits allocated; 8 and 16 are read")
    check_size(dataset.Columns, dataset.Rows, dataset.BitsAllocated // 8)


def _without_picture(dataset: "Dataset", data: bytes) -> InputError:
    from pydicom.uid import UID

    # pydicom drops an element that the file ends within; an icon has pixel data of its own.
    if mentions_pixel_data(data) and "IconImageSequence" not in dataset:
        return UnreadableImageError("damaged DICOM file: it ends within its picture")
    # A class that the standard does not know has its UID for a name.
    name = UID(text(dataset, "SOPClassUID")).name or "unknown SOP class"
    return UnsupportedDicomError(f"holds no picture ({name})")


def _known_photometric(photometric: str) -> str:
    known = ("MONOCHROME", "PALETTE COLOR", "RGB", "YBR", "HSV", "ARGB", "CMYK", "XYB")
    return photometric if photometric.startswith(known) else "a photometric interpretation"
