"""A file in, a `Radiograph` out: grey pixels in which bright means dense.

PNG, TIFF, BMP and WebP are decoded here through Pillow, JPEG in `images.jpeg`, DICOM in
`images.dicom`. The file is read once; its SHA-256 is of the very bytes that were decoded. A damaged
file raises, it is never decoded as far as it goes: half a lung filled up with grey looks like an
opacity.

What becomes grey, and how:
- 8 and 16 bit grey keep their depth; 12-bit TIFF becomes uint16 of its whole range.
- Colour and palettes become ITU-R BT.601 luma; 16-bit colour is reduced to 8 bits first.
- Transparency is laid over black, which is what lies outside of a collimated field.
- 32-bit and signed TIFF have no black and white of their own: their lowest and highest value
  become 0 and 65535.
- The EXIF orientation is applied. A JPEG with a second picture (MPO) gives its first; several
  pages or animation frames are refused, since nothing says which one is meant.
"""

import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.errors import InputError, UnreadableImageError
from edge_app.images.colour import colour_of, jpeg_colour
from edge_app.images.formats import sniff_format
from edge_app.images.preprocess_spec import PreprocessSpec
from edge_app.images.radiograph import TOO_LARGE, Pixels, Radiograph, check_size, hash_bytes

MAX_FILE_BYTES = 512 * 1024 * 1024
_BLOCK_PIXELS = 1 << 20

_ORIENTATION_TAG = 0x0112
_TIFF_PHOTOMETRIC_TAG = 262
_TIFF_WIDTH_TAG, _TIFF_HEIGHT_TAG = 256, 257


def read_image(source: str | Path, *, spec: PreprocessSpec | None = None) -> Radiograph:
    """Read a radiograph from a file.

    Args:
        source: the file; its format is told by its content, never by its name.
        spec: the preprocessing that will follow; a JPEG is then decoded at a smaller DCT scale
            as far as `spec.jpeg_draft_ratio` allows. None decodes in full.

    Raises:
        UnreadableImageError: no such file, not an image, damaged, empty or too large.
        UnsupportedDicomError: a DICOM object without one grey picture, or a missing decoder.
    """
    path = Path(source)
    return decode_image(read_bytes(path), path.name, spec=spec)


def decode_image(data: bytes, name: str, *, spec: PreprocessSpec | None = None) -> Radiograph:
    """Decode the bytes of a file; `name` stands in messages only. As `read_image` otherwise."""
    kind = sniff_format(data)
    if kind is None:
        raise UnreadableImageError(f"{name}: {_describe_foreign(data)}")
    try:
        if kind == "DICOM":
            from edge_app.images.dicom import decode_dicom

            return decode_dicom(data)
        return _decode_raster(data, kind, spec)
    except InputError as error:
        raise type(error)(f"{name}: {error}") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit lies above ours
        raise UnreadableImageError(f"{name}: {TOO_LARGE}") from error
    except MemoryError as error:
        raise UnreadableImageError(f"{name}: not enough memory to decode it") from error
    except Exception as error:  # decoders of hostile bytes raise what they like
        # What they say is not passed on: it may quote a patient's data, or an address in memory.
        raise UnreadableImageError(f"{name}: damaged {kind} file: it cannot be decoded") from error


def read_bytes(path: Path) -> bytes:
    """The whole of a file.

    Raises:
        UnreadableImageError: missing, not a file, empty, or larger than `MAX_FILE_BYTES`.
    """
    try:
        status = path.stat()
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
            raise UnreadableImageError(f"{path.name}: {what}, not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableImageError(
                f"{path.name}: {status.st_size} bytes; more than {MAX_FILE_BYTES} are not read"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise UnreadableImageError(f"{path.name}: {text or error}") from error
    if not data:
        raise UnreadableImageError(f"{path.name}: the file is empty")
    return data


_FOREIGN_MAGICS: dict[bytes, str] = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000 file",
    b"\xff\x4f\xff\x51": "a JPEG 2000 file",
    b"\xff\x0a": "a JPEG XL file",
    b"\x00\x00\x00\x0cJXL": "a JPEG XL file",
}
# ISO/IEC 23008-12 and the AVIF specification: brands behind `ftyp`.
_FOREIGN_BRANDS: dict[bytes, str] = {
    brand: what
    for brands, what in ((b"heic heix heim heis hevc mif1 msf1", "a HEIC photograph"),
                         (b"avif avis", "an AVIF picture"))
    for brand in brands.split()
}  # fmt: skip


