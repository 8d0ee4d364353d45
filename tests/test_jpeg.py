"""JPEG files: what Pillow gives, unless anything of the picture is missing."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.errors import UnreadableImageError
from edge_app.images.read import decode_image
from tests.pictures import encoded
from tests.tiny_bundle import SPEC

# What libjpeg can write through Pillow, and what a file may hold beside its picture.
ENCODINGS: dict[str, dict[str, object]] = {
    "baseline": {},
    "fine": {"quality": 100},
    "coarse": {"quality": 20},
    "optimized": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "short restarts": {"restart_marker_blocks": 5, "progressive": True},
    "smoothed": {"smooth": 30},
    "thumbnail": {"exif": Image.Exif(), "comment": b"\xff\xd8\xff\xda\xff\xd9"},
}


def film(height: int = 300, width: int = 260) -> Image.Image:
    """Something of a film's texture, the same every time."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(5).normal(0, 6, (height, width))
    shade = 120 + 80 * np.sin(x / 40) * np.cos(y / 55) + noise
    return Image.fromarray(np.clip(shade, 0, 255).astype(np.uint8))


def coloured(mode: str) -> Image.Image:
    if mode == "L":
        return film()
    bands = [film(), film().transpose(Image.Transpose.FLIP_LEFT_RIGHT), film(), film()]
    return Image.merge(mode, bands[: 4 if mode == "CMYK" else 3])


def every_encoding() -> Iterator[tuple[str, str, bytes]]:
    for mode, (name, options) in itertools.product(("L", "RGB", "CMYK"), ENCODINGS.items()):
        yield mode, name, encoded(coloured(mode), "JPEG", **options)
    for subsampling in (0, 1, 2):
        yield "RGB", f"4:{subsampling}", encoded(coloured("RGB"), "JPEG", subsampling=subsampling)
    yield "RGB", "stored as RGB", encoded(coloured("RGB"), "JPEG", keep_rgb=True)


