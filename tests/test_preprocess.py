"""The one preprocessing: shape and range, and what must not change the network's input."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_app.bundle.load import load_bundle
from edge_app.errors import SelfTestError
from edge_app.images import preprocess as preprocess_module
from edge_app.images.lung_frame import Frame
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import PreprocessSpec, grey_range, preprocess, resize
from edge_app.runtimes import open_runtime
from edge_app.screening.selftest import run_self_test
from tests.tiny_bundle import SPEC

PLAIN = dataclasses.replace(
    SPEC, range_low_percentile=0.0, range_high_percentile=100.0, range_region=1.0
)


def test_a_picture_of_the_network_s_size_is_only_stretched() -> None:
    spec = dataclasses.replace(PLAIN, height=2, width=3)
    batch = preprocess(np.array([[10, 20, 30], [40, 50, 60]], np.uint8), spec)
    assert batch.dtype == np.uint8
    assert batch.shape == (1, 2, 3, 1)
    assert batch.flags.c_contiguous
    # 255 * (v - 10) / 50, rounded.
    assert batch[0, :, :, 0].tolist() == [[0, 51, 102], [153, 204, 255]]


def test_a_reduction_by_a_whole_number_with_a_box_is_the_mean() -> None:
    spec = dataclasses.replace(PLAIN, height=1, width=2, resize_filter="box")
    picture = np.array([[0, 10, 100, 100], [10, 20, 120, 120]], np.uint16)
    # Means 10 and 110, which the stretch makes 0 and 255.
    assert preprocess(picture, spec)[0, :, :, 0].tolist() == [[0, 255]]


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 50),
    gain=st.floats(0.05, 0.95),
    offset=st.floats(0, 1),
)
def test_brightness_and_contrast_change_nothing(seed: int, gain: float, offset: float) -> None:
    picture = draw_phantom(Phantom(seed), 96, 96, bits=16).astype(np.float64)
    changed = picture * gain + offset * (1 - gain) * 65535
    before = preprocess(picture.astype(np.uint16), SPEC).astype(int)
    after = preprocess(np.rint(changed).astype(np.uint16), SPEC).astype(int)
    assert np.abs(before - after).max() <= 1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 50))
def test_eight_and_sixteen_bits_of_one_picture_agree(seed: int) -> None:
    picture = draw_phantom(Phantom(seed), 150, 130, bits=8)
    wide = picture.astype(np.uint16) * 257
    # Pillow resizes 8-bit pictures in integers, which rounds to whole grey levels.
    difference = preprocess(picture, SPEC).astype(int) - preprocess(wide, SPEC)
    assert np.abs(difference).max() <= 3


def test_a_border_does_not_set_the_range() -> None:
    picture = draw_phantom(Phantom(3), 192, 192)
    framed = picture.copy()
    framed[:6] = 255
    framed[:, :6] = 255
    inner = np.s_[0, 8:-8, 8:-8, 0]
    difference = preprocess(framed, SPEC)[inner].astype(int) - preprocess(picture, SPEC)[inner]
    assert np.abs(difference).max() <= 1


def test_a_picture_without_contrast_gives_zeros() -> None:
    zeros = preprocess(np.full((50, 60), 99, np.uint8), SPEC)
    assert zeros.shape == (1, SPEC.height, SPEC.width, 1)
    assert zeros.max() == 0
    assert grey_range(np.full((64, 64), 7, np.float32), SPEC) == (7.0, 7.0)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 1), np.uint8),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.int16),
    ],
)
def test_other_arrays_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels must be"):
        preprocess(pixels, SPEC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 0),
        ("width", -1),
        ("grey", "mean"),
        ("resize_filter", "cubic"),
        ("aspect", "pad"),
        ("range_low_percentile", 99.0),
        ("range_high_percentile", 101.0),
        ("range_region", -0.1),
        ("range_region", 1.1),
        ("jpeg_draft_ratio", -1),
    ],
)
def test_numbers_outside_of_their_domain_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PreprocessSpec(**{**dataclasses.asdict(SPEC), field: value})


def test_the_fast_way_for_bytes_gives_the_very_same_arrays() -> None:
    """Against the plain arithmetic in float32, which the model was trained with."""

    def plain(resized: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
        values = resized.astype(np.float32)
        margins = [round(side * (1 - spec.range_region) / 2) for side in values.shape]
        rows, columns = (slice(m, s - m) for m, s in zip(margins, values.shape, strict=True))
        percentiles = (spec.range_low_percentile, spec.range_high_percentile)
        low, high = np.percentile(values[rows, columns], percentiles)
        if high <= low:
            return np.zeros_like(resized)
        scale = np.float32(255.0 / (float(high) - float(low)))
        return np.clip(np.rint((values - np.float32(low)) * scale), 0, 255).astype(np.uint8)

    rng = np.random.default_rng(20)
    for number in range(300):
        # From hardly any grey levels, where percentiles fall between two values, to all of them.
        levels = rng.integers(0, 256, rng.integers(1, 60))
        side = int(rng.integers(8, 60))
        pixels = rng.choice(levels, (side, side)).astype(np.uint8)
        spec = dataclasses.replace(
            SPEC,
            height=side,
            width=side,
            range_low_percentile=float(rng.uniform(0, 20)),
            range_high_percentile=float(rng.uniform(80, 100)),
            range_region=float(rng.uniform(0.4, 1)),
        )
        assert np.array_equal(preprocess(pixels, spec)[0, :, :, 0], plain(pixels, spec)), number


# Of |distance| in units of the reduced picture's pixels; their supports as Pillow has them.
KERNELS = {
    "box": (0.5, lambda x: np.ones_like(x)),
    "bilinear": (1.0, lambda x: 1 - x),
    "hamming": (1.0, lambda x: np.sinc(x) * (0.54 + 0.46 * np.cos(np.pi * x))),
    "bicubic": (  # Keys RG. IEEE Trans ASSP 1981; 29:1153, with a = -0.5
        2.0,
        lambda x: np.where(
            x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        ),
    ),
    "lanczos": (3.0, lambda x: np.sinc(x) * np.sinc(x / 3)),
}


def reduced_row(row: np.ndarray, n: int, name: str, left: float, right: float) -> np.ndarray:
    """`row` from `left` to `right` (in its pixels) as n pixels, each a weighted mean."""
    support, kernel = KERNELS[name]
    scale = (right - left) / n
    centers = left + (np.arange(n) + 0.5) * scale
    distance = np.abs(np.arange(len(row)) + 0.5 - centers[:, np.newaxis]) / scale
    weights = np.where(distance < support, kernel(distance), 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)) @ row


def test_a_bilinear_reduction_weighs_by_distance() -> None:
    spec = dataclasses.replace(PLAIN, height=1, width=2, resize_filter="bilinear")
    point = np.array([[0, 0, 0, 0, 350, 0, 0, 0]], np.uint16)
    # Four pixels become one: the tent reaches four pixels to each side, as far as there are any.
    # Its weights 0.625, 0.875, 0.875, 0.625, 0.375, 0.125 add up to 3.5, and pixel 4 lies 2.5 and
    # 1.5 pixels from the two centers. A box would give 0 and 87.5.
    assert resize(point, spec).tolist() == [[37.5, 62.5]]


@pytest.mark.parametrize("name", KERNELS)
def test_every_filter_is_the_one_that_its_name_says(name: str) -> None:
    row = np.random.default_rng(3).integers(0, 65536, 60).astype(np.uint16)
    spec = dataclasses.replace(PLAIN, height=2, width=9, resize_filter=name)
    found = resize(np.stack([row, row]), spec)
    np.testing.assert_allclose(found[0], reduced_row(row, 9, name, 0, 60), rtol=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_a_frame_between_pixels_is_cut_out_and_reduced_at_once(name: str) -> None:
    row = np.random.default_rng(4).integers(0, 65536, 60).astype(np.uint16)
    spec = dataclasses.replace(PLAIN, height=2, width=8, resize_filter=name)
    found = resize(np.stack([row, row]), spec, Frame(7.3 / 60, 0.0, 40.9 / 60, 1.0))
    # At the frame's edges the filter reaches beyond it, into what the picture holds there.
    np.testing.assert_allclose(found[0], reduced_row(row, 8, name, 7.3, 40.9), rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_same_part_of_a_larger_picture_gives_the_same_input(dtype: type) -> None:
    inner = draw_phantom(Phantom(seed=4), 120, 100).astype(dtype)
    around = np.pad(inner, ((30, 50), (20, 80)), constant_values=7)
    frame = Frame(20 / 200, 30 / 200, 120 / 200, 150 / 200)
    spec = dataclasses.replace(SPEC, range_region=1.0)
    framed = preprocess(around, spec, frame).astype(int)
    # The filter reaches a pixel or two across the frame's edge, and nothing else differs.
    assert np.abs(framed - preprocess(inner, spec))[:, 2:-2, 2:-2].max() <= 2


def test_the_shipped_golden_inputs_tell_a_box_from_a_bilinear_filter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ai_edge_litert")
    bundle = load_bundle()
    runtime = open_runtime(bundle, "litert")
    run_self_test(bundle, runtime)
    monkeypatch.setitem(preprocess_module._FILTERS, "bilinear", Image.Resampling.BOX)
    with pytest.raises(SelfTestError, match="gave other scores"):
        run_self_test(bundle, runtime)


def by_points(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear without antialiasing, one point after another: the definition, not the code."""
    found = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            y = (row + 0.5) * picture.shape[0] / height - 0.5
            x = (column + 0.5) * picture.shape[1] / width - 0.5
            for j in (int(np.floor(y)), int(np.floor(y)) + 1):
                for i in (int(np.floor(x)), int(np.floor(x)) + 1):
                    share = (1 - abs(y - j)) * (1 - abs(x - i))
                    inside = (
                        min(max(j, 0), picture.shape[0] - 1),
                        min(max(i, 0), picture.shape[1] - 1),
                    )
                    found[row, column] += share * picture[inside]
    return found


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(2, 30), st.integers(2, 30)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    deep=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_resize_without_antialiasing_looks_at_four_pixels(
    shape: tuple[int, int], size: tuple[int, int], deep: bool, seed: int
) -> None:
    kind = np.uint16 if deep else np.uint8
    picture = np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape).astype(kind)
    spec = dataclasses.replace(
        PLAIN, height=size[0], width=size[1], resize_filter="bilinear_without_antialiasing"
    )
    resized = resize(picture, spec)
    assert resized.dtype == (np.float32 if deep else np.uint8)
    tolerance = 0.05 if deep else 0.51
    assert np.abs(resized - by_points(picture, *size)).max() <= tolerance