def _describe_foreign(data: bytes) -> str:
    known = next((name for magic, name in _FOREIGN_MAGICS.items() if data.startswith(magic)), None)
    if data[4:8] == b"ftyp":
        known = _FOREIGN_BRANDS.get(data[8:12])
    what = f"{known}, which is not read" if known else "not an image"
    return f"{what}: the content is none of PNG, JPEG, TIFF, BMP, WebP, DICOM"


def _decode_raster(data: bytes, kind: str, spec: PreprocessSpec | None) -> Radiograph:
    if kind == "PNG":
        _require_whole_png(data)
    if kind == "JPEG":
        _require_readable_jpeg(data)
    # Importing one plugin spares Image.open the import of all forty.
    import_module(_PLUGINS[kind])
    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        check_size(*image.size, _bytes_per_pixel(image, kind))
        _refuse_several_pages(image, kind)
        if kind == "TIFF":
            from edge_app.images.tiff import require_undamaged

            require_undamaged(data, image)
        original_size = _stored_size(image, kind)
        colour = 0.0
        if kind == "JPEG":
            pixels, max_value = _decode_jpeg(data, image, spec)
            if image.mode != "L":
                colour = jpeg_colour(data)
        else:
            with _native_words_dropped():
                image.load()
            pixels, max_value = _to_grey(image, kind)
            colour = colour_of(image)
        pixels = _orient(pixels, image, kind)
    return Radiograph(
        pixels=cast(Pixels, np.ascontiguousarray(pixels)),
        max_value=max_value,
        source_format=kind,
        sha256=hash_bytes(data),
        original_size=original_size,
        colour=colour,
    )


@contextmanager
def _native_words_dropped() -> Iterator[None]:
    """Keep what libtiff prints of a damaged file from the terminal: the error is Pillow's."""
    try:
        saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no standard error to protect
        yield
        return
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


_PLUGINS = {
    "PNG": "PIL.PngImagePlugin",
    "JPEG": "PIL.JpegImagePlugin",
    "TIFF": "PIL.TiffImagePlugin",
    "BMP": "PIL.BmpImagePlugin",
    "WEBP": "PIL.WebPImagePlugin",
}


def _decode_jpeg(
    data: bytes, image: Image.Image, spec: PreprocessSpec | None
) -> tuple[Pixels, int]:
    """Grey pixels of a JPEG whose header Pillow has read, and the largest value there could be."""
    from edge_app.images import jpeg

    jpeg.require_few_scans(data)
    wanted = _draft_size(image.size, spec)
    if image.mode != "CMYK":
        return jpeg.decode_grey(data, image.size, wanted), 255
    jpeg.require_undamaged(data, "CMYK")
    image.draft("L", wanted)
    image.load()
    return _to_grey(image, "JPEG")


def _require_whole_png(data: bytes) -> None:
    """Check every chunk's CRC, which Pillow does not do for the pixels, and that IEND is there."""
    position = 8
    view = memoryview(data)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", view, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        (expected,) = struct.unpack_from(">I", view, end)
        if zlib.crc32(view[position + 4 : end]) != expected:
            name = kind.decode("latin-1")
            raise UnreadableImageError(f"the PNG is damaged: checksum of its {name!r} chunk")
        if kind == b"IEND":
            return
        position = end + 4
    raise UnreadableImageError("the PNG is truncated")


def _require_readable_jpeg(data: bytes) -> None:
    """Name the kinds of JPEG that are none of a camera's."""
    from edge_app.images.codestream import JPEG_LS, READABLE, read_jpeg_header

    header = read_jpeg_header(data)
    if header.process in READABLE and header.bits == 8:
        return
    what = "JPEG-LS" if header.process == JPEG_LS else "JPEG of a kind for archives"
    raise UnreadableImageError(
        f"a {what} with {header.bits} bits a sample, which is not read outside of DICOM; save it "
        "as PNG"
    )


def _bytes_per_pixel(image: Image.Image, kind: str) -> int:
    """What the decoder will hold of each pixel."""
    if image.mode in ("1", "L", "P") or (kind == "JPEG" and image.mode == "RGB"):
        return 1
    return 2 if image.mode.startswith("I;16") else 4


