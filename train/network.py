"""The network: EfficientNet-Lite on a grey radiograph, with a map that averages into the logit.

A uint8 (batch, height, width, 1) picture enters. Four outputs leave, by name: `logit` (batch, 1),
`activation_map` (batch, height/32, width/32, 1) whose mean is the logit, `embedding` (batch, d)
and `subtype_logit` (batch, 1), bacterial above and viral below zero, given pneumonia.

EfficientNet-Lite: Tan and Le 2019 (arXiv:1905.11946) without squeeze-and-excitation and with
ReLU6, which keeps the activations' range fixed, so that eight bits hold them. The activation map
is the class activation mapping of Zhou et al. 2016 (arXiv:1512.04150): the 1x1 convolution
stands before the average instead of after it, which gives the same logit.
"""

import math
from dataclasses import dataclass

import keras
from keras import layers

# (repeats, kernel size, stride, expansion, channels): EfficientNet-B0's stages.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280
_EPSILON = 1e-3

OUTPUTS = ("logit", "activation_map", "embedding", "subtype_logit")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Size of an EfficientNet-Lite.

    Attributes:
        height, width: input size in pixels.
        width_multiplier, depth_multiplier: Lite0 is 1.0 and 1.0, Lite1 1.0 and 1.1, Lite2 1.1
            and 1.2. Stem and head keep their size in the published variants.
        head_channels: channels of the last feature map, which is also the embedding's length.
        stem_channels: channels after the first convolution.
        dropout: share of feature channels dropped in training.
    """

    height: int
    width: int
    width_multiplier: float
    depth_multiplier: float
    head_channels: int
    stem_channels: int
    dropout: float


def lite0(size: int, dropout: float = 0.2) -> NetworkSpec:
    """EfficientNet-Lite0 for a square input of `size` pixels."""
    return NetworkSpec(size, size, 1.0, 1.0, _HEAD_CHANNELS, _STEM_CHANNELS, dropout)


def round_channels(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor` that does not lose more than a tenth (the reference's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def build_network(spec: NetworkSpec) -> keras.Model:
    """Build the network with fresh weights; layer names are stable across sizes."""
    image = keras.Input((spec.height, spec.width, 1), dtype="uint8", name="image")
    # The ImageNet weights were trained on (pixel - 127) / 128.
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="normalize")(image)
    x = _conv_bn(x, spec.stem_channels, 3, 2, "stem", activate=True)
    x = _blocks(x, spec)
    features = _conv_bn(x, spec.head_channels, 1, 1, "head", activate=True)
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
    total = 0
    for layer in network.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            _, height, width, channels = layer.output.shape
            total += height * width * channels * math.prod(layer.kernel_size)
        elif isinstance(layer, layers.Conv2D):
            _, height, width, channels = layer.output.shape
            total += height * width * math.prod(layer.kernel.shape)
        elif isinstance(layer, layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total


def _blocks(x: keras.KerasTensor, spec: NetworkSpec) -> keras.KerasTensor:
    index = 0
    last = len(_STAGES) - 1
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES):
        channels = round_channels(channels * spec.width_multiplier)
        # The Lite variants scale neither the first nor the last stage's depth.
        if stage not in (0, last):
            repeats = math.ceil(repeats * spec.depth_multiplier)
        for repeat in range(repeats):
            block_stride = stride if repeat == 0 else 1
            x = _inverted_residual(x, channels, kernel, block_stride, expansion, f"block{index}")
            index += 1
    return x


def _inverted_residual(
    x: keras.KerasTensor, channels: int, kernel: int, stride: int, expansion: int, name: str
) -> keras.KerasTensor:
    """MobileNetV2's block: expand, depthwise, project, and add where the shapes allow."""
    shortcut = x
    incoming = x.shape[-1]
    if expansion != 1:
        x = _conv_bn(x, incoming * expansion, 1, 1, f"{name}_expand", activate=True)
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(x)
    x = _conv_bn(x, channels, 1, 1, f"{name}_project", activate=False)
    if stride == 1 and incoming == channels:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _conv_bn(
    x: keras.KerasTensor, channels: int, kernel: int, stride: int, name: str, *, activate: bool
) -> keras.KerasTensor:
    x = layers.Conv2D(
        channels, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(6, name=f"{name}_relu")(x) if activate else x
