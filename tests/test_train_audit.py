"""The audit finds what was planted: compression, duplicates, patients on both sides."""

import csv
import io
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.images.phantom import Phantom, draw_phantom
from tests.train_inputs import write_phantoms
from train.audit import Audit, audit, in_words, write_labels
from train.cli import main
from train.duplicates import find_duplicates, fingerprint
from train.quantities import measure, sharpness
from train.samples import read_samples
from train.splits import given_splits


def _save_jpegs(root: Path, qualities: dict[str, int], patients: int = 8) -> Path:
    for name, quality in qualities.items():
        for patient in range(patients):
            path = root / name / f"{name.lower()}{patient}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = patient + 100 * (name == "NORMAL")
            pixels = draw_phantom(Phantom(seed=seed), 96, 112)
            Image.fromarray(pixels).save(path, quality=quality)
    return root


def _strength(findings: Audit, quantity: str, pictures: str = "all") -> float:
    (found,) = (p for p in findings.predictors if (p.quantity, p.pictures) == (quantity, pictures))
    return found.strength


def test_compression_that_gives_the_label_away(tmp_path: Path) -> None:
    """The Kermany set's own trap: normals saved at quality 95, pneumonias at 75."""
    root = _save_jpegs(tmp_path, {"NORMAL": 95, "PNEUMONIA": 75})
    findings, _ = audit(read_samples(root), {})
    assert _strength(findings, "jpeg_quantization") == 1.0
    assert _strength(findings, "bytes_per_pixel") == 1.0
    (found,) = (p for p in findings.predictors if p.quantity == "jpeg_quantization")
    # The standard luminance table (ITU-T T.81, K.1) scaled by 10% and by 50%, each entry rounded.
    assert (found.median_normal, found.median_pneumonia) == (369, 1858)
    assert found.auroc.low > 0.6
    assert "jpeg_quantization" in in_words(findings)


def test_equal_files_give_nothing_away(tmp_path: Path) -> None:
    root = _save_jpegs(tmp_path, {"NORMAL": 75, "PNEUMONIA": 75}, patients=30)
    findings, _ = audit(read_samples(root), {})
    quantities = {p.quantity for p in findings.predictors}
    # What does not vary predicts nothing, and is left out instead of shown as 0.5.
    assert not {"jpeg_quantization", "width", "height", "pixel_count"} & quantities
    (compressed,) = (p for p in findings.predictors if p.quantity == "bytes_per_pixel")
    assert compressed.auroc.low < 0.5 < compressed.auroc.high


def test_quantities_of_a_file(tmp_path: Path) -> None:
    pixels = np.full((40, 20), 200, np.uint8)
    pixels[:2] = pixels[-2:] = 0
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    quantities, grey = measure(path)
    np.testing.assert_array_equal(grey, pixels)
    assert (quantities.width, quantities.height, quantities.pixel_count) == (20, 40, 800)
    assert quantities.aspect_ratio == 0.5
    assert quantities.mean_grey == 180
    assert quantities.bytes_per_pixel == path.stat().st_size / 800
    assert math.isnan(quantities.jpeg_quantization)
    # The border is 2 rows above and below and one column on either side: 152 pixels, 80 dark.
    assert quantities.border_darkness == pytest.approx(80 / 152)


def test_sharpness_by_hand() -> None:
    pixels = np.zeros((4, 5), np.uint8)
    pixels[1, 2] = 10
    # Inner pixels are 2 x 3. The peak gives 40, its two neighbours beside and the one below 10.
    assert sharpness(pixels) == pytest.approx((40 + 10 + 10 + 10) / 6)
    assert sharpness(np.full((9, 9), 200, np.uint8)) == 0


