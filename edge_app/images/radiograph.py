"""A decoded picture, `Radiograph`, and what every decoder shares; decodes nothing itself."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.errors import UnreadableImageError

# The largest detectors give 25 megapixels, stitched whole-spine pictures about 30. A file of a
# few kilobytes can ask for gigabytes; below Pillow's own warning at 89 megapixels.
MAX_PIXELS = 80_000_000
# Of the decoded pixels as the decoder holds them: 16 bits, colour and transparency take two and
# four bytes a pixel, and decoding and preparing them about five times as much at its peak.
MAX_DECODED_BYTES = 120_000_000

TOO_LARGE = (
    f"more than {MAX_PIXELS // 1_000_000} megapixels are not decoded "
    "(no radiograph is that large, decompression bombs are)"
)

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """What a DICOM file says about itself, as far as screening asks.

    Texts are upper case, and empty where the file is silent or what stands there has not the form
    of its value representation. `presentation_intent` is (0008,0068), pictures FOR PROCESSING are
    raw detector values. `view_position` is LATERAL or OBLIQUE where any element says that, else
    (0018,5101). The two ages are what (0010,1010) says and what follows from the date of birth.
    """

    modality: str
    body_part: str
    view_position: str
    patient_age_years: float | None
    photometric_interpretation: str
    transfer_syntax_uid: str
    presentation_intent: str
    age_by_birth_years: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """A decoded picture.

    Attributes:
        pixels: (height, width) uint8 or uint16, C-contiguous, bright = dense (MONOCHROME2).
        max_value: the largest value that a pixel could have.
        source_format: "PNG", "JPEG", "TIFF", "BMP", "WEBP" or "DICOM".
        sha256: of the file's bytes, lower-case hexadecimal.
        original_size: (width, height) as stored, before orientation and DCT scaling.
        sop_instance_uid: (0008,0018), None for a file that is not DICOM.
        dicom: what the DICOM header says, None for a file that is not DICOM.
        colour: the share of the picture that is in colour beyond a tint, 0 for one in grey.
    """

    pixels: Pixels
    max_value: int
    source_format: str
    sha256: str
    original_size: tuple[int, int]
    sop_instance_uid: str | None = None
    dicom: DicomFacts | None = None
    colour: float = 0.0


def hash_bytes(data: bytes) -> str:
    """SHA-256 in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_size(width: int, height: int, bytes_per_pixel: int) -> None:
    """Refuse a picture of unreasonable size before its pixels are allocated.

    Raises:
        UnreadableImageError: no pixels, more than `MAX_PIXELS`, or `MAX_DECODED_BYTES` of them.
    """
    if width < 1 or height < 1:
        raise UnreadableImageError(f"{width} x {height} pixels do not make a picture")
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"{width} x {height} pixels: {TOO_LARGE}")
    if width * height * bytes_per_pixel > MAX_DECODED_BYTES:
        raise UnreadableImageError(
            f"{width} x {height} pixels of {bytes_per_pixel} bytes: more than "
            f"{MAX_DECODED_BYTES // 1_000_000} MB are not decoded; save the picture as 8-bit grey"
        )