def _refuse_several_pages(image: Image.Image, kind: str) -> None:
    # A JPEG with several pictures (MPO) is one photograph with previews of itself.
    if kind != "JPEG" and _has_second_page(image, kind):
        raise UnreadableImageError(
            f"the {kind} holds several pictures; save the one that is meant as a file of its own"
        )


def _has_second_page(image: Image.Image, kind: str) -> bool:
    if kind != "TIFF":
        return getattr(image, "n_frames", 1) > 1
    # Counting them reads every page's header: tens of thousands take a minute.
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _stored_size(image: Image.Image, kind: str) -> tuple[int, int]:
    """(width, height) as the file stores it; Pillow already turns a TIFF's."""
    if kind != "TIFF":
        return image.size
    tags: dict[int, int] = image.tag_v2  # type: ignore[attr-defined]
    return int(tags[_TIFF_WIDTH_TAG]), int(tags[_TIFF_HEIGHT_TAG])


def _draft_size(size: tuple[int, int], spec: PreprocessSpec | None) -> tuple[int, int]:
    """The smallest size that a JPEG's DCT scaling may go down to."""
    if spec is None or spec.jpeg_draft_ratio == 0:
        return size
    # EXIF may turn the picture by 90 degrees later: both sides keep the larger of the two.
    side = max(spec.width, spec.height) * spec.jpeg_draft_ratio
    return min(side, size[0]), min(side, size[1])


def _to_grey(image: Image.Image, kind: str) -> tuple[Pixels, int]:
    """Grey pixels of a loaded picture, and the largest value that one could have."""
    if image.mode.startswith("I;16"):
        return _sixteen_bit(image, kind)
    if image.mode in ("I", "F"):
        return _stretch_to_sixteen_bit(np.asarray(image))
    if image.mode == "LAB":
        raise UnreadableImageError("CIELAB colour is not read; save the picture as grey or RGB")
    if image.mode == "L" and "transparency" not in image.info:
        return np.asarray(image), 255
    width, height = image.size
    pixels = np.empty((height, width), np.uint8)
    for top, bottom in _row_blocks(height, width):
        pixels[top:bottom] = _block_to_grey(image.crop((0, top, width, bottom)))
    return pixels, 255


def _row_blocks(height: int, width: int) -> list[tuple[int, int]]:
    """Rows from and up to: a conversion of the whole picture at once holds several of it."""
    rows = max(1, _BLOCK_PIXELS // width)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def _block_to_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = _over_black(image)
    if image.mode in ("CMYK", "P", "HSV"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _sixteen_bit(image: Image.Image, kind: str) -> tuple[Pixels, int]:
    pixels = np.asarray(image).astype(np.uint16, copy=False)
    if kind != "TIFF":
        return pixels, 65535
    tags: dict[int, object] = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(258, (16,))
    if bits == (12,):
        # 0 and 4095 become 0 and 65535: where greys stay as they are stored, it is the type's range
        # that counts (`PreprocessSpec.range_region`).
        pixels = (pixels << 4 | pixels >> 8).astype(np.uint16)
    # WhiteIsZero (TIFF 6.0, section 8): Pillow inverts 8-bit grey for us, 16-bit it does not.
    if tags.get(_TIFF_PHOTOMETRIC_TAG) == 0:
        pixels = 65535 - pixels
    return pixels, 65535


def _stretch_to_sixteen_bit(values: npt.NDArray[Any]) -> tuple[Pixels, int]:
    """Map the range of 32-bit integers or floats onto 0..65535."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(high - low):
        raise UnreadableImageError("the picture holds values that are not finite")
    pixels = np.zeros(values.shape, np.uint16)
    if high > low:
        for top, bottom in _row_blocks(*values.shape):
            numbers = values[top:bottom].astype(np.float64)
            pixels[top:bottom] = np.rint((numbers - low) * (65535 / (high - low)))
    return pixels, 65535


def _over_black(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, image).convert("RGB")


def _orient(pixels: Pixels, image: Image.Image, kind: str) -> Pixels:
    """Apply the EXIF orientation (JEITA CP-3451, tag 0112); Pillow has turned a TIFF already."""
    if kind in ("TIFF", "BMP"):
        return pixels
    turn = _TURNS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    return pixels if turn is None else turn(pixels)


_TURNS: dict[int, Callable[[Any], Any]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.transpose(pixels), 2),
    8: np.rot90,
}
