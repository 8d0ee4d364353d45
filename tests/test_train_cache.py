"""The cache of decoded pictures: exact, keyed by content, whole or absent."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.errors import StorageError, UnreadableImageError
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import preprocess
from tests.train_inputs import tiny_config, write_phantoms
from train.cache import MAX_SIDE, open_cache, read_grey


def test_it_holds_what_the_edge_reads(tmp_path: Path) -> None:
    paths = sorted(write_phantoms(tmp_path / "data", 2).rglob("*.png"))
    cache = open_cache(paths, tmp_path / "cache")
    for path in paths:
        np.testing.assert_array_equal(cache.read(path), np.asarray(Image.open(path)))


def test_it_is_made_once_and_again_when_a_file_changes(tmp_path: Path) -> None:
    paths = sorted(write_phantoms(tmp_path / "data", 1).rglob("*.png"))
    folder = tmp_path / "cache"
    open_cache(paths, folder)
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    open_cache(paths, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == files
    Image.new("L", (40, 40), 9).save(paths[0])
    assert open_cache(paths, folder).read(paths[0]).max() == 9


def test_large_pictures_shrink_and_keep_their_shape(tmp_path: Path) -> None:
    Image.fromarray(draw_phantom(Phantom(seed=1), 600, 1200)).save(tmp_path / "a.png")
    assert read_grey(tmp_path / "a.png").shape == (MAX_SIDE // 2, MAX_SIDE)


def test_a_deep_picture_prepares_like_its_shallow_twin(tmp_path: Path) -> None:
    """12 bits in a 16-bit file: scaled by 65535 only 16 grey values would be left."""
    deep = draw_phantom(Phantom(seed=4), 96, 96, bits=12)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    spec = tiny_config().preprocess
    from_cache = preprocess(read_grey(tmp_path / "deep.png"), spec).astype(int)
    direct = preprocess(deep, spec).astype(int)
    assert np.abs(from_cache - direct).max() <= 2
    assert len(np.unique(from_cache)) > 60


def test_a_dead_pixel_of_a_deep_picture_takes_no_greys_from_the_lungs(tmp_path: Path) -> None:
    deep = draw_phantom(Phantom(seed=4), 96, 96, bits=12)
    marred = deep.copy()
    marred[0, :3] = 65535
    marred[-1, :3] = 0
    for name, pixels in (("deep", deep), ("marred", marred)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    spec = tiny_config().preprocess
    expected, found = (
        preprocess(read_grey(tmp_path / f"{name}.png"), spec).astype(int)
        for name in ("deep", "marred")
    )
    inner = np.s_[0, 2:-2, 2:-2]
    assert np.abs(found[inner] - expected[inner]).max() <= 3
    assert len(np.unique(found)) > 60


def test_a_deep_picture_of_nearly_one_grey(tmp_path: Path) -> None:
    pixels = np.full((96, 96), 1000, np.uint16)
    Image.fromarray(pixels).save(tmp_path / "flat.png")
    assert set(np.unique(read_grey(tmp_path / "flat.png"))) == {0}
    pixels[40, 40:42] = 3000
    Image.fromarray(pixels).save(tmp_path / "dot.png")
    assert set(np.unique(read_grey(tmp_path / "dot.png"))) == {0, 255}


@pytest.mark.parametrize("damage", ["gone", "short", "index"])
def test_a_cache_of_which_a_part_is_lost_is_made_again(tmp_path: Path, damage: str) -> None:
    paths = sorted(write_phantoms(tmp_path / "data", 1).rglob("*.png"))
    folder = tmp_path / "cache"
    open_cache(paths, folder)
    (data,), (index,) = folder.glob("*.u8"), folder.glob("*.json")
    if damage == "gone":
        data.unlink()
    elif damage == "short":
        data.write_bytes(data.read_bytes()[:-1])
    else:
        index.write_text("")
    cache = open_cache(paths, folder)
    for path in paths:
        np.testing.assert_array_equal(cache.read(path), np.asarray(Image.open(path)))


def test_unreadable_pictures_are_all_named_and_nothing_stays(tmp_path: Path) -> None:
    paths = sorted(write_phantoms(tmp_path / "data", 2).rglob("*.png"))
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    paths[3].write_bytes(b"")
    with pytest.raises(UnreadableImageError, match="2 of 8 pictures cannot be read") as caught:
        open_cache(paths, tmp_path / "cache")
    assert paths[1].name in str(caught.value)
    assert paths[3].name in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="a file where a folder must be, as POSIX reports it")
def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    paths = sorted(write_phantoms(tmp_path / "data", 1).rglob("*.png"))
    (tmp_path / "cache").write_text("a file, no folder")
    with pytest.raises(StorageError, match="the cache cannot be written"):
        open_cache(paths, tmp_path / "cache")
