"""A locator and a reader of lungs trained end to end on phantoms, as the commands train them."""

import csv
import json
import tomllib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("keras", reason="needs the extra train")

from edge_app.errors import ConfigError, DataError
from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.preprocess import preprocess
from edge_app.statistics.discrimination import auroc
from tests import train_inputs
from tests.train_inputs import (
    READ,
    tiny_config,
    tiny_document,
    tiny_locator_document,
    write_outlines,
    write_phantoms,
)
from train.__main__ import main
from train.cache import read_grey
from train.checkpoint import Scorer, load_network, read_checkpoint
from train.config import Config, load_config, parse_config
from train.drawn_opacities import every_opacity
from train.folds import plan_folds
from train.locator_network import build_locator
from train.locator_task import BOX, FORMS
from train.lung_finder import TURNED, LungFinder
from train.network import multiply_adds
from train.outlines import Outline, Outlines, read_mask, read_outlines
from train.place import box_places
from train.plan import execute, plan_run
from train.samples import read_samples
from train.task import Figures


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[LabelledPicture], Outlines]:
    root = write_phantoms(tmp_path_factory.mktemp("lungs") / "data", 6)
    samples = read_samples(root)
    return samples, read_outlines(write_outlines(root, samples))


def _fit(config: Config, data: tuple[list[LabelledPicture], Outlines], folder: Path) -> Figures:
    samples, outlines = data
    best = execute(plan_run(config, samples, folder, (), outlines), None, 2)["best"]
    assert isinstance(best, dict)
    return best


