"""Convolution, batch normalization and ReLU6 as both networks stack them; names as ImageNet's."""

import keras
from keras import layers

from train.workers import current_workers

_EPSILON = 1e-3


def conv_bn(
    x: keras.KerasTensor, channels: int, kernel: int, stride: int, name: str, *, activate: bool
) -> keras.KerasTensor:
    """A convolution, normalized, with or without its ReLU6."""
    x = layers.Conv2D(
        channels, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return _normalized(x, name, activate=activate)


def depthwise_bn(x: keras.KerasTensor, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    """A depthwise convolution `{name}_depthwise`, normalized, with its ReLU6."""
    name = f"{name}_depthwise"
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return _normalized(x, name, activate=True)


def _normalized(x: keras.KerasTensor, name: str, *, activate: bool) -> keras.KerasTensor:
    # Of the whole batch, whose parts lie with several processes.
    together = {"synchronized": True} if current_workers().count > 1 else {}
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn", **together)(x)
    return layers.ReLU(6, name=f"{name}_relu")(x) if activate else x
