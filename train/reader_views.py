"""Random views of the lungs for the reader: framed anew, surroundings exchanged, degraded.

A picture with its outline enters; the square that the reader sees leaves, with the target that
goes with it. Frames move by more than the locator errs, what lies outside the lungs is often
another picture's, and a picture whose lungs are painted over is neither sick nor healthy: so
neither frame nor surroundings can answer.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edge_app.images.lung_frame import Frame, lung_frame
from edge_app.images.preprocess import preprocess
from edge_app.images.preprocess_spec import PreprocessSpec
from train.degrade import DegradeSpec, check_probabilities, degrade_only
from train.outlines import Box, Mask

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Canvas around the lungs' box on which a view is composed, in fractions of the box.
_REACH = 0.45


@dataclass(frozen=True, slots=True)
class ReadSpec:
    """How the reader's training pictures are varied, before they are degraded.

    Attributes:
        margin: of the frame around the lungs' box (edge_app.images.lung_frame).
        jitter: standard deviation of each edge of the box, in fractions of the box.
        p_reframe, inward, outward: an edge is moved by up to so much instead.
        rotation_degrees: largest turn.
        p_exchange: what lies outside the lungs is another picture's, of either class.
        p_painted: the lungs are painted over; the target is one half.
        p_opacity: a soft opacity is drawn into the lungs; the target is pneumonia.
        p_style: grey values are matched to those of another site's film.
        p_contrast: local contrast is raised or lowered.
        p_tissue: soft tissue is laid over both sides, lungs and what surrounds them alike, as
            breasts and muscles of people who are no children lie there; the label stays.
    """

    margin: float
    jitter: float
    p_reframe: float
    inward: float
    outward: float
    rotation_degrees: float
    p_exchange: float
    p_painted: float
    p_opacity: float
    p_style: float
    p_contrast: float
    p_tissue: float

    def __post_init__(self) -> None:
        """Raises ValueError for a number outside of its domain."""
        check_probabilities(self)
        if not 0 <= self.margin < _REACH or not 0 <= self.jitter < 0.2:
            raise ValueError(f"margin must lie in [0, {_REACH}), jitter in [0, 0.2)")
        if not (0 <= self.inward < 0.4 and 0 <= self.outward <= _REACH - 0.1):
            raise ValueError(f"inward must lie in [0, 0.4), outward in [0, {_REACH - 0.1}]")


@dataclass(frozen=True, slots=True)
class Lungs:
    """A picture and where its lungs are.

    Attributes:
        pixels: (height, width) uint8, bright = dense.
        box: of the lungs, as fractions of the picture.
        mask: the outline; None where nobody drew one.
    """

    pixels: Picture
    box: Box
    mask: Mask | None


def random_lungs(
    lungs: Lungs,
    label: int,
    stranger: Lungs,
    style: Picture | None,
    spec: ReadSpec,
    degrade: DegradeSpec,
    rng: np.random.Generator,
) -> tuple[Picture, float]:
    """One random view, (height, width) uint8 of varying size, and its target in 0 to 1.

    Args:
        lungs, label: what is shown, and whether it is pneumonia.
        stranger: whose surroundings may be shown instead.
        style: another site's film, None where there is none.
        spec, degrade: how strongly.
    """
    side = int(np.exp(rng.uniform(np.log(degrade.side[0]), np.log(degrade.side[1]))))
    # The canvas is wider than the box; `side` is meant for what the reader sees.
    size = int(side * (1 + 2 * _REACH) / 1.1)
    canvas, mask = _canvas(lungs, size, rng)
    target = float(label)
    if mask is not None:
        if rng.random() < spec.p_exchange:
            canvas = _exchange(canvas, mask, _canvas(stranger, size, rng)[0], rng)
        kind = rng.random()
        if kind < spec.p_painted:
            canvas, target = paint_lungs(canvas, mask, rng), 0.5
        elif kind < spec.p_painted + spec.p_opacity:
            opaque = draw_opacity(canvas, mask, rng)
            # Nothing drawn, nothing changed: then the label stays as well.
            target = target if opaque is canvas else 1.0
            canvas = opaque
    if rng.random() < spec.p_tissue:
        canvas = lay_tissue(canvas, rng)
    view = _view(canvas, spec, rng)
    if style is not None and rng.random() < spec.p_style:
        view = _match(view, style, rng)
    if rng.random() < spec.p_contrast:
        view = _local_contrast(view, rng)
    return degrade_only(view, degrade, rng), target


def framed(
    pixels: npt.NDArray[np.generic], box: Box, margin: float, spec: PreprocessSpec
) -> Picture:
    """What the reader sees of a picture, as the edge does it: uint8 (1, height, width, 1)."""
    return preprocess(pixels, spec, frame_of(box, margin))


def frame_of(box: Box, margin: float) -> Frame:
    """The canonical frame of a box that is given as four numbers."""
    from edge_app.images.lung_box import LungBox

    return lung_frame(LungBox(*box, certainty=1.0, area=0.0, parts=1), margin)


def paint_lungs(canvas: Picture, mask: Floats, rng: np.random.Generator) -> Picture:
    """The lungs painted over: black, a grey, noise, or smeared beyond recognition."""
    kind = int(rng.integers(4))
    if kind == 0:
        paint = np.full(canvas.shape, rng.choice((0.0, 0.0, canvas.mean())))
    elif kind == 1:
        paint = np.full(canvas.shape, rng.uniform(0, 255))
    elif kind == 2:
        paint = np.clip(rng.normal(rng.uniform(30, 200), rng.uniform(5, 50), canvas.shape), 0, 255)
    else:
        radius = len(canvas) * rng.uniform(0.25, 0.5)
        paint = np.asarray(
            Image.fromarray(canvas, mode="L").filter(ImageFilter.BoxBlur(radius)), np.float64
        )
    hard = _blur(mask > rng.uniform(0.05, 0.5), len(canvas) * rng.uniform(0, 0.02))
    return (canvas * (1 - hard) + paint * hard).astype(np.uint8)


def draw_opacity(canvas: Picture, mask: Floats, rng: np.random.Generator) -> Picture:
    """A soft opacity of soft tissue's grey in one lung: a cloud, a zone of it, or the whole."""
    size = len(canvas)
    y, x = np.mgrid[0:1:size * 1j, 0:1:size * 1j].astype(np.float32)  # fmt: skip
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows):
        return canvas
    middle = columns.mean() / size
    side = x < middle if rng.random() < 0.5 else x > middle
    where = (mask * side).astype(np.float32)
    inside = np.flatnonzero(where.ravel() > 0.5)
    if not len(inside):
        return canvas
    shape = rng.random()
    if shape < 0.45:  # a zone, as a lobe is
        low, high = rows.min() / size, (rows.max() + 1) / size
        begin = rng.uniform(-0.1, 0.75)
        end = begin + rng.uniform(0.25, 0.5)
        depth = (y - low) / (high - low) + rng.uniform(-0.4, 0.4) * (x - middle)
        where *= (depth > begin) & (depth < end)
    elif shape < 0.85:
        point = divmod(int(rng.choice(inside)), size)
        spread = rng.uniform(0.09, 0.26, 2)
        distance = ((x - point[1] / size) / spread[0]) ** 2
        where *= np.exp(-(distance + ((y - point[0] / size) / spread[1]) ** 2))
    # Patchy, as airspaces fill unevenly.
    patches = rng.uniform(0.5, 1, (int(rng.integers(4, 16)),) * 2) * 255
    coarse = Image.fromarray(patches.astype(np.uint8), mode="L")
    rough = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
    weight = _blur(where * rough, size * rng.uniform(0.005, 0.03)) * rng.uniform(0.45, 0.95)
    if weight.sum() < 0.004 * size * size:
        return canvas
    # As dense as what lies beside the lungs.
    beside = canvas[(mask < 0.1)]
    dense = np.percentile(beside if len(beside) else canvas, rng.uniform(45, 85))
    return _grey(canvas * (1 - weight) + dense * weight)


