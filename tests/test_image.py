"""Raster files to radiographs: depth, polarity and orientation kept; damage never decoded."""

import contextlib
import hashlib
import io
import lzma
import math
import os
import resource
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from edge_app.errors import UnreadableImageError
from edge_app.images.preprocess import preprocess
from edge_app.images.radiograph import MAX_DECODED_BYTES, MAX_PIXELS, Radiograph
from edge_app.images.read import decode_image, read_image
from tests.pictures import encoded, gradient
from tests.tiny_bundle import SPEC

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
LOSSLESS = ("PNG", "TIFF", "BMP")
sizes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)


def decode(image: Image.Image, format: str, **options: object) -> Radiograph:
    return decode_image(encoded(image, format, **options), f"x.{format.lower()}")


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_the_picture(format: str, tmp_path: Path) -> None:
    picture = gradient()
    path = tmp_path / "misnamed.txt"
    options = {"lossless": True} if format == "WEBP" else {}
    path.write_bytes(encoded(Image.fromarray(picture), format, **options))
    radiograph = read_image(path)
    assert radiograph.source_format == format
    assert radiograph.pixels.dtype == np.uint8
    assert radiograph.pixels.flags.c_contiguous
    assert radiograph.max_value == 255
    assert radiograph.original_size == (200, 160)
    assert radiograph.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (radiograph.sop_instance_uid, radiograph.dicom) == (None, None)
    tolerance = 3 if format == "JPEG" else 0
    assert np.abs(radiograph.pixels.astype(int) - picture).max() <= tolerance


@given(hnp.arrays(np.uint8, sizes), st.sampled_from(LOSSLESS))
def test_eight_bits_are_kept(picture: np.ndarray, format: str) -> None:
    assert np.array_equal(decode(Image.fromarray(picture), format).pixels, picture)


@given(hnp.arrays(np.uint16, sizes), st.sampled_from(("PNG", "TIFF")))
def test_sixteen_bits_are_kept(picture: np.ndarray, format: str) -> None:
    radiograph = decode(Image.fromarray(picture), format)
    assert radiograph.pixels.dtype == np.uint16
    assert radiograph.max_value == 65535
    assert np.array_equal(radiograph.pixels, picture)


def test_colour_becomes_rec601_luma() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
    assert decode(Image.fromarray(colours), "PNG").pixels.tolist() == [[76, 150, 29, 255]]


def test_palette_bilevel_and_cmyk() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 10, 10, 200, 200, 200])
    palette.putdata([0, 1])
    assert decode(palette, "PNG").pixels.tolist() == [[10, 200]]
    bilevel = Image.new("1", (8, 1))
    bilevel.putpixel((3, 0), 1)
    assert decode(bilevel, "PNG").pixels.tolist() == [[0, 0, 0, 255, 0, 0, 0, 0]]
    grey_cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), v) for v in (0, 0, 0, 155)])
    assert abs(int(decode(grey_cmyk, "JPEG").pixels[8, 8]) - 100) <= 3


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparency_lies_over_black(mode: str) -> None:
    if mode == "P":
        image = Image.new("P", (2, 1))
        image.putpalette([200, 200, 200, 180, 180, 180])
        image.putdata([0, 1])
        data = encoded(image, "PNG", transparency=0)
    else:
        white = (200,) if mode == "LA" else (200, 200, 200)
        grey = (180,) if mode == "LA" else (180, 180, 180)
        image = Image.new(mode, (2, 1))
        image.putdata([(*white, 0), (*grey, 255)])
        data = encoded(image, "PNG")
    assert decode_image(data, "x.png").pixels.tolist() == [[0, 180]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, format: str) -> None:
    image = Image.fromarray(gradient(48, 80))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(image, format, exif=exif, **options)
    radiograph = decode_image(data, "x")
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("L"))
    assert radiograph.pixels.shape == ((80, 48) if orientation > 4 else (48, 80))
    assert np.array_equal(radiograph.pixels, expected)
    assert radiograph.original_size == (80, 48)


