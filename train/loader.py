"""Batches for training, the same on every Keras backend.

Samples and decoded pictures enter; uint8 (batch, height, width, 1) pictures, targets and weights
leave. Which picture stands where, and how it is degraded, follows from (seed, epoch, index)
alone, so a resumed run sees what an uninterrupted one would have seen, with any number of workers.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt

from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.preprocess import PreprocessSpec, preprocess
from train.cache import Cache
from train.config import Config
from train.degrade import degrade
from train.known_lungs import KnownLungs

if TYPE_CHECKING:
    from train.task import Batches

Pictures = npt.NDArray[np.uint8]
Column = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures and what the network is to say of them.

    Attributes:
        pictures: uint8 (batch, height, width, 1).
        targets, weights: by output name, float32 (batch, 1).
        teacher_pictures: the same degraded pictures as each teacher wants them.
    """

    pictures: Pictures
    targets: dict[str, Column]
    weights: dict[str, Column]
    teacher_pictures: tuple[Pictures, ...] = ()


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc, unused-ignore]
    """One epoch of shuffled, degraded batches; the incomplete last one is left out.

    Args:
        samples, cache, config: what to train on and how.
        epoch: from 0; another epoch is another order and other degradations.
        teachers: preprocessing of each teacher's input.
        lungs: where the lungs are, for a network that sees nothing else.
    """

    def __init__(
        self,
        samples: Sequence[LabelledPicture],
        cache: Cache,
        config: Config,
        epoch: int,
        teachers: tuple[PreprocessSpec, ...] = (),
        lungs: KnownLungs | None = None,
    ) -> None:
        super().__init__()
        self._lungs = lungs
        self._samples, self._cache, self._config, self._epoch = samples, cache, config, epoch
        self._teachers = teachers
        self._order = np.random.default_rng([config.seed, epoch]).permutation(len(samples))
        self._class_weights = class_weights(samples, config.optimizer.balance)

    def __len__(self) -> int:
        return len(self._samples) // self._config.optimizer.batch_size

    def __getitem__(self, index: int) -> Batch:
        size = self._config.optimizer.batch_size
        chosen = self._order[index * size : (index + 1) * size].tolist()
        samples = [self._samples[i] for i in chosen]
        views = [self._view(i) for i in chosen]
        degraded = [pixels for pixels, _ in views]
        answers = [target for _, target in views]
        smoothing = self._config.optimizer.label_smoothing
        return Batch(
            pictures=_prepare(degraded, self._config.preprocess),
            targets={
                "logit": _column(t * (1 - smoothing) + smoothing / 2 for t in answers),
                "subtype_logit": _column(s.subtype == "bacteria" for s in samples),
            },
            weights={
                "logit": _column(self._class_weights[s.label] for s in samples),
                "subtype_logit": _column(
                    bool(s.subtype) and t == s.label for s, t in zip(samples, answers, strict=True)
                ),
            },
            teacher_pictures=tuple(_prepare(degraded, spec) for spec in self._teachers),
        )

    def _view(self, index: int) -> tuple[Pictures, float]:
        """A degraded picture and the answer that goes with it."""
        config = self._config
        rng = np.random.default_rng([config.seed, self._epoch, index])
        sample = self._samples[index]
        # Half the time the larger copy, where there is one: another resize filter and quality.
        path = sample.larger if rng.random() < 0.5 and sample.larger is not None else sample.path
        pixels = self._cache.read(path)
        if self._lungs is not None:
            return self._lungs.view(pixels, sample, rng)
        if config.degrade is not None:
            pixels = degrade(pixels, config.degrade, rng)
        return pixels, float(sample.label)


def class_weights(samples: Sequence[LabelledPicture], balance: float) -> tuple[float, float]:
    """Weights of a normal and of a pneumonia picture, 1 on average over the samples."""
    positive = sum(s.label for s in samples)
    shares = ((len(samples) - positive) / len(samples), positive / len(samples))
    normal, pneumonia = ((0.5 / share) ** balance for share in shares)
    mean = normal * shares[0] + pneumonia * shares[1]
    return normal / mean, pneumonia / mean


def prefetch(batches: "Batches", start: int, workers: int) -> Iterator[Batch]:
    """Batches from `start` on, in order, prepared ahead by threads.

    Pillow and NumPy release the GIL where the time goes, so threads fill the cores, and nothing
    is copied between processes.
    """
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


def _prepare(pictures: Sequence[Pictures], spec: PreprocessSpec) -> Pictures:
    return np.concatenate([preprocess(pixels, spec) for pixels in pictures])


def _column(values: Iterable[float]) -> Column:
    return np.array(list(values), np.float32)[:, np.newaxis]
