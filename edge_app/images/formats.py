"""Which files may be pictures, by their names and by their first bytes. Nothing is decoded here."""

from typing import Literal

# Names that a folder scan takes for images; `image.read_image` itself looks at the content only.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom"}
)

# Names of pictures that are not read: a phone's photograph of a film, or what an archive saved. A
# folder scan gives each a row that says so, since somebody thinks that it was screened.
UNREAD_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".gif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".psd", ".svg"}
    | {".pgm", ".ppm", ".pnm", ".dng", ".cr2", ".nef", ".arw"}
)

SNIFF_BYTES = 132  # DICOM announces itself last of all, after a preamble of 128 bytes


def sniff_format(data: bytes) -> str | None:
    """The format that the first `SNIFF_BYTES` announce, None for one that is not read."""
    # First of all: the 128 bytes before it may be a TIFF header (PS3.10, section 7.1), as in the
    # NEMA sample set; read as a TIFF the picture would lose its polarity and window.
    if data[128:132] == b"DICM":
        return "DICOM"
    for kind, magics in _MAGICS.items():
        if data.startswith(magics):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return "DICOM" if _looks_like_bare_dicom(data) else None


_MAGICS: dict[str, tuple[bytes, ...]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    "BMP": (b"BM",),
}


def _looks_like_bare_dicom(data: bytes) -> bool:
    """Whether this is a data set without preamble (old archives): group 0008 or 0002 first."""
    return len(data) >= 132 and any(_begins_data_set(data, order) for order in ("little", "big"))


def _begins_data_set(data: bytes, order: Literal["little", "big"]) -> bool:
    group, element = (int.from_bytes(data[i : i + 2], order) for i in (0, 2))
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    return explicit or int.from_bytes(data[4:8], order) <= 256
