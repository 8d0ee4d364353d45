"""Batches for training and prediction, the same on every Keras backend.

Samples and decoded pictures enter; uint8 (batch, height, width, 1) pictures, targets and weights
leave. Which picture stands where, and how it is degraded, follows from (seed, epoch, index)
alone, so a resumed run sees what an uninterrupted one would have seen.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edge_app.preprocess import preprocess
from train.cache import Cache
from train.config import Config
from train.degrade import degrade
from train.samples import Sample

Batch = tuple[npt.NDArray[np.uint8], dict[str, Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch is to give: arrays of shape (batch, 1) float32."""

    labels: npt.NDArray[np.float32]
    subtypes: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    subtype_weights: npt.NDArray[np.float32]


class TrainingBatches(keras.utils.PyDataset):
    """One epoch of shuffled, degraded batches; the incomplete last one is left out."""

    def __init__(self, samples: Sequence[Sample], cache: Cache, config: Config, epoch: int) -> None:
        super().__init__()
        self._samples, self._cache, self._config, self._epoch = samples, cache, config, epoch
        self._order = np.random.default_rng([config.seed, epoch]).permutation(len(samples))
        self._class_weights = class_weights(samples, config.optimizer.balance)

    def __len__(self) -> int:
        return len(self._samples) // self._config.optimizer.batch_size

    def __getitem__(self, index: int) -> Batch:
        size = self._config.optimizer.batch_size
        chosen = self._order[index * size : (index + 1) * size].tolist()
        pictures = np.concatenate([self._picture(i) for i in chosen])
        targets = make_targets([self._samples[i] for i in chosen], self._class_weights)
        smoothing = self._config.optimizer.label_smoothing
        labels = targets.labels * (1 - smoothing) + smoothing / 2
        return (
            pictures,
            {"logit": labels, "subtype_logit": targets.subtypes},
            {"logit": targets.weights, "subtype_logit": targets.subtype_weights},
        )

    def _picture(self, index: int) -> npt.NDArray[np.uint8]:
        rng = np.random.default_rng([self._config.seed, self._epoch, index])
        sample = self._samples[index]
        # Half the time the larger copy, where there is one: another resize filter and quality.
        use_larger = rng.random() < 0.5 and sample.larger is not None
        pixels = self._cache.read(sample.larger if use_larger else sample.path)
        if self._config.degrade is not None:
            pixels = degrade(pixels, self._config.degrade, rng)
        return preprocess(pixels, self._config.preprocess)


def make_targets(samples: Sequence[Sample], weights: tuple[float, float]) -> Targets:
    """Targets of a batch; the sub-type counts only where the file name gives it."""
    return Targets(
        labels=_column(s.label for s in samples),
        subtypes=_column(s.subtype == "bacteria" for s in samples),
        weights=_column(weights[s.label] for s in samples),
        subtype_weights=_column(bool(s.subtype) for s in samples),
    )


def class_weights(samples: Sequence[Sample], balance: float) -> tuple[float, float]:
    """Weights of a normal and of a pneumonia picture, 1 on average over the samples."""
    positive = sum(s.label for s in samples)
    shares = ((len(samples) - positive) / len(samples), positive / len(samples))
    normal, pneumonia = ((0.5 / share) ** balance for share in shares)
    mean = normal * shares[0] + pneumonia * shares[1]
    return normal / mean, pneumonia / mean


def _column(values: Iterable[float]) -> npt.NDArray[np.float32]:
    return np.array(list(values), np.float32)[:, np.newaxis]


def prefetch(batches: keras.utils.PyDataset, start: int, workers: int) -> Iterator[Batch]:
    """Batches from `start` on, in order, prepared ahead by threads (Pillow frees the GIL)."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: list[Future[Batch]] = []
        following = start
        try:
            while ahead or following < len(batches):
                while following < len(batches) and len(ahead) < workers + 2:
                    ahead.append(pool.submit(batches.__getitem__, following))
                    following += 1
                yield ahead.pop(0).result()
        finally:
            for future in ahead:
                future.cancel()