def lay_tissue(canvas: Picture, rng: np.random.Generator) -> Picture:
    """Two soft shadows, nearly alike, low on both sides; they end outside of the lungs."""
    size = len(canvas)
    y, x = np.mgrid[0:1:size * 1j, 0:1:size * 1j].astype(np.float32)  # fmt: skip
    scale = 1 / (1 + 2 * _REACH)
    across, high = rng.uniform(0.2, 0.32) * scale, rng.uniform(0.5, 0.85) * scale
    wide, tall = rng.uniform(0.15, 0.3) * scale, rng.uniform(0.15, 0.35) * scale
    soft = rng.uniform(0.02, 0.1)
    shadow = np.zeros_like(x)
    for sign in (-1, 1):
        center = 0.5 + sign * across + rng.normal(0, 0.01)
        height = _REACH * scale + high + rng.normal(0, 0.015)
        distance = np.hypot((x - center) / wide, (y - height) / tall)
        # The upper end fades; the lower edge is a fold and sharper.
        fade = np.clip(0.6 + (y - height) / tall, 0, 1)
        one = fade / (1 + np.exp(np.clip((distance - 1) / soft, -50, 50)))
        shadow = np.maximum(shadow, one)
    amount = rng.uniform(8, 40) * canvas.std() / 55
    return _grey(canvas + amount * shadow)


