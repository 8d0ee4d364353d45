"""Batches: repeatable, independent of workers, weighted as configured."""

from dataclasses import replace

import numpy as np
import pytest

from edge_app.images.preprocess import preprocess

pytest.importorskip("keras", reason="needs the extra train")

from edge_app.images.labelled_pictures import LabelledPicture
from tests.train_inputs import sample, tiny_config, write_phantoms
from train.cache import Cache, open_cache, read_grey
from train.config import Config
from train.loader import Batch, TrainingBatches, class_weights, prefetch
from train.samples import read_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPicture]:
    folder = tmp_path_factory.mktemp("loader")
    root = write_phantoms(folder / "small", 6)
    return read_samples(root, write_phantoms(folder / "large", 3, side=80))


@pytest.fixture(scope="module")
def cache(samples: list[LabelledPicture], tmp_path_factory: pytest.TempPathFactory) -> Cache:
    paths = [path for s in samples for path in (s.path, s.larger) if path is not None]
    return open_cache(paths, tmp_path_factory.mktemp("cache"))


def _equal(one: Batch, other: Batch) -> bool:
    return (
        np.array_equal(one.pictures, other.pictures)
        and all(np.array_equal(one.targets[k], other.targets[k]) for k in one.targets)
        and all(np.array_equal(one.weights[k], other.weights[k]) for k in one.weights)
    )


def _epoch(
    samples: list[LabelledPicture],
    cache: Cache,
    config: Config,
    epoch: int,
    workers: int,
    start: int = 0,
) -> list[Batch]:
    return list(prefetch(TrainingBatches(samples, cache, config, epoch), start, workers))


def test_batches_depend_on_seed_and_epoch_alone(
    samples: list[LabelledPicture], cache: Cache
) -> None:
    config = tiny_config()
    one, many = (_epoch(samples, cache, config, 1, workers) for workers in (1, 5))
    assert len(one) == len(many) == len(samples) // 4
    assert all(map(_equal, one, many))
    later = _epoch(samples, cache, config, 1, 3, start=2)
    assert all(map(_equal, one[2:], later))
    assert not _equal(one[0], _epoch(samples, cache, config, 2, 1)[0])
    assert not _equal(one[0], _epoch(samples, cache, tiny_config(seed=8), 1, 1)[0])


def test_an_epoch_shows_each_picture_once(samples: list[LabelledPicture], cache: Cache) -> None:
    config = tiny_config(degrade=None, optimizer__batch_size=1)
    batches = _epoch(samples, cache, config, 0, 2)
    seen = {batch.pictures.tobytes() for batch in batches}
    possible = {
        path: preprocess(read_grey(path), config.preprocess).tobytes()
        for s in samples
        for path in (s.path, s.larger)
        if path is not None
    }
    assert len(seen) == len(samples)
    assert seen <= set(possible.values())
    larger = {possible[s.larger] for s in samples if s.larger is not None}
    # About half of those that have a larger copy come from it.
    assert 0 < len(seen & larger) < len(larger)


def test_targets_and_weights(samples: list[LabelledPicture], cache: Cache) -> None:
    config = tiny_config(optimizer__batch_size=24, optimizer__label_smoothing=0.1)
    (batch,) = _epoch(samples, cache, config, 0, 1)
    assert batch.pictures.shape == (24, 32, 32, 1)
    assert batch.pictures.dtype == np.uint8
    np.testing.assert_allclose(np.unique(batch.targets["logit"]), [0.05, 0.95], rtol=1e-6)
    assert batch.weights["logit"].shape == (24, 1)
    np.testing.assert_array_equal(batch.weights["logit"], 1.0)
    # Twelve pictures are of pneumonia; half of them bacterial, and only they count.
    assert batch.weights["subtype_logit"].sum() == 12
    assert batch.targets["subtype_logit"].sum() == 6
    assert batch.targets["subtype_logit"][batch.weights["subtype_logit"] == 0].sum() == 0


def test_a_teacher_sees_the_same_degraded_pictures(
    samples: list[LabelledPicture], cache: Cache
) -> None:
    config = tiny_config()
    batch = TrainingBatches(samples, cache, config, 0, (config.preprocess,))[1]
    np.testing.assert_array_equal(batch.teacher_pictures[0], batch.pictures)


@pytest.mark.parametrize(
    ("balance", "expected"), [(0.0, (1.0, 1.0)), (1.0, (2.0, 2 / 3)), (0.5, (2**0.5, None))]
)
def test_class_weights(balance: float, expected: tuple[float, float | None]) -> None:
    """One normal to three pneumonias; worked out by hand: (1/2)/(1/4) and (1/2)/(3/4)."""
    samples = [sample("n", 0, 0), *(sample(f"p{i}", 0, 1) for i in range(3))]
    normal, pneumonia = class_weights(samples, balance)
    assert normal + 3 * pneumonia == pytest.approx(4)
    if expected[1] is not None:
        assert (normal, pneumonia) == pytest.approx(expected)
    else:
        assert normal / pneumonia == pytest.approx(3**balance)


def test_an_unreadable_picture_stops_the_epoch(
    samples: list[LabelledPicture], cache: Cache
) -> None:
    without = Cache(cache.pixels, {})
    with pytest.raises(KeyError):
        _epoch(samples, without, tiny_config(), 0, 3)


def test_both_classes_pass_through_the_very_same_degradation(
    samples: list[LabelledPicture], cache: Cache
) -> None:
    """The project's central promise: how a picture was degraded says nothing of its class.

    The same pictures with every label turned round give the same batches, byte for byte; only what
    the network is to say differs.
    """
    config = tiny_config()
    assert config.degrade is not None
    turned = [replace(sample, label=1 - sample.label) for sample in samples]
    as_they_are, turned_round = (_epoch(s, cache, config, 1, 2) for s in (samples, turned))
    plain = _epoch(samples, cache, tiny_config(degrade=None), 1, 2)
    for one, other, clean in zip(as_they_are, turned_round, plain, strict=True):
        assert np.array_equal(one.pictures, other.pictures)
        sick, sick_then = one.targets["logit"], other.targets["logit"]
        assert np.allclose(sick + sick_then, 1)
        # And every picture of either class was degraded, none left as it is stored.
        for picture, stored in zip(one.pictures, clean.pictures, strict=True):
            assert not np.array_equal(picture, stored)
