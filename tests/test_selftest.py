"""The self-test: golden inputs give the promised scores, or the bundle is not used here."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_app.bundle import load_bundle
from edge_app.errors import BundleFormatError, SelfTestError
from edge_app.runtimes import RUNTIMES, open_runtime
from edge_app.selftest import run_self_test
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