def _canvas(lungs: Lungs, size: int, rng: np.random.Generator) -> tuple[Picture, Floats | None]:
    """Box and surroundings as a square, the box always in one place; the mask alike, 0 to 1.

    What the picture does not hold is filled with a repeated edge, its mirror image or a grey.
    """
    left, top, right, bottom = lungs.box
    wide, high = (right - left) * _REACH, (bottom - top) * _REACH
    frame = np.array([left - wide, top - high, right + wide, bottom + high])
    canvas = _cut(lungs.pixels, frame, size, rng)
    if lungs.mask is None:
        return canvas, None
    height, width = lungs.mask.shape
    matrix = ((frame[2] - frame[0]) * width / size, 0, frame[0] * width,
              0, (frame[3] - frame[1]) * height / size, frame[1] * height)  # fmt: skip
    image = Image.fromarray(lungs.mask.astype(np.uint8) * 255, mode="L")
    mask = image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return canvas, np.asarray(mask, np.float32) / np.float32(255)


def _cut(
    pixels: Picture, frame: npt.NDArray[np.float64], size: int, rng: np.random.Generator
) -> Picture:
    height, width = pixels.shape
    low = np.clip(frame[:2], 0, 1)
    high = np.clip(frame[2:], 0, 1)
    box = (low[0] * width, low[1] * height, high[0] * width, high[1] * height)
    scale = size / (frame[2:] - frame[:2])
    start = np.rint((low - frame[:2]) * scale).astype(int)
    shape = np.maximum(1, np.rint((high - low) * scale).astype(int))
    shape = np.minimum(shape, size - start)
    filters = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC,
               Image.Resampling.LANCZOS)  # fmt: skip
    image = Image.fromarray(pixels, mode="L")
    inner = np.asarray(image.resize((int(shape[0]), int(shape[1])), filters[rng.integers(4)], box))
    after = size - start - shape
    around = ((int(start[1]), int(after[1])), (int(start[0]), int(after[0])))
    kind = rng.random()
    if kind < 0.4:
        return np.pad(inner, around, mode="edge")
    if kind < 0.6:
        return np.pad(inner, around, mode="symmetric")
    grey = 0 if kind < 0.85 else int(rng.integers(256))
    return np.pad(inner, around, constant_values=grey)


