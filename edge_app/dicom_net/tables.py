"""What this node accepts and answers, as the conformance statement says it.

SOP classes and transfer syntaxes by UID (DICOM PS3.4 and PS3.6), and the status codes that it
gives (PS3.4 B.2.3, PS3.7 annex C). Nothing here needs pydicom.
"""

from typing import Final

# PS3.4 table B.5-1: radiographs, and secondary captures as film digitizers make them.
IMAGE_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.1": "Computed Radiography Image Storage",
    "1.2.840.10008.5.1.4.1.1.1.1": "Digital X-Ray Image Storage - For Presentation",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "Digital X-Ray Image Storage - For Processing",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
}
# Accepted so that a router that sends everything gets an answer, and refused with a status: nothing
# says which frame would be meant.
MULTI_FRAME_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.7.1": "Multi-frame Single Bit Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image Storage",
}
# Our own reports come back where a PACS forwards all of a study.
REPORT_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR Storage",
}
VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
# PS3.4 table C.6.2-1.
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
# PS3.4 J.3.5: the one instance of that class that there is.
STORAGE_COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"

# What the extra `dicom` can decode. The deflated syntax is left out: a few bytes may become
# gigabytes before anything can be checked.
TRANSFER_SYNTAXES: Final = {
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline (Process 1)",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless (Process 14)",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless (Process 14, Selection Value 1)",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}

JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
# What we send. A picture goes as JPEG, or uncompressed where that is not taken.
UNCOMPRESSED: Final = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
SENT_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.88.33": UNCOMPRESSED,
    "1.2.840.10008.5.1.4.1.1.7": (JPEG_BASELINE, *UNCOMPRESSED),
}

SUCCESS: Final = 0x0000
CLASS_NOT_SUPPORTED: Final = 0x0122
DUPLICATE: Final = 0x0111
NOT_AUTHORISED: Final = 0x0124
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_DOES_NOT_MATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
STATUSES: Final = {
    SUCCESS: "stored: on the disk, synchronised, and queued for scoring",
    OUT_OF_RESOURCES: "out of resources: the disk is nearly full, or the object is too large",
    DATA_SET_DOES_NOT_MATCH: "several frames: which one is meant cannot be told",
    CANNOT_UNDERSTAND: "the SOP Instance UID is not valid",
}
