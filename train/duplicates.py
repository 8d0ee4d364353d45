"""Pictures that stand twice, even recompressed or rescaled.

Pictures enter, groups of their indices leave. Two pictures are one where a 256-bit difference
hash (Krawetz 2013) differs in at most `MOST_BITS` and their 64 x 64 thumbnails correlate by at
least `LEAST_CORRELATION`. Chest radiographs resemble each other: among the 5,232 of the Kermany
set, the nearest two different ones differ in 13 bits and correlate by 0.92, and the best
correlation of any two is 0.970 (at 17 bits), while the 28 true pairs differ in none and correlate
by 1.000. Neither measure alone would leave much room.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

MOST_BITS = 10
LEAST_CORRELATION = 0.985
_HASH_SIDE = 16
_THUMBNAIL_SIDE = 64
# Rows compared with all others at once: 2,048 x n distances in float32.
_BLOCK = 2048


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What pictures are compared by.

    Attributes:
        bits: (256,) bool, whether each of 16 x 16 cells is brighter than the one left of it.
        thumbnail: (64, 64) uint8.
    """

    bits: npt.NDArray[np.bool_]
    thumbnail: npt.NDArray[np.uint8]


def fingerprint(pixels: npt.NDArray[np.uint8]) -> Fingerprint:
    """Fingerprint of a (height, width) uint8 picture."""
    image = Image.fromarray(pixels, mode="L")
    cells = image.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX)
    thumbnail = image.resize((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), Image.Resampling.BOX)
    greys = np.asarray(cells, np.int16)
    return Fingerprint((greys[:, 1:] > greys[:, :-1]).ravel(), np.asarray(thumbnail))


def find_duplicates(fingerprints: Sequence[Fingerprint]) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more indices, each sorted; a chain of duplicates is one group."""
    if not fingerprints:
        return ()
    # Of vectors of +1 and -1, the product counts equal bits minus different ones.
    signs = np.stack([f.bits for f in fingerprints]).astype(np.float32) * 2 - 1
    group = list(range(len(fingerprints)))
    for start in range(0, len(signs), _BLOCK):
        distance = (signs.shape[1] - signs[start : start + _BLOCK] @ signs.T) / 2
        for row, column in np.argwhere(distance <= MOST_BITS).tolist():
            one, other = start + row, column
            if one < other and _correlation(fingerprints[one], fingerprints[other]):
                _join(group, one, other)
    members: dict[int, list[int]] = {}
    for index in range(len(group)):
        members.setdefault(_root(group, index), []).append(index)
    return tuple(tuple(m) for m in members.values() if len(m) > 1)


def _correlation(one: Fingerprint, other: Fingerprint) -> bool:
    a, b = (f.thumbnail.astype(np.float64) - f.thumbnail.mean() for f in (one, other))
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    # Two pictures of one grey have no correlation, and are the same picture.
    return scale == 0 or float((a * b).sum()) / scale >= LEAST_CORRELATION


def _root(group: list[int], index: int) -> int:
    while group[index] != index:
        index = group[index]
    return index


def _join(group: list[int], one: int, other: int) -> None:
    group[_root(group, other)] = _root(group, one)
