"""The network of a configuration and the compiled model that trains it.

A `Config` enters, a `Trainer` leaves. `averaged` lends the moving average of the weights to
whoever evaluates or saves; the weights that train are back afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from train.config import Config
from train.imagenet import load_imagenet
from train.loader import Batch
from train.locator_network import build_locator
from train.network import build_network
from train.seed_cnn import build_seed_cnn
from train.workers import alone, current_workers

# The map's loss is summed over two terms and matters most; the others are three easy questions.
LOCATOR_WEIGHTS = {"lungs": 1.0, "orientation": 0.2, "view": 0.2, "cut_off": 0.3}


@dataclass(frozen=True, slots=True)
class Trainer:
    """The network, and the model that shares its weights and is compiled.

    Attributes:
        network: all outputs by name.
        model: the outputs that have a loss.
        steps_per_epoch: whole batches an epoch.
    """

    network: keras.Model
    model: keras.Model
    steps_per_epoch: int

    def train(self, batch: Batch) -> dict[str, float]:
        """One step; the batch's own losses by name."""
        names = self.model.output_names
        self.model.reset_metrics()
        targets = {name: batch.targets[name] for name in names}
        weights = {name: batch.weights[name] for name in names}
        if (workers := current_workers()).count > 1:
            losses = workers.train(self.model, (batch.pictures, targets, weights))
        else:
            losses = self.model.train_on_batch(
                batch.pictures, targets, sample_weight=weights, return_dict=True
            )
        return {name: float(value) for name, value in losses.items()}

    def variables(self) -> list[Any]:
        """All that a resumed run needs: weights, statistics, dropout's seed, the optimizer's."""
        return [*self.network.variables, *self.model.optimizer.variables]


def make_trainer(config: Config, n_train: int) -> Trainer:
    """Build and compile for `n_train` pictures an epoch, with the configured first weights."""
    with current_workers().scope():
        return _make_trainer(config, n_train)


def _make_trainer(config: Config, n_train: int) -> Trainer:
    keras.utils.set_random_seed(config.seed)
    with _dtype_policy(config.optimizer.precision):
        network = build(config)
        weights = _loss_weights(config, network)
        model = keras.Model(network.input, {name: network.output[name] for name in weights})
    if config.variant is not None and config.network is not None:
        load_imagenet(network, config.network, config.variant)
    steps = n_train // config.optimizer.batch_size
    model.compile(
        optimizer=_optimizer(config, steps * config.optimizer.epochs),
        loss={name: _loss(name) for name in weights},
        loss_weights=weights,
    )
    model.optimizer.build(model.trainable_variables)
    return Trainer(network, model, steps)


def build(config: Config) -> keras.Model:
    """The configuration's network with fresh weights; outputs by name."""
    if config.network is not None:
        return build_network(config.network)
    if config.locator is not None:
        return build_locator(config.locator)
    assert config.seed_cnn is not None, "Config holds one of the three"
    return build_seed_cnn(config.seed_cnn)


def lungs_loss(truth: Any, logits: Any) -> Any:
    """Cross-entropy and soft Dice (Milletari et al. 2016, arXiv:1606.04797) of a map: (batch,).

    Args:
        truth: (batch, rows, columns, 1) share of each cell that is lung.
        logits: of the same shape.
    """
    ops = keras.ops
    axes = (1, 2, 3)
    entropy = ops.mean(ops.binary_crossentropy(truth, logits, from_logits=True), axis=axes)
    probability = ops.sigmoid(logits)
    both = ops.sum(truth * probability, axis=axes)
    # The 1 keeps a picture without lungs finite, and pays for an empty map.
    dice = (2 * both + 1) / (ops.sum(truth + probability, axis=axes) + 1)
    return entropy + 1 - dice


def _loss_weights(config: Config, network: keras.Model) -> dict[str, float]:
    """The outputs that have a loss, and what it weighs."""
    if config.locator is not None:
        return LOCATOR_WEIGHTS
    weights = {"logit": 1.0, "subtype_logit": config.optimizer.subtype_weight}
    return {name: weight for name, weight in weights.items() if name in network.output}


def _loss(name: str) -> Any:
    if name == "lungs":
        return lungs_loss
    if name in ("orientation", "view"):
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.BinaryCrossentropy(from_logits=True)


def float32_copy(network: keras.Model, config: Config) -> keras.Model:
    """The same network without mixed precision and for one process, as exports want it."""
    with _dtype_policy("float32"), alone():
        copy = build(config)
    copy.set_weights(network.get_weights())
    return copy


@contextmanager
def averaged(trainer: Trainer) -> Iterator[None]:
    """Within, the network holds the moving average of its weights.

    Batch normalization's mean and variance are moving averages of their own and stay.
    """
    optimizer, variables = trainer.model.optimizer, trainer.model.trainable_variables
    trained = [keras.ops.convert_to_numpy(variable) for variable in variables]
    optimizer.finalize_variable_values(variables)
    # On JAX they share the averages' buffers now, which `predict` gives away: each gets its own.
    for variable in variables:
        variable.assign(keras.ops.convert_to_numpy(variable))
    try:
        yield
    finally:
        for variable, value in zip(variables, trained, strict=True):
            variable.assign(value)


@contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class SharedAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """Clips the gradient of the whole batch; Keras would clip each worker's part before the sum."""

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        pairs = super()._all_reduce_sum_gradients([(gradient, None) for gradient in grads])
        clipped: list[Any] = super()._clip_gradients([gradient for gradient, _ in pairs])
        return clipped

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars


def _optimizer(config: Config, steps: int) -> keras.optimizers.Optimizer:
    spec = config.optimizer
    warmup = round(spec.warmup_share * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else spec.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=spec.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    kind = keras.optimizers.AdamW if current_workers().count == 1 else SharedAdamW
    optimizer = kind(
        schedule,
        weight_decay=spec.weight_decay,
        global_clipnorm=spec.clip_norm,
        use_ema=spec.ema_momentum > 0,
        ema_momentum=spec.ema_momentum or 0.99,
        ema_overwrite_frequency=None,
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer
