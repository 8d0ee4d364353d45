"""Does this CPU give the scores that the bundle promises? Its golden inputs tell.

A golden input is a `.npy` array: a radiograph (height, width) uint8 or uint16, which goes through
the preprocessing too, or a ready network input uint8 (1, height, width, 1).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_app.bundle import Bundle, GoldenCase
from edge_app.errors import BundleFormatError, SelfTestError
from edge_app.preprocess import preprocess
from edge_app.runtimes import Runtime


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
        SelfTestError: a raw score differs by more than the bundle's tolerance.
        BundleFormatError: a golden input is no array of a shape that fits.
    """
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
    batch = _network_input(bundle, case.file)
    return SelfTestCase(
        file=case.file,
        expected=case.logits[runtime.model.sha256],
        found=runtime.run(batch).logit,
    )


def _network_input(bundle: Bundle, file: str) -> npt.NDArray[np.uint8]:
    try:
        array: npt.NDArray[Any] = np.load(bundle.path(file), allow_pickle=False)
        if array.ndim == 2:
            return preprocess(array, bundle.manifest.preprocess)
    except (ValueError, EOFError) as error:
        raise BundleFormatError(f"{bundle.folder}: {file} is no golden input: {error}") from error
    if array.shape != bundle.manifest.input.shape or array.dtype != np.uint8:
        raise BundleFormatError(
            f"{bundle.folder}: {file} is {array.dtype} {list(array.shape)}, no golden input"
        )
    return array
