"""Is a TIFF's encoded data whole? An error or nothing; Pillow gives the pixels.

libtiff reports damage, Pillow does not pass it on. Deflated strips carry a checksum, JPEG ones are
decoded strictly here; LZW and PackBits have nothing to tell, and what libtiff cannot go on with is
an error of Pillow's.
"""

import zlib
from collections.abc import Iterator

from PIL import Image

from edge_app.errors import UnreadableImageError
from edge_app.images import jpeg
from edge_app.images.radiograph import MAX_DECODED_BYTES

_COMPRESSION, _JPEG_TABLES = 259, 347
_STRIPS, _TILES = (273, 279), (324, 325)  # where they begin, and how many bytes they have
_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 7, 8, 32946, 32773
_FAX = frozenset({2, 3, 4})


def require_undamaged(data: bytes, image: Image.Image) -> None:
    """Check the strips or tiles of an opened TIFF's first picture.

    Raises:
        UnreadableImageError: damaged, or of a compression that is not read.
    """
    tags: dict[int, object] = image.tag_v2  # type: ignore[attr-defined]
    compression = tags.get(_COMPRESSION, _NONE)
    if compression in _FAX:
        raise UnreadableImageError("a fax (1 bit a pixel): no greys, no radiograph")
    if compression in (_DEFLATE, _OLD_DEFLATE):
        for strip in _strips(data, tags):
            _require_whole_deflate(strip)
    elif compression == _JPEG:
        tables = tags.get(_JPEG_TABLES, b"")
        assert isinstance(tables, bytes)
        for strip in _strips(data, tags):
            # Quantization and Huffman tables stand once for all strips (TIFF technical note 2).
            jpeg.require_undamaged(tables[:-2] + strip[2:] if tables else strip, "GRAY")
    elif compression not in (_NONE, _LZW, _PACKBITS):
        raise UnreadableImageError(
            "a TIFF of a rare compression, whose damage nobody would notice; save it as PNG"
        )


def _strips(data: bytes, tags: dict[int, object]) -> Iterator[bytes]:
    for begins, lengths in (_STRIPS, _TILES):
        for begin, length in zip(_numbers(tags, begins), _numbers(tags, lengths), strict=False):
            yield data[begin : begin + length]


def _numbers(tags: dict[int, object], tag: int) -> tuple[int, ...]:
    found = tags.get(tag, ())
    return found if isinstance(found, tuple) else (int(str(found)),)


def _require_whole_deflate(strip: bytes) -> None:
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(strip, MAX_DECODED_BYTES)
    except zlib.error as error:
        raise UnreadableImageError("the TIFF is damaged: checksum of its data") from error
    if not inflater.eof:
        raise UnreadableImageError("the TIFF is truncated")
