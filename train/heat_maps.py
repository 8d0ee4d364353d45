"""Ways to tell where in the lungs a score comes from, side by side: what ships, and its rivals.

A scored picture enters each of them, (SIDE, SIDE) values over the reader's frame leave; only their
order within the frame is compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edge_app.images.radiograph import Radiograph
from edge_app.runtimes import Runtime
from edge_app.screening.heatmap import SIDE, Heatmap, shifted_views, spread
from edge_app.screening.screener import Screener, ScreeningResult
from train.checkpoint import Checkpoint, load_network

if TYPE_CHECKING:
    import keras

Floats = npt.NDArray[np.float64]
View = npt.NDArray[np.uint8]

# A soft patch of a seventh of the frame, at 10 x 10 places: one pneumonic segment at a time.
_PLACES, _PATCH = 10, 1 / 14


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A scored picture as the maps need it.

    Attributes:
        result: with its heatmap.
        runtime: that scored it.
    """

    result: ScreeningResult
    runtime: Runtime

    @property
    def view(self) -> View:
        """uint8 (1, height, width, 1), what the reader was shown."""
        assert self.result.seen is not None
        return self.result.seen

    @property
    def heatmap(self) -> Heatmap:
        """What ships."""
        assert self.result.heatmap is not None
        return self.result.heatmap

    @property
    def grid(self) -> npt.NDArray[np.float32]:
        """The activation map of the one view that was scored."""
        assert self.result.activation_map is not None
        return self.result.activation_map


Method = Callable[[Looked], Floats]


def look(screener: Screener, radiograph: Radiograph) -> Looked | None:
    """Score a picture, None where it is refused."""
    result = screener.score(radiograph, heatmap=True)
    if result.heatmap is None:
        return None
    return Looked(result, screener.runtime)


def shipped(looked: Looked) -> Floats:
    """36 views averaged, each side against the other (edge_app.screening.heatmap)."""
    return looked.heatmap.values


def shifted(looked: Looked) -> Floats:
    """18 views, shifted and mirrored, as they are: what shipped before."""
    values = shifted_views(looked.view, looked.runtime)
    assert values is not None
    return values


def one_view(looked: Looked) -> Floats:
    """One activation map, its cells taken to stand in the middle of what they cover."""
    return spread(looked.grid, offset=0.0)


def less_healthy(mean: npt.NDArray[np.float32]) -> Method:
    """One activation map less the mean one of healthy lungs."""
    return lambda looked: spread(looked.grid - mean)


def occlusion(looked: Looked) -> Floats:
    """How much the score falls where a soft patch is painted in the view's mean grey."""
    pixels = looked.view[0, :, :, 0].astype(np.float64)
    height, width = pixels.shape
    grey, score = pixels.mean(), looked.runtime.run(looked.view).logit
    y, x = np.mgrid[:height, :width]
    total, weights = np.zeros(pixels.shape), np.full(pixels.shape, 1e-9)
    for place in range(_PLACES**2):
        row, column = divmod(place, _PLACES)
        dy = (y / height - (row + 0.5) / _PLACES) / _PATCH
        dx = (x / width - (column + 0.5) / _PLACES) / _PATCH
        patch = np.exp(-(dy**2 + dx**2) / 2)
        painted = np.rint(pixels * (1 - patch) + grey * patch).astype(np.uint8)
        fall = score - looked.runtime.run(painted[np.newaxis, :, :, np.newaxis]).logit
        total += fall * patch
        weights += patch
    return _resized(total / weights)


def edge_methods(mean: npt.NDArray[np.float32]) -> Mapping[str, Method]:
    """What needs no weights, by name; what ships is the first."""
    return {
        "36 views, sides compared (ships)": shipped,
        "18 shifted views": shifted,
        "one view": one_view,
        "one view less the healthy mean": less_healthy(mean),
        "occlusion, 100 patches": occlusion,
    }


class GradCam:
    """Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) of a checkpoint, at two depths.

    At the last features the logit is a mean of a 1 x 1 convolution, so the gradient is that
    convolution's weights over the number of cells: Grad-CAM is the activation map itself, scaled.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._network = load_network(checkpoint)

    def methods(self) -> Mapping[str, Method]:
        """At the last features, and at the last that are twice as fine."""
        last = self._features(1)
        return {
            "Grad-CAM, last features": lambda looked: self._map(looked, last),
            "Grad-CAM, features twice as fine": lambda looked: self._map(looked, self._features(2)),
        }

    def _features(self, finer: int) -> "keras.KerasTensor":
        """The last layer before the map whose cells are so many times as fine."""
        before = []
        for layer in self._network.layers:
            if layer.name == "activation_map":
                break
            before.append(layer.output)
        rows = self._network.get_layer("activation_map").output.shape[1]
        return next(o for o in reversed(before) if len(o.shape) == 4 and o.shape[1] == finer * rows)

    def _map(self, looked: Looked, features: "keras.KerasTensor") -> Floats:
        import keras
        import tensorflow as tf

        model = keras.Model(self._network.inputs, [features, self._network.output["logit"]])
        with tf.GradientTape() as tape:
            seen, logit = model(looked.view, training=False)
            gradient = tape.gradient(logit, seen)
        if gradient is None:
            raise RuntimeError("no gradient at these features")
        weights = np.asarray(gradient).mean(axis=(0, 1, 2))
        grid = (np.asarray(seen)[0] * weights).sum(axis=-1)
        return spread(np.maximum(grid, 0).astype(np.float32))


def _resized(values: Floats) -> Floats:
    image = Image.fromarray(values.astype(np.float32))
    resized: Floats = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64)
    return resized


def blurred(view: View) -> View:
    """The view without its details, in which a part of it may be put out of sight."""
    image = Image.fromarray(view[0, :, :, 0])
    return np.asarray(image.filter(ImageFilter.GaussianBlur(image.width / 10)))[None, :, :, None]
