"""Every door gives the same answer: the API, `score`, `batch` and `watch`, to the last digit."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_app import InputError, Screener, load_bundle
from edge_app.cli import main
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.results.rows import ResultRow, read_results
from edge_app.runs.scoring_run import RunOptions
from edge_app.runs.watch import WatchPlan, watch_folder
from tests.pictures import encoded
from tests.test_batch import write_ward

# What may differ between two looks at one file: how long they took, and when they were.
OF_THE_MOMENT = {"decode_ms", "infer_ms", "total_ms", "scored_at"}

OF_AN_ANSWER = ("status", "decision", "reason", "message", "raw_score", "probability")


def write_films(folder: Path) -> Path:
    """The ward, and what is decoded at a reduced scale, of 16 bits, in colour, turned or DICOM."""
    write_ward(folder)
    large = Image.fromarray(draw_phantom(Phantom(5), 1400, 1200))
    deep = draw_phantom(Phantom(6), 300, 260, bits=12).astype(np.uint16) * 16
    files = {
        "large.jpg": encoded(large, "JPEG", quality=80),
        "deep.tiff": encoded(Image.fromarray(deep), "TIFF"),
        "colour.webp": encoded(large.convert("RGB"), "WEBP", lossless=True),
        "turned.png": encoded(large.rotate(90, expand=True), "PNG"),
        "small.bmp": encoded(large.resize((40, 40)), "BMP"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        from tests.dicom_files import phantom_dataset

        child = phantom_dataset("1.2.3", seed=1)
        child.save_as(folder / "child.dcm", enforce_file_format=True)
        adult = phantom_dataset("1.2.4", seed=2, PatientAge="060Y")
        adult.save_as(folder / "adult.dcm", enforce_file_format=True)
    except ImportError:  # without the extra DICOM has one answer too: that it needs the extra
        (folder / "child.dcm").write_bytes(bytes(128) + b"DICM")
    return folder


def answer(row: ResultRow) -> dict[str, Any]:
    """What a row says of a file, and not of the moment."""
    return {name: value for name, value in asdict(row).items() if name not in OF_THE_MOMENT}


def by_batch(films: Path, out: Path, bundle: Path) -> dict[str, dict[str, Any]]:
    code = main(["batch", str(films), "-o", str(out), "--bundle", str(bundle), "--quiet"])
    assert code in (0, 1)
    return {row.file: answer(row) for row in read_results(out / "results.jsonl")[1]}


def by_watch(films: Path, out: Path, bundle: Path, wanted: int) -> dict[str, dict[str, Any]]:
    seen: list[str] = []

    def check() -> None:
        if len(seen) == wanted:
            raise KeyboardInterrupt

    options = RunOptions(bundle=bundle, formats=("jsonl",))
    plan = WatchPlan(films, out, 0.05, 0.0, 0.0, options)
    watch_folder(
        plan, lambda outcome: seen.append(outcome.file), on_note=lambda text: None, check=check
    )
    return {row.file: answer(row) for row in read_results(out / "results.jsonl")[1]}


def by_score(
    films: Path, names: list[str], bundle: Path, capsys: pytest.CaptureFixture[str]
) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    paths = [str(films / name) for name in names]
    assert main(["score", *paths, "--json", "--bundle", str(bundle)]) in (0, 1)
    found = {}
    for name, line in zip(names, capsys.readouterr().out.splitlines(), strict=True):
        row = json.loads(line)
        assert row.pop("file") == str(films / name)
        found[name] = {"file": name} | {k: v for k, v in row.items() if k not in OF_THE_MOMENT}
    return found


def test_all_doors_agree(
    tmp_path: Path, signed_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = write_films(tmp_path / "films")
    assert_all_doors_agree(films, tmp_path, signed_bundle_folder, capsys)


@pytest.mark.slow
def test_all_doors_agree_on_real_films(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for path in sorted((shared_data / "originals").rglob("*.jpeg"))[::2]:
        shutil.copyfile(path, films / path.name)
    assert len(list(films.iterdir())) == 50
    assert_all_doors_agree(films, tmp_path, load_bundle().folder, capsys)


def assert_all_doors_agree(
    films: Path, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_batch = by_batch(films, tmp_path / "batch", bundle)
    names = sorted(of_batch)
    assert by_watch(films, tmp_path / "watch", bundle, len(names)) == of_batch
    assert by_score(films, names, bundle, capsys) == json.loads(json.dumps(of_batch))
    screener = Screener(load_bundle(bundle))
    for name in names:
        row = of_batch[name]
        if row["status"] == "failed":
            with pytest.raises(InputError) as caught:
                screener.score(films / name)
            assert caught.value.reason == row["reason"]
            assert str(caught.value) in (row["message"], f"{name}: {row['message']}")
            continue
        of_api = screener.score(films / name).to_dict()
        for key in (*OF_AN_ANSWER, "quality", "operating_point", "model_sha256", "runtime"):
            assert of_api[key] == row[key], name
