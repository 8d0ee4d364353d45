"""Where in the lungs a score comes from: the reader's activation map over several views.

A scored `Radiograph` and its runtime enter, a `Heatmap` leaves. The reader is asked again, with
the same frame shifted by parts of a cell, from nearer by, and mirrored; the maps are averaged where
they overlap, and each side is held against the other: one map of 8 x 8 cells alone finds drawn
opacities far less often (docs/heatmaps.md). It shows where the network looked, not what is there,
and nothing here changes a score.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.images.display import display
from edge_app.images.lung_frame import Frame
from edge_app.images.radiograph import Radiograph
from edge_app.runtimes import Runtime
from edge_app.runtimes.base import Pictures
from edge_app.screening.locator import Lungs
from edge_app.screening.refusals import MIN_GREY_LEVELS

Floats = npt.NDArray[np.float64]

# Values a side; divisible by what the report keeps of them.
SIDE = 64
# Shifts in parts of a cell: thirds of it sample evenly between two centres.
_SHIFTS = (-1 / 3, 0.0, 1 / 3)
# Strided convolutions that pad at the far side only move a cell's centre towards it, by at most
# half a cell; measured on drawn opacities.
_OFFSET = 0.3
# Share of the frame that a nearer view shows, and where it begins, in the room that is left.
_NEARER, _PLACES = 0.75, (0.0, 0.5, 1.0)
# How much of the same place on the other side is taken off. Both numbers were chosen on drawn
# opacities (docs/decisions/0107).
_OTHER_SIDE = 0.5
_LONGEST_SIDE = 768


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """A picture, its lungs, and where in them the score comes from.

    Attributes:
        picture: uint8 (height, width), upright, for people; longest side 768 pixels.
        lungs: bool (height, width), their outline filled.
        frame: the part of the picture that was read.
        values: float64 (SIDE, SIDE) over the frame in raw-score units; their mean is near the
            raw score, and a value says what the score would be were the whole frame like this
            and the other side as it is on average.
        level: the upper cut-off: from here on a value alone would be suspected, and the heat
            begins; one absolute scale for all pictures.
    """

    picture: npt.NDArray[np.uint8]
    lungs: npt.NDArray[np.bool_]
    frame: Frame
    values: Floats
    level: float

    def heat(self) -> npt.NDArray[np.float32]:
        """float32 (height, width): the values on the picture; minus infinity beside the lungs."""
        height, width = self.picture.shape
        left, top, right, bottom = pixel_box(self.frame, width, height)
        values = Image.fromarray(self.values.astype(np.float32))
        part = values.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        heat = np.full((height, width), -np.inf, np.float32)
        heat[top:bottom, left:right] = np.asarray(part)
        heat[~self.lungs] = -np.inf
        return heat

    def hottest(self) -> tuple[float, float]:
        """Where the heat is greatest: x and y as fractions of the picture."""
        heat = self.heat()
        y, x = np.unravel_index(int(heat.argmax()), heat.shape)
        return (float(x) + 0.5) / heat.shape[1], (float(y) + 0.5) / heat.shape[0]


def make_heatmap(
    radiograph: Radiograph,
    lungs: Lungs | None,
    frame: Frame,
    view: Pictures,
    runtime: Runtime,
    level: float,
) -> Heatmap | None:
    """Ask the reader where its score comes from; None where it has no activation map.

    Args:
        radiograph: as it was scored.
        lungs: in it, None where the bundle finds none: then the frame counts as lung.
        frame: what was read.
        view: uint8 (1, height, width, 1), what the reader was shown.
        runtime: the bundle's networks.
        level: the upper cut-off.
    """
    values = average_views(view, runtime)
    if values is None:
        return None
    turns = 0 if lungs is None else lungs.quarter_turns
    picture = display(radiograph, turns, _LONGEST_SIDE, MIN_GREY_LEVELS)
    return Heatmap(picture, _lungs_on(picture, lungs, frame), frame, values, level)


def average_views(view: Pictures, runtime: Runtime) -> Floats | None:
    """The mean of the maps of all views, each side against the other: (SIDE, SIDE) of the frame."""
    shifted = shifted_views(view, runtime)
    if shifted is None:
        return None
    values = (shifted + nearer_views(view, runtime)) / 2
    other: Floats = values[:, ::-1]
    compared: Floats = values - _OTHER_SIDE * (other - other.mean())
    return compared


def shifted_views(view: Pictures, runtime: Runtime) -> Floats | None:
    """The mean of 18 maps, of the frame shifted by parts of a cell and mirrored."""
    first = runtime.run(view).activation_map
    if first is None:
        return None
    total = np.zeros((SIDE, SIDE))
    for mirrored, down, right in product((False, True), _SHIFTS, _SHIFTS):
        pixels = view[0, :, ::-1, 0] if mirrored else view[0, :, :, 0]
        dy = round(down * pixels.shape[0] / first.shape[0])
        dx = round(right * pixels.shape[1] / first.shape[1])
        grid = runtime.run(_shifted(pixels, dy, dx)).activation_map
        assert grid is not None
        seen = spread(grid, dy / pixels.shape[0], dx / pixels.shape[1])
        total += seen[:, ::-1] if mirrored else seen
    return total / (2 * len(_SHIFTS) ** 2)


def nearer_views(view: Pictures, runtime: Runtime) -> Floats:
    """The mean of 18 maps of parts of the frame, mirrored too, each most sure in its middle."""
    picture, side = Image.fromarray(view[0, :, :, 0]), round(_NEARER * SIDE)
    total, weights = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    bell = np.hanning(side + 2)[1:-1]
    weight = np.outer(bell, bell) + 0.05
    for down, right in product(_PLACES, _PLACES):
        top, left = down * (1 - _NEARER), right * (1 - _NEARER)
        wide, high = picture.size
        box = (left * wide, top * high, (left + _NEARER) * wide, (top + _NEARER) * high)
        part = np.asarray(picture.resize(picture.size, Image.Resampling.BILINEAR, box))
        y, x = round(top * SIDE), round(left * SIDE)
        total[y : y + side, x : x + side] += weight * _both_ways(part, side, runtime)
        weights[y : y + side, x : x + side] += weight
    return total / weights


def _both_ways(pixels: npt.NDArray[np.uint8], side: int, runtime: Runtime) -> Floats:
    """The mean map of a view and its mirror image: (side, side)."""
    total = np.zeros((side, side))
    for step in (1, -1):
        seen = np.ascontiguousarray(pixels[:, ::step])[np.newaxis, :, :, np.newaxis]
        grid = runtime.run(seen).activation_map
        assert grid is not None
        values = Image.fromarray(spread(grid)[:, ::step].astype(np.float32))
        total += np.asarray(values.resize((side, side), Image.Resampling.BILINEAR))
    return total / 2


def spread(
    grid: npt.NDArray[np.float32], down: float = 0.0, right: float = 0.0, offset: float = _OFFSET
) -> Floats:
    """A map of a view shifted by fractions of its sides, over the frame: (SIDE, SIDE).

    Linear between the centres of the cells, the edge continued.
    """
    rows, columns = grid.shape
    spread_rows = _between(rows, down, offset) @ grid.astype(np.float64)
    values: Floats = spread_rows @ _between(columns, right, offset).T
    return values


def pixel_box(frame: Frame, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a frame in whole pixels of a picture; at least one."""
    left, top = int(frame.left * width), int(frame.top * height)
    right, bottom = round(frame.right * width), round(frame.bottom * height)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _between(cells: int, shift: float, offset: float) -> Floats:
    """(SIDE, cells): weights of the cells for each place along one side of the frame."""
    places = ((np.arange(SIDE) + 0.5) / SIDE - shift) * cells - 0.5 - offset
    places = np.clip(places, 0, cells - 1)
    below = np.minimum(places.astype(int), cells - 1)
    above = np.minimum(below + 1, cells - 1)
    weights = np.zeros((SIDE, cells))
    weights[np.arange(SIDE), below] = 1 - (places - below)
    weights[np.arange(SIDE), above] += places - below
    return weights


def _shifted(pixels: npt.NDArray[np.uint8], dy: int, dx: int) -> Pictures:
    """The picture seen from further down and right, its edges continued: (1, height, width, 1)."""
    height, width = pixels.shape
    rows = np.clip(np.arange(height) + dy, 0, height - 1)
    columns = np.clip(np.arange(width) + dx, 0, width - 1)
    return np.ascontiguousarray(pixels[rows][:, columns])[np.newaxis, :, :, np.newaxis]


def _lungs_on(
    picture: npt.NDArray[np.uint8], lungs: Lungs | None, frame: Frame
) -> npt.NDArray[np.bool_]:
    height, width = picture.shape
    if lungs is None:
        left, top, right, bottom = pixel_box(frame, width, height)
        inside = np.zeros((height, width), np.bool_)
        inside[top:bottom, left:right] = True
        return inside
    mask = Image.fromarray(lungs.mask.astype(np.float32))
    smooth = mask.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(smooth) >= 0.5
