"""Golden inputs: pictures with the raw scores that a bundle's models must give on any CPU.

Drawn phantoms, so that nobody's picture ships, and two network inputs without a chest, so that
the self-test sees more than one region of the network. Pictures go through the preprocessing as
a clinic's do.
"""

import io

import numpy as np
import numpy.typing as npt

from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import PreprocessSpec

# int8 kernels round differently on x86-64 and aarch64, in XNNPACK and in TFLite's own; a wrong
# file, a wrong preprocessing or a broken kernel moves a logit by whole units.
TOLERANCE = 0.4
# Of the gate's distance, which is counted in deviations; a wrong file moves it by tens.
DISTANCE_TOLERANCE = 1.0

Array = npt.NDArray[np.uint8]


def golden_arrays(spec: PreprocessSpec) -> dict[str, Array]:
    """File name in the bundle to array: pictures (h, w) and network inputs (1, h, w, 1), uint8."""
    arrays: dict[str, Array] = {}
    for index, opacity in enumerate((0.0, 0.0, 0.4, 0.7, 1.0)):
        phantom = Phantom(seed=100 + index, opacity=opacity, side="left" if index % 2 else "right")
        height, width = 240 + 8 * index, 280 - 8 * index
        arrays[f"golden/phantom_{index:02}.npy"] = np.asarray(
            draw_phantom(phantom, height, width), np.uint8
        )
    arrays["golden/phantom_striped.npy"] = _striped()
    y, x = np.mgrid[0 : spec.height, 0 : spec.width]
    checks = (((x // 16 + y // 16) % 2) * 160 + x * 95 // spec.width).astype(np.uint8)
    ramp = (255 * y // (spec.height - 1)).astype(np.uint8)
    arrays["golden/input_checks.npy"] = checks[np.newaxis, :, :, np.newaxis]
    arrays["golden/input_ramp.npy"] = ramp[np.newaxis, :, :, np.newaxis]
    return arrays


def _striped() -> Array:
    """A phantom under stripes one pixel wide: what a filter leaves of them is its own.

    On smooth pictures filters differ by less than kernels on other processors do; here each of
    Pillow's moves the raw score by more than the tolerance (tests/test_default_bundle.py). The seed
    is one of those where kernels agree (XNNPACK's and TFLite's own differ by 0.06): at some, the
    lungs' box lies between two places, and 0.7 is no sign of a broken machine.
    """
    phantom = np.asarray(draw_phantom(Phantom(seed=123, opacity=0.4), 240, 280), np.int64)
    stripes = 80 * (2 * (np.arange(280) % 2) - 1)
    return np.asarray(np.clip(phantom + stripes, 0, 255), np.uint8)


def to_npy(array: Array) -> bytes:
    """The bytes of a `.npy` file, version 1.0: the same for the same array."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
