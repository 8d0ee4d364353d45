"""The random degradation: what it keeps, that it repeats, and that it erases what it should."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.statistics import discrimination as metrics
from tests.train_inputs import tiny_config
from train.degrade import DegradeSpec, degrade, recompress

SPEC = tiny_config().degrade
assert SPEC is not None
STILL = DegradeSpec(
    side=(64, 64),
    stretch=0.0,
    rotation_degrees=0.0,
    shift=0.0,
    zoom=0.0,
    crop=0.0,
    p_mirror=0.0,
    gamma=0.0,
    window=0.0,
    p_border=0.0,
    p_letters=0.0,
    p_photo=0.0,
    p_blur=0.0,
    blur_sigma=0.0,
    p_sharpen=0.0,
    p_noise=0.0,
    noise_sigma=0.0,
    p_jpeg=0.0,
    jpeg_quality=(75, 75),
)


def _phantom(side: int = 96, seed: int = 3) -> np.ndarray:
    return draw_phantom(Phantom(seed=seed), side, side)


@given(
    height=st.integers(16, 130),
    width=st.integers(16, 130),
    seed=st.integers(0, 2**32),
    grey=st.sampled_from([0, 128, 255, None]),
)
def test_any_picture_gives_a_picture_of_the_asked_size(
    height: int, width: int, seed: int, grey: int | None
) -> None:
    if grey is None:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    else:
        pixels = np.full((height, width), grey, np.uint8)
    before = pixels.copy()
    result = degrade(pixels, SPEC, np.random.default_rng(seed))
    assert result.dtype == np.uint8
    assert result.ndim == 2
    low, high = SPEC.side
    assert low - 1 <= max(result.shape) <= high + 1
    assert min(result.shape) >= 16
    np.testing.assert_array_equal(pixels, before)


def test_the_same_seed_gives_the_same_picture() -> None:
    first, again, other = (degrade(_phantom(), SPEC, np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_nothing_switched_on_changes_only_the_exposure() -> None:
    """The film curve stays on: it is monotone, so the order of grey values survives."""
    pixels = _phantom(64)
    result = degrade(pixels, STILL, np.random.default_rng(1))
    assert result.shape == pixels.shape
    assert metrics.spearman(pixels.ravel(), result.ravel()).value > 0.999


def test_mirroring() -> None:
    rng = np.random.default_rng
    plain = degrade(_phantom(64), STILL, rng(2))
    mirrored = degrade(_phantom(64), replace(STILL, p_mirror=1.0), rng(2))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_sizes_are_drawn_from_the_whole_range_evenly_by_their_logarithm() -> None:
    """All pictures of one size would leave the files' sizes, and so the label, readable."""
    spec = replace(STILL, side=(50, 200))
    sides = [
        max(degrade(_phantom(), spec, np.random.default_rng(seed)).shape) for seed in range(200)
    ]
    assert min(sides) < 55
    assert max(sides) > 185
    assert 90 < np.median(sides) < 110  # of the range's ends the geometric mean is 100


def test_stretch_stays_within_its_bound() -> None:
    spec = replace(STILL, stretch=0.25, side=(200, 200))
    ratios = []
    for seed in range(200):
        height, width = degrade(_phantom(), spec, np.random.default_rng(seed)).shape
        ratios.append(width / height)
    assert 1 / 1.26 < min(ratios) < 0.85
    assert 1.18 < max(ratios) < 1.26


@pytest.mark.parametrize("quality", [25, 60, 95])
def test_recompression_uses_the_quality(quality: int) -> None:
    image = Image.fromarray(_phantom())
    recompressed = recompress(image, quality)
    assert recompressed.size == image.size
    assert recompressed.mode == "L"
    assert recompressed.quantization == _quantization(quality)


def _quantization(quality: int) -> dict[int, list[int]]:
    import io

    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).quantization


def test_a_narrow_strip_is_no_reason_to_end_a_run() -> None:
    strip = np.full((1, 40), 100, np.uint8)
    spec = replace(SPEC, crop=0.49)
    for seed in range(40):
        assert min(degrade(strip, spec, np.random.default_rng(seed)).shape) >= 16


def test_sharpness_no_longer_tells_two_sources_apart() -> None:
    """The set's trap in small: one source sharp, one blurred. Degraded alike, they mix.

    Before, the mean absolute Laplacian separates them perfectly; afterwards nearly by chance.
    """
    from train.quantities import sharpness

    sharp = [_phantom(224, seed) for seed in range(60)]
    blurred = [np.asarray(recompress(Image.fromarray(p), 30)) for p in sharp]
    labels = [0] * 60 + [1] * 60

    def area(pictures: list[np.ndarray]) -> float:
        value = metrics.auroc(labels, [sharpness(p) for p in pictures])
        return max(value, 1 - value)

    assert area(sharp + blurred) > 0.95
    spec = replace(SPEC, side=(96, 320), blur_sigma=1.5, noise_sigma=8.0)
    mixed = [degrade(p, spec, np.random.default_rng([9, i])) for i, p in enumerate(sharp + blurred)]
    assert area(mixed) < 0.65