def test_a_frame_of_a_resize_without_antialiasing_is_that_part() -> None:
    picture = draw_phantom(Phantom(2), 160, 120)
    spec = dataclasses.replace(
        PLAIN, height=16, width=16, resize_filter="bilinear_without_antialiasing"
    )
    part = resize(picture, spec, Frame(0.25, 0.25, 0.75, 0.75))
    assert np.array_equal(part, resize(picture[40:120, 30:90], spec))


KEPT = dataclasses.replace(PLAIN, range_region=0.0)


def test_greys_may_stay_as_they_are_stored() -> None:
    spec = dataclasses.replace(KEPT, height=2, width=3)
    picture = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    assert np.array_equal(preprocess(picture, spec)[0, :, :, 0], picture)
    # 257 of 65,536 greys become one of 256.
    assert np.array_equal(preprocess(picture * np.uint16(257), spec)[0, :, :, 0], picture)


@pytest.mark.parametrize("deep", [False, True])
def test_a_blank_picture_is_told_where_greys_stay(deep: bool) -> None:
    blank = np.full((64, 64), 7, np.uint16 if deep else np.uint8)
    assert grey_range(resize(blank, KEPT), KEPT) == (7.0, 7.0)
    low, high = grey_range(resize(draw_phantom(Phantom(3), 64, 64), KEPT), KEPT)
    assert high - low > 50


def test_nearest_takes_single_pixels() -> None:
    spec = dataclasses.replace(KEPT, height=1, width=2, resize_filter="nearest")
    picture = np.array([[1, 2, 3, 4]] * 3, np.uint8)
    assert preprocess(picture, spec)[0, :, :, 0].tolist() == [[2, 4]]
