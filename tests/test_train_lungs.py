"""Outlines, framings and random views: the truth moves with the picture, whoever framed it."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.errors import ConfigError, DataError
from edge_app.images.framing import FRAMINGS, Framing, frame_outline, frame_picture
from edge_app.images.phantom import Phantom, draw_lungs, draw_phantom
from tests.train_inputs import READ, tiny_locator_document, write_outlines, write_phantoms
from train.config import parse_config
from train.degrade import DegradeSpec
from train.drawn_opacities import Opacity, cloud_lung, every_opacity
from train.locator_views import (
    FRONTAL,
    LATERAL,
    NONE,
    LocateSpec,
    composed_lateral,
    drawn_nothing,
    no_chest,
    random_view,
    without_lungs,
)
from train.outlines import Outlines, box_of, read_mask, read_outlines
from train.reader_views import (
    Lungs,
    ReadSpec,
    draw_opacity,
    frame_of,
    lay_tissue,
    paint_lungs,
    random_lungs,
)
from train.samples import read_samples

CONFIG = parse_config(tiny_locator_document(), "tiny")
QUIET = DegradeSpec(
    side=(96, 96), stretch=0.0, rotation_degrees=0.0, shift=0.0, zoom=0.0, crop=0.0,
    p_mirror=0.0, gamma=0.0, window=0.0, p_border=0.0, p_letters=0.0, p_photo=0.0, p_blur=0.0,
    blur_sigma=0.0, p_sharpen=0.0, p_noise=0.0, noise_sigma=0.0, p_jpeg=0.0,
    jpeg_quality=(90, 95),
)  # fmt: skip
PLAIN = ReadSpec(**dict.fromkeys(READ, 0.0))
MASK = draw_lungs(Phantom(seed=1), 224, 224)
PICTURE = draw_phantom(Phantom(seed=1), 112, 112).astype(np.uint8)


@pytest.fixture
def outlines(tmp_path: Path) -> tuple[Path, Outlines]:
    root = write_phantoms(tmp_path / "data", 2)
    path = write_outlines(root, read_samples(root))
    return path, read_outlines(path)


def test_outlines_are_read_with_their_boxes(outlines: tuple[Path, Outlines]) -> None:
    path, found = outlines
    assert len(found.by_name) == 8
    assert [other.name for other in found.used("train")] == ["masks/film.png", "masks/stripe.png"]
    one = found.by_name["NORMAL/IM-0000-0001.png"]
    assert one.mask is not None
    assert one.box == pytest.approx(box_of(read_mask(one.mask)), abs=0.02)
    assert found.sha256 != read_outlines(_changed(path, "frontal", "lateral")).sha256


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("labelled", "mine", "use 'mine' is none of"),
        ("frontal", "above", "view 'above' is none of"),
        ("masks/IM-0000-0000.png", "masks/no.png", "masks/no.png is not there"),
        (",licence", ",freedom", r"missing columns \['licence'\]"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(
    outlines: tuple[Path, Outlines], old: str, new: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_outlines(_changed(outlines[0], old, new))


def test_a_box_without_area_or_of_other_than_numbers_is_refused(
    outlines: tuple[Path, Outlines],
) -> None:
    rows = list(csv.reader(outlines[0].open()))
    for edges, message in ((["0.5"] * 4, "has no area"), (["0.1", "x", "1", "1"], "four numbers")):
        rows[1][2:6] = edges
        with outlines[0].open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        with pytest.raises(DataError, match=message):
            read_outlines(outlines[0])


def test_an_outline_of_another_size_is_stretched_and_an_empty_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    mask = np.zeros((30, 50), bool)
    mask[6:21, 10:40] = True
    Image.fromarray(mask).save(path)
    # Rows 6 to 21 of 30, columns 10 to 40 of 50; the border of a row falls into one of 224.
    assert box_of(read_mask(path)) == pytest.approx((0.2, 0.2, 0.8, 0.7), abs=1 / 224)
    Image.fromarray(np.zeros_like(mask)).save(path)
    with pytest.raises(DataError, match="without a lung"):
        read_mask(path)
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"mask\.png"):
        read_mask(path)


def test_framings_cut_and_add_what_they_say() -> None:
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    cut = frame_picture(pixels, Framing("", left=0.1, top=0.2, right=0.3))
    assert cut.tolist() == pixels[2:, 1:7].tolist()
    added = frame_picture(pixels, Framing("", left=-0.2, bottom=-0.1))
    assert added.shape == (11, 12)
    assert (added[:, :2] == 0).all()
    assert (added[:10, 2:] == pixels).all()
    mirrored = frame_picture(pixels, Framing("", left=-0.2, margin="mirror"))
    assert mirrored[:, :2].tolist() == pixels[:, 1::-1].tolist()
    outline = frame_outline(np.ones((10, 10), bool), Framing("", left=-0.2, margin="mirror"))
    assert not outline[:, :2].any()


@pytest.mark.parametrize("framing", FRAMINGS, ids=lambda f: f.name)
def test_picture_and_outline_are_framed_alike(framing: Framing) -> None:
    picture = np.where(MASK, 0, 200).astype(np.uint8)
    framed, outline = frame_picture(picture, framing), frame_outline(MASK, framing)
    assert framed.shape == outline.shape
    assert (framed[outline] == 0).all()


@pytest.mark.parametrize("seed", range(12))
def test_the_map_of_lungs_moves_with_the_picture(seed: int) -> None:
    """On a picture that is black just where the lungs are, the map must say where it is black."""
    spec = replace(_locate(), p_cloud=0.0, p_inverted=0.0, p_quarter=0.5)
    picture = np.where(MASK, 0, 200).astype(np.uint8)
    white = np.full_like(picture, 200)
    view = random_view(picture, MASK, white, spec, QUIET, 24, np.random.default_rng(seed))
    assert view.lungs is not None
    shown = np.asarray(Image.fromarray(view.pixels).resize((24, 24), Image.Resampling.BOX), float)
    inside, outside = view.lungs > 0.95, view.lungs < 0.02
    # What lies beyond the picture may be black as well, so only what is lung is asked.
    assert shown[inside].mean() < 60
    assert shown[outside].max() > 120
    assert view.view == FRONTAL


def test_lungs_cut_by_an_edge_are_told_by_the_side_that_cuts_them() -> None:
    rows, columns = np.nonzero(MASK)
    height = (rows.max() + 1 - rows.min()) / 224
    lower = rows.max() / 224
    from train.locator_views import _cut_off

    frame = np.array([0.0, 0.0, 1.0, lower - 0.2 * height])
    assert _cut_off(MASK, frame, 0.0).tolist() == [0, 0, 0, 1]
    frame = np.array([(columns.min() + 40) / 224, 0.0, 1.0, 1.0])
    assert _cut_off(MASK, frame, 0.0).tolist() == [1, 0, 0, 0]
    touching = np.zeros_like(MASK)
    touching[:100, 60:160] = True
    assert _cut_off(touching, np.array([0.0, 0.0, 1.0, 1.0]), 0.0).tolist() == [0, 1, 0, 0]


def test_a_quarter_turn_turns_picture_map_and_edges_alike() -> None:
    spec = LocateSpec(
        p_stored=1.0, inward=0.0, outward=0.0, rotation_degrees=0.0, p_quarter=1.0,
        p_cloud=0.0, p_composed=0.0, p_inverted=0.0,
    )  # fmt: skip
    touching = np.zeros((224, 224), bool)
    touching[:100, 60:160] = True  # cut off above
    picture = np.where(touching, 0, 200).astype(np.uint8)
    seen = set()
    for seed in range(20):
        view = random_view(picture, touching, picture, spec, QUIET, 8, np.random.default_rng(seed))
        assert view.quarter in (1, 2, 3)
        assert view.lungs is not None
        assert view.cut_off is not None
        # Counter-clockwise, what was above comes to the left, then below, then to the right.
        edge = {1: 0, 2: 3, 3: 2}[view.quarter]
        assert np.flatnonzero(view.cut_off == 1).tolist() == [edge]
        beside = (view.lungs[:, 0], view.lungs[0], view.lungs[:, -1], view.lungs[-1])
        assert np.argmax([line.sum() for line in beside]) == edge
        seen.add(view.quarter)
    assert seen == {1, 2, 3}


def test_what_is_no_chest_has_no_lungs() -> None:
    rng = np.random.default_rng(0)
    for view in (no_chest(PICTURE, 8, QUIET, rng), drawn_nothing(8, QUIET, rng)):
        assert view.view == NONE
        assert view.lungs is not None
        assert not view.lungs.any()
    corner = np.zeros((224, 224), bool)
    corner[:60, :60] = True
    piece = without_lungs(PICTURE, corner, 8, QUIET, rng)
    assert piece is not None
    assert piece.view == NONE
    everywhere = np.ones((224, 224), bool)
    assert without_lungs(PICTURE, everywhere, 8, QUIET, rng) is None
    assert composed_lateral(PICTURE, MASK, QUIET, rng).view == LATERAL


def _lungs(picture: np.ndarray) -> Lungs:
    return Lungs(picture, box_of(MASK), MASK)


def test_a_plain_view_is_what_the_edge_shows() -> None:
    """Without any variation, the random view is the canonical frame, up to the resampling."""
    view, target = random_lungs(
        _lungs(PICTURE), 1, _lungs(PICTURE), None, PLAIN, QUIET, np.random.default_rng(2)
    )
    from edge_app.images.preprocess import preprocess

    spec = replace(CONFIG.preprocess, height=24, width=24, range_region=1.0)
    edge = preprocess(PICTURE, spec, frame_of(box_of(MASK), 0.0))[0, :, :, 0].astype(float)
    seen = preprocess(view, spec)[0, :, :, 0].astype(float)
    either = max(np.corrcoef(edge.ravel(), s.ravel())[0, 1] for s in (seen, seen[:, ::-1]))
    assert either > 0.97
    assert target == 1.0


def test_exchanged_surroundings_leave_the_lungs_alone() -> None:
    spec = replace(PLAIN, p_exchange=1.0)
    grey = np.full((112, 112), 128, np.uint8)
    beside = np.clip(np.random.default_rng(9).normal(120, 30, MASK.shape), 60, 255)
    dark = np.where(MASK, 30, beside).astype(np.uint8)
    views = [
        random_lungs(_lungs(dark), 0, _lungs(other), None, spec, QUIET, np.random.default_rng(5))[0]
        for other in (grey, np.random.default_rng(0).integers(0, 256, (112, 112)).astype(np.uint8))
    ]
    difference = np.abs(views[0].astype(int) - views[1])
    # The same lungs within, other pictures without.
    assert np.median(difference[views[0] <= np.percentile(views[0], 15)]) <= 3
    assert difference.max() > 20


def test_lungs_painted_over_are_neither_and_opacities_are_pneumonia() -> None:
    answers = {
        table: random_lungs(
            _lungs(PICTURE), 0, _lungs(PICTURE), None, replace(PLAIN, **{table: 1.0}), QUIET,
            np.random.default_rng(1),
        )[1]
        for table in ("p_painted", "p_opacity")
    }  # fmt: skip
    assert answers == {"p_painted": 0.5, "p_opacity": 1.0}


def test_paint_and_opacity_stay_within_the_lungs_and_tissue_does_not() -> None:
    canvas = np.full((120, 120), 90, np.uint8)
    mask = np.zeros((120, 120), np.float32)
    mask[30:90, 20:50] = mask[30:90, 70:100] = 1.0
    far = np.ones((120, 120), bool)
    far[20:100, 10:110] = False
    canvas[mask == 0] = 160
    for seed in range(8):
        painted = paint_lungs(canvas, mask, np.random.default_rng(seed))
        assert (painted[far] == canvas[far]).all()
        opaque = draw_opacity(canvas, mask, np.random.default_rng(seed))
        assert (opaque[far] == canvas[far]).all()
        assert opaque is canvas or opaque.mean() > canvas.mean()
    laid = lay_tissue(canvas, np.random.default_rng(0))
    assert (laid >= canvas).all()
    assert (laid > canvas)[mask == 0].any()


@pytest.mark.parametrize("opacity", every_opacity(), ids=str)
def test_a_drawn_opacity_lies_where_it_says(opacity: Opacity) -> None:
    """One lung alone gets denser, only in its part, and all of the parts get what they should."""
    pixels, lungs = np.full((240, 240), 150, np.uint8), np.zeros((240, 240), bool)
    lungs[60:180, 40:100] = lungs[60:180, 140:200] = True
    pixels[lungs] = 40
    pixels[:20] = 250
    changed = cloud_lung(opacity, pixels, lungs).astype(int) - pixels
    denser = lungs & (changed > changed[lungs].max() / 2)  # the soft edge's middle
    rows, columns = np.nonzero(denser)
    half = slice(0, 120) if opacity.side == "left" else slice(120, 240)
    assert columns.min() >= half.start
    assert columns.max() < half.stop
    middle = {"upper": 80, "middle": 120, "lower": 160}.get(opacity.place)
    if middle is not None:
        assert rows.mean() == pytest.approx(middle, abs=6)
    # Of the lung's 7,200 pixels: a disc of an eighth or a quarter of 120, a third, a half, all.
    share = {"spot": 177, "patch": 707, "lobe": 2400, "half": 3600, "lung": 7200}[opacity.size]
    assert denser.sum() == pytest.approx(share, rel=0.7 if opacity.size == "spot" else 0.35)
    top = {"soft": 95, "dense": 139, "white": 250}[opacity.density]
    if opacity.size != "spot":
        assert pixels[denser].mean() < (pixels + changed)[denser].max() <= top + 3


def test_a_configuration_says_which_tables_belong_together() -> None:
    document = tiny_locator_document()
    del document["locate"]
    with pytest.raises(ConfigError, match="come together"):
        parse_config(document, "tiny")
    with pytest.raises(ConfigError, match="for readers"):
        parse_config(tiny_locator_document(read=READ), "tiny")


def _locate() -> LocateSpec:
    assert CONFIG.locate is not None
    return CONFIG.locate


def _changed(path: Path, old: str, new: str) -> Path:
    path.write_text(path.read_text().replace(old, new))
    return path


def test_the_label_decides_nothing_of_what_is_shown_of_the_lungs() -> None:
    """Unless an opacity is drawn, a view of a picture is the same whatever its label is."""
    spec = replace(PLAIN, p_exchange=0.5, p_painted=0.2, p_reframe=0.5, inward=0.1, outward=0.1)
    other = np.random.default_rng(0).integers(0, 256, PICTURE.shape).astype(np.uint8)
    for seed in range(8):
        views = [
            random_lungs(
                _lungs(PICTURE), label, _lungs(other), other, spec, QUIET,
                np.random.default_rng(seed),
            )[0]
            for label in (0, 1)
        ]  # fmt: skip
        assert np.array_equal(*views)
