"""Is the end of a foreign Keras network a logit? A raw score must never be a probability.

A Keras tensor enters, the layer that gives its values leaves: what passes values on unchanged
(dropout, reshaping) or averages them (pooling) is walked back through, into nested models too.
Only an end that is known to be linear is a logit; a known sigmoid, or the softmax of two classes,
can be taken off; anything else is refused, since a probability that is taken for a logit would be
calibrated, thresholded and shipped without anybody noticing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_app.statistics.logistic import sigmoids
from export.errors import CheckpointError

_PASSING = (
    "Dropout",
    "SpatialDropout2D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Reshape",
    "Flatten",
    "Identity",
)
_POOLING = (
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "AveragePooling2D",
    "MaxPooling2D",
)
_AT_WORST = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """The layer that gives a tensor's values; `pooled` where they are pooled after it."""

    layer: Any
    pooled: bool


def require_linear(path: Path, tensor: Any, role: str) -> None:
    """Check an output that is called a logit.

    Raises:
        CheckpointError: it does not end in a layer that is known to be linear.
    """
    end = _end_of(tensor)
    if not _is_linear(end.layer):
        raise CheckpointError(
            f"{path}: unknown layout: the output {role} ends in {_describe(end)}, so it is not "
            f"known to be a logit; {_ADVICE}"
        )


def with_linear_end(path: Path, model: Any, size: tuple[int, int, int]) -> Any:
    """The model without its last sigmoid, or the softmax of its two classes.

    Softmax of (z0, z1) is sigmoid(z1 - z0): the caller subtracts what is left.

    Args:
        path: of the checkpoint, for messages.
        model: with one output (batch, 1) or (batch, 2).
        size: height, width and channels of its input.

    Raises:
        CheckpointError: an end that is neither linear nor one such activation of it.
    """
    import keras

    classes = model.output.shape[-1]
    activation = keras.activations.sigmoid if classes == 1 else keras.activations.softmax
    end = _end_of(model.output)
    if _is_linear(end.layer):
        return model
    if end.pooled or not _has_activation(end.layer, activation):
        name = activation.__name__
        raise CheckpointError(
            f"{path}: unknown layout: the output ends in {_describe(end)}, neither a logit nor a "
            f"{name} of {'one' if classes == 1 else 'two'}; {_ADVICE}"
        )
    pictures = np.random.default_rng(0).integers(0, 256, (4, *size)).astype(np.float32)
    expected = np.asarray(model(pictures, training=False), np.float64)
    end.layer.activation = keras.activations.linear
    linear = keras.Model(model.input, model.output)
    logits = np.asarray(linear(pictures, training=False), np.float64)
    # A layer that the network uses twice would lose its activation inside of it too.
    restored = sigmoids(logits if classes == 1 else logits - logits[:, ::-1])
    if not np.allclose(restored, expected, atol=_AT_WORST):
        raise CheckpointError(
            f"{path}: unknown layout: without its last {activation.__name__} the network computes "
            "something else"
        )
    return linear


_ADVICE = (
    "a logit is what a Dense or Conv2D without activation gives, also pooled, reshaped or behind "
    "a layer Activation('sigmoid'), or Activation('softmax') of two classes"
)


def _end_of(tensor: Any) -> _End:
    """Walk back to the layer that makes the values."""
    import keras

    passing = tuple(getattr(keras.layers, name) for name in _PASSING)
    pooling = tuple(getattr(keras.layers, name) for name in _POOLING)
    pooled = False
    while True:
        history = tensor._keras_history
        layer = history.operation
        if isinstance(layer, keras.Model):
            tensor = layer.outputs[history.tensor_index]
            continue
        is_identity = isinstance(layer, keras.layers.Activation) and _has_activation(
            layer, keras.activations.linear
        )
        if not (is_identity or isinstance(layer, passing + pooling)):
            return _End(layer, pooled)
        pooled = pooled or isinstance(layer, pooling)
        tensor = layer._inbound_nodes[history.node_index].input_tensors[0]


def _is_linear(layer: Any) -> bool:
    import keras

    kinds = (keras.layers.Dense, keras.layers.Conv2D)
    return isinstance(layer, kinds) and _has_activation(layer, keras.activations.linear)


def _has_activation(layer: Any, activation: Any) -> bool:
    return getattr(layer, "activation", None) is activation


def _describe(end: _End) -> str:
    """Such as `the layer 'dense_3' (Dense, tanh), pooled`."""
    kind = type(end.layer).__name__
    activation = getattr(end.layer, "activation", None)
    if activation is not None:
        kind += f", {getattr(activation, '__name__', type(activation).__name__)}"
    return f"the layer {end.layer.name!r} ({kind}){', pooled' if end.pooled else ''}"
