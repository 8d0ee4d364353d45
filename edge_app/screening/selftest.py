"""Does this CPU give the scores that the bundle promises? Its golden inputs tell.

A golden input is a `.npy` array: a radiograph (height, width) uint8 or uint16, which goes through
locator and preprocessing too, or a ready input of the reader, uint8 (1, height, width, 1).
"""

import math
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import Bundle, GoldenCase, require_known_gate
from edge_app.errors import BundleFormatError, SelfTestError
from edge_app.images.preprocess import preprocess
from edge_app.runtimes import Runtime
from edge_app.screening.locator import frame_of

_MOST_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class SelfTestCase:
    """One golden input: the raw score that it must give, and the one that it gave."""

    file: str
    expected: float
    found: float

    @property
    def difference(self) -> float:
        """|found - expected| in raw-score units."""
        return abs(self.found - self.expected)


def run_self_test(bundle: Bundle, runtime: Runtime) -> tuple[SelfTestCase, ...]:
    """Run every golden input of a bundle.

    Raises:
        SelfTestError: a raw score differs by more than the bundle's tolerance, or there is no
            golden input to tell by.
        BundleFormatError: a golden input is no array of a shape that fits, or the bundle asks
            for an input gate that this version does not know.
    """
    require_known_gate(bundle)
    if not bundle.manifest.golden.cases:
        raise SelfTestError(f"{bundle.folder}: holds no golden input, so nothing can be tested")
    cases = tuple(_run_case(bundle, runtime, case) for case in bundle.manifest.golden.cases)
    tolerance = bundle.manifest.golden.tolerance
    wrong = [case for case in cases if not case.difference <= tolerance]
    if wrong:
        worst = max(wrong, key=lambda case: case.difference)
        raise SelfTestError(
            f"{bundle.folder}: {len(wrong)} of {len(cases)} golden inputs gave other scores with "
            f"{runtime.name} {runtime.version} than promised; {worst.file}: {worst.found:.3f} "
            f"instead of {worst.expected:.3f} (tolerance {tolerance:g}). Do not use this bundle "
            "on this machine"
        )
    return cases


def _run_case(bundle: Bundle, runtime: Runtime, case: GoldenCase) -> SelfTestCase:
    batch = _network_input(bundle, runtime, case.file)
    return SelfTestCase(
        file=case.file,
        expected=case.logits[runtime.model.sha256],
        found=runtime.run(batch).logit,
    )


def _network_input(bundle: Bundle, runtime: Runtime, file: str) -> npt.NDArray[np.uint8]:
    manifest = bundle.manifest
    try:
        with bundle.path(file).open("rb") as stream:
            array = _read_array(stream, manifest.input.shape)
    except Exception as error:  # numpy reads a header with Python's parser, which raises anything
        raise BundleFormatError(f"{bundle.folder}: {file} is no golden input: {error}") from error
    if array.ndim != 2:
        return array
    frame = None if manifest.locator is None else frame_of(array, runtime, manifest.locator)
    return preprocess(array, manifest.preprocess, frame)


def _read_array(stream: BinaryIO, network_input: tuple[int, ...]) -> npt.NDArray[Any]:
    """Read a `.npy` file whose header fits before anything else of it is read.

    `numpy.load` would also open pickles and ZIP archives, and make room for whatever a header asks.

    Raises:
        ValueError: a version, kind or shape that no golden input has, or another length.
    """
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"format version {version}")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    is_picture = len(shape) == 2 and dtype in (np.uint8, np.uint16)
    if not is_picture and (shape != network_input or dtype != np.uint8):
        raise ValueError(f"{dtype} {list(shape)}")
    n_bytes = math.prod(shape) * dtype.itemsize
    content = stream.read(min(n_bytes, _MOST_BYTES) + 1) if min(shape) > 0 else b""
    if not content or len(content) != n_bytes:
        raise ValueError(f"its length is not that of {dtype} {list(shape)}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
