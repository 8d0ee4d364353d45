"""What the training loop asks of whatever is trained: batches, and figures of held-out pictures.

`train.run` knows epochs, steps, states and checkpoints; a task knows pictures and truth.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import keras

from train.loader import Batch

Figures = dict[str, float]
Rows = Sequence[dict[str, Any]]


class Batches(Protocol):
    """One epoch of batches, each of which follows from the seed, the epoch and its index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch: ...


class Task(Protocol):
    """One kind of training.

    Attributes:
        criterion: the figure by which the best epoch is chosen and training stops; more is better.
    """

    criterion: str

    @property
    def n_train(self) -> int:
        """Pictures an epoch."""
        ...

    def batches(self, epoch: int) -> Batches:
        """Shuffled batches of one epoch, from 0; the incomplete last one is left out."""
        ...

    def ready(self, batch: Batch) -> Batch:
        """The batch as the network is to learn it, after whatever needs a network itself."""
        ...

    def validate(self, network: keras.Model) -> tuple[Figures, Rows]:
        """Figures of the held-out pictures, and a row of each for `validation.csv`."""
        ...
