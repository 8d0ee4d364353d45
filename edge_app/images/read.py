"""A file in, a `Radiograph` out: grey pixels in which bright means dense.

PNG, TIFF, BMP and WebP are decoded here through Pillow, JPEG in `images.jpeg`, DICOM in
`images.dicom`. The file is read once; its SHA-256 is of the very bytes that were decoded. A damaged
file raises, it is never decoded as far as it goes: half a lung filled up with grey looks like an
opacity.

What becomes grey, and how:
- 8 and 16 bit grey keep their depth; 12-bit TIFF becomes uint16 with `max_value` 4095.
- Colour and palettes become ITU-R BT.601 luma; 16-bit colour is reduced to 8 bits first.
- Transparency is laid over black, which is what lies outside of a collimated field.
- 32-bit and signed TIFF have no black and white of their own: their lowest and highest value
  become 0 and 65535.
- The EXIF orientation is applied. A JPEG with a second picture (MPO) gives its first; several
  pages or animation frames are refused, since nothing says which one is meant.
"""

import io
import stat
import struct
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.errors import InputError, UnreadableImageError
from edge_app.images.formats import sniff_format
from edge_app.images.preprocess_spec import PreprocessSpec
from edge_app.images.radiograph import TOO_LARGE, Pixels, Radiograph, check_size, hash_bytes

MAX_FILE_BYTES = 512 * 1024 * 1024


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
}


def _describe_foreign(data: bytes) -> str:
    known = next((name for magic, name in _FOREIGN_MAGICS.items() if data.startswith(magic)), None)
    what = f"{known}, which is not read" if known else "not an image"
    return f"{what}: the content is none of PNG, JPEG, TIFF, BMP, WebP, DICOM"


def _decode_raster(data: bytes, kind: str, spec: PreprocessSpec | None) -> Radiograph:
    if kind == "PNG":
        _require_whole_png(data)
    # Importing one plugin spares Image.open the import of all forty.
    import_module(_PLUGINS[kind])
    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        check_size(*image.size)
        _refuse_several_pages(image, kind)
        original_size = _stored_size(image, kind)
        if kind == "JPEG":
            pixels, max_value = _decode_jpeg(data, image, spec)
        else:
            image.load()
            pixels, max_value = _to_grey(image, kind)
        pixels = _orient(pixels, image, kind)
    return Radiograph(
        pixels=cast(Pixels, np.ascontiguousarray(pixels)),
        max_value=max_value,
        source_format=kind,
        sha256=hash_bytes(data),
        original_size=original_size,
    )


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

    jpeg.require_few_scans(data, image.size)
    wanted = _draft_size(image.size, spec)
    if image.mode != "CMYK":
        return jpeg.decode_grey(data, image.size, wanted), 255
    jpeg.require_undamaged(data)
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


def _refuse_several_pages(image: Image.Image, kind: str) -> None:
    pages = getattr(image, "n_frames", 1)
    # A JPEG with several pictures (MPO) is one photograph with previews of itself.
    if pages > 1 and kind != "JPEG":
        raise UnreadableImageError(
            f"the {kind} holds {pages} pictures; save the one that is meant as a file of its own"
        )


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
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = _over_black(image)
    if image.mode in ("CMYK", "P", "HSV"):
        image = image.convert("RGB")
    return np.asarray(image if image.mode == "L" else image.convert("L")), 255


def _sixteen_bit(image: Image.Image, kind: str) -> tuple[Pixels, int]:
    pixels = np.asarray(image).astype(np.uint16, copy=False)
    if kind != "TIFF":
        return pixels, 65535
    tags: dict[int, object] = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(258, (16,))
    max_value = 4095 if bits == (12,) else 65535
    # WhiteIsZero (TIFF 6.0, section 8): Pillow inverts 8-bit grey for us, 16-bit it does not.
    if tags.get(_TIFF_PHOTOMETRIC_TAG) == 0:
        pixels = max_value - pixels
    return pixels, max_value


def _stretch_to_sixteen_bit(values: npt.NDArray[np.generic]) -> tuple[Pixels, int]:
    """Map the range of 32-bit integers or floats onto 0..65535."""
    numbers = values.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    if not np.isfinite(high - low):
        raise UnreadableImageError("the picture holds values that are not finite")
    if high > low:
        numbers = (numbers - low) * (65535 / (high - low))
    else:
        numbers = np.zeros_like(numbers)
    return np.rint(numbers).astype(np.uint16), 65535


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
