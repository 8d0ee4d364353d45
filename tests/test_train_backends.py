"""One configuration, both backends, one or two devices or processes: the same step."""

import importlib.util
import json
import os
import socket
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


# Of logits after three steps; measured when this was written: 3e-6 after one.
WORKERS_TOLERANCE = 1e-3


@pytest.mark.slow
def test_two_workers_on_loopback_train_as_one_process_does(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs the extra train")
    alone = _finish(_start(tmp_path / "one", {}))
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(2)]
    started = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        started.append(_start(tmp_path / str(index), {"TF_CONFIG": json.dumps(task)}))
    first, second = map(_finish, started)
    assert (alone["devices"], first["devices"]) == (1, 2)
    assert first == second
    assert first["losses"] == pytest.approx(alone["losses"], abs=WORKERS_TOLERANCE)
    assert first["after"] == pytest.approx(alone["after"], abs=WORKERS_TOLERANCE)
    assert first["variables"] == alone["variables"] > 100
    moved = [abs(a - b) for a, b in zip(first["before"], first["after"], strict=True)]
    assert max(moved) > 10 * WORKERS_TOLERANCE


def _start(folder: Path, more: dict[str, str]) -> "subprocess.Popen[str]":
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "XLA_FLAGS": ""} | more
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train_one_step", str(folder), "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )


def _finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    try:
        out, error = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, error[-3000:]
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}']
)
def test_what_names_no_workers_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_app.errors import ConfigError
    from train.workers import join_workers

    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match="TF_CONFIG: it must be like"):
        join_workers(8)


def test_a_batch_that_workers_cannot_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_app.errors import ConfigError
    from train.workers import join_workers

    task = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    with pytest.raises(ConfigError, match="must be a multiple of 2 workers"):
        join_workers(7)
