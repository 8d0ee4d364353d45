"""The test of heatmaps, tested: opacities are where they are said to be, and orders are judged."""

import csv
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from edge_app.errors import DataError
from edge_app.images.phantom import Phantom, draw_lungs, draw_phantom
from edge_app.images.radiograph import Radiograph
from edge_app.runtimes import Runtime
from edge_app.runtimes.base import Pictures, RawOutputs
from edge_app.screening.heatmap import SIDE
from tests.tiny_bundle import write_tiny_bundle
from train.cli import main
from train.heat_maps import Looked, blurred
from train.heat_probe import _by_block, _mean_change, draw_opacity, probe_heatmaps


def write_films(folder: Path, seeds: tuple[int, ...], masks: Path | None = None) -> Path:
    folder.mkdir()
    for seed in seeds:
        Image.fromarray(draw_phantom(Phantom(seed), 256, 256)).save(folder / f"{seed}.png")
        if masks is not None:
            masks.mkdir(exist_ok=True)
            Image.fromarray(draw_lungs(Phantom(seed), 256, 256)).save(masks / f"{seed}.png")
    return folder


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("height", ["upper", "middle", "lower"])
def test_an_opacity_is_dense_where_it_is_said_to_be(side: str, height: str) -> None:
    pixels, lungs = draw_phantom(Phantom(3), 256, 256), draw_lungs(Phantom(3), 256, 256)
    film = Radiograph(pixels, 255, "PNG", "0" * 64, (256, 256))
    made = draw_opacity(film, lungs, height, "small", side)
    assert made is not None
    clouded, where = made
    changed = clouded.pixels.astype(int) - film.pixels
    assert where.any()
    assert (where & lungs).sum() > 0.9 * where.sum()
    assert changed[where].mean() > 20
    assert np.abs(changed[~where]).mean() < 1
    rows, columns = np.nonzero(where)
    assert (columns.mean() < 128) == (side == "left")
    tops = {"upper": 0.25, "middle": 0.5, "lower": 0.75}
    lung_rows = np.flatnonzero(lungs.any(axis=1))
    share = (rows.mean() - lung_rows[0]) / np.ptp(lung_rows)
    assert share == pytest.approx(tops[height], abs=0.08)


class MeanGrey:
    """A network whose score is what one block of the picture shows."""

    def run(self, batch: Pictures) -> RawOutputs:
        return RawOutputs(float(batch[0, 16:24, 32:40].mean()), None, None, None)


def test_the_order_that_knows_the_block_changes_the_score_first() -> None:
    view = np.full((1, 128, 128, 1), 200, np.uint8)
    gone = np.zeros_like(view)
    looked = Looked(None, cast(Runtime, MeanGrey()))  # type: ignore[arg-type]
    values = np.zeros((SIDE, SIDE))
    values[8:12, 16:20] = 1.0  # rows 16 to 24 and columns 32 to 40 of 128
    best = np.argsort(-_by_block(values), kind="stable")
    # At once: all 16 steps see it gone; last: only the last one does.
    assert _mean_change(looked, best, view, gone) == pytest.approx(-200)
    assert _mean_change(looked, best[::-1], view, gone) == pytest.approx(-200 / 16)
    assert _mean_change(looked, best, gone, view) == pytest.approx(200)


def test_blurring_keeps_the_grey_and_takes_the_detail() -> None:
    rng = np.random.default_rng(1)
    view = rng.integers(0, 256, (1, 128, 128, 1), dtype=np.uint8)
    soft = blurred(view)
    assert soft.shape == view.shape
    assert soft.mean() == pytest.approx(view.mean(), abs=3)
    assert soft.std() < view.std() / 5


@pytest.fixture
def films(tmp_path: Path) -> dict[str, Path]:
    """Healthy phantoms with outlines, sick ones, and one with a finding outlined."""
    folders = {
        "healthy": write_films(tmp_path / "healthy", (3, 2), tmp_path / "masks"),
        "masks": tmp_path / "masks",
        "sick": write_films(tmp_path / "sick", (8, 12)),
        "lesions": write_films(tmp_path / "lesions", (1,)),
    }
    lungs = draw_lungs(Phantom(1), 256, 256)
    left = lungs & (np.arange(256) < 128)
    for name, mask in (("left", left), ("right", lungs & ~left), ("found", left)):
        Image.fromarray(mask).save(tmp_path / "lesions" / f"{name}.png")
    with (tmp_path / "lesions" / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("image", "finding", "mask", "share"))
        for finding, mask in (
            ("Left Lung", "left"), ("Right Lung", "right"), ("Consolidation", "found"),
        ):  # fmt: skip
            table.writerow(("1.png", finding, f"{mask}.png", "0.1"))
    return folders


def test_the_command_fills_in_a_document(tmp_path: Path, films: dict[str, Path]) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", locator=True)
    document = tmp_path / "d.md"
    document.write_text("before\n<!-- heatmaps -->\nold\n<!-- /heatmaps -->\nafter\n")
    arguments = [part for name, path in films.items() for part in (f"--{name}", str(path))]
    command = ["heatmaps", *arguments, "--bundle", str(bundle), "--into", str(document)]
    assert main(command) == 0
    text = document.read_text()
    assert text.startswith("before\n<!-- heatmaps -->\ntiny")
    assert "old" not in text
    assert text.endswith("<!-- /heatmaps -->\nafter\n")
    drawn = next(line for line in text.splitlines() if line.startswith("| all "))
    # Of two films, three heights, two radii, two lungs; some clouded phantoms are refused.
    assert 8 <= int(drawn.split("|")[2]) <= 24
    document.write_text("no marks")
    assert main(command) == 2


def test_folders_without_what_is_needed(tmp_path: Path, films: dict[str, Path]) -> None:
    from edge_app.bundle.load import load_bundle
    from edge_app.screening.screener import Screener

    screener = Screener(load_bundle(write_tiny_bundle(tmp_path / "b", locator=True)))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no film with an outline"):
        probe_heatmaps(screener, films["healthy"], empty, films["lesions"], films["sick"])
    with pytest.raises(DataError, match="no film in it is suspected"):
        probe_heatmaps(screener, films["healthy"], films["masks"], films["lesions"], empty)
