"""One folder of DICOM files, read by training, export and benchmarks: one set of patients."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import measure_accuracy
from benchmarks.cli import make_parser
from benchmarks.cli.options import cases
from benchmarks.record import Accuracy
from benchmarks.store import Recording
from edge_app.bundle.load import load_bundle
from edge_app.images.labelled_pictures import LabelledPicture, split_hash
from export.checkpoint import Record
from export.figures import split_of
from export.pictures import Pictures, read_split
from tests.export_inputs import SPEC
from tests.pictures import dicom_bytes
from tests.tiny_bundle import write_tiny_bundle
from tests.train_inputs import tiny_config
from train.config import SplitSpec
from train.record import SPLIT, identify, start_record
from train.samples import read_samples
from train.splits import make_splits

PICTURES_EACH = 3

pytest.importorskip("pydicom", reason="needs the extra dicom")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients a class in `train` and in `val`, three pictures each."""
    root = tmp_path_factory.mktemp("site")
    for number in range(4):
        split = "train" if number < 2 else "val"
        for name in ("NORMAL", "PNEUMONIA"):
            for picture in range(PICTURES_EACH):
                file = root / split / name / f"{number}_{picture}.dcm"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full((4, 4), 100 * number + picture, np.uint16)
                file.write_bytes(dicom_bytes(pixels, PatientID=f"{name[0]}{number}"))
    return root


def by_name(pictures: list[LabelledPicture]) -> list[tuple[str, int, str]]:
    return [picture.identity for picture in pictures]


def trained_on(folder: Path, run: Path) -> tuple[list[LabelledPicture], Record]:
    """What a run holds out of the folder; its files are in `run`."""
    pytest.importorskip("keras", reason="a run records its versions")
    splits = make_splits(read_samples(folder), SplitSpec("given", 2, 0), 0)
    identity = identify(tiny_config(), splits)
    start_record(identity, splits, run)
    hashes = (identity.train_sha256, identity.validation_sha256)
    return list(splits.validation), Record("tiny", SPEC, 1, "2026-11-28", *hashes, {}, None, None)


def measured_on(folder: Path, *arguments: str) -> list[LabelledPicture]:
    """What `benchmarks accuracy` reads of the folder."""
    return cases(make_parser().parse_args(["accuracy", "--data", str(folder), *arguments]))


def test_training_export_and_benchmarks_agree(folder: Path, tmp_path: Path) -> None:
    held_out, record = trained_on(folder, tmp_path / "run")
    assert {p.patient_id for p in held_out} == {"N2", "N3", "P2", "P3"}
    assert len(held_out) == 4 * PICTURES_EACH
    exported = read_split(tmp_path / "run" / SPLIT, folder, record)
    of_export = [p for p in exported if p.split == "validation"]
    of_benchmarks = measured_on(folder, "--split", "validation")
    assert by_name(held_out) == by_name(of_export) == by_name(of_benchmarks)
    assert split_hash(by_name(of_benchmarks)) == record.validation_sha256
    assert by_name(read_samples(folder)) == by_name(measured_on(folder))


def test_pictures_that_were_fitted_on_are_named(folder: Path, tmp_path: Path) -> None:
    """Export fits on several forms of each picture; the pictures are the same ones."""
    held_out, record = trained_on(folder, tmp_path / "run")
    exported = read_split(tmp_path / "run" / SPLIT, folder, record)
    forms = [(p, form) for p in exported if p.split == "validation" for form in ("stored", "more")]
    pictures = Pictures(
        pixels=(np.zeros((1, 1), np.uint8),) * len(forms),
        labels=np.array([p.label for p, _ in forms]),
        patients=np.array([p.patient_id for p, _ in forms]),
        forms=np.array([form for _, form in forms]),
        files=np.array([p.name for p, _ in forms]),
    )
    fitted_on = split_of("a site, all forms", pictures)
    assert (fitted_on.n_images, fitted_on.n_patients) == (2 * len(held_out), 4)

    bundle = load_bundle(write_tiny_bundle(tmp_path / "bundle"))
    points = tuple(replace(p, fitted_on=fitted_on) for p in bundle.manifest.operating_points)
    bundle = replace(bundle, manifest=replace(bundle.manifest, operating_points=points))
    named = tuple(dict.fromkeys(f"operating point {point.name}" for point in points))
    for pictures_there, expected in (
        (measured_on(folder, "--split", "validation"), named),
        (measured_on(folder, "--split", "train"), ()),
    ):
        recording: Recording[Accuracy] = Recording("accuracy", "again", "model")
        section = measure_accuracy(bundle, [], pictures_there, "a site", recording)
        assert section.data.fitted_here == expected
        assert section.data.n_patients == 4
