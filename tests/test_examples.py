"""Phantoms and the example folder: made offline, and said plainly what they are."""

from pathlib import Path

import numpy as np
import pytest

from edge_app import Decision, Screener, load_bundle, read_image
from edge_app.cli import main
from edge_app.decision import Reason
from edge_app.errors import StorageError
from edge_app.images.examples import README_FILE, write_examples
from edge_app.images.phantom import Phantom, draw_phantom


@pytest.mark.parametrize(
    ("bits", "dtype", "top"), [(1, np.uint8, 1), (8, np.uint8, 255), (12, np.uint16, 4095)]
)
def test_a_phantom_has_the_size_and_depth_asked_for(bits: int, dtype: type, top: int) -> None:
    picture = draw_phantom(Phantom(1), 120, 90, bits)
    assert picture.shape == (120, 90)
    assert picture.dtype == dtype
    assert (picture.min(), picture.max()) == (0, top)


def test_a_seed_gives_the_same_picture_again_and_another_a_different_one() -> None:
    first = draw_phantom(Phantom(1))
    assert np.array_equal(first, draw_phantom(Phantom(1)))
    assert not np.array_equal(first, draw_phantom(Phantom(2)))


def test_lungs_are_dark_and_an_opacity_brightens_one_side() -> None:
    clear = draw_phantom(Phantom(4), 400, 400).astype(float)
    right, left, spine = clear[120:260, 90:150], clear[120:200, 260:310], clear[300:, 190:210]
    assert right.mean() < spine.mean() - 60
    assert left.mean() < spine.mean() - 60
    clouded = draw_phantom(Phantom(4, opacity=1.0, side="right"), 400, 400).astype(float)
    change = clouded - clear
    # The patient's right is the picture's left.
    assert change[160:280, 70:170].mean() > 10
    assert abs(change[:, 220:].mean()) < 1


@pytest.mark.parametrize("arguments", [(8, 100), (100, 100, 0), (100, 100, 17)])
def test_impossible_phantoms(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        draw_phantom(Phantom(1), *arguments)


def test_every_example_is_there_and_described(tmp_path: Path) -> None:
    written = write_examples(tmp_path / "new" / "examples")
    folder = tmp_path / "new" / "examples"
    names = {example.file for example in written}
    assert {path.name for path in folder.iterdir()} == names | {README_FILE}
    readme = (folder / README_FILE).read_text(encoding="utf-8")
    for example in written:
        assert f"{example.file}: {example.what}" in readme
        word = "real" if example.file.endswith(".dcm") else "drawing"
        assert word in example.what
        assert read_image(folder / example.file).pixels.size > 100_000


def test_the_real_example_is_refused_for_its_age(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    pytest.importorskip("pydicom")
    written = {example.file for example in write_examples(tmp_path)}
    if "nema_rg1_adult.dcm" not in written:
        pytest.skip("needs the package pydicom-data")
    radiograph = read_image(tmp_path / "nema_rg1_adult.dcm")
    assert radiograph.dicom is not None
    assert radiograph.dicom.photometric_interpretation == "MONOCHROME1"
    result = Screener(load_bundle(tiny_bundle_folder)).score(radiograph)
    assert result.decision is Decision.NOT_ASSESSABLE
    assert result.reason is Reason.OUTSIDE_VALIDATED_POPULATION


def test_the_command_says_what_each_example_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["examples", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("a drawing") == 4
    (tmp_path / "file").write_text("")
    assert main(["examples", str(tmp_path / "file" / "x")]) == 5
    with pytest.raises(StorageError):
        write_examples(tmp_path / "file")
