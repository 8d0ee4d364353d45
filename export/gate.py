"""Fit the input gate of one model file: means and directions, limit, usual ranges of quality.

Training pictures fit what a chest film looks like to the gate, validation pictures say from where
on one is out. Chest films alone enter: no picture that must be refused chooses a number, so none
of these can be learnt by heart. Rounded, so that another machine's last bits give the same bytes.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import GateFit, GatePart
from edge_app.images.lung_grid import lungs_in_box
from edge_app.screening.gate import PARTS, Direction, Gate, gate_features, likeness
from edge_app.screening.quality import MEASURES, measure_quality
from edge_app.statistics.observations import patient_weights
from export.looks import View, upright
from export.scores import Array

# How many directions of the training pictures' variation are known, by part. More of the frame's
# would describe lateral views and CT slices too; more of the others' are noise.
DIRECTIONS = {"lungs": 64, "frame": 8, "embedding": 128}
# Share of the validation pictures, of those whose lungs were found, that the limit refuses; each
# patient counts once over all forms.
MOST_REFUSED = 0.0025
# A measure of quality is usual within these shares of the validation pictures.
USUAL = (0.01, 0.99)
_NEGATIVES = 0.001  # share of the pictures whose negative is not told as such at half its likeness
_DIGITS = 4

Floats = npt.NDArray[np.float32]
Features = Mapping[str, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the looks made of one picture that they did not refuse."""

    features: Features
    measures: Mapping[str, float]


def describe(
    pictures: Sequence[npt.NDArray[np.generic]],
    views: Sequence[View],
    inputs: npt.NDArray[np.uint8],
    embeddings: Array,
) -> list[Seen | None]:
    """What the gate compares of each picture; None of those that the first look refused."""
    rows = zip(pictures, views, inputs, embeddings, strict=True)
    return [_describe(*row) for row in rows]


def _describe(
    pixels: npt.NDArray[np.generic], view: View, seen: npt.NDArray[np.uint8], embedding: Array
) -> Seen | None:
    if view.reason is not None or view.box is None or view.lungs is None:
        return None
    features = gate_features(view.lungs, view.box, seen[np.newaxis], embedding)
    shape = lungs_in_box(view.lungs, view.box)
    size = upright(pixels, view.turns).shape
    return Seen(features, measure_quality(shape, view.box, seen[np.newaxis], size))


def fit_gate(
    training: Sequence[Seen],
    validation: Sequence[Seen],
    patients: npt.NDArray[np.str_],
    model_sha256: str,
    file: str,
) -> tuple[Gate, bytes]:
    """The gate of one model file, and the bytes of its file.

    Args:
        training: pictures that say what is usual.
        validation: those that say how unusual a chest film may be.
        patients: (n,) of the validation pictures.
        model_sha256: of the reader's file.
        file: name of the gate's file in the bundle.
    """
    parts = {name: _directions(_column(training, name), name) for name in PARTS}
    held_out = {name: _column(validation, name) for name in PARTS}
    logs = {name: _log_distances(parts[name], held_out[name]) for name in PARTS}
    described = {
        name: GatePart(
            values=len(parts[name].mean),
            directions=len(parts[name].directions),
            center=round(float(logs[name].mean()), _DIGITS),
            spread=round(max(float(logs[name].std()), 10.0**-_DIGITS), _DIGITS),
        )
        for name in PARTS
    }
    weights = patient_weights(patients)
    alike = [likeness(frame, parts["frame"].mean) for frame in held_out["frame"]]
    fit = GateFit(
        model_sha256=model_sha256,
        file=file,
        parts=described,
        most_distance=0.0,
        inverted_below=round(-float(np.quantile(alike, _NEGATIVES)) / 2, 2),
        usual=_usual(validation),
    )
    distances = np.array([Gate(fit, parts).distance(seen.features) for seen in validation])
    limit = _limit(distances, weights)
    fit = GateFit(fit.model_sha256, fit.file, fit.parts, limit, fit.inverted_below, fit.usual)
    numbers = np.concatenate([parts[name].to_array() for name in PARTS])
    return Gate(fit, parts), _to_npy(numbers)


def answered(gate: Gate | None, seen: Iterable[Seen | None]) -> npt.NDArray[np.bool_]:
    """(n,) whether the edge answers for a picture: the looks and the gate let it pass."""
    return np.array([one is not None and _passes(gate, one) for one in seen], np.bool_)


def _passes(gate: Gate | None, seen: Seen) -> bool:
    if gate is None:
        return True
    return gate.distance(seen.features) <= gate.fit.most_distance


def _column(seen: Sequence[Seen], name: str) -> Floats:
    return np.stack([one.features[name] for one in seen])


def _directions(values: Floats, name: str) -> Direction:
    """Mean and leading directions of (m, n) values by their covariance."""
    precise = values.astype(np.float64)
    mean = precise.mean(axis=0)
    variances, vectors = np.linalg.eigh(np.cov((precise - mean).T))
    k = min(DIRECTIONS[name], len(mean) // 2)
    leading, variance = vectors[:, ::-1][:, :k].T, np.maximum(variances[::-1], 0)
    # A direction's sign means nothing, and libraries differ in it.
    largest = leading[np.arange(k), np.abs(leading).argmax(axis=1)]
    leading = np.round(leading * np.sign(largest)[:, np.newaxis], _DIGITS)
    if name == "frame":
        weights, rest = -np.ones(k), 1.0
    else:
        least = 1e-6 * max(float(variance.sum()), 1e-6)
        noise = max(float(variance[k:].mean()), least)
        weights, rest = 1 / np.maximum(variance[:k], least) - 1 / noise, 1 / noise
    return Direction(
        mean=np.round(mean, _DIGITS).astype(np.float32),
        directions=leading.astype(np.float32),
        weights=_significant(weights),
        rest=float(_significant(np.array([rest]))[0]),
    )


def _significant(values: npt.NDArray[np.float64]) -> Floats:
    """Four digits each, whatever their size."""
    return np.array([float(f"{value:.4g}") for value in values], np.float32)


def _log_distances(part: Direction, values: Floats) -> npt.NDArray[np.float64]:
    return np.log(np.maximum([part.distance(row) for row in values], 1e-9))


def _limit(distances: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    """The distance beyond which at most `MOST_REFUSED` of the patients' weight lies."""
    order = np.argsort(-distances)
    beyond = np.cumsum(weights[order]) / weights.sum()
    first_kept = int(np.searchsorted(beyond, MOST_REFUSED, side="right"))
    limit = float(distances[order][min(first_kept, len(order) - 1)])
    return round(limit + 0.0005, 3)


def _usual(seen: Sequence[Seen]) -> dict[str, tuple[float, float]]:
    columns = {name: [one.measures[name] for one in seen] for name in MEASURES}
    return {
        name: tuple(round(float(v), _DIGITS) for v in np.quantile(values, USUAL))  # type: ignore[misc]
        for name, values in columns.items()
    }


def _to_npy(numbers: Floats) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, numbers, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
