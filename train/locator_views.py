"""Random views of a picture for the locator: framed, turned, clouded and degraded, with the truth.

A picture with its outline enters; a `View` leaves: the picture as some other place would have
framed it, and what the locator is to say about it. Margins of any content, cuts into the lungs,
turns by quarter circles, and lungs painted white are drawn alike for every picture, whoever
filmed it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from train.degrade import DegradeSpec, check_probabilities, degrade_only
from train.outlines import Mask

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FRONTAL, LATERAL, NONE = 0, 1, 2
# How far beyond the picture a frame may reach, as a fraction of the picture's side.
_PADDING = 0.45
# Lungs count as cut off where more than this share of their extent lies beyond an edge; where it
# is less, but some, the truth is open.
_CUT = 0.05
# A stored picture's own edge cuts lungs where the outline runs along it for this share of a side.
_RUN = 0.15
_BEFORE_RESIZING = (128, 256)


@dataclass(frozen=True, slots=True)
class LocateSpec:
    """How the locator's training pictures are varied. `p_` are probabilities.

    Attributes:
        p_stored: framed as stored.
        inward, outward: farthest that a side of the frame lies inside of, or outside of, the
            lungs' box, as a fraction of the box; drawn for each side alone.
        rotation_degrees: largest turn besides quarter circles.
        p_quarter: turned by 90, 180 or 270 degrees.
        p_cloud: a part of one lung, or of both, is painted dense.
        p_composed: of all pictures, share that is a composed lateral or no chest film.
        p_inverted: grey values inverted.
    """

    p_stored: float
    inward: float
    outward: float
    rotation_degrees: float
    p_quarter: float
    p_cloud: float
    p_composed: float
    p_inverted: float

    def __post_init__(self) -> None:
        """Raises ValueError for a number outside of its domain."""
        check_probabilities(self)
        if not (0 <= self.inward < 0.5 and 0 <= self.outward <= 1):
            raise ValueError("inward must lie in [0, 0.5), outward in [0, 1]")


@dataclass(frozen=True, slots=True)
class View:
    """What the locator sees, and what is true of it.

    Attributes:
        pixels: (height, width) uint8.
        lungs: (cells, cells) share of each cell that is lung, 0 to 1; None where nobody knows.
        quarter: the picture is np.rot90(upright, quarter); None where up is not defined.
        view: FRONTAL, LATERAL or NONE.
        cut_off: at left, top, right, bottom: 0, 1, or 0.5 where it is open; None where unknown.
    """

    pixels: Picture
    lungs: Floats | None
    quarter: int | None
    view: int
    cut_off: Floats | None


def random_view(
    pixels: Picture,
    mask: Mask | None,
    neighbour: Picture,
    spec: LocateSpec,
    degrade: DegradeSpec,
    cells: int,
    rng: np.random.Generator,
) -> View:
    """One random view of a frontal chest film.

    Args:
        pixels: (height, width) uint8, bright = dense, upright.
        mask: its outline, None where nobody drew one.
        neighbour: another picture, whose content may stand in a margin.
        spec, degrade: how strongly.
        cells: side of the map of lungs.
    """
    if mask is not None and rng.random() < spec.p_cloud:
        pixels = cloud(pixels, mask, rng)
    frame = _frame(mask, spec, rng)
    angle = np.deg2rad(rng.uniform(-spec.rotation_degrees, spec.rotation_degrees))
    side = int(rng.integers(*_BEFORE_RESIZING))
    padded, pad = _pad(pixels, neighbour, rng)
    shown = _resample(padded, frame, angle, side, pad)
    lungs = cut_off = None
    if mask is not None:
        empty, mask_pad = _pad_with(mask.astype(np.uint8) * 255, "constant", 0)
        fine = _resample(empty, frame, angle, cells * 4, mask_pad)
        lungs = fine.reshape(cells, 4, cells, 4).mean((1, 3), dtype=np.float32) / 255
        cut_off = _cut_off(mask, frame, angle)
    if rng.random() < 0.5:
        shown = shown[:, ::-1]
        if lungs is not None and cut_off is not None:
            lungs, cut_off = lungs[:, ::-1], cut_off[[2, 1, 0, 3]]
    shown = degrade_only(np.ascontiguousarray(shown), degrade, rng)
    if rng.random() < spec.p_inverted:
        shown = 255 - shown
    quarter = int(rng.integers(1, 4)) if rng.random() < spec.p_quarter else 0
    if lungs is not None and cut_off is not None:
        lungs = np.ascontiguousarray(np.rot90(lungs, quarter))
        # A quarter counter-clockwise brings the right edge to the top: left <- top and so on.
        cut_off = np.roll(cut_off, -quarter)
    # Films that nobody outlined were not looked at either: some of them lie on their side.
    known = None if mask is None else quarter
    return View(np.ascontiguousarray(np.rot90(shown, quarter)), lungs, known, FRONTAL, cut_off)


def no_chest(pixels: Picture, cells: int, degrade: DegradeSpec, rng: np.random.Generator) -> View:
    """A picture of something else, cropped, turned and degraded at random."""
    height, width = pixels.shape
    tall, wide = (max(16, int(side * rng.uniform(0.5, 1))) for side in (height, width))
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    piece = np.rot90(pixels[top : top + tall, left : left + wide], int(rng.integers(4)))
    if rng.random() < 0.3:
        piece = 255 - piece
    shown = degrade_only(np.ascontiguousarray(piece), degrade, rng)
    return View(shown, np.zeros((cells, cells), np.float32), None, NONE, None)


def without_lungs(
    pixels: Picture, mask: Mask, cells: int, degrade: DegradeSpec, rng: np.random.Generator
) -> View | None:
    """A piece of a chest film that shows no lung (belly, arm, neck); None where none was hit."""
    height, width = mask.shape
    tall, wide = (int(side * rng.uniform(0.15, 0.5)) for side in (height, width))
    for _ in range(20):
        top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
        if mask[top : top + tall, left : left + wide].mean() < 0.02:
            scale = np.array(pixels.shape) / mask.shape
            rows = (np.array([top, top + tall]) * scale[0]).astype(int)
            columns = (np.array([left, left + wide]) * scale[1]).astype(int)
            piece = pixels[rows[0] : rows[1], columns[0] : columns[1]]
            piece = np.ascontiguousarray(np.rot90(piece, int(rng.integers(4))))
            shown = degrade_only(piece, degrade, rng)
            return View(shown, np.zeros((cells, cells), np.float32), None, NONE, None)
    return None


def drawn_nothing(cells: int, degrade: DegradeSpec, rng: np.random.Generator) -> View:
    """Something that was never a body: smooth noise, a ramp, stripes, shapes."""
    y, x = np.mgrid[0:1:128j, 0:1:128j].astype(np.float32)
    kind = int(rng.integers(4))
    if kind == 0:  # clouds of a random coarseness
        small = rng.uniform(0, 255, (int(rng.integers(2, 64)),) * 2).astype(np.uint8)
        image = Image.fromarray(small, mode="L").resize((128, 128), Image.Resampling.BICUBIC)
        values = np.asarray(image, np.float32)
    elif kind == 1:
        values = 255 * (rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y + rng.uniform(0, 1))
    elif kind == 2:
        turn = rng.uniform(0, np.pi)
        phase = (x * np.cos(turn) + y * np.sin(turn)) * rng.uniform(4, 80)
        values = 127 + 120 * np.sin(phase)
    else:
        values = np.full((128, 128), rng.uniform(0, 255), np.float32)
        for _ in range(int(rng.integers(1, 6))):
            radius = rng.uniform(0.05, 0.5, 2)
            center = rng.uniform(0, 1, 2)
            inside = ((x - center[0]) / radius[0]) ** 2 + ((y - center[1]) / radius[1]) ** 2 < 1
            values[inside] = rng.uniform(0, 255)
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    shown = degrade_only(pixels, degrade, rng)
    return View(shown, np.zeros((cells, cells), np.float32), None, NONE, None)


def composed_lateral(
    pixels: Picture, mask: Mask, degrade: DegradeSpec, rng: np.random.Generator
) -> View:
    """A stand-in for a lateral film, of which none with a licence to train on is at hand.

    Both lungs lie over each other there: one field behind the heart, the spine at one side. So
    the halves of a frontal film are laid over each other, from the middle line outwards.
    """
    rows, columns = np.nonzero(mask)
    height, width = pixels.shape
    scale_x, scale_y = width / mask.shape[1], height / mask.shape[0]
    middle = int(np.clip(columns.mean() * scale_x, 16, width - 17))
    reach = min(middle, width - middle)
    left = pixels[:, middle - reach : middle][:, ::-1].astype(np.float32)
    right = pixels[:, middle : middle + reach].astype(np.float32)
    blend = rng.uniform(0.3, 0.7)
    laid = (blend * left + (1 - blend) * right).astype(np.uint8)
    top = int(max(0, (rows.min() - rng.uniform(0, 30)) * scale_y))
    bottom = int(min(height, (rows.max() + rng.uniform(5, 40)) * scale_y))
    laid = laid[top:bottom]
    # The back: spine again, fainter, behind the field.
    behind = laid[:, : int(reach * rng.uniform(0.2, 0.6))][:, ::-1]
    laid = np.concatenate([behind, laid], axis=1)
    if rng.random() < 0.5:
        laid = laid[:, ::-1]
    quarter = int(rng.integers(1, 4)) if rng.random() < 0.15 else 0
    shown = degrade_only(np.ascontiguousarray(np.rot90(laid, quarter)), degrade, rng)
    return View(shown, None, quarter, LATERAL, None)


def cloud(pixels: Picture, mask: Mask, rng: np.random.Generator) -> Picture:
    """Paint a part of the lungs dense: from a soft opacity to a white-out of half a chest."""
    height, width = pixels.shape
    lungs = np.asarray(
        Image.fromarray(mask.astype(np.uint8) * 255, mode="L").resize((width, height))
    )
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    rows, columns = np.nonzero(lungs > 127)
    middle = float(columns.mean() / width)
    where = np.ones((height, width), np.float32)
    if rng.random() < 0.8:  # one side
        where *= x < middle if rng.random() < 0.5 else x > middle
    if rng.random() < 0.6:  # a zone around a point in the lungs
        point = int(rng.integers(len(rows)))
        spread = rng.uniform(0.08, 0.35, 2)
        distance = ((x - columns[point] / width) / spread[0]) ** 2
        distance += ((y - rows[point] / height) / spread[1]) ** 2
        where *= np.exp(-distance)
    soft = Image.fromarray((where * lungs).astype(np.uint8), mode="L")
    soft = soft.filter(ImageFilter.GaussianBlur(rng.uniform(1, 8) * max(height, width) / 224))
    weight = np.asarray(soft, np.float32) / 255 * rng.uniform(0.3, 1)
    dense = np.percentile(pixels, rng.uniform(70, 97))
    return np.clip(pixels * (1 - weight) + dense * weight, 0, 255).astype(np.uint8)


def _frame(
    mask: Mask | None, spec: LocateSpec, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Left, top, right, bottom of what is shown, as fractions of the picture."""
    stored = np.array([0.0, 0.0, 1.0, 1.0])
    if rng.random() < spec.p_stored:
        return stored
    if mask is None:
        return stored + rng.uniform(-0.2, 0.12, 4) * (1, 1, -1, -1)
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    box = np.array([columns.min() / width, rows.min() / height,
                    (columns.max() + 1) / width, (rows.max() + 1) / height])  # fmt: skip
    size = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    # Each side alone: half of them cut in or end near the lungs, half stand wide.
    out = np.where(rng.random(4) < 0.45, rng.uniform(-spec.inward, 0.12, 4),
                   rng.uniform(0.0, spec.outward, 4))  # fmt: skip
    # Wide cuts into both lungs at once leave nothing to find.
    if rng.random() < 0.7:
        out = np.maximum(out, rng.uniform(-0.03, 0.05))
    frame = box + out * size * (-1, -1, 1, 1)
    return np.asarray(np.clip(frame, -_PADDING + 0.02, 1 + _PADDING - 0.02))


