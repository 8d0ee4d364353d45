"""What training a reader needs besides the loop: batches of pictures, and how well it ranks.

Samples enter; batches, targets softened by teachers, and AUROC leave.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edge_app.images.preprocess import preprocess
from edge_app.statistics import discrimination as metrics
from train.cache import Cache
from train.checkpoint import Checkpoint
from train.config import Config
from train.distill import Teachers
from train.known_lungs import KnownLungs
from train.loader import Batch, TrainingBatches
from train.outlines import Outlines
from train.predict import Picture, ahead, clean_and_degraded, inputs, predict
from train.splits import Splits

# Figures of an epoch; the second one only where the configuration degrades.
_CLEAN, _DEGRADED = "val_auroc", "val_auroc_degraded"


def loss_and_accuracy(
    labels: npt.NDArray[np.intp], logits: npt.NDArray[np.floating]
) -> dict[str, float]:
    """`val_loss`, the mean cross-entropy, and `val_accuracy` at a probability of one half.

    For the curves, beside the training loss. Accuracy follows the share of the sick, so no epoch
    is chosen by it and no figure of a model is one.
    """
    signed = np.where(labels == 1, 1.0, -1.0) * logits.astype(np.float64)
    return {
        "val_loss": round(float(np.logaddexp(0.0, -signed).mean()), 5),
        "val_accuracy": round(float(((logits >= 0) == (labels == 1)).mean()), 5),
    }


class ReaderTask:
    """Batches for a reader, and its validation.

    Args:
        config, splits, cache: what to train, and on what.
        teachers: checkpoints to learn from; the configuration must have `distill` then.
        outlines: of lungs, for a reader that sees nothing else (`read`); pictures without one
            are passed over.
    """

    def __init__(
        self,
        config: Config,
        splits: Splits,
        cache: Cache,
        teachers: Sequence[Checkpoint] = (),
        outlines: Outlines | None = None,
    ) -> None:
        self._config, self._cache = config, cache
        self._train, self._validation = splits.train, splits.validation
        self._lungs: KnownLungs | None = None
        if outlines is not None:
            self._train, self._validation = (
                tuple(sample for sample in side if sample.name in outlines.by_name)
                for side in (splits.train, splits.validation)
            )
            samples = (*self._train, *self._validation)
            # Training borrows surroundings from training pictures alone.
            self._lungs = KnownLungs(config, self._train, outlines, cache)
            self._held = KnownLungs(config, samples, outlines, cache)
        self._teachers = Teachers(teachers, config.distill)
        self.criterion = _CLEAN if config.degrade is None else _DEGRADED

    @property
    def n_train(self) -> int:
        """Pictures an epoch."""
        return len(self._train)

    def batches(self, epoch: int) -> TrainingBatches:
        """One epoch."""
        return TrainingBatches(
            self._train,
            self._cache,
            self._config,
            epoch,
            self._teachers.preprocess,
            self._lungs,
        )

    def ready(self, batch: Batch) -> Batch:
        """Targets mixed with what the teachers say."""
        return self._teachers.soften(batch)

    def validate(self, network: keras.Model) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """AUROC on clean and, where the configuration degrades, on degraded held-out pictures.

        Of the clean ones also the loss and the share that a logit of 0 calls right.
        """
        samples = self._validation
        labels = np.array([sample.label for sample in samples])
        row: dict[str, float] = {}
        columns = {}
        for name, column, pictures in self._forms():
            columns[column] = predict(network, pictures)["logit"][:, 0]
            row[name] = round(float(metrics.auroc(labels, columns[column])), 5)
        row |= loss_and_accuracy(labels, columns["logit"])
        rows = [
            {"file": sample.name, "label": sample.label, "patient_id": sample.patient_id}
            | {name: f"{logits[i]:.5f}" for name, logits in columns.items()}
            for i, sample in enumerate(samples)
        ]
        return row, rows

    def _forms(self) -> Iterator[tuple[str, str, Iterator[Picture]]]:
        """Figure, column and prepared pictures of each form that is judged."""
        samples, config = self._validation, self._config
        indices = range(len(samples))
        if self._lungs is not None:
            held, spec = self._held, config.preprocess

            def varied(i: int) -> Picture:
                rng = np.random.default_rng([config.seed, i])
                pixels = self._cache.read(samples[i].path)
                return preprocess(held.judged_view(pixels, samples[i], rng), spec)

            yield _CLEAN, "logit", ahead(indices, lambda i: held.frame(samples[i]))
            yield _DEGRADED, "logit_degraded", ahead(indices, varied)
            return
        clean, degraded = clean_and_degraded(samples, self._cache, config.degrade, config.seed)
        yield _CLEAN, "logit", inputs(indices, clean, config.preprocess)
        if degraded is not None:
            yield _DEGRADED, "logit_degraded", inputs(indices, degraded, config.preprocess)
