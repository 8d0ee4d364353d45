"""The average of many films: the most alike, by their outlines, and nothing from beyond a film."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.errors import DataError
from train.average_film import HEIGHT, WIDTH, average_film
from train.cli import main
from train.outlines import Outline

_BOX = (0.2, 0.2, 0.8, 0.8)


def _outline(folder: Path, name: str, *, inset: int = 0, grey: int = 60) -> Outline:
    """A bright square on `grey`, its outline drawn `inset` pixels smaller on one side."""
    film, mask = np.full((100, 100), grey, np.uint8), np.zeros((100, 100), np.uint8)
    film[20:80, 20:80] = 200
    mask[20:80, 20 + inset : 80] = 255
    paths = folder / f"{name}.png", folder / f"{name}_mask.png"
    for array, path in zip((film, mask), paths, strict=True):
        Image.fromarray(array).save(path)
    return Outline(paths[0], name, paths[1], _BOX, "frontal", "here", "labelled", "ours")


def test_the_most_alike_are_taken_and_their_lungs_lie_in_one_place(tmp_path: Path) -> None:
    outlines = [
        _outline(tmp_path, f"{i}", inset=40 if i == 1 else 0, grey=20 * i) for i in range(5)
    ]
    picture, names = average_film(outlines, 4)
    assert names == ["0", "2", "3", "4"]
    assert picture.size == (WIDTH, HEIGHT)
    pixels = np.asarray(picture).astype(int)
    inside, outside = pixels[200:280, 200:360], pixels[:20]
    assert inside.min() > outside.max() + 50


def test_films_that_do_not_fill_the_frame_are_left_out(tmp_path: Path) -> None:
    whole = _outline(tmp_path, "whole")
    cut = Outline(
        whole.path, "cut", whole.mask, (0.0, 0.2, 0.9, 0.8), "frontal", "here", "labelled", "ours"
    )
    assert average_film([cut, whole], 1)[1] == ["whole"]
    with pytest.raises(DataError, match="1 films fill the frame; 2 were asked for"):
        average_film([cut, whole], 2)


def test_the_command_says_what_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = "file,mask,view,site,use,licence,left,top,right,bottom\n"
    rows = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        _outline(folder, "film")
        files = f"{name}/film.png,{name}/film_mask.png"
        rows.append(f"{files},frontal,here,labelled,ours,0.2,0.2,0.8,0.8\n")
    (tmp_path / "lungs.csv").write_text(columns + "".join(rows))
    arguments = ["average", str(tmp_path / "lungs.csv"), "--under", "a"]
    target = tmp_path / "mean.png"
    assert main([*arguments, "--films", "1", "-o", str(target)]) == 0
    assert "the average of 1 films of 1 outlined" in capsys.readouterr().out
    assert Image.open(target).size == (WIDTH, HEIGHT)
    assert main([*arguments, "--films", "2", "-o", str(tmp_path / "two.png")]) == 2
    assert not (tmp_path / "two.png").exists()
