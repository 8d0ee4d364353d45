"""A `.npy` file whose header fits before anything else of it is read.

`numpy.load` would also open pickles and ZIP archives, and make room for whatever a header asks.
"""

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_MOST_BYTES = 1 << 26


def read_array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The array of a file that must hold this shape and type.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, or holds another array.
    """
    with path.open("rb") as stream:
        found, fortran_order, kind = read_header(stream)
        if found != shape or kind != dtype:
            raise ValueError(f"{kind} {list(found)} instead of {dtype} {list(shape)}")
        return read_values(stream, found, fortran_order, kind)


def read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and type.

    Raises:
        ValueError: another version than 1.0, or no header (numpy's parser may raise anything).
    """
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"format version {version}")
    return np.lib.format.read_array_header_1_0(stream)


def read_values(
    stream: BinaryIO, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """What follows a header, exactly.

    Raises:
        ValueError: its length is another, or more than 64 MB.
    """
    n_bytes = math.prod(shape) * dtype.itemsize
    content = stream.read(min(n_bytes, _MOST_BYTES) + 1) if shape and min(shape) > 0 else b""
    if not content or len(content) != n_bytes:
        raise ValueError(f"its length is not that of {dtype} {list(shape)}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
