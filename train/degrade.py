"""Random degradation: one radiograph as another site, machine or camera would have sent it.

A grey uint8 picture enters, a grey uint8 picture of another size leaves. Both classes pass
through the same distribution, so that compression, sharpness, resolution, aspect ratio, exposure
and borders carry no label (the training files give it away by each of these). The order imitates
a picture's life: the film or detector, its window, the border and letters, the digitiser's
resolution, blur and noise, and last the compression.
"""

import io
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Picture = npt.NDArray[np.uint8]

_RESAMPLING = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)
_STRENGTHS = (
    "stretch",
    "rotation_degrees",
    "shift",
    "zoom",
    "gamma",
    "blur_sigma",
    "noise_sigma",
)
_LETTERS = ("L", "R", "PA", "AP", "AP SUPINE", "PORTABLE", "SITTING", "12:40", "A-1037")


def check_probabilities(spec: "DataclassInstance") -> None:
    """Raise ValueError where a field `p_...` is no probability."""
    for name in (field.name for field in fields(spec) if field.name.startswith("p_")):
        if not 0 <= getattr(spec, name) <= 1:
            raise ValueError(f"{name} must lie in [0, 1]: {getattr(spec, name)}")


@dataclass(frozen=True, slots=True)
class DegradeSpec:
    """How strongly, and how often. Pairs are inclusive ranges, `p_` are probabilities.

    Attributes:
        side: longest side of the result in pixels, drawn log-uniformly.
        stretch: largest relative change of the aspect ratio (0.25: from 1/1.25 to 1.25).
        rotation_degrees, shift, zoom: affine change; shift and zoom as fractions of the side.
        crop: largest fraction cut from each border.
        p_mirror: mirrored left to right.
        gamma: largest |ln gamma|.
        window: largest fraction of the grey range clipped at either end.
        p_border: a black or grey border or collimation edge is added.
        p_letters: a marker is burnt in.
        p_photo: photographed from a light box: perspective, vignette, uneven light.
        p_blur, blur_sigma: Gaussian blur in pixels of a 224-pixel picture.
        p_sharpen: unsharp mask; drawn only for a picture that was not blurred, so its share of
            all pictures is (1 - p_blur) * p_sharpen.
        p_noise, noise_sigma: Gaussian noise in grey values.
        p_jpeg, jpeg_quality: JPEG at the picture's own size.
    """

    side: tuple[int, int]
    stretch: float
    rotation_degrees: float
    shift: float
    zoom: float
    crop: float
    p_mirror: float
    gamma: float
    window: float
    p_border: float
    p_letters: float
    p_photo: float
    p_blur: float
    blur_sigma: float
    p_sharpen: float
    p_noise: float
    noise_sigma: float
    p_jpeg: float
    jpeg_quality: tuple[int, int]

    def __post_init__(self) -> None:
        """Raises ValueError for a number outside of its domain."""
        check_probabilities(self)
        if not 16 <= self.side[0] <= self.side[1]:
            raise ValueError(f"side must rise from 16 pixels or more: {self.side}")
        if not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 95:
            raise ValueError(f"jpeg_quality must rise within 1 to 95: {self.jpeg_quality}")
        for name in _STRENGTHS:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative: {getattr(self, name)}")
        if not (0 <= self.crop < 0.5 and 0 <= self.window < 0.5):
            raise ValueError("crop and window are cut from both sides: below 0.5")


def degrade(pixels: Picture, spec: DegradeSpec, rng: np.random.Generator) -> Picture:
    """One random degradation of a (height, width) uint8 radiograph, bright = dense."""
    image = _geometry(Image.fromarray(pixels, mode="L"), spec, rng)
    return _rest_of_its_life(image, spec, rng)


def degrade_only(pixels: Picture, spec: DegradeSpec, rng: np.random.Generator) -> Picture:
    """As `degrade`, for a picture whose geometry was varied already."""
    return _rest_of_its_life(Image.fromarray(pixels, mode="L"), spec, rng)


def _rest_of_its_life(image: Image.Image, spec: DegradeSpec, rng: np.random.Generator) -> Picture:
    image = _exposure(image, spec, rng)
    if rng.random() < spec.p_border:
        image = _border(image, rng)
    if rng.random() < spec.p_letters:
        image = _letters(image, rng)
    if rng.random() < spec.p_photo:
        image = _photo(image, rng)
    image = _resolution(image, spec, rng)
    image = _sharpness(image, spec, rng)
    if rng.random() < spec.p_noise:
        image = _noise(image, spec, rng)
    if rng.random() < spec.p_jpeg:
        image = recompress(image, int(rng.integers(spec.jpeg_quality[0], spec.jpeg_quality[1] + 1)))
    return np.asarray(image)


