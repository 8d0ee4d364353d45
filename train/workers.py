"""Several processes that train one network, each on its part of every batch (TensorFlow).

`TF_CONFIG` names them, as TensorFlow's own guide has it; without it there is one process. Every
worker prepares the whole batch, which follows from (seed, step) alone, and takes its part;
gradients are summed over all of them (`tf.distribute.MultiWorkerMirroredStrategy`), and batch
normalization and the clipping of gradients are of the whole batch. So all hold the same weights
after every step, and the same as one process would, but for rounding and for dropout.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

from edge_app.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Workers:
    """A process among those that train together.

    Attributes:
        rank: of this one, from 0.
        count: of all.
        strategy: TensorFlow's, None where there is one process.
    """

    rank: int = 0
    count: int = 1
    strategy: Any = None

    def train(self, model: Any, batch: Any) -> Mapping[str, Any]:
        """One step on a whole batch, of which each process takes its part; the losses of all.

        In place of `train_on_batch`, which fails where losses of several processes are to be
        averaged (Keras 3.15: it reduces numbers along an axis that they lack).

        Args:
            model: compiled, and built within `scope`.
            batch: (pictures, targets, weights), whose arrays divide by the count.
        """
        import keras

        part = keras.tree.map_structure(self._part, batch)
        losses: Mapping[str, Any] = _step_of(self.strategy, model)(part)
        return losses

    def _part(self, values: Any) -> Any:
        size = len(values) // self.count
        return values[self.rank * size : (self.rank + 1) * size]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Within, what is built is shared by all."""
        if self.strategy is None:
            yield
            return
        with self.strategy.scope():
            yield


@cache
def _step_of(strategy: Any, model: Any) -> Callable[[Any], Mapping[str, Any]]:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(part: Any) -> Mapping[str, Any]:
        losses = strategy.run(model.train_step, args=(part,))
        return {name: strategy.reduce("MEAN", loss, axis=None) for name, loss in losses.items()}

    made: Callable[[Any], Mapping[str, Any]] = step
    return made


def join_workers(batch_size: int) -> Workers:
    """Wait for the others of `TF_CONFIG`; called before the first network is built.

    Raises:
        ConfigError: `TF_CONFIG` is no such thing, or the batch can't be divided into equal parts.
    """
    cluster = _addresses(os.environ.get("TF_CONFIG", ""))
    require_equal_parts(batch_size, max(1, len(cluster)), "workers")
    return current_workers()


def current_workers() -> Workers:
    """Which of the workers this process is; the only one within `alone`."""
    return Workers() if _is_alone.get() else _join()


@contextmanager
def alone() -> Iterator[None]:
    """Within, what is built is of this process only, as what is saved must be."""
    token = _is_alone.set(True)
    try:
        yield
    finally:
        _is_alone.reset(token)


_is_alone = ContextVar("is_alone", default=False)


@cache
def _join() -> Workers:
    """One strategy in the life of a process."""
    cluster = _addresses(os.environ.get("TF_CONFIG", ""))
    if len(cluster) < 2:
        return Workers()
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Workers(strategy.cluster_resolver.task_id, len(cluster), strategy)


def require_equal_parts(batch_size: int, parts: int, of_what: str) -> None:
    """Raise ConfigError where a batch can't be divided into equal parts."""
    if batch_size % parts:
        raise ConfigError(f"batch_size {batch_size} must be a multiple of {parts} {of_what}")


def _addresses(text: str) -> list[str]:
    """The workers of a `TF_CONFIG`, none where it is empty."""
    if not text:
        return []
    try:
        document = json.loads(text)
        addresses, index = document["cluster"]["worker"], document["task"]["index"]
        if document["task"]["type"] == "worker" and 0 <= index < len(addresses):
            return [str(address) for address in addresses]
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigError(
        'TF_CONFIG: it must be like {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
