"""Pictures decoded once: grey, 8 bits, at most `MAX_SIDE` pixels, in one memory-mapped file.

Paths enter; a `Cache` that gives each picture as a uint8 array leaves. The cache file is keyed by
the names, sizes and times of the files that it was made from, so a changed folder makes a new one.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.errors import InputError, StorageError, UnreadableImageError
from edge_app.files.whole import whole, write_whole
from edge_app.images.read import read_image
from edge_app.progress import track

MAX_SIDE = 512
# Decoded ahead of the writer, so that memory stays small however many files there are.
_CHUNK = 256
_SHOWN = 5
_CLIPPED_PERCENTILES = (0.1, 99.9)

Picture = npt.NDArray[np.uint8]
Places = dict[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Cache:
    """Decoded pictures by path.

    Attributes:
        pixels: every picture's pixels one after another, uint8.
        places: path to (offset, height, width).
    """

    pixels: npt.NDArray[np.uint8]
    places: Places

    def read(self, path: Path) -> Picture:
        """The picture of `path`: (height, width) uint8, bright = dense."""
        offset, height, width = self.places[str(path)]
        return self.pixels[offset : offset + height * width].reshape(height, width)


def open_cache(paths: Sequence[Path], folder: Path) -> Cache:
    """Open the cache of these pictures in `folder`, and make it first where it is not there.

    Raises:
        UnreadableImageError: pictures cannot be read; the message names them.
        StorageError: the cache cannot be written.
    """
    key = _key(paths)
    index, data = folder / f"{key}.json", folder / f"{key}.u8"
    places = _read_index(index, data)
    if places is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            places = _write(sorted(set(paths)), index, data)
        except (OSError, StorageError) as error:
            raise StorageError(f"{folder}: the cache cannot be written: {error}") from error
    return Cache(np.memmap(data, np.uint8, "r"), places)


def read_grey(path: Path, max_side: int = MAX_SIDE) -> Picture:
    """Decode one picture through the edge's reader: (height, width) uint8, bright = dense."""
    image = Image.fromarray(eight_bits(read_image(path).pixels), mode="L")
    scale = max_side / max(image.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(image)


def eight_bits(pixels: npt.NDArray[np.generic]) -> Picture:
    """Deeper pictures become 8 bits between the grey values at `_CLIPPED_PERCENTILES`.

    Preprocessing undoes any linear change of grey values, so nothing but rounding is lost; a
    12-bit picture in a 16-bit file scaled by 65535 would keep 4 bits. Not from the darkest to the
    brightest value: one dead pixel or burnt-in letter would leave the lungs a handful of greys.
    What is clipped lies beyond the 0.5 and 99.5% that preprocessing is configured to clip at (but
    for `seed_cnn`, which clips nothing, and for which a dead pixel would set the range).
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    values = pixels.astype(np.float32)
    low, high = np.percentile(values, _CLIPPED_PERCENTILES)
    if high <= low:  # nearly all of one grey, so that what differs is all there is
        low, high = values.min(), values.max()
    scaled = (values - low) * (255 / max(1.0, float(high - low)))
    eight: Picture = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return eight


def _key(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{MAX_SIDE} v3".encode())
    for path in sorted(set(paths)):
        status = path.stat()
        digest.update(f"{path}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:20]


def _read_index(index: Path, data: Path) -> Places | None:
    """Places of the pictures, or None where the cache is not there, or only a part of it."""
    try:
        places = {name: tuple(place) for name, place in json.loads(index.read_text()).items()}
        size = data.stat().st_size
    except (OSError, ValueError):
        return None
    expected = sum(height * width for _, height, width in places.values())
    return places if size == expected else None


def _write(paths: Sequence[Path], index: Path, data: Path) -> Places:
    places: Places = {}
    offset = 0
    unreadable: list[InputError] = []
    with whole(data) as partial:
        with partial.open("wb") as file:
            for path, picture in track(_decoded(paths), "decode", len(paths)):
                if isinstance(picture, InputError):
                    unreadable.append(picture)
                    continue
                file.write(picture.tobytes())
                places[str(path)] = (offset, *picture.shape)
                offset += picture.size
        if unreadable:
            shown = "; ".join(str(error) for error in unreadable[:_SHOWN])
            raise UnreadableImageError(
                f"{len(unreadable)} of {len(paths)} pictures cannot be read: {shown}; remove or "
                "replace them"
            )
    # The index comes last: where it stands, the data is whole.
    write_whole(index, [json.dumps(places)])
    return places


def _decoded(paths: Sequence[Path]) -> Iterator[tuple[Path, Picture | InputError]]:
    """Each path with its picture or the reason why there is none, in order."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _CHUNK):
            chunk = paths[start : start + _CHUNK]
            yield from zip(chunk, pool.map(_try_read, chunk), strict=True)


def _try_read(path: Path) -> Picture | InputError:
    try:
        return read_grey(path)
    except InputError as error:
        return error
