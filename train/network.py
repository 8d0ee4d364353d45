"""The network: EfficientNet-Lite on a grey radiograph, with a map that averages into the logit.

A uint8 (batch, height, width, 1) picture enters. Four outputs leave, by name: `logit` (batch, 1),
`activation_map` (batch, height/32, width/32, 1) whose mean is the logit (of /16 where the last
stages are left out), `embedding` (batch, d) and `subtype_logit` (batch, 1), bacterial above and
viral below zero, given pneumonia.

EfficientNet-Lite: Tan and Le 2019 (arXiv:1905.11946) without squeeze-and-excitation and with
ReLU6, which keeps the activations' range fixed, so that eight bits hold them. The activation map
is the class activation mapping of Zhou et al. 2016 (arXiv:1512.04150): the 1x1 convolution
stands before the average instead of after it, which gives the same logit.
"""

import math

import keras
from keras import layers

from train.blocks import Block, block_plan
from train.config import NetworkSpec
from train.conv_layers import conv_bn, depthwise_bn

OUTPUTS = ("logit", "activation_map", "embedding", "subtype_logit")


def build_network(spec: NetworkSpec) -> keras.Model:
    """Build the network with fresh weights; layer names are stable across sizes."""
    image = keras.Input((spec.height, spec.width, 1), dtype="uint8", name="image")
    # The ImageNet weights were trained on (pixel - 127) / 128.
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="normalize")(image)
    x = conv_bn(x, spec.stem_channels, 3, 2, "stem", activate=True)
    for index, block in enumerate(block_plan(spec)):
        x = _inverted_residual(x, block, f"block{index}")
    features = conv_bn(x, spec.head_channels, 1, 1, "head", activate=True)
    embedding = layers.GlobalAveragePooling2D(name="embedding")(features)
    dropped = layers.SpatialDropout2D(spec.dropout, name="dropout")(features)
    activation_map = layers.Conv2D(1, 1, name="activation_map", dtype="float32")(dropped)
    subtype_map = layers.Conv2D(1, 1, name="subtype_map", dtype="float32")(dropped)
    return keras.Model(
        image,
        {
            "logit": layers.GlobalAveragePooling2D(name="logit", dtype="float32")(activation_map),
            "activation_map": activation_map,
            "embedding": embedding,
            "subtype_logit": layers.GlobalAveragePooling2D(name="subtype_logit", dtype="float32")(
                subtype_map
            ),
        },
        name="pneumoscope",
    )


def multiply_adds(network: keras.Model) -> int:
    """Multiply-adds of one inference, counted over convolutions and dense layers."""
    return sum(map(_multiply_adds_of, network.layers))


def describe_layers(network: keras.Model) -> list[str]:
    """A table of the layers, aligned: name, kind, output without the batch, parameters, and
    multiply-adds.
    """
    rows = [("layer", "kind", "output", "parameters", "multiply-adds")]
    for layer in network.layers:
        shape = " x ".join(str(size) for size in layer.output.shape[1:])
        counts = (layer.count_params(), _multiply_adds_of(layer))
        rows.append((layer.name, type(layer).__name__, shape, *(f"{n:,}" for n in counts)))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return [
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _multiply_adds_of(layer: keras.Layer) -> int:
    if isinstance(layer, layers.DepthwiseConv2D):
        _, height, width, channels = layer.output.shape
        return int(height * width * channels * math.prod(layer.kernel_size))
    if isinstance(layer, layers.Conv2D):
        _, height, width, _ = layer.output.shape
        return int(height * width * math.prod(layer.kernel.shape))
    if isinstance(layer, layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0


def _inverted_residual(x: keras.KerasTensor, block: Block, name: str) -> keras.KerasTensor:
    """MobileNetV2's block: expand, depthwise, project, and add where the shapes allow."""
    shortcut = x
    if block.expansion != 1:
        x = conv_bn(x, block.hidden, 1, 1, f"{name}_expand", activate=True)
    x = depthwise_bn(x, block.kernel, block.stride, name)
    x = conv_bn(x, block.channels_out, 1, 1, f"{name}_project", activate=False)
    if block.stride == 1 and block.channels_in == block.channels_out:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x