def _pad(
    pixels: Picture, neighbour: Picture, rng: np.random.Generator
) -> tuple[Picture, tuple[int, int]]:
    """The picture with something beyond its edges: a grey, itself again, or another picture."""
    kind = rng.choice(("black", "grey", "edge", "mirror", "other", "noise"),
                      p=(0.35, 0.15, 0.1, 0.2, 0.1, 0.1))  # fmt: skip
    if kind == "black":
        return _pad_with(pixels, "constant", int(rng.choice((0, 0, 0, 10, 30))))
    if kind == "grey":
        return _pad_with(pixels, "constant", int(rng.integers(256)))
    if kind == "edge":
        return _pad_with(pixels, "edge", 0)
    if kind == "mirror":
        return _pad_with(pixels, "symmetric", 0)
    canvas, pad = _pad_with(pixels, "constant", 0)
    height, width = canvas.shape
    if kind == "other":
        content = np.asarray(Image.fromarray(neighbour, mode="L").resize((width, height)))
    else:
        content = rng.integers(0, int(rng.integers(2, 256)), canvas.shape).astype(np.uint8)
    content = content.copy()
    content[pad[0] : height - pad[0], pad[1] : width - pad[1]] = pixels
    return content, pad


def _pad_with(pixels: Picture, mode: str, value: int) -> tuple[Picture, tuple[int, int]]:
    pad = tuple(int(_PADDING * side) for side in pixels.shape)
    more = {"constant_values": value} if mode == "constant" else {}
    padded = np.pad(pixels, [(side, side) for side in pad], mode=mode, **more)  # type: ignore[call-overload]
    return padded, (pad[0], pad[1])


