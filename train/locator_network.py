"""The locator: a very small network that sees the whole picture and says where the lungs are.

A uint8 (batch, height, width, 1) picture enters. Leave, by name, as logits: `lungs`
(batch, height/4, width/4, 1), `orientation` (batch, 4), `view` (batch, 3) and `cut_off`
(batch, 4); what they mean stands in `train.locator_views.View`.

Inverted residuals down to 1/16 (Sandler et al. 2018, arXiv:1801.04381) and a decoder that adds
upsampled features to finer ones (Lin et al. 2017, arXiv:1612.03144). ReLU6 throughout, nearest
upsampling and addition, so that static int8 holds it.
"""

import keras
from keras import layers

from train.config import LocatorSpec
from train.conv_layers import conv_bn, depthwise_bn

OUTPUTS = ("lungs", "orientation", "view", "cut_off")


def build_locator(spec: LocatorSpec) -> keras.Model:
    """Build the locator with fresh weights."""
    fine, middle, coarse = spec.channels
    image = keras.Input((spec.height, spec.width, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="normalize")(image)
    x = conv_bn(x, spec.stem_channels, 3, 2, "stem", activate=True)
    quarter = _residual(_separable(x, fine, 2, "quarter"), spec.expansion, 3, "quarter_block")
    eighth = _down(quarter, middle, spec.expansion, "eighth")
    eighth = _residual(eighth, spec.expansion, 5, "eighth_block")
    sixteenth = _down(eighth, coarse, spec.expansion, "sixteenth")
    for index in range(2):
        sixteenth = _residual(sixteenth, spec.expansion, 5, f"sixteenth_block{index}")
    x = _up(sixteenth, eighth, middle, "up_eighth")
    x = _up(x, quarter, fine, "up_quarter")
    pooled = layers.GlobalAveragePooling2D(name="pooled")(
        conv_bn(sixteenth, 2 * coarse, 1, 1, "context", activate=True)
    )
    pooled = layers.Dropout(spec.dropout, name="dropout")(pooled)
    heads = {
        name: layers.Dense(units, name=name, dtype="float32")(pooled)
        for name, units in (("orientation", 4), ("view", 3))
    }
    # Where lungs meet an edge is a matter of place, which a global average forgets.
    edges = conv_bn(sixteenth, coarse // 2, 3, 2, "edges", activate=True)
    cut_off = layers.Dense(4, name="cut_off", dtype="float32")(layers.Flatten()(edges))
    lungs = layers.Conv2D(1, 1, name="lungs", dtype="float32")(x)
    return keras.Model(image, {"lungs": lungs, **heads, "cut_off": cut_off}, name="locator")


def _separable(x: keras.KerasTensor, channels: int, stride: int, name: str) -> keras.KerasTensor:
    return conv_bn(
        depthwise_bn(x, 3, stride, name), channels, 1, 1, f"{name}_project", activate=True
    )


def _down(x: keras.KerasTensor, channels: int, expansion: int, name: str) -> keras.KerasTensor:
    """Halve the sides: depthwise first, so that the wide convolution sees fewer places."""
    x = depthwise_bn(x, 5, 2, name)
    x = conv_bn(x, channels * expansion // 2, 1, 1, f"{name}_expand", activate=True)
    return conv_bn(x, channels, 1, 1, f"{name}_project", activate=False)


def _residual(x: keras.KerasTensor, expansion: int, kernel: int, name: str) -> keras.KerasTensor:
    channels = x.shape[-1]
    inner = conv_bn(x, channels * expansion, 1, 1, f"{name}_expand", activate=True)
    inner = depthwise_bn(inner, kernel, 1, name)
    inner = conv_bn(inner, channels, 1, 1, f"{name}_project", activate=False)
    return layers.Add(name=f"{name}_add")([x, inner])


def _up(
    x: keras.KerasTensor, finer: keras.KerasTensor, channels: int, name: str
) -> keras.KerasTensor:
    """Bring features to the finer grid, add what is known there, and smooth."""
    x = conv_bn(x, channels, 1, 1, f"{name}_reduce", activate=False)
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_resize")(x)
    x = layers.Add(name=f"{name}_add")(
        [x, conv_bn(finer, channels, 1, 1, f"{name}_side", activate=False)]
    )
    return _separable(layers.ReLU(6, name=f"{name}_relu")(x), channels, 1, name)
