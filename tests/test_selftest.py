"""The self-test: golden inputs give the promised scores, or the bundle is not used here."""

import io
import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from edge_app.bundle.load import load_bundle
from edge_app.errors import BundleFormatError, SelfTestError
from edge_app.runtimes import RUNTIMES, open_runtime
from edge_app.screening.selftest import _read_array, run_self_test
from tests.tiny_bundle import TOLERANCE, write_tiny_bundle

INSTALLED = [engine.name for engine in RUNTIMES if engine.is_installed]


@pytest.mark.parametrize("name", INSTALLED)
def test_golden_inputs_pass(name: str, tiny_bundle_folder: Path) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    (case,) = run_self_test(bundle, open_runtime(bundle, name))
    assert case.difference <= TOLERANCE


@pytest.mark.parametrize("shift", [1.5 * TOLERANCE + 0.05, -1.5 * TOLERANCE - 0.05])
def test_another_score_than_promised_fails(tmp_path: Path, shift: float) -> None:
    def promise(document: dict[str, Any]) -> None:
        logits = document["golden"]["cases"][0]["logits"]
        for key in logits:
            logits[key] += shift

    bundle = load_bundle(write_tiny_bundle(tmp_path / "b", change=promise))
    with pytest.raises(SelfTestError, match="1 of 1 golden inputs"):
        run_self_test(bundle, open_runtime(bundle))
    assert SelfTestError.exit_code == 3


@pytest.mark.parametrize(
    "array", [np.zeros((2, 3, 4), np.uint8), np.zeros((5, 5), np.float32), np.array(["x"], object)]
)
def test_a_golden_input_of_another_kind_is_a_format_error(
    array: np.ndarray, tiny_bundle_folder: Path
) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    bundle.path("golden/phantom.npy").write_bytes(stream.getvalue())
    with pytest.raises(BundleFormatError, match="golden input"):
        run_self_test(bundle, open_runtime(bundle))


def header(shape: str, kind: str = "|u1", version: bytes = b"\x01\x00") -> bytes:
    """The head of a `.npy` file."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 an archive, which numpy.load would open",
        b"\x80\x04 a pickle",
        header("(1000000, 100000000)"),
        header("(9000, 9000)") + b"too few",
        header("(2, 2)") + b"too many",
        header("(2, 2)", "<f8") + bytes(32),
        header("(0, 0)"),
        header("(-2, -2)") + bytes(4),
        header("(1, 64, 64, 1)", "<u2") + bytes(8192),
        header("(2, 2)", version=b"\x03\x00") + bytes(4),
        header("(" * 900),
        header("(2, 2"),
    ],
)
def test_bytes_that_are_no_golden_input_are_a_format_error(
    content: bytes, tiny_bundle_folder: Path
) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    bundle.path("golden/phantom.npy").write_bytes(content)
    with pytest.raises(BundleFormatError, match="golden input"):
        run_self_test(bundle, open_runtime(bundle))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_picture_is_read_as_numpy_reads_it(
    tiny_bundle_folder: Path, order: Literal["C", "F"]
) -> None:
    picture = np.random.default_rng(0).integers(0, 4096, (130, 140)).astype(np.uint16)
    path = tiny_bundle_folder / "golden" / "phantom.npy"
    np.save(path, np.asarray(picture, order=order))
    with path.open("rb") as stream:
        assert np.array_equal(_read_array(stream, (1, 64, 64, 1)), picture)


def test_no_golden_input_is_no_passed_test(tmp_path: Path) -> None:
    bundle = load_bundle(
        write_tiny_bundle(tmp_path / "b", change=lambda d: d["golden"].update(cases=[]))
    )
    with pytest.raises(SelfTestError, match="holds no golden input"):
        run_self_test(bundle, open_runtime(bundle))


def test_a_ready_network_input_is_taken_as_it_is(tiny_bundle_folder: Path) -> None:
    from tests.tiny_network import forward

    bundle = load_bundle(tiny_bundle_folder)
    batch = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1)).astype(np.uint8)
    np.save(bundle.path("golden/phantom.npy"), batch)
    runtime = open_runtime(bundle)
    expected = runtime.run(batch).logit
    assert expected == pytest.approx(forward(batch).logit, abs=TOLERANCE)
    with pytest.raises(SelfTestError, match=f"{expected:.3f}"):
        run_self_test(bundle, runtime)
