"""Heatmaps: hot where the network says so, inside the lungs, the same through every door."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_app.bundle.load import load_bundle
from edge_app.cli import main
from edge_app.decision import Decision
from edge_app.errors import StorageError, UsageError
from edge_app.images.lung_frame import Frame
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.results.folder import RunFolder
from edge_app.results.rows import read_results
from edge_app.runs.batch import BatchPlan, run_batch
from edge_app.runs.scoring_run import RunOptions
from edge_app.runs.watch import WatchPlan
from edge_app.runtimes import Runtime
from edge_app.runtimes.base import Pictures, RawOutputs
from edge_app.screening.heat_scale import CORE
from edge_app.screening.heatmap import (
    SIDE,
    Heatmap,
    average_views,
    nearer_views,
    shifted_views,
    spread,
)
from edge_app.screening.overlay import coloured, edge_of
from edge_app.screening.screener import Screener
from tests.dicom_files import phantom_dataset
from tests.test_batch import phantom_png, write_ward
from tests.test_watch import Session, until
from tests.tiny_bundle import trust_test_key, write_tiny_bundle

CELLS = 8


class BrightestPatch:
    """A network whose map is each patch's mean grey, its cells padded as the shipped one's are."""

    def run(self, batch: Pictures) -> RawOutputs:
        height, width = batch.shape[1:3]
        # By 0.3 of a cell down and right, which is what `spread` takes the centres to be.
        down, right = round(0.3 * height / CELLS), round(0.3 * width / CELLS)
        grey = np.pad(batch[0, :, :, 0], ((0, down), (0, right)), mode="edge")[down:, right:]
        grid = grey.reshape(CELLS, height // CELLS, CELLS, width // CELLS).mean(axis=(1, 3))
        return RawOutputs(float(grid.mean()), grid.astype(np.float32), None, None)


class Mapless:
    def run(self, batch: Pictures) -> RawOutputs:
        return RawOutputs(1.0, None, None, None)


@given(st.integers(10, 53), st.integers(10, 53))
@settings(max_examples=40, deadline=None)
def test_the_hottest_place_is_where_the_network_sees_most(x: int, y: int) -> None:
    view = np.zeros((1, 128, 128, 1), np.uint8)
    view[0, 2 * y - 7 : 2 * y + 9, 2 * x - 7 : 2 * x + 9, 0] = 255
    values = average_views(view, cast(Runtime, BrightestPatch()))
    assert values is not None
    at_y, at_x = np.unravel_index(int(values.argmax()), values.shape)
    # Within a cell, which is 8 of the 64 values wide.
    assert abs(at_y - y) <= 6
    assert abs(at_x - x) <= 6


def test_a_mirrored_view_has_a_mirrored_map() -> None:
    rng = np.random.default_rng(3)
    view = rng.integers(0, 256, (1, 128, 128, 1), dtype=np.uint8)
    plain = average_views(view, cast(Runtime, BrightestPatch()))
    mirrored = average_views(
        np.ascontiguousarray(view[:, :, ::-1]), cast(Runtime, BrightestPatch())
    )
    assert plain is not None
    assert mirrored is not None
    assert np.allclose(plain, mirrored[:, ::-1])


class Constant:
    """A network that sees the same everywhere, wherever it looks."""

    def run(self, batch: Pictures) -> RawOutputs:
        return RawOutputs(3.0, np.full((CELLS, CELLS), 3.0, np.float32), None, None)


def test_what_is_alike_on_both_sides_stays_as_it_is() -> None:
    view = np.zeros((1, 128, 128, 1), np.uint8)
    runtime = cast(Runtime, Constant())
    assert np.allclose(nearer_views(view, runtime), 3)
    assert np.allclose(cast(Any, average_views(view, runtime)), 3)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_each_side_is_held_against_the_other(seed: int) -> None:
    """Comparing keeps the mean, and half as much again of what differs from side to side."""
    view = np.random.default_rng(seed).integers(0, 256, (1, 128, 128, 1), dtype=np.uint8)
    runtime = cast(Runtime, BrightestPatch())
    shifted = shifted_views(view, runtime)
    assert shifted is not None
    plain = (shifted + nearer_views(view, runtime)) / 2
    compared = average_views(view, runtime)
    assert compared is not None
    assert compared.mean() == pytest.approx(plain.mean())
    sides, before = compared - compared[:, ::-1], plain - plain[:, ::-1]
    assert np.allclose(sides, 1.5 * before)


def test_a_network_without_a_map_has_no_heat() -> None:
    assert average_views(np.zeros((1, 64, 64, 1), np.uint8), cast(Runtime, Mapless())) is None


def test_spread_by_hand() -> None:
    grid = np.zeros((2, 4), np.float32)
    grid[1, 2] = 8.0
    values = spread(grid, offset=0.0)
    assert values.shape == (SIDE, SIDE)
    # The centre of the cell lies at 3/4 of the height and 5/8 of the width, between four values.
    assert values[47:49, 39:41] == pytest.approx(8.0, abs=0.6)
    assert values.max() == values[47:49, 39:41].max()
    assert np.allclose(spread(np.full((3, 5), 2.5, np.float32), 0.1, -0.2), 2.5)
    moved = spread(grid, down=-0.25, right=0.125, offset=0.0)
    assert moved[31:33, 47:49] == pytest.approx(8.0, abs=0.6)


def test_heat_stays_in_the_lungs_and_colour_on_one_scale() -> None:
    lungs = np.zeros((100, 80), np.bool_)
    lungs[20:80, 10:30] = True
    values = np.full((SIDE, SIDE), 50.0)
    values[:32] = 0.5  # below the cut-off
    heatmap = Heatmap(
        np.full((100, 80), 128, np.uint8), lungs, Frame(0.1, 0.1, 0.9, 0.9), values, 1.8
    )
    heat = heatmap.heat()
    assert np.isneginf(heat[~lungs]).all()
    x, y = heatmap.hottest()
    assert lungs[int(y * 100), int(x * 80)]
    assert y > 0.5
    colours = coloured(heatmap)
    assert (colours[~lungs] == 128).all()
    inside = lungs & ~edge_of(lungs)
    assert (colours[22:45, 12:28] == 128).all()
    assert (colours[inside & (heat > 1.8 + CORE)] != 128).any()


@pytest.fixture
def screener(tmp_path: Path) -> Screener:
    return Screener(load_bundle(write_tiny_bundle(tmp_path / "two-looks", locator=True)))


def test_a_heatmap_changes_nothing_of_the_answer(tmp_path: Path, screener: Screener) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(phantom_png(1))
    plain, hot = screener.score(path), screener.score(path, heatmap=True)
    assert plain.heatmap is None
    assert hot.heatmap is not None
    assert (hot.raw_score, hot.decision) == (plain.raw_score, plain.decision)
    assert hot.raw_score is not None
    assert hot.lungs is not None
    x, y = hot.heatmap.hottest()
    assert hot.lungs.box.left <= x <= hot.lungs.box.right
    assert hot.lungs.box.top <= y <= hot.lungs.box.bottom
    with pytest.raises(UsageError, match="heatmap=True"):
        plain.overlay()
    assert "heatmap" not in plain.to_dict()


def test_a_turned_film_has_the_upright_one_s_heat(tmp_path: Path, screener: Screener) -> None:
    pixels = draw_phantom(Phantom(1), 256, 256)
    maps = []
    for turns in range(4):
        path = tmp_path / f"{turns}.png"
        Image.fromarray(np.rot90(pixels, turns)).save(path)
        result = screener.score(path, heatmap=True)
        assert result.heatmap is not None
        assert result.lungs is not None
        assert result.lungs.quarter_turns == turns
        maps.append(result.heatmap)
    for turned in maps[1:]:
        assert np.allclose(turned.values, maps[0].values)
        # Reduced first, then turned: a grey may round otherwise.
        assert np.abs(turned.picture.astype(int) - maps[0].picture).max() <= 2


def test_a_refused_film_has_none(tmp_path: Path, screener: Screener) -> None:
    path = tmp_path / "blank.png"
    Image.new("L", (300, 300), 90).save(path)
    result = screener.score(path, heatmap=True)
    assert result.heatmap is None
    with pytest.raises(UsageError, match="grey levels"):
        result.overlay()


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_every_door_gives_the_same_answer_map_and_reason(
    tmp_path: Path, nothing_installed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    trust_test_key()
    bundle = write_tiny_bundle(tmp_path / "two-looks", signed=True, locator=True)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "film.png").write_bytes(phantom_png(1))
    phantom_dataset("1.2.3").save_as(folder / "film.dcm", enforce_file_format=True)
    Image.new("L", (300, 300), 90).save(folder / "blank.png")
    options = RunOptions(bundle=bundle, heatmaps="all")
    run_batch(BatchPlan((folder,), tmp_path / "batch", options=options))

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: len(session.outcomes) == 3)

    Session(WatchPlan(folder, tmp_path / "watch", 0.05, 0.05, 0.05, options), script)
    screener = Screener(load_bundle(bundle))
    seen = {}
    for door in ("batch", "watch"):
        run = RunFolder(tmp_path / door)
        for row in read_results(run.results)[1]:
            answer = (
                row.decision,
                row.reason,
                row.message,
                row.raw_score,
                row.quality,
                row.measures,
            )
            assert seen.setdefault(row.file, answer) == answer
    assert len(seen) == 3
    for name, (decision, reason, message, raw_score, quality, measures) in seen.items():
        drawn = tmp_path / "out.png"
        arguments = ["score", str(folder / name), "--bundle", str(bundle)]
        assert main([*arguments, "--json", "--heatmap", str(drawn)]) == 0
        printed = capsys.readouterr()
        row = json.loads(printed.out)
        assert (row["decision"], row["reason"]) == (decision, reason)
        assert (row["message"], row["raw_score"]) == (message, raw_score)
        assert (row["quality"], row["measures"]) == (quality, measures)
        result = screener.score(folder / name, heatmap=True)
        assert (result.decision, result.reason) == (decision, reason)
        assert (result.message or None, result.raw_score) == (message, raw_score)
        assert result.quality == quality
        assert result.measures == pytest.approx(measures, abs=5e-5)
        files = [RunFolder(tmp_path / door).heatmap(name) for door in ("batch", "watch")]
        if decision is Decision.NOT_ASSESSABLE:
            assert result.heatmap is None
            assert not drawn.exists()  # nor the one of the film before
            assert "no heatmap: no_contrast" in printed.err
            assert not any(file.exists() for file in files)
            continue
        expected = np.asarray(result.overlay())
        assert all(np.array_equal(pixels_of(file), expected) for file in (drawn, *files))


def test_batch_draws_what_is_asked_for_and_goes_on(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    ward, out = write_ward(tmp_path / "ward"), tmp_path / "out"
    options = RunOptions(bundle=tiny_bundle_folder, heatmaps="suspected", workers=2)
    run_batch(BatchPlan((ward,), out, options=options))
    (drawn,) = (out / "heatmaps").iterdir()
    assert drawn == RunFolder(out).heatmap("a/suspected.png")
    assert drawn.name.startswith("suspected.png-")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f'"heatmap":"heatmaps/{drawn.name}"' in page
    assert 'id="heat"' in page
    pictures = json.loads(page.partition('id="data-pictures">')[2].partition("</script>")[0])
    (suspected,) = (p for p in pictures["suspected"] if p["heatmap"])
    assert np.shape(suspected["activation_map"]) == (24, 24)
    assert all(p["activation_map"] == [] for p in pictures["indeterminate"])
    assert 'id="heat" checked' not in page  # off until a reader asks for it
    before = drawn.stat().st_mtime_ns
    assert run_batch(BatchPlan((ward,), out, options=options)).scored_now == 0
    assert drawn.stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="heatmaps was 'suspected', is 'all' now"):
        run_batch(BatchPlan((ward,), out, options=replace(options, heatmaps="all")))


def test_without_being_asked_for_the_report_has_no_heat(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    ward, out = write_ward(tmp_path / "ward"), tmp_path / "out"
    run_batch(BatchPlan((ward,), out, options=RunOptions(bundle=tiny_bundle_folder)))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert 'id="heat"' not in page
    assert '"contour": null' in page
    assert not (out / "heatmaps").exists()


def test_an_overwritten_film_keeps_no_heat_of_its_past(
    tmp_path: Path, signed_bundle_folder: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    film = folder / "film.png"
    film.write_bytes(phantom_png(1))
    drawn = RunFolder(out).heatmap("film.png")

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: len(session.outcomes) == 1)
        assert drawn.exists()
        film.write_bytes(phantom_png(3))
        yield from until(lambda: len(session.outcomes) == 2)
        assert not drawn.exists()

    options = RunOptions(bundle=signed_bundle_folder, heatmaps="suspected")
    Session(WatchPlan(folder, out, 0.05, 0.05, 0.05, options), script)


def test_where_heatmaps_cannot_be_written_the_run_stops_and_goes_on(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    ward, out = write_ward(tmp_path / "ward"), tmp_path / "out"
    out.mkdir()
    (out / "heatmaps").write_text("a file lies where the folder must be")
    plan = BatchPlan(
        (ward,), out, options=RunOptions(bundle=tiny_bundle_folder, heatmaps="suspected")
    )
    with pytest.raises(StorageError, match="heatmaps"):
        run_batch(plan)
    (out / "heatmaps").unlink()
    assert run_batch(plan).complete
    assert RunFolder(out).heatmap("a/suspected.png").exists()


def test_names_are_told_apart_and_stay_in_their_folder() -> None:
    run = RunFolder(Path("out"))
    names = ["a/film.png", "b/film.png", "/film.png", "../../film.png", "Kind 1/Brüstchen é.dcm"]
    paths = [run.heatmap(name) for name in [*names, "x" * 300, "\udcff", ".."]]
    assert len(set(paths)) == len(paths)
    assert {path.parent for path in paths} == {Path("out/heatmaps")}
    assert all(path.name.isascii() and len(path.name) < 100 for path in paths)
    assert not any(path.name.startswith(".") for path in paths)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["a.png", "b.png", "--heatmap", "o.png"], 2, "takes one FILE"),
        (["a.png", "--heatmap", "o.jpg"], 2, "name it OUT.png"),
        (["a.png", "--heatmap", "a.png"], 2, "is the picture itself"),
        (["a.png", "--heatmap", "no/such/folder/o.png"], 5, "cannot be written"),
        (["gone.png", "--heatmap", "o.png"], 4, ""),
    ],
)
def test_a_heatmap_that_cannot_be_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_bundle_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(phantom_png(1))
    before = (tmp_path / "a.png").read_bytes()
    assert main(["score", *arguments, "--bundle", str(tiny_bundle_folder)]) == code
    assert text in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == before
    assert not (tmp_path / "o.png").exists()
