"""The input gate: is this a frontal chest film of the kind that the model was validated on?

What both looks made of one picture enters (the locator's map in its box, the frame that the reader
saw, the reader's embedding), a distance from the training pictures leaves. Each of the three is
compared with the mean and the main directions of variation of the training pictures; how far it
lies out is counted in standard deviations of the logarithm, and only what lies out counts. The
residual from main directions is that of Wang H et al. ViM: out-of-distribution with virtual-logit
matching. CVPR 2022, without the logit; the weighted one is Mahalanobis's distance as of Lee K et
al. A simple unified framework for detecting out-of-distribution samples. NeurIPS 2018, with one
class, since both classes are chests. Every number comes from the bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import Bundle, GateFit, ModelFile
from edge_app.errors import BundleFormatError
from edge_app.files.arrays import read_array
from edge_app.images.lung_box import LungBox
from edge_app.images.lung_grid import GRID, lungs_in_box
from edge_app.runtimes.base import Floats
from edge_app.screening.quality import MEASURES

PARTS = ("lungs", "frame", "embedding")
_LEAST_DISTANCE = 1e-9  # of which there is still a logarithm
_LEAST_LEFT = 0.01  # twenty times the rounding of a weight

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """Mean and main directions of one part, and how a distance is made of them.

    Attributes:
        mean: (n,).
        directions: (k, n), orthonormal.
        weights: (k,), of the squared shares along them.
        rest: of the squared length; so a distance is rest |d|^2 + sum of weights (u d)^2.
    """

    mean: Floats
    directions: Floats
    weights: Floats
    rest: float

    def distance(self, values: Floats) -> float:
        """How far values (n,) lie from the mean."""
        off = values - self.mean
        along = self.directions @ off
        return float(self.rest * (off @ off) + self.weights @ (along * along))

    def patterns(self, values: Floats) -> Floats:
        """(k,) shares along the directions, in the training pictures' standard deviations.

        NaN along those whose variation does not follow from the weights: these are stored to four
        digits, and of two numbers that nearly cancel nothing is left of them.
        """
        inverse = self.weights + self.rest
        known = inverse > _LEAST_LEFT * np.abs(self.weights)
        along = self.directions @ (values - self.mean)
        scale = np.sqrt(np.where(known, inverse, np.nan))
        return np.asarray(along * scale, np.float32)

    def to_array(self) -> Floats:
        """All numbers in a row: (n + k n + k + 1,) float32."""
        parts = (self.mean, self.directions.ravel(), self.weights, [self.rest])
        return np.concatenate([np.asarray(part, np.float32) for part in parts])


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """The gate of one model file."""

    fit: GateFit
    parts: Mapping[str, Direction]

    def distance(self, features: Mapping[str, Floats]) -> float:
        """From the training pictures: 0 is amidst them, the bundle says from where on it is out."""
        return joined(self.deviations(features))

    def deviations(self, features: Mapping[str, Floats]) -> dict[str, float]:
        """Of every part; see `deviation`."""
        return {name: self.deviation(name, features[name]) for name in PARTS}

    def deviation(self, name: str, values: Floats) -> float:
        """Of one part, in standard deviations of the logarithm of its distance."""
        part = self.fit.parts[name]
        distance = max(self.parts[name].distance(values), _LEAST_DISTANCE)
        return (float(np.log(distance)) - part.center) / part.spread

    def is_inverted(self, features: Mapping[str, Floats]) -> bool:
        """Whether lungs are bright and the rest is dark: a photographic negative."""
        return likeness(features["frame"], self.parts["frame"].mean) < self.fit.inverted_below


def gate_features(
    lungs: Floats, box: LungBox | None, seen: Grey, embedding: Floats
) -> dict[str, Floats]:
    """What the gate compares.

    Args:
        lungs: (rows, columns) logits, the locator's map.
        box: of the lungs in it, None for the whole picture.
        seen: uint8 (1, height, width, 1), what the reader was shown.
        embedding: (d,) of the reader.

    Returns:
        float32 by part: "lungs" and "frame" of `GRID` x `GRID` cells, "embedding" (d,).
    """
    return {
        "lungs": lungs_in_box(lungs, box).ravel(),
        "frame": _standardised(seen[0, :, :, 0]),
        "embedding": np.asarray(embedding, np.float32),
    }


def joined(deviations: Mapping[str, float]) -> float:
    """The distance that the deviations of the parts make: only what lies out counts."""
    return sum(max(0.0, deviation) for deviation in deviations.values())


def likeness(frame: Floats, mean: Floats) -> float:
    """Correlation of a standardised frame with the training pictures' mean one, -1 to 1."""
    length = float(np.linalg.norm(frame) * np.linalg.norm(mean))
    return float(frame @ mean) / length if length > 0 else 0.0


def open_gate(bundle: Bundle, model: ModelFile) -> Gate | None:
    """The gate of a model file, None where the bundle has none.

    Raises:
        BundleFormatError: its numbers are not those that the bundle promises.
    """
    if bundle.manifest.input_gate is None:
        return None
    fit = bundle.manifest.input_gate.fit_of(model)
    if set(fit.usual) != set(MEASURES):
        raise BundleFormatError(
            f"{bundle.folder}: input_gate: usual ranges of {', '.join(sorted(fit.usual))}; there "
            f"must be one of each of {', '.join(MEASURES)}"
        )
    try:
        numbers = read_array(bundle.path(fit.file), (fit.n_numbers,), np.dtype(np.float32))
        if not np.isfinite(numbers).all():
            raise ValueError("it holds what is no number")
    except (OSError, ValueError) as error:
        raise BundleFormatError(f"{bundle.folder}: {fit.file} is no gate: {error}") from error
    return Gate(fit, _parts_of(fit, numbers))


def _parts_of(fit: GateFit, numbers: Floats) -> dict[str, Direction]:
    parts, at = {}, 0
    for name in PARTS:
        n, k = fit.parts[name].values, fit.parts[name].directions
        mean, at = numbers[at : at + n], at + n
        directions, at = numbers[at : at + k * n].reshape(k, n), at + k * n
        weights, at = numbers[at : at + k], at + k
        parts[name] = Direction(mean, directions, weights, float(numbers[at]))
        at += 1
    return parts


def _standardised(seen: Grey) -> Floats:
    """Means of blocks, shifted and scaled to mean 0 and deviation 1: (`GRID` x `GRID`,)."""
    height, width = seen.shape[0] // GRID, seen.shape[1] // GRID
    blocks = seen[: GRID * height, : GRID * width].reshape(GRID, height, GRID, width)
    means = blocks.mean(axis=(1, 3), dtype=np.float32).ravel()
    spread = means.std()
    return np.asarray((means - means.mean()) / (spread if spread > 0 else 1), np.float32)