def _jpeg(image: Image.Image, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _individual(seed: int) -> np.ndarray:
    """A phantom with clouds of its own: plain phantoms resemble each other more than patients."""
    clouds = np.random.default_rng(seed).integers(0, 90, (5, 6), np.uint8)
    smooth = Image.fromarray(clouds).resize((360, 300), Image.Resampling.BICUBIC)
    return draw_phantom(Phantom(seed=seed), 300, 360) // 2 + np.asarray(smooth)


def test_a_picture_is_found_again_at_another_size_and_quality() -> None:
    phantoms = [_individual(seed) for seed in range(12)]
    copy = Image.fromarray(phantoms[4]).resize((224, 224), Image.Resampling.LANCZOS)
    larger = Image.fromarray(phantoms[4]).resize((500, 420), Image.Resampling.BICUBIC)
    pictures = [*phantoms, _jpeg(copy, 40), _jpeg(larger, 90)]
    assert find_duplicates([fingerprint(p) for p in pictures]) == ((4, 12, 13),)


def test_a_deep_picture_and_its_shallow_copy_are_one(tmp_path: Path) -> None:
    """12 bits in a 16-bit file: scaled by 65535, only 16 grey values would be left to compare."""
    deep = _individual(3).astype(np.uint16) * 16
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray((deep // 16).astype(np.uint8)).save(tmp_path / "shallow.png")
    pictures = [measure(tmp_path / f"{name}.png")[1] for name in ("deep", "shallow")]
    assert len(np.unique(pictures[0])) > 60
    assert find_duplicates([fingerprint(p) for p in pictures]) == ((0, 1),)


def test_labels_keep_what_was_known(tmp_path: Path) -> None:
    root = write_phantoms(tmp_path / "data", 1)
    table = root / "labels.csv"
    table.write_text(
        "file,label,patient_id,original_width,original_height,view\n"
        "NORMAL/IM-0000-0000.png,0,a,2000,1800,PA\n"
        "PNEUMONIA/person0_virus_0.png,1,b,,,\n"
    )
    samples = read_samples(table)
    write_labels(samples, {}, tmp_path / "data" / "again.csv")
    again = read_samples(tmp_path / "data" / "again.csv")
    assert [(s.original_size, s.view) for s in again] == [((2000, 1800), "PA"), (None, "")]
    assert [replace(s, path=Path()) for s in again] == [replace(s, path=Path()) for s in samples]


def test_nothing_has_no_duplicates() -> None:
    assert find_duplicates([]) == ()


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """Train and validation folders that share a patient and, under another name, a picture."""
    root = tmp_path / "data"
    write_phantoms(root / "train", 4, side=96)
    write_phantoms(root / "val", 4, side=96, first=20)
    train, val = root / "train" / "NORMAL", root / "val" / "NORMAL"
    shutil.copy(train / "IM-0001-0000.png", val / "IM-9000-0001.png")
    (val / "IM-0020-0000.png").rename(val / "IM-0002-0007.png")
    return root


def test_overlap_of_given_splits(divided: Path) -> None:
    samples = read_samples(divided)
    findings, group_of = audit(samples, given_splits(samples))
    (overlap,) = findings.overlaps
    assert (overlap.left, overlap.right) == ("train", "validation")
    assert (overlap.patients, overlap.duplicates) == (1, 1)
    assert "IM-0002" in overlap.examples
    pair = ("train/NORMAL/IM-0001-0000.png", "val/NORMAL/IM-9000-0001.png")
    assert pair in findings.duplicate_groups
    assert group_of[pair[0]] == group_of[pair[1]]
    assert findings.duplicates_of_other_patient == 1
    assert findings.duplicates_of_other_label == 0


def test_the_command_writes_a_report_and_labels_that_train(
    divided: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report"
    assert main(["audit", str(divided), "-o", str(output)]) == 0
    assert "1 patients and 1 pictures stand in both" in capsys.readouterr().out
    report = json.loads((output / "audit.json").read_text())
    assert report["n_images"] == 33
    samples = read_samples(output / "labels.csv")
    assert len(samples) == 33
    groups = {s.path.name: s.duplicate_group for s in samples}
    assert groups["IM-9000-0001.png"] == groups["IM-0001-0000.png"] != ""
    # A second report does not overwrite the first.
    before = (output / "audit.json").read_bytes()
    assert main(["audit", str(divided), "-o", str(output)]) == 2
    assert "holds files already" in capsys.readouterr().err
    assert (output / "audit.json").read_bytes() == before


def test_the_command_names_unreadable_pictures(
    divided: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (divided / "train" / "NORMAL" / "IM-0001-0000.png").write_bytes(b"no picture at all")
    assert main(["audit", str(divided), "-o", str(tmp_path / "report")]) == 1
    assert "IM-0001-0000.png" in capsys.readouterr().err


def test_the_real_set_gives_its_labels_away(shared_data: Path) -> None:
    """The figures of the data's README, from the larger copies and the table of sizes."""
    samples = read_samples(shared_data / "chest_xray" / "labels.csv")
    with (shared_data / "chest_xray" / "labels.csv").open() as file:
        assert sum(1 for _ in csv.DictReader(file)) == len(samples)
    few = [s for s in samples if s.original_size is not None][::10]
    findings, _ = audit(few, {})
    assert 0.75 < _strength(findings, "original_aspect_ratio") < 0.92
    assert 0.80 < _strength(findings, "sharpness") < 0.95