def _exchange(canvas: Picture, mask: Floats, other: Picture, rng: np.random.Generator) -> Picture:
    """Another picture's surroundings, its greys brought to this one's, softly joined."""
    size = len(canvas)
    own = _blur(mask > 0.3, size * rng.uniform(0.01, 0.05))
    # Grown, so that the lungs' borders and the pleura stay this picture's.
    own = np.clip(own * 2.2, 0, 1)
    beside = mask < 0.1
    mine, theirs = canvas[beside].astype(np.float32), other[beside].astype(np.float32)
    if not len(mine):
        return canvas
    values = (other - theirs.mean()) * ((mine.std() + 1) / (theirs.std() + 1)) + mine.mean()
    return _grey(canvas * own + values * (1 - own))


def _view(canvas: Picture, spec: ReadSpec, rng: np.random.Generator) -> Picture:
    """The frame with its margin, its edges moved, turned a little, mirrored or not."""
    size = len(canvas)
    out = spec.margin + rng.normal(0, spec.jitter, 4)
    moved = rng.random(4) < spec.p_reframe
    out = np.where(moved, rng.uniform(-spec.inward, spec.outward, 4), out)
    out = np.clip(out, -0.4, _REACH - 0.02)
    scale = size / (1 + 2 * _REACH)
    low, high = (_REACH - out[:2]) * scale, (_REACH + 1 + out[2:]) * scale
    angle = np.deg2rad(rng.uniform(-spec.rotation_degrees, spec.rotation_degrees))
    extent = high - low
    # One side of the output a pixel of the canvas; the squash to a square comes with preprocessing.
    shape = np.maximum(16, np.rint(extent).astype(int))
    if rng.random() < 0.3:  # any aspect, as squashed copies have
        shape = np.maximum(16, np.rint(shape * np.exp(rng.uniform(-0.3, 0.3, 2))).astype(int))
    step = extent / shape
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos * step[0], -sin * step[1]], [sin * step[0], cos * step[1]]])
    offset = (low + high) / 2 - linear @ (shape / 2)
    data = (*linear[0], offset[0], *linear[1], offset[1])
    image = Image.fromarray(canvas, mode="L").transform(
        (int(shape[0]), int(shape[1])), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC
    )
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)


def _match(view: Picture, style: Picture, rng: np.random.Generator) -> Picture:
    """Grey values moved some way towards another film's distribution."""
    height, width = style.shape
    middle = style[height // 6 : height - height // 6, width // 8 : width - width // 8]
    mine = np.cumsum(np.bincount(view.ravel(), minlength=256)) / view.size
    theirs = np.cumsum(np.bincount(middle.ravel(), minlength=256)) / middle.size
    matched = np.interp(mine, theirs, np.arange(256))
    share = rng.uniform(0.3, 1)
    table = np.clip(share * matched + (1 - share) * np.arange(256), 0, 255).astype(np.uint8)
    return table[view]


def _local_contrast(view: Picture, rng: np.random.Generator) -> Picture:
    """Detail raised or lowered against its surroundings, as processing of detectors does."""
    image = Image.fromarray(view, mode="L")
    smooth = np.asarray(
        image.filter(ImageFilter.BoxBlur(max(view.shape) * rng.uniform(0.04, 0.2))), np.float32
    )
    amount = rng.uniform(-0.5, 1.5)
    return _grey(view + amount * (view - smooth))


def _blur(values: npt.NDArray[np.generic], radius: float) -> Floats:
    image = Image.fromarray((np.asarray(values, np.float32) * 255).astype(np.uint8), mode="L")
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)
    return blurred / np.float32(255)


def _grey(values: npt.NDArray[Any]) -> Picture:
    """Grey values cut to what eight bits hold."""
    return np.asarray(np.clip(values, 0, 255), np.uint8)