def test_orientation_6_turns_a_quarter_clockwise() -> None:
    picture = np.array([[1, 2], [3, 4], [5, 6]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(picture), "PNG", exif=exif)
    assert decode_image(data, "x").pixels.tolist() == [[5, 3, 1], [6, 4, 2]]


def test_tiff_white_is_zero_is_inverted() -> None:
    data = bytearray(encoded(Image.fromarray(np.array([[0, 4000]], np.uint16)), "TIFF"))
    # The entry of tag 262 (PhotometricInterpretation), type SHORT, count 1, value 1 becomes 0.
    entry = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    assert data.count(entry) == 1
    data[data.index(entry) + 8] = 0
    assert decode_image(bytes(data), "x").pixels.tolist() == [[65535, 61535]]


def test_tiff_of_32_bits_is_stretched_to_its_range() -> None:
    numbers = np.array([[-1.0, 0.0, 3.0]], np.float32)
    radiograph = decode(Image.fromarray(numbers), "TIFF")
    assert radiograph.pixels.tolist() == [[0, 16384, 65535]]
    whole = np.array([[-100, 100, 300]], np.int32)
    assert decode(Image.fromarray(whole), "TIFF").pixels.tolist() == [[0, 32768, 65535]]
    assert decode(Image.fromarray(np.full((2, 2), 7, np.int32)), "TIFF").pixels.max() == 0
    with pytest.raises(UnreadableImageError, match="not finite"):
        decode(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF")


def test_a_jpeg_is_decoded_smaller_only_as_far_as_the_specification_allows() -> None:
    data = encoded(Image.fromarray(gradient(1000, 1400)), "JPEG")
    full = decode_image(data, "x")
    assert full.pixels.shape == (1000, 1400)
    # 64 pixels wanted, at least twice that on both sides: 1000 / 4 = 250 holds, 1000 / 8 does not.
    reduced = decode_image(data, "x", spec=SPEC)
    assert reduced.pixels.shape == (250, 350)
    assert reduced.original_size == full.original_size == (1400, 1000)
    small = encoded(Image.fromarray(gradient(100, 90)), "JPEG")
    assert decode_image(small, "x", spec=SPEC).pixels.shape == (100, 90)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_raises(format: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (120, 100)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), format)
    with pytest.raises(UnreadableImageError, match=r"^cut\.img: "):
        decode_image(data[: int(len(data) * share)], "cut.img")


def test_a_jpeg_whose_end_was_never_written_raises() -> None:
    # What a card that lost power leaves: the full length, zeros behind some block.
    data = encoded(Image.fromarray(gradient(400, 400)), "JPEG", quality=90)
    torn = data[: len(data) // 2].ljust(len(data), b"\0")
    with pytest.raises(UnreadableImageError, match="damaged: Premature end"):
        decode_image(torn, "x.jpg")
    # A thumbnail's own end marker, in the header, does not stand for it.
    exif = b"Exif\0\0" + data
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    assert decode_image(data[:2] + segment + data[2:], "x.jpg").pixels.shape == (400, 400)
    with pytest.raises(UnreadableImageError, match="damaged: Premature end"):
        decode_image(torn[:2] + segment + torn[2:], "x.jpg")


@settings(deadline=None)
@given(st.data())
def test_any_changed_byte_of_a_png_is_caught(data: st.DataObject) -> None:
    picture = gradient(30, 30)
    content = bytearray(encoded(Image.fromarray(picture), "PNG"))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnreadableImageError):
        decode_image(bytes(content), "x.png")


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(deadline=None, max_examples=300)
@given(st.sampled_from(FORMATS), st.binary(max_size=400), st.integers(0, 60))
def test_garbage_behind_a_true_beginning_raises_nothing_else(
    format: str, garbage: bytes, kept: int
) -> None:
    data = encoded(Image.fromarray(gradient(20, 20)), format)[:kept] + garbage
    with contextlib.suppress(UnreadableImageError):
        assert decode_image(data, "x").pixels.ndim == 2


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty"),
        (b"This is a note, no picture.\n" * 20, "not an image"),
        (b"GIF89a" + bytes(200), "a GIF"),
        (b"%PDF-1.7" + bytes(200), "a PDF"),
    ],
)
def test_what_is_no_picture_says_so(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "note.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=rf"note\.png: .*{text}"):
        read_image(path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"gone\.png: No such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(UnreadableImageError, match="a folder"):
        read_image(tmp_path)
    with pytest.raises(UnreadableImageError, match="null"):
        read_image("a\0b")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match="pipe"):
        read_image(tmp_path / "pipe.png")


def png_that_claims(
    width: int, height: int, colour_type: int = 0, bytes_per_pixel: int = 1
) -> bytes:
    """A valid PNG of these dimensions whose rows are all zero: tiny, and gigabytes when decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    rows = zlib.compressobj(9)
    row = bytes(width * bytes_per_pixel + 1)
    data = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_decompression_bomb_is_refused_before_its_pixels_are_allocated() -> None:
    bomb = png_that_claims(30_000, 30_000)
    assert len(bomb) < 2_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableImageError, match=r"bomb\.png: .*80 megapixels"):
        decode_image(bomb, "bomb.png")
    grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown_bytes < 100_000_000


def test_the_limit_in_pixels() -> None:
    assert (
        decode_image(png_that_claims(MAX_PIXELS // 10_000, 10_000), "x").pixels.size == MAX_PIXELS
    )
    with pytest.raises(UnreadableImageError, match="80 megapixels"):
        decode_image(png_that_claims(MAX_PIXELS // 10_000 + 1, 10_000), "x")


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "PNG"])
def test_several_pages_are_refused(format: str) -> None:
    pages = [Image.fromarray(gradient()), Image.fromarray(255 - gradient())]
    data = encoded(pages[0], format, save_all=True, append_images=pages[1:])
    with pytest.raises(UnreadableImageError, match="several pictures"):
        decode_image(data, "x")


def test_thousands_of_pages_are_refused_without_counting_them() -> None:
    page = encoded(Image.new("L", (1, 1)), "TIFF", compression=None)
    count = struct.unpack_from("<H", page, 8)[0]
    assert struct.unpack_from("<I", page, 4)[0] == 8
    link = 10 + 12 * count
    # Each page's directory stands once more, behind itself.
    directory = page[8:link]
    pages = bytearray(page[:link] + struct.pack("<I", len(page)) + page[link + 4 :])
    for _ in range(20_000):
        pages += directory + struct.pack("<I", len(pages) + len(directory) + 4)
    pages[-4:] = bytes(4)
    with pytest.raises(UnreadableImageError, match="several pictures"):
        decode_image(bytes(pages), "x.tif")


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_deflate", "jpeg", "tiff_lzw"])
@pytest.mark.parametrize("filling", [b"\0", b"\x5a"])
def test_a_damaged_tiff_raises_and_prints_nothing(
    compression: str, filling: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(1).integers(90, 140, (300, 300)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), "TIFF", compression=compression)
    assert decode_image(data, "x.tif").pixels.shape == (300, 300)
    for place in (len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        torn = data[:place] + filling * 1500 + data[place + 1500 :]
        with pytest.raises(UnreadableImageError, match=r"^x\.tif: "):
            decode_image(torn, "x.tif")
    assert capfd.readouterr() == ("", "")


def test_compressions_of_tiff_that_hide_damage_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="fax"):
        decode(Image.new("1", (200, 200)), "TIFF", compression="group4")
    with pytest.raises(UnreadableImageError, match="rare compression"):
        decode(Image.fromarray(gradient()), "TIFF", compression="zstd")


@pytest.mark.parametrize("kind", ["RGBA", "float"])
def test_the_limit_in_bytes(kind: str) -> None:
    side = math.isqrt(MAX_DECODED_BYTES // 4) + 1
    if kind == "RGBA":
        data = png_that_claims(side, side, colour_type=6, bytes_per_pixel=4)
    else:
        data = bytearray(encoded(Image.new("F", (2, 2)), "TIFF"))
        for tag in (256, 257):
            entry = data.index(struct.pack("<HHI", tag, 4, 1))
            data[entry + 8 : entry + 12] = struct.pack("<I", side)
    with pytest.raises(UnreadableImageError, match="120 MB are not decoded"):
        decode_image(bytes(data), "x")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("bare_jpegls.jpg", "JPEG-LS"),
        ("hostile/webp_79mp_rgba.webp", "120 MB"),
        ("hostile/half_tiff_adobe_deflate_L_00319_zeroblock.tif", "damaged"),
        ("hostile/half_tiff_group4_01234_zeroblock.tif", "fax"),
        ("hostile/tiffpages_20000.tif.xz", "several pictures"),
    ],
)
def test_reported_files_are_unreadable(shared_cases: Path, file: str, said: str) -> None:
    data = (shared_cases / file).read_bytes()
    data = lzma.decompress(data) if file.endswith(".xz") else data
    with pytest.raises(UnreadableImageError, match=said):
        decode_image(data, file)


def test_lab_colour_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="CIELAB"):
        decode(Image.new("LAB", (20, 20)), "TIFF")


def test_real_originals_are_read_as_pillow_reads_them(shared_data: Path) -> None:
    paths = sorted((shared_data / "originals").rglob("*.jpeg"))[::10]
    assert len(paths) == 10
    for path in paths:
        radiograph = read_image(path)
        with Image.open(path) as image:
            # A grey JPEG's luma is its only channel, a colour JPEG's the Y of its YCbCr.
            expected = np.asarray(image.convert("L")).astype(int)
        assert radiograph.pixels.shape == expected.shape
        assert np.abs(radiograph.pixels - expected).max() <= 1


def twelve_bit_tiff(pixels: np.ndarray) -> bytes:
    """An uncompressed TIFF of 12 bits a pixel, two of them in three bytes (TIFF 6.0)."""
    height, width = pixels.shape
    first, second = pixels[:, ::2].astype(np.uint32), pixels[:, 1::2].astype(np.uint32)
    joined = first << 12 | second
    packed = np.stack([joined >> 16, joined >> 8, joined], -1).astype(np.uint8).tobytes()
    entries = [
        (256, 4, width), (257, 4, height), (258, 3, 12), (259, 3, 1), (262, 3, 1),
        (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(packed)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory + bytes(4)


def test_twelve_bits_use_the_whole_range() -> None:
    """White is white also to a network that takes greys as they are stored, and not a sixteenth."""
    stored = np.linspace(0, 4095, 64 * 64).astype(np.uint16).reshape(64, 64)
    radiograph = decode_image(twelve_bit_tiff(stored), "x.tif")
    assert (radiograph.pixels.dtype, radiograph.max_value) == (np.uint16, 65535)
    assert np.abs(radiograph.pixels - stored * (65535 / 4095)).max() < 1
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0, 65535)
    spec = replace(SPEC, height=64, width=64, range_region=0.0)
    seen = preprocess(radiograph.pixels, spec)[0, :, :, 0]
    assert np.abs(seen - stored * (255 / 4095)).max() <= 1
