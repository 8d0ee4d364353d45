"""One configuration, both backends, one or two devices: the same step."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("keras", reason="needs the extra train")

TWO_DEVICES = "--xla_force_host_platform_device_count=2"


def _step(backend: str, folder: Path, flags: str = "") -> dict[str, Any]:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install {backend}")
    environment = os.environ | {"KERAS_BACKEND": backend, "XLA_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-m", "tests.train_one_step", str(folder)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["backend"] == backend
    return answer


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _step("jax", tmp_path_factory.mktemp("jax"))


def _assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["before"] == pytest.approx(other["before"], abs=1e-4)
    assert one["losses"] == pytest.approx(other["losses"], abs=1e-4)
    # Adam divides by the size of the gradient, so rounding grows where that is nearly zero.
    assert one["after"] == pytest.approx(other["after"], abs=1e-3)
    assert one["variables"] == other["variables"] > 100
    assert max(abs(a - b) for a, b in zip(one["before"], one["after"], strict=True)) > 0.05


def test_one_step_is_the_same_on_tensorflow_and_on_jax(
    tmp_path: Path, on_jax: dict[str, Any]
) -> None:
    _assert_same(_step("tensorflow", tmp_path), on_jax)


def test_a_batch_divided_among_two_devices_gives_the_same_step(
    tmp_path: Path, on_jax: dict[str, Any]
) -> None:
    divided = _step("jax", tmp_path, TWO_DEVICES)
    assert (on_jax["devices"], divided["devices"]) == (1, 2)
    _assert_same(divided, on_jax)
