"""What networks say about pictures: prepared inputs in, outputs by name out, on every backend."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import keras
import numpy as np
import numpy.typing as npt

from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.preprocess import PreprocessSpec, preprocess
from train.cache import Cache
from train.degrade import DegradeSpec, degrade

BATCH_SIZE = 64

Array = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
T = TypeVar("T")
Made = TypeVar("Made")


def predict(network: keras.Model, pictures: Iterable[Picture]) -> dict[str, Array]:
    """Every output by name, float32, first axis n.

    Args:
        network: takes uint8 (batch, height, width, 1) and gives outputs by name.
        pictures: n arrays of uint8 (1, height, width, 1); at least one.
    """
    parts: dict[str, list[Array]] = {}
    for batch in batched(pictures, BATCH_SIZE):
        for name, values in predict_batch(network, np.concatenate(batch)).items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def predict_batch(network: keras.Model, batch: Picture) -> dict[str, Array]:
    """As `predict`, for one uint8 (n, height, width, 1) array of at most `BATCH_SIZE` pictures."""
    # A fixed size: another one would compile the network anew.
    padding = np.zeros((BATCH_SIZE - len(batch), *batch.shape[1:]), np.uint8)
    outputs = network.predict_on_batch(np.concatenate([batch, padding]))
    return {name: np.asarray(array, np.float32)[: len(batch)] for name, array in outputs.items()}


def inputs(
    pictures: Iterable[T], read: Callable[[T], npt.NDArray[np.generic]], spec: PreprocessSpec
) -> Iterator[Picture]:
    """uint8 (1, height, width, 1) for each of `pictures`, read and prepared ahead by threads.

    Args:
        pictures: whatever `read` understands.
        read: gives (height, width) uint8 or uint16.
        spec: the network's preprocessing.
    """
    return ahead(pictures, lambda item: preprocess(read(item), spec))


def ahead(items: Iterable[T], prepare: Callable[[T], Made]) -> Iterator[Made]:
    """What `prepare` makes of each item, in order, made ahead by threads."""
    with ThreadPoolExecutor() as pool:
        for chunk in batched(items, BATCH_SIZE):
            yield from pool.map(prepare, chunk)


def clean_and_degraded(
    samples: Sequence[LabelledPicture], cache: Cache, spec: DegradeSpec | None, seed: int
) -> tuple[Callable[[int], Picture], Callable[[int], Picture] | None]:
    """Readers of sample i: as it is, and degraded once by (seed, i); None without a degradation."""

    def clean(index: int) -> Picture:
        return cache.read(samples[index].path)

    if spec is None:
        return clean, None

    def degraded(index: int) -> Picture:
        return degrade(clean(index), spec, np.random.default_rng([seed, index]))

    return clean, degraded


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter (itertools has this from Python 3.12 on)."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
