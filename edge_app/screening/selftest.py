"""Does this CPU give the scores that the bundle promises? Its golden inputs tell.

A golden input is a `.npy` array: a radiograph (height, width) uint8 or uint16, which goes through
locator and preprocessing too, or a ready input of the reader, uint8 (1, height, width, 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import Bundle, GoldenCase
from edge_app.errors import BundleFormatError, SelfTestError
from edge_app.files.arrays import read_header, read_values
from edge_app.images.preprocess import preprocess
from edge_app.runtimes import Runtime
from edge_app.screening.gate import Gate, gate_features, open_gate
from edge_app.screening.locator import Found, find_anyway


@dataclass(frozen=True, slots=True)
class SelfTestCase:
    """One golden input: the raw score that it must give, and the one that it gave.

    `expected_distance` and `found_distance` are the input gate's, None where there is none.
    """

    file: str
    expected: float
    found: float
    expected_distance: float | None = None
    found_distance: float | None = None

    @property
    def difference(self) -> float:
        """|found - expected| in raw-score units."""
        return abs(self.found - self.expected)

    @property
    def gate_difference(self) -> float:
        """|found - expected| of the gate's distance, 0 where there is none."""
        if self.expected_distance is None or self.found_distance is None:
            return 0.0
        return abs(self.found_distance - self.expected_distance)


def run_self_test(bundle: Bundle, runtime: Runtime) -> tuple[SelfTestCase, ...]:
    """Run every golden input of a bundle.

    Raises:
        SelfTestError: a raw score differs by more than the bundle's tolerance, or there is no
            golden input to tell by.
        BundleFormatError: a golden input is no array of a shape that fits, or the gate's file
            is not what the bundle promises.
    """
    if not bundle.manifest.golden.cases:
        raise SelfTestError(f"{bundle.folder}: holds no golden input, so nothing can be tested")
    gate = open_gate(bundle, runtime.model)
    cases = tuple(_run_case(bundle, runtime, gate, case) for case in bundle.manifest.golden.cases)
    golden = bundle.manifest.golden
    _require_small(bundle, runtime, cases, golden.tolerance, "scores", lambda c: c.difference)
    allowed = golden.distance_tolerance
    _require_small(bundle, runtime, cases, allowed, "distances", lambda c: c.gate_difference)
    return cases


def _require_small(
    bundle: Bundle,
    runtime: Runtime,
    cases: tuple[SelfTestCase, ...],
    tolerance: float,
    what: str,
    difference: Callable[[SelfTestCase], float],
) -> None:
    wrong = [case for case in cases if not difference(case) <= tolerance]
    if not wrong:
        return
    worst = max(wrong, key=difference)
    found, expected = (
        (worst.found, worst.expected)
        if what == "scores"
        else (worst.found_distance or 0.0, worst.expected_distance or 0.0)
    )
    raise SelfTestError(
        f"{bundle.folder}: {len(wrong)} of {len(cases)} golden inputs gave other {what} with "
        f"{runtime.name} {runtime.version} than promised; {worst.file}: {found:.3f} "
        f"instead of {expected:.3f} (tolerance {tolerance:g}). Do not use this bundle "
        "on this machine"
    )


def _run_case(
    bundle: Bundle, runtime: Runtime, gate: Gate | None, case: GoldenCase
) -> SelfTestCase:
    array, manifest = _array(bundle, case.file), bundle.manifest
    sha256 = runtime.model.sha256
    if array.ndim != 2:
        return SelfTestCase(case.file, case.logits[sha256], runtime.run(array).logit)
    found = None
    if manifest.locator is not None:
        found = find_anyway(array, runtime, manifest.locator)
    seen = preprocess(array, manifest.preprocess, None if found is None else found.frame)
    outputs = runtime.run(seen)
    return SelfTestCase(
        file=case.file,
        expected=case.logits[sha256],
        found=outputs.logit,
        expected_distance=case.distances.get(sha256),
        found_distance=_distance(gate, found, seen, outputs.embedding),
    )


def _distance(
    gate: Gate | None,
    found: Found | None,
    seen: npt.NDArray[np.uint8],
    embedding: npt.NDArray[np.float32] | None,
) -> float | None:
    if gate is None or found is None or embedding is None:
        return None
    return gate.distance(gate_features(found.logits, found.box, seen, embedding))


def _array(bundle: Bundle, file: str) -> npt.NDArray[Any]:
    try:
        with bundle.path(file).open("rb") as stream:
            return _read_array(stream, bundle.manifest.input.shape)
    except Exception as error:  # numpy reads a header with Python's parser, which raises anything
        raise BundleFormatError(f"{bundle.folder}: {file} is no golden input: {error}") from error


def _read_array(stream: BinaryIO, network_input: tuple[int, ...]) -> npt.NDArray[Any]:
    shape, fortran_order, dtype = read_header(stream)
    is_picture = len(shape) == 2 and dtype in (np.uint8, np.uint16)
    if not is_picture and (shape != network_input or dtype != np.uint8):
        raise ValueError(f"{dtype} {list(shape)}")
    return read_values(stream, shape, fortran_order, dtype)