def recompress(image: Image.Image, quality: int) -> Image.Image:
    """The picture after a JPEG round trip at `quality` (1 to 95)."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    decoded = Image.open(buffer)
    decoded.load()
    return decoded


def _geometry(image: Image.Image, spec: DegradeSpec, rng: np.random.Generator) -> Image.Image:
    """Crop, rotate, shift and zoom in one resampling; mirror."""
    width, height = image.size
    left, top, right, bottom = rng.uniform(0, spec.crop, 4) * (width, height, width, height)
    angle = np.deg2rad(rng.uniform(-spec.rotation_degrees, spec.rotation_degrees))
    zoom = np.exp(rng.uniform(-spec.zoom, spec.zoom))
    center_x = (left + width - right) / 2 + rng.uniform(-spec.shift, spec.shift) * width
    center_y = (top + height - bottom) / 2 + rng.uniform(-spec.shift, spec.shift) * height
    # At least a pixel: a narrow strip may be cropped by nearly half from both sides.
    out_width = max(1, round(width - left - right))
    out_height = max(1, round(height - top - bottom))
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    # Maps an output pixel to a source pixel, both about their centers.
    matrix = (
        cos,
        sin,
        center_x - cos * out_width / 2 - sin * out_height / 2,
        -sin,
        cos,
        center_y + sin * out_width / 2 - cos * out_height / 2,
    )
    image = image.transform(
        (out_width, out_height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    if rng.random() < spec.p_mirror:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def _exposure(image: Image.Image, spec: DegradeSpec, rng: np.random.Generator) -> Image.Image:
    """Window, gamma and an S-shaped film curve as one lookup table."""
    low, high = rng.uniform(0, spec.window), 1 - rng.uniform(0, spec.window)
    value = np.clip((np.arange(256) / 255 - low) / (high - low), 0, 1)
    value = value ** np.exp(rng.uniform(-spec.gamma, spec.gamma))
    s_shape = value * value * (3 - 2 * value)
    value += rng.uniform(-0.3, 0.5) * (s_shape - value)
    floor, ceiling = rng.uniform(0, 0.2), rng.uniform(0.75, 1)
    return image.point((255 * (floor + (ceiling - floor) * value)).round().astype(int).tolist())


def _border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add margins of one grey, or blacken edges as collimation does."""
    width, height = image.size
    margins = (
        rng.uniform(0, 0.1, 4) * (rng.random(4) < 0.6) * (width, height, width, height)
    ).astype(int)
    left, top, right, bottom = margins.tolist()
    grey = int(rng.choice((0, 0, 0, 20, 128, 255)))
    if rng.random() < 0.5:
        framed = Image.new("L", (width + left + right, height + top + bottom), grey)
        framed.paste(image, (left, top))
        return framed
    framed = Image.new("L", image.size, grey)
    box = (left, top, width - right, height - bottom)
    framed.paste(image.crop(box), box)
    return framed


def _letters(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Burn in one or two markers, mostly in the upper corners, bright or dark."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    width, height = image.size
    for _ in range(int(rng.integers(1, 3))):
        text = str(rng.choice(_LETTERS))
        font = ImageFont.load_default(size=max(8.0, height * rng.uniform(0.03, 0.09)))
        x = width * (rng.uniform(0.0, 0.2) if rng.random() < 0.5 else rng.uniform(0.7, 0.95))
        y = height * (rng.uniform(0.0, 0.15) if rng.random() < 0.7 else rng.uniform(0.75, 0.93))
        draw.text((x, y), text, fill=int(rng.choice((255, 255, 220, 0))), font=font)
    return image


def _photo(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A telephone's photograph of a film: slight perspective, vignette, a gradient of light."""
    width, height = image.size
    corners = np.array([(0, 0), (0, height), (width, height), (width, 0)], float)
    corners += rng.uniform(-0.05, 0.05, (4, 2)) * (width, height)
    image = image.transform(
        (width, height),
        Image.Transform.QUAD,
        corners.ravel().tolist(),
        Image.Resampling.BILINEAR,
    )
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    light = 1 - rng.uniform(0, 0.3) * (x * x + y * y) / 2
    light += rng.uniform(-0.2, 0.2) * x + rng.uniform(-0.2, 0.2) * y
    shaded = np.asarray(image, np.float32) * light + rng.uniform(0, 25)
    return Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8), mode="L")


def _resolution(image: Image.Image, spec: DegradeSpec, rng: np.random.Generator) -> Image.Image:
    """Resample to a random size and aspect ratio with a random filter."""
    side = np.exp(rng.uniform(np.log(spec.side[0]), np.log(spec.side[1])))
    stretch = np.exp(rng.uniform(-1, 1) * np.log1p(spec.stretch) / 2)
    width, height = image.size
    scale = side / max(width * stretch, height / stretch)
    size = (max(16, round(width * stretch * scale)), max(16, round(height / stretch * scale)))
    return image.resize(size, _RESAMPLING[int(rng.integers(len(_RESAMPLING)))])


def _sharpness(image: Image.Image, spec: DegradeSpec, rng: np.random.Generator) -> Image.Image:
    """Blur or sharpen; sigma grows with the picture, so that the look does not."""
    unit = max(image.size) / 224
    if rng.random() < spec.p_blur:
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, spec.blur_sigma) * unit))
    if rng.random() < spec.p_sharpen:
        return image.filter(
            ImageFilter.UnsharpMask(rng.uniform(0.5, 2) * unit, int(rng.integers(30, 150)), 0)
        )
    return image


def _noise(image: Image.Image, spec: DegradeSpec, rng: np.random.Generator) -> Image.Image:
    values = np.asarray(image, np.float32)
    sigma = rng.uniform(0, spec.noise_sigma)
    noisy = values + sigma * rng.standard_normal(values.shape, np.float32)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), mode="L")
