"""`make bundle` rebuilds what ships: its options are those that made the shipped bundle."""

import hashlib
import json
import re

from edge_app.bundle.load import load_bundle
from edge_app.bundle.location import default_bundle_folder
from export.checkpoint import read_record
from export.recipe import recipe_names
from tests.conftest import REPOSITORY


def options_of_the_target(name: str) -> list[str]:
    """What follows each `--name` in the target `bundle` of the Makefile."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    target = text.partition("\nbundle:")[2].partition("\n\n")[0]
    return re.findall(rf"--{name} (\S+)", target)


def test_every_recipe_was_held_against_the_network() -> None:
    report = json.loads((default_bundle_folder() / "parity.json").read_bytes())
    made = dict.fromkeys(row["recipe"] for row in report["rows"])
    assert options_of_the_target("recipe") == []  # which makes all of them
    assert set(made) == set(recipe_names())


def test_larger_copies_and_other_sites_are_the_shipped_ones() -> None:
    splits = {metric.split.name for metric in load_bundle(default_bundle_folder()).manifest.metrics}
    sites = {name.partition(" (another site")[0] for name in splits if "another site" in name}
    assert {o.partition("=")[0] for o in options_of_the_target("external")} == sites
    for option in options_of_the_target("larger"):
        form = option.partition("=")[0]
        assert any(name.endswith(f"patient-wise validation, {form}") for name in splits)


def test_both_checkpoints_are_those_of_the_shipped_bundle() -> None:
    manifest = load_bundle(default_bundle_folder()).manifest
    runs = REPOSITORY / "train" / "checkpoints"
    reader = (runs / manifest.provenance.config / "model.keras").read_bytes()
    assert hashlib.sha256(reader).hexdigest() == manifest.provenance.checkpoint_sha256
    assert options_of_the_target("locator") == ["train/checkpoints/locator"]
    assert manifest.locator is not None
    assert read_record(runs / "locator" / "run.json").preprocess == manifest.locator.preprocess
    margin = read_record(runs / manifest.provenance.config / "run.json").margin
    assert margin == manifest.locator.margin