def in_pillow(data: bytes, wanted: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        size = image.size
        image.draft("L", (min(wanted, size[0]), min(wanted, size[1])))
        return np.asarray(image if image.mode == "L" else image.convert("RGB").convert("L"))


def scan_begin(data: bytes) -> int:
    """Where the (first) scan's entropy-coded data begins."""
    position = 2
    while data[position + 1] != 0xDA:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def damaged(data: bytes, at: float) -> tuple[bytes, ...]:
    """Copies of a JPEG: cut and with a hole at that share of it; the end marker stays."""
    begin = scan_begin(data)
    lost = (len(data) - begin) // 8
    place = begin + int(at * (len(data) - begin - lost - 2))
    return data[:place] + b"\xff\xd9", data[:place] + data[place + lost :]


@pytest.mark.parametrize(
    ("mode", "name", "data"),
    [pytest.param(*case, id="-".join(case[:2])) for case in every_encoding()],
)
@pytest.mark.parametrize("tail", [b"", b"\0" * 40, b"maker's note", b"\xff\xd8 a second picture"])
def test_an_intact_file_gives_what_pillow_gives(
    mode: str, name: str, data: bytes, tail: bytes
) -> None:
    full = decode_image(data + tail, "x")
    assert np.array_equal(full.pixels, in_pillow(data, 1000))
    # 64 pixels wanted, at least twice that on both sides: 260 / 2 = 130 holds.
    reduced = decode_image(data + tail, "x", spec=SPEC)
    assert np.array_equal(reduced.pixels, in_pillow(data, 128))
    assert reduced.pixels.shape == (150, 130)


def test_what_some_cameras_write_is_no_damage() -> None:
    data = encoded(film(), "JPEG")
    version = data.index(b"JFIF\0") + 5
    for odd in (
        data[:version] + b"\x02" + data[version + 1 :],
        data[:20] + bytes(5) + data[20:],
        data[:-2] + bytes(30) + data[-2:],
        data[:-2] + bytes(30) + data[-2:] + b"a trailer",
        data[:-2] + b"\xff" * 30 + data[-2:],
    ):
        assert np.array_equal(decode_image(odd, "x").pixels, in_pillow(data, 1000))
    # A block of zeros is none of them.
    for torn in (data[:-4098] + bytes(4096) + data[-2:], data[:-2] + bytes(4096) + data[-2:]):
        with pytest.raises(UnreadableImageError, match="damaged"):
            decode_image(torn, "x")


@pytest.mark.parametrize("size", [(1, 1), (7, 1200), (129, 127), (1025, 2049)])
def test_every_size_gives_what_pillow_gives(size: tuple[int, int]) -> None:
    data = encoded(film(*size), "JPEG")
    assert np.array_equal(decode_image(data, "x", spec=SPEC).pixels, in_pillow(data, 128))


@pytest.mark.parametrize(
    ("mode", "name", "data"),
    [pytest.param(*case, id="-".join(case[:2])) for case in every_encoding()],
)
@pytest.mark.parametrize("at", [0.0, 0.3, 0.8, 1.0])
def test_lost_data_is_never_made_up(mode: str, name: str, data: bytes, at: float) -> None:
    for copy, spec in itertools.product(damaged(data, at), (None, SPEC)):
        with pytest.raises(UnreadableImageError, match=r"^x\.jpg: the JPEG is damaged: "):
            decode_image(copy, "x.jpg", spec=spec)


def test_a_header_of_another_size_is_damage() -> None:
    data = bytearray(encoded(film(200, 200), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (8900).to_bytes(2, "big") * 2
    with pytest.raises(UnreadableImageError, match="damaged"):
        decode_image(bytes(data), "x")


def test_a_file_of_hundreds_of_scans_is_refused_at_once() -> None:
    data = encoded(Image.new("L", (2000, 2000)), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(UnreadableImageError, match="scans is not decoded"):
        decode_image(data[:-2] + scan * 100 + data[-2:], "x")
    # A second scan where one is all: libjpeg goes no further.
    plain = encoded(Image.new("L", (2000, 2000)), "JPEG")
    scan = plain[plain.rindex(b"\xff\xda") : -2]
    with pytest.raises(UnreadableImageError, match="damaged"):
        decode_image(plain[:-2] + scan * 100 + plain[-2:], "x")


@pytest.mark.parametrize(
    "file",
    [
        "nih_normal_scan_cut_eoi_kept.jpg",
        "nih_normal_512_bytes_lost.jpg",
        "hostile/half_cut_EOI_NORMAL2-IM-0389-0001.jpeg",
        "hostile/jpeg_8900_from_200.jpg",
        "hostile/jpeg_prog_manyscans.jpg",
    ],
)
def test_reported_files_are_unreadable(shared_cases: Path, file: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"damaged|scans"):
        decode_image((shared_cases / file).read_bytes(), file)


def test_the_reported_control_is_read(shared_cases: Path) -> None:
    data = (shared_cases / "nih_normal_ok.jpg").read_bytes()
    assert np.array_equal(decode_image(data, "x").pixels, in_pillow(data, 10_000))


def test_no_damaged_original_is_read(shared_data: Path) -> None:
    random = np.random.default_rng(12)
    for path in sorted((shared_data / "originals").rglob("*.jpeg")):
        data = path.read_bytes()
        begin = scan_begin(data)
        place = int(random.integers(begin, len(data) - 4098))
        copies = (
            data[: len(data) // 2] + b"\xff\xd9",
            data[:place] + data[place + 4096 :],
            data[:place] + bytes(4096) + data[place + 4096 :],
        )
        assert np.array_equal(decode_image(data, "x", spec=SPEC).pixels, in_pillow(data, 128))
        for copy in copies:
            with pytest.raises(UnreadableImageError, match="damaged"):
                decode_image(copy, path.name, spec=SPEC)
