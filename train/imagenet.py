"""ImageNet weights of EfficientNet-Lite, put into a network of that size or a smaller one.

`train.torch_state` reads the numbers. A network as wide as the published variant takes them as
they are. A narrower one takes the channels that matter most, by the size of their batch
normalization's gamma (network slimming, Liu et al. 2017, arXiv:1708.06519); a shallower one takes
each stage's first blocks; one without the last stages gets a fresh head. Training has to mend what
the cut tore, and starts far ahead of noise.
"""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from train.blocks import Block, block_plan, check_fits, variant_spec
from train.config import NetworkSpec
from train.torch_state import Array, find_weights, read_state_dict

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution and its batch normalization: names here and there, channels to keep."""

    name: str
    conv: str
    norm: str
    source: str
    inputs: Indices
    outputs: Indices


def load_imagenet(network: keras.Model, spec: NetworkSpec, variant: str) -> None:
    """Put the ImageNet weights of `variant` into a network built from `spec`.

    The stem's three colour kernels are summed: for grey input that is the same convolution. The
    outputs' own layers keep their fresh weights.

    Raises:
        WeightsError: the network is wider or deeper than the variant somewhere.
        RuntimeUnavailableError: the weights' package is not installed.
    """
    check_fits(spec, variant)
    state = read_state_dict(find_weights(variant))
    for layer in _layers(state, spec, variant):
        kernel = state[f"{layer.source}{layer.conv}.weight"][layer.outputs]
        if layer.name == "stem":
            kernel = kernel.sum(axis=1, keepdims=True)
        elif not layer.name.endswith("_depthwise"):
            kernel = kernel[:, layer.inputs]
        _set_kernel(network.get_layer(f"{layer.name}_conv"), kernel)
        keys = ("weight", "bias", "running_mean", "running_var")
        network.get_layer(f"{layer.name}_bn").set_weights(
            [state[f"{layer.source}{layer.norm}.{key}"][layer.outputs] for key in keys]
        )


def _set_kernel(layer: keras.Layer, kernel: Array) -> None:
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        layer.set_weights([kernel.transpose(2, 3, 0, 1)])  # (channels, 1, h, w) -> (h, w, c, 1)
    else:
        layer.set_weights([kernel.transpose(2, 3, 1, 0)])  # (out, in, h, w) -> (h, w, in, out)


def _layers(state: dict[str, Array], spec: NetworkSpec, variant: str) -> list[_Layer]:
    """Every convolution with its place in the state dict and the channels that it keeps."""
    original = block_plan(variant_spec(variant))
    places = {(block.stage, block.repeat): i for i, block in enumerate(original)}
    streams = _stage_channels(state, original, block_plan(spec))
    incoming = _most_important([_gamma(state, "_bn0")], spec.stem_channels)
    found = [_Layer("stem", "_conv_stem", "_bn0", "", np.arange(1), incoming)]
    for index, block in enumerate(block_plan(spec)):
        source = f"_blocks.{places[block.stage, block.repeat]}."
        name = f"block{index}"
        hidden = incoming
        if block.expansion != 1:
            hidden = _most_important([_gamma(state, f"{source}_bn0")], block.hidden)
            found.append(_Layer(f"{name}_expand", "_expand_conv", "_bn0", source, incoming, hidden))
        outgoing = streams[block.stage]
        found.append(_Layer(f"{name}_depthwise", "_depthwise_conv", "_bn1", source, hidden, hidden))
        found.append(_Layer(f"{name}_project", "_project_conv", "_bn2", source, hidden, outgoing))
        incoming = outgoing
    if spec.stages < variant_spec(variant).stages:
        return found  # the published head reads the last stage, so it can't follow another one
    head = _most_important([_gamma(state, "_bn1")], spec.head_channels)
    return [*found, _Layer("head", "_conv_head", "_bn1", "", incoming, head)]


def _stage_channels(
    state: dict[str, Array], original: tuple[Block, ...], plan: tuple[Block, ...]
) -> dict[int, Indices]:
    """Channels to keep after each stage: its blocks add up, so they must keep the same ones."""
    gammas: dict[int, list[Array]] = {}
    for i, block in enumerate(original):
        gammas.setdefault(block.stage, []).append(_gamma(state, f"_blocks.{i}._bn2"))
    channels = {block.stage: block.channels_out for block in plan}
    return {stage: _most_important(gammas[stage], channels[stage]) for stage in channels}


def _gamma(state: dict[str, Array], norm: str) -> Array:
    return np.abs(state[f"{norm}.weight"])


def _most_important(gammas: list[Array], count: int) -> Indices:
    """Sorted indices of the `count` channels with the largest gamma, summed over layers."""
    importance = np.sum(gammas, axis=0)
    return np.sort(np.argsort(-importance, kind="stable")[:count])