@pytest.fixture(scope="module")
def locator(
    data: tuple[list[LabelledPicture], Outlines], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    document = tiny_locator_document(
        optimizer=tiny_document()["optimizer"]
        | {"epochs": 20, "batch_size": 4, "subtype_weight": 0.0, "learning_rate": 1e-2}
    )
    document["locate"] |= {"p_composed": 0.1, "p_quarter": 0.0, "p_cloud": 0.0}
    folder = tmp_path_factory.mktemp("locator") / "run"
    _fit(parse_config(document, "tiny"), data, folder)
    return folder


def test_the_shipped_locator_is_as_small_as_it_must_be() -> None:
    spec = load_config("locator").locator
    assert spec is not None
    network = build_locator(spec)
    assert multiply_adds(network) <= 15_000_000
    assert network.count_params() <= 250_000
    assert {name: tuple(output.shape[1:]) for name, output in network.output.items()} == {
        "lungs": (28, 28, 1), "orientation": (4,), "view": (3,), "cut_off": (4,),
    }  # fmt: skip


def test_it_learns_where_the_lungs_of_phantoms_are(
    locator: Path, data: tuple[list[LabelledPicture], Outlines]
) -> None:
    """Of patients that it never saw: cells that are lung stand above cells that are not."""
    samples, outlines = data
    held = [row["file"] for row in csv.DictReader((locator / "split.csv").open())
            if row["split"] == "validation"]  # fmt: skip
    checkpoint = read_checkpoint(locator)
    spec = checkpoint.config.preprocess
    chosen = [sample for sample in samples if sample.name in held]
    pictures = [read_grey(sample.path) for sample in chosen]
    inputs = np.concatenate([preprocess(pixels, spec) for pixels in pictures])
    maps = load_network(checkpoint).predict(inputs, verbose=0)["lungs"][..., 0]
    truths = []
    for sample in chosen:
        path = outlines.by_name[sample.name].mask
        assert path is not None
        truths.append(read_mask(path).reshape(8, 28, 8, 28).mean((1, 3)) > 0.5)
    assert auroc(np.stack(truths).ravel().astype(int), maps.ravel()) > 0.85
    assert all(box is not None for box in LungFinder(checkpoint).boxes(pictures))
    rows = list(csv.DictReader((locator / "validation.csv").open()))
    assert {row["framing"] for row in rows} == {framing.name for framing in FORMS}


@pytest.fixture(scope="module")
def reader_run(
    data: tuple[list[LabelledPicture], Outlines], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("reader") / "run"
    assert {"val_auroc", "val_auroc_degraded"} <= set(_fit(tiny_config(read=READ), data, folder))
    return folder


def test_a_reader_of_lungs_scores_and_wants_its_locator(
    locator: Path, reader_run: Path, data: tuple[list[LabelledPicture], Outlines]
) -> None:
    config = tiny_config(read=READ)
    before = (reader_run / "model.keras").stat().st_mtime_ns
    _fit(config, data, reader_run)  # finished, so nothing is done again
    assert (reader_run / "model.keras").stat().st_mtime_ns == before
    reader = read_checkpoint(reader_run)
    with pytest.raises(ConfigError, match="give it a --locator"):
        Scorer([reader])
    found = read_checkpoint(locator)
    with pytest.raises(ConfigError, match="finds lungs and reads none"):
        Scorer([found])
    scorer = Scorer([reader], locator=found)
    pictures = [read_grey(sample.path) for sample in data[0][:5]]
    logits = scorer.logits(pictures, lambda pixels, _: pixels)
    # Around them may stand what wants to: the lungs are found, and only they are read.
    inputs = np.concatenate(list(scorer.inputs(pictures, lambda pixels: pixels, config)))
    expected = load_network(reader).predict(inputs, verbose=0)["logit"][:, 0]
    assert logits == pytest.approx(expected, abs=1e-4)


def test_what_a_run_needs_is_asked_before_time_is_spent(
    data: tuple[list[LabelledPicture], Outlines], tmp_path: Path
) -> None:
    samples, outlines = data
    located = parse_config(tiny_locator_document(), "tiny")
    with pytest.raises(ConfigError, match="learns from outlines"):
        plan_run(located, samples, tmp_path / "a")
    with pytest.raises(ConfigError, match="sees whole pictures"):
        plan_run(tiny_config(), samples, tmp_path / "a", (), outlines)
    nobody = Outlines({}, outlines.others, outlines.sha256)
    with pytest.raises(DataError, match="none of the pictures has an outline"):
        plan_run(located, samples, tmp_path / "a", (), nobody)


def test_every_fold_of_a_reader_knows_the_outlines(
    data: tuple[list[LabelledPicture], Outlines], tmp_path: Path
) -> None:
    samples, outlines = data
    config = tiny_config(read=READ)
    plans = plan_folds(config, samples, tmp_path, (), outlines)
    assert len(plans) == config.split.folds
    assert all(plan.outlines is outlines for plan in plans)
    held_out = [sample.name for plan in plans for sample in plan.splits.validation]
    assert sorted(held_out) == sorted(sample.name for sample in samples)


def test_other_outlines_are_another_run(
    locator: Path, data: tuple[list[LabelledPicture], Outlines]
) -> None:
    samples, outlines = data
    config = read_checkpoint(locator).config
    changed = Outlines(outlines.by_name, outlines.others, "another")
    with pytest.raises(ConfigError, match=r"\(--outlines differ\)"):
        plan_run(config, samples, locator, (), changed)


def test_a_film_on_its_side_is_put_upright_before_it_is_read(
    locator: Path, data: tuple[list[LabelledPicture], Outlines], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the locator sure of a quarter turn, the picture would be turned back by it."""
    finder = LungFinder(read_checkpoint(locator))
    picture = read_grey(data[0][0].path)
    ((same, box),) = finder.upright([picture])
    assert same is picture
    lying = np.ascontiguousarray(np.rot90(picture))
    seen = finder._look

    def sure(pictures: list[np.ndarray]) -> list[tuple[int, object]]:
        turns = [int(pixels.shape == lying.shape) for pixels in pictures]
        return [(turn, box) for turn, (_, box) in zip(turns, seen(pictures), strict=True)]

    monkeypatch.setattr(finder, "_look", sure)
    ((turned, again),) = finder.upright([lying])
    assert (turned == picture).all()
    assert again == box


def test_what_export_ships_is_what_training_judged_by() -> None:
    path = Path(__file__).parent.parent / "export" / "locator_rules.toml"
    rules = tomllib.loads(path.read_text(encoding="utf-8"))
    assert rules["box"] == asdict(BOX)
    assert rules["turned"] == TURNED


def test_the_commands_on_lungs_write_their_reports(
    locator: Path,
    reader_run: Path,
    data: tuple[list[LabelledPicture], Outlines],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = data[0][0].path.parent.parent
    run = [str(reader_run), "--locator", str(locator), "--data", str(root), "--leave-out", "masks"]
    outlines = ["--outlines", str(root / "outlines.csv")]
    cut_offs = ["--cut-offs", "-1", "1"]
    assert main(["probe", *run, *outlines, *cut_offs, "-o", str(tmp_path / "p")]) == 0
    lungs = json.loads((tmp_path / "p" / "lungs.json").read_text())
    assert [form["name"] for form in lungs["forms"]] == [form.name for form in FORMS]
    assert {painted["name"] for painted in lungs["painted"]} >= {"nothing", "the lungs, black"}
    assert len(lungs["opacities"]) == 1 + len(every_opacity())
    for found in lungs["opacities"]:
        assert found["not_cleared"]["value"] >= found["called"]["value"]
    # What is called at the one threshold is what its sensitivity says.
    least = [min(f["sensitivity"]["value"], f["specificity"]["value"]) for f in lungs["forms"]]
    assert all(0 <= value <= 1 for value in least)
    assert main(["plates", *run, *outlines, "--count", "4", "-o", str(tmp_path / "plates")]) == 0
    with Image.open(tmp_path / "plates" / "locations_held_out.png") as plate:
        assert plate.size == (8 * 160, 160)
    assert main(["plates", *run, "-o", str(tmp_path / "none")]) == 2
    films = root / "films.csv"
    films.write_text("file,site,label,finding\n" + "masks/film.png,here,NORMAL,\n" * 6)
    assert main(["evaluate", *run, "--sites", str(films), "-o", str(tmp_path / "e")]) == 0
    (answer,) = json.loads((tmp_path / "e" / "sites.json").read_text())
    assert (answer["site"], answer["called"]["n"], answer["sd"]) == ("here", 6, 0.0)
    films.write_text("file,site\nmasks/film.png,here\n")
    assert main(["evaluate", *run, "--sites", str(films), "-o", str(tmp_path / "f")]) == 2
    assert "missing columns ['finding', 'label']" in capsys.readouterr().err


def test_what_place_alone_predicts_is_found() -> None:
    """Where only the sick fill the picture, the box's height tells, and its width does not."""
    rng = np.random.default_rng(0)
    samples = [train_inputs.sample(f"p{i}", label=i % 2) for i in range(80)]
    by_name = {}
    for s in samples:
        high, wide = 0.4 + 0.3 * s.label + rng.uniform(0, 0.05), rng.uniform(0.5, 0.8)
        box = (0.5 - wide / 2, 0.1, 0.5 + wide / 2, 0.1 + high)
        by_name[s.name] = Outline(s.path, s.name, None, box, "frontal", "x", "labelled", "")
    found = {p.name: p.auroc.value for p in box_places(samples, Outlines(by_name, (), ""))}
    assert found["height of the lungs' box"] == 1.0
    assert found["the box's four numbers together"] > 0.99
    assert abs(found["width of the lungs' box"] - 0.5) < 0.2
    assert found["margin at the bottom"] == 0.0
