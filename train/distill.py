"""Teachers: finished networks whose logits on a batch soften its targets.

A `Batch` enters, one with softer targets leaves. A teacher sees the very pictures that the
student sees, degraded alike, prepared by its own preprocessing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_app.images.preprocess import PreprocessSpec
from edge_app.statistics.logistic import sigmoids
from train.checkpoint import Checkpoint, load_network
from train.config import DistillSpec
from train.loader import Batch, Column


class Teachers:
    """One or several checkpoints; their logits are averaged.

    Args:
        checkpoints: may be empty, which leaves batches as they are.
        spec: how much their word weighs; needed where there are any.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint], spec: DistillSpec | None) -> None:
        self._networks = [load_network(checkpoint) for checkpoint in checkpoints]
        self._spec = spec
        self.preprocess: tuple[PreprocessSpec, ...] = tuple(
            checkpoint.config.preprocess for checkpoint in checkpoints
        )

    def soften(self, batch: Batch) -> Batch:
        """The batch with mixed targets; its weights stay."""
        if not self._networks or self._spec is None:
            return batch
        answers = [
            network.predict_on_batch(pictures)
            for network, pictures in zip(self._networks, batch.teacher_pictures, strict=True)
        ]
        targets = {}
        for name, hard in batch.targets.items():
            known = [np.asarray(answer[name], np.float32) for answer in answers if name in answer]
            targets[name] = mix(hard, np.mean(known, axis=0), self._spec) if known else hard
        return replace(batch, targets=targets, teacher_pictures=())


def mix(hard: Column, logits: Column, spec: DistillSpec) -> Column:
    """(1 - weight) * hard + weight * sigmoid(logits / temperature), float32 (batch, 1)."""
    soft = sigmoids(logits / spec.temperature)
    return ((1 - spec.weight) * hard + spec.weight * soft).astype(np.float32)
