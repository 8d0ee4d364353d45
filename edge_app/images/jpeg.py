"""The bytes of a JPEG file in, grey pixels out, and nothing that libjpeg warned of.

Where entropy-coded data is lost, libjpeg fills up with grey, warns and goes on; Pillow drops the
warning. simplejpeg, the same libjpeg-turbo, ends at the first one. What stands in place of data may
be valid codes of as many blocks as were there: that, nobody can tell (docs/pictures.md).
"""

import numpy as np
import numpy.typing as npt
import simplejpeg

from edge_app.errors import UnreadableImageError
from edge_app.images.codestream import (
    MOST_FILLING,
    SEQUENTIAL,
    START_OF_SCAN,
    read_jpeg_header,
    skip_filling,
)
from edge_app.images.radiograph import Pixels

# A progressive file may go over its picture hundreds of times: 26 ns a pixel and scan on a laptop.
# The largest detectors' 25 megapixels in the usual ten scans.
MAX_SCANNED_PIXELS = 250_000_000
_END = b"\xff\xd9"


def decode_grey(data: bytes, size: tuple[int, int], wanted: tuple[int, int]) -> Pixels:
    """The luma of a grey or colour JPEG, reduced in its DCT to not less than `wanted`.

    Args:
        data: the file.
        size: (width, height) that its header states.
        wanted: (width, height) at least; `size` for no reduction.

    Returns:
        (height, width) uint8, both sides of `size` divided by 1, 2, 4 or 8 and rounded up.

    Raises:
        UnreadableImageError: damaged.
    """
    (width, height), (least_width, least_height) = size, wanted
    ratio = min(width // least_width, height // least_height)
    scale = next(scale for scale in (8, 4, 2, 1) if ratio >= scale)
    # Zero stands for no reduction at all; a side of few pixels is rounded to itself at 7/8 too.
    least = (0, 0) if scale == 1 else (-(-width // scale), -(-height // scale))
    return _decode(data, "GRAY", *least)[:, :, 0]


def require_undamaged(data: bytes, colours: str) -> None:
    """Decode a JPEG whose pixels Pillow gives, for libjpeg's warnings alone.

    Args:
        data: the file.
        colours: "GRAY" for one that is grey or in colour, "CMYK" for one of those.

    Raises:
        UnreadableImageError: damaged.
    """
    _decode(data, colours, 0, 0)


def _decode(
    data: bytes, colours: str, least_width: int, least_height: int
) -> npt.NDArray[np.uint8]:
    try:
        return _decode_strictly(data, colours, least_width, least_height)
    except ValueError as error:
        mended = _without_oddities(data)
        if mended != data:
            return _decode(mended, colours, least_width, least_height)
        reason = str(error).removeprefix("Corrupt JPEG data: ")
        raise UnreadableImageError(f"the JPEG is damaged: {reason}") from error


def _decode_strictly(
    data: bytes, colours: str, least_width: int, least_height: int
) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data, colours, min_width=least_width, min_height=least_height
    )
    return pixels


def _without_oddities(data: bytes) -> bytes:
    """The file without what libjpeg warns of though nothing of the picture is lost.

    That is a JFIF version other than 1, and a few zeros between segments or before the end marker,
    with which some cameras fill up. Anything else comes back as it is.
    """
    segments, position = [data[:2]], 2
    while True:
        position = skip_filling(data, position)
        segment = data[position : position + 2 + _segment_length(data, position)]
        if segment[:1] != b"\xff" or len(segment) < 4:
            return data
        if segment[1] == START_OF_SCAN:
            break
        if segment[4:9] == b"JFIF\0":
            segment = segment[:9] + b"\x01" + segment[10:]
        segments.append(segment)
        position += len(segment)
    end = data.find(_END, position)
    scan = data[position:end].rstrip(b"\0")
    if end < 0 or end - position - len(scan) > MOST_FILLING:
        return data
    if scan.endswith(b"\xff"):  # a zero that belongs to it (B.1.1.5)
        scan += b"\0"
    return b"".join([*segments, scan, data[end:]])


def _segment_length(data: bytes, position: int) -> int:
    return int.from_bytes(data[position + 2 : position + 4], "big")


def require_few_scans(data: bytes) -> None:
    """Refuse a file that is made to be decoded for minutes.

    Raises:
        UnreadableImageError: more than `MAX_SCANNED_PIXELS`, or no frame header.
    """
    header = read_jpeg_header(data)
    if header.process in SEQUENTIAL and header.components == 1:
        return  # libjpeg ends at a second scan; counting them takes a tenth of the decoding
    # In entropy-coded data 0xFF is never followed by 0xDA (ITU-T T.81, B.1.1.5).
    scans = data.count(b"\xff\xda")
    if scans * header.width * header.height > MAX_SCANNED_PIXELS:
        raise UnreadableImageError(
            f"a JPEG of {header.width} x {header.height} pixels in {scans} scans is not decoded: "
            "no camera or detector writes that, decompression bombs do"
        )
