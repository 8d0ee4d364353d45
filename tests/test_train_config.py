"""Configurations are strict; those that come with the project are what the docs say."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_app.files.codec import encode
from tests.conftest import REPOSITORY
from tests.train_inputs import tiny_config, tiny_document
from train.config import CONFIG_FOLDER, ConfigError, load_config, parse_config

CONFIGS = sorted(path.stem for path in CONFIG_FOLDER.glob("*.toml"))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_loads_and_has_its_header(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    header = (CONFIG_FOLDER / f"{name}.toml").read_text().split('name = "')[0]
    for word in ("# command:", "# hardware:", "# run time:", "# result:"):
        assert word in header
    assert f"fit {name} " in header


def test_a_path_loads_like_a_name() -> None:
    assert load_config(CONFIG_FOLDER / "reader.toml") == load_config("reader")


def test_a_record_gives_the_configuration_back() -> None:
    config = tiny_config()
    assert parse_config(encode(config), "record") == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 3}, "colour: unknown key"),
        ({"optimizer__momentum": 0.9}, "optimizer.momentum: unknown key"),
        ({"seed": "seven"}, "seed: expected a whole number"),
        ({"seed": None}, "seed: missing key"),
        ({"network": None}, "exactly one of the tables network, seed_cnn, locator"),
        ({"network__height": 64}, "disagree about the input's size"),
        ({"network__stages": 8}, "stages must lie in 1 to 7"),
        ({"initial_weights": "imagenet-b7"}, "initial_weights: expected"),
        ({"optimizer__batch_size": 0}, "batch_size and epochs must be at least 1"),
        ({"optimizer__ema_momentum": 1.0}, r"ema_momentum must lie in \[0, 1\)"),
        ({"optimizer__precision": "mixed_float16"}, "optimizer.precision: expected"),
        ({"split__fold": 3}, "fold 3 of 3 does not exist"),
        ({"split__unit": "study"}, "split.unit: expected"),
        ({"degrade__p_jpeg": 1.5}, "p_jpeg must lie in"),
        ({"degrade__side": [64, 32]}, "side must rise"),
        ({"degrade__gamma": -0.1}, "gamma must not be negative"),
        ({"seed": -1}, r"seed must lie in \[0, 2\*\*32\)"),
        ({"seed": 2**40}, r"seed must lie in"),
        ({"distill": {"weight": 1.5, "temperature": 1.0}}, "weight must lie in"),
        ({"distill": {"weight": 0.5}}, "distill.temperature: missing key"),
    ],
)
def test_a_fault_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(tiny_document(**change), "my.toml")
    assert str(caught.value).startswith("my.toml: ")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no such configuration; there are .*reader"):
        load_config("resnet")


def test_what_is_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("name = ")
    with pytest.raises(ConfigError, match=r"a\.toml: "):
        load_config(path)
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(path.read_text())


def test_a_wrong_key_costs_no_import_of_keras(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("colour = 3\n")
    program = (
        "import sys\nfrom train.cli import main\n"
        f"code = main(['fit', {str(path)!r}, '--data', 'nowhere', '-o', 'run'])\n"
        "loaded = {'keras', 'tensorflow', 'jax'} & set(sys.modules)\n"
        "sys.exit(f'{code} {sorted(loaded)}')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.stderr.splitlines()[-1] == "2 []"
    assert "colour: unknown key" in done.stderr
    assert not (tmp_path / "run").exists()
