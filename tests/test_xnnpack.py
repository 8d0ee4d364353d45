"""tflite-runtime's int8 kernels: switched on where the wheel is the one known, else said so."""

import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from edge_app.runtimes.xnnpack import KNOWN_VERSION, open_int8_delegate
from tests.conftest import REPOSITORY

_SCRIPT = """
import json, sys
from edge_app.bundle.load import load_bundle
from edge_app.runtimes import open_runtime
from edge_app.runtimes import tflite
from edge_app.screening.selftest import run_self_test

if sys.argv[1] == "off":
    tflite.open_int8_delegate = lambda *arguments: None
bundle = load_bundle()
runtime = open_runtime(bundle, "tflite-runtime")
cases = run_self_test(bundle, runtime)
print(json.dumps({"notes": runtime.notes, "worst": max(c.difference for c in cases)}))
"""


@pytest.fixture
def old_python() -> Path:
    """The Python with tflite-runtime that `make test` makes where it can."""
    python = REPOSITORY / ".venv-tflite" / "bin" / "python"
    if not python.is_file():
        pytest.skip("no .venv-tflite (make test builds it where there is Python 3.11)")
    return python


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("ai_edge_litert.interpreter", KNOWN_VERSION),  # has its int8 kernels on already
        ("tflite_runtime.interpreter", "2.13.0"),  # another structure, perhaps
        ("tflite_runtime.interpreter", "2.15.0"),
    ],
)
def test_no_delegate_where_the_library_is_not_the_one_known(name: str, version: str) -> None:
    assert open_int8_delegate(ModuleType(name), version, 1) is None


def test_no_delegate_where_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_app.runtimes.xnnpack.find_spec", lambda name: None)
    module = ModuleType("tflite_runtime.interpreter")
    assert open_int8_delegate(module, KNOWN_VERSION, 1) is None


def test_no_delegate_where_the_library_hides_its_symbols(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A library that loads, and has no XNNPACK."""
    import ctypes.util

    name = ctypes.util.find_library("c")
    if name is None:
        pytest.skip("no C library to be found by name")

    class Found:
        origin = str(tmp_path / "wrapper.so")

    (tmp_path / "wrapper.so").write_bytes(b"")
    libc = ctypes.CDLL(name)
    monkeypatch.setattr("edge_app.runtimes.xnnpack.find_spec", lambda name: Found)
    monkeypatch.setattr("edge_app.runtimes.xnnpack.ctypes.CDLL", lambda path: libc)
    module = ModuleType("tflite_runtime.interpreter")
    assert open_int8_delegate(module, KNOWN_VERSION, 1) is None


def test_int8_kernels_give_the_promised_scores(old_python: Path) -> None:
    found = _self_test(old_python, "on")
    assert found["notes"] == []
    # The same XNNPACK kernels as LiteRT's, which wrote the golden scores.
    assert found["worst"] < 0.05


def test_a_user_is_told_where_they_cannot_be_switched_on(old_python: Path) -> None:
    found = _self_test(old_python, "off")
    assert ["ten times" in note for note in found["notes"]] == [True]
    assert "pneumoscope[litert]" in found["notes"][0]


def _self_test(python: Path, switch: str) -> dict:
    done = subprocess.run(
        [python, "-c", _SCRIPT, switch], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
