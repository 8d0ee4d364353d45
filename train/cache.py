"""Pictures decoded once: grey, 8 bits, at most `MAX_SIDE` pixels, in one memory-mapped file.

Labelled samples enter; a `Cache` that gives each picture as a uint8 array leaves. The cache file
is keyed by the names, sizes and times of the files that it was made from, so a changed folder
makes a new one.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.image import read_image
from train.progress import track

MAX_SIDE = 512


@dataclass(frozen=True, slots=True)
class Cache:
    """Decoded pictures by path.

    Attributes:
        pixels: every picture's pixels one after another, uint8.
        places: path to (offset, height, width).
    """

    pixels: npt.NDArray[np.uint8]
    places: dict[str, tuple[int, int, int]]

    def read(self, path: Path) -> npt.NDArray[np.uint8]:
        """The picture of `path`: (height, width) uint8, bright = dense."""
        offset, height, width = self.places[str(path)]
        return self.pixels[offset : offset + height * width].reshape(height, width)


def open_cache(paths: Sequence[Path], folder: Path) -> Cache:
    """Open the cache of these pictures in `folder`, and make it first where it is not there.

    Raises:
        edge_app.errors.InputError: a picture cannot be read; the message names it.
    """
    key = _key(paths)
    index, data = folder / f"{key}.json", folder / f"{key}.u8"
    if not index.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(paths, index, data)
    places = {name: tuple(place) for name, place in json.loads(index.read_text()).items()}
    return Cache(np.memmap(data, np.uint8, "r"), places)


def read_grey(path: Path, max_side: int = MAX_SIDE) -> npt.NDArray[np.uint8]:
    """Decode one picture through the edge's reader: (height, width) uint8, bright = dense."""
    radiograph = read_image(path)
    pixels = radiograph.pixels
    if pixels.dtype != np.uint8:
        pixels = (pixels.astype(np.float32) * (255 / radiograph.max_value)).astype(np.uint8)
    image = Image.fromarray(pixels, mode="L")
    scale = max_side / max(image.size)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in image.size)
        image = image.resize(size, Image.Resampling.BOX)
    return np.asarray(image)


def _key(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{MAX_SIDE}".encode())
    for path in sorted(paths):
        status = path.stat()
        digest.update(f"{path}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:20]


def _write(paths: Sequence[Path], index: Path, data: Path) -> None:
    places: dict[str, tuple[int, int, int]] = {}
    offset = 0
    partial = data.with_suffix(".partial")
    with partial.open("wb") as file:
        for path in track(sorted(set(paths)), "decode"):
            picture = read_grey(path)
            file.write(picture.tobytes())
            places[str(path)] = (offset, *picture.shape)
            offset += picture.size
    os.replace(partial, data)
    # The index comes last: where it stands, the data is whole.
    partial = index.with_suffix(".partial")
    partial.write_text(json.dumps(places))
    os.replace(partial, index)
