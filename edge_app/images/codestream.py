"""What the header of an encoded picture says of it, before any decoder sees it; decodes nothing."""

import struct
from dataclasses import dataclass

from edge_app.errors import UnreadableImageError

# Start of frame (ITU-T T.81, table B.1; T.87 adds 0xF7): how what follows is encoded.
JPEG_LS = 0xF7
# What libjpeg reads: sequential and progressive, by Huffman or arithmetic coding.
SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
READABLE = SEQUENTIAL | {0xC2, 0xCA}
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # DHT, JPG, DAC
START_OF_SCAN = 0xDA
# Bytes to a whole unit of a camera's memory.
MOST_FILLING = 64
# A profile or thumbnail may take some hundred segments, filling a step a byte.
_MOST_SEGMENTS = 10_000
_J2K_BEGIN = b"\xff\x4f\xff\x51"  # SOC, SIZ
_J2K_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Codestream:
    """What an encoded picture says of itself.

    Attributes:
        process: a JPEG's start of frame marker, 0 for JPEG 2000.
        width, height: in pixels.
        components: samples a pixel.
        bits: of a sample.
    """

    process: int
    width: int
    height: int
    components: int
    bits: int


def read_jpeg_header(data: bytes) -> Codestream:
    """The frame header of a JPEG or JPEG-LS.

    Raises:
        UnreadableImageError: there is none.
    """
    position = 2
    for _ in range(_MOST_SEGMENTS):
        position = skip_filling(data, position)
        if data[position : position + 1] != b"\xff" or position + 10 > len(data):
            break
        marker = data[position + 1]
        if marker == 0xFF:  # filling of the standard's own (B.1.1.2)
            position += 1
        elif marker == JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME):
            bits, height, width, components = struct.unpack_from(">BHHB", data, position + 4)
            return Codestream(marker, width, height, components, bits)
        elif marker == START_OF_SCAN:
            break
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise UnreadableImageError("the JPEG is damaged: it has no frame header")


def skip_filling(data: bytes, position: int) -> int:
    """Past the zeros, 64 at most, that some cameras write between segments."""
    zeros = data[position : position + MOST_FILLING]
    return position + len(zeros) - len(zeros.lstrip(b"\0"))


def read_jpeg2000_header(data: bytes) -> Codestream:
    """The size marker of a JPEG 2000 (ITU-T T.800, A.5.1), bare or in its file format.

    Raises:
        UnreadableImageError: there is none, or the codestream does not reach its end.
    """
    begin = data.find(_J2K_BEGIN)
    if begin < 0 or begin + 43 > len(data):
        raise UnreadableImageError("the JPEG 2000 is damaged: it has no size marker")
    right, bottom, left, top = struct.unpack_from(">IIII", data, begin + 8)
    components, depth = struct.unpack_from(">HB", data, begin + 40)
    _require_jpeg2000_end(data, begin)
    return Codestream(0, right - left, bottom - top, components, (depth & 0x7F) + 1)


def _require_jpeg2000_end(data: bytes, begin: int) -> None:
    """Follow the lengths of the tile-parts (A.4.2) up to the end marker: none may be cut."""
    position = begin + 2
    while data[position : position + 2] != b"\xff\x90":
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if length < 2 or data[position : position + 1] != b"\xff":
            raise UnreadableImageError("the JPEG 2000 is damaged: its main header")
        position += 2 + length
    while data[position : position + 2] == b"\xff\x90":
        length = int.from_bytes(data[position + 6 : position + 10], "big")
        if length == 0:  # the last one goes on to the end
            position = data.rfind(_J2K_END)
            break
        if length < 14:
            break
        position += length
    if position < 0 or data[position : position + 2] != _J2K_END:
        raise UnreadableImageError("the JPEG 2000 is truncated: its end marker is missing")