def _affine(
    frame: npt.NDArray[np.float64], angle: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Matrix and offset from fractions of the view to fractions of the picture.

    The turn is made in the view's own square, as a squashed picture would be turned.
    """
    size = np.diag(frame[2:] - frame[:2])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = size @ turn
    center = (frame[:2] + frame[2:]) / 2
    return matrix, center - matrix @ np.array([0.5, 0.5])


def _resample(
    padded: Picture,
    frame: npt.NDArray[np.float64],
    angle: float,
    side: int,
    pad: tuple[int, int],
) -> Picture:
    """A square view, `side` pixels."""
    matrix, offset = _affine(frame, angle)
    size = np.array([padded.shape[1] - 2 * pad[1], padded.shape[0] - 2 * pad[0]])
    linear = matrix * size[:, np.newaxis] / side
    shift = offset * size + (pad[1], pad[0])
    image = Image.fromarray(padded, mode="L")
    data = (*linear[0], shift[0], *linear[1], shift[1])
    return np.asarray(
        image.transform((side, side), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    )


def _cut_off(mask: Mask, frame: npt.NDArray[np.float64], angle: float) -> Floats:
    """Which edges of the view cut the lungs: 0, 1 or 0.5 for left, top, right, bottom."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    points = np.stack([(columns + 0.5) / width, (rows + 0.5) / height])
    matrix, offset = _affine(frame, angle)
    seen = np.linalg.solve(matrix, points - offset[:, np.newaxis])
    low, high = seen.min(axis=1), seen.max(axis=1)
    beyond = np.array([-low[0], -low[1], high[0] - 1, high[1] - 1])
    share = beyond / np.tile(high - low, 2)
    cut = np.where(share > _CUT, 1.0, np.where(share > 0, 0.5, 0.0))
    edges = (mask[:, :2].any(1), mask[:2].any(0), mask[:, -2:].any(1), mask[-2:].any(0))
    stored = np.array([edge.mean() > _RUN for edge in edges])
    return np.where(stored, 1.0, cut).astype(np.float32)
