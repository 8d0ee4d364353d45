"""All that can be known to be wrong with a run before any time is spent on it.

A configuration, samples and a folder enter; a `Plan` leaves, or an error with nothing written.
`execute` carries it out. Keras is imported by `execute`, first of all: a backend that is missing,
or that cannot divide the batch, is known before a picture is decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.errors import ConfigError
from edge_app.images.labelled_pictures import LabelledPicture
from train.blocks import check_fits
from train.cache import Cache, open_cache
from train.checkpoint import Checkpoint, held_out
from train.config import Config
from train.devices import make_deterministic, require_packages, use_all_devices
from train.outlines import Outlines, require
from train.record import (
    Identity,
    Record,
    check_folder,
    held,
    identify,
    read_record,
    start_record,
)
from train.splits import Splits, make_splits
from train.torch_state import find_weights

if TYPE_CHECKING:
    from train.task import Task


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can start.

    Attributes:
        config, splits: what is trained on what.
        folder: of the run.
        teachers: checkpoints to distil from, none or as many as wanted.
        outlines: of lungs, where the configuration needs them.
    """

    config: Config
    splits: Splits
    folder: Path
    teachers: tuple[Checkpoint, ...] = ()
    outlines: Outlines | None = None


def plan_run(
    config: Config,
    samples: Sequence[LabelledPicture],
    folder: Path,
    teachers: Sequence[Checkpoint] = (),
    outlines: Outlines | None = None,
) -> Plan:
    """Check that a run can start.

    Raises:
        ConfigError: the folder holds something else, a teacher is missing or not wanted, not
            finished, or has seen what the run holds out, or the pictures do not fill a batch.
        DataError: the data cannot be split as configured.
        WeightsError: the network is larger than the ImageNet weights that it is to begin with.
        RuntimeUnavailableError: the package with the first weights is not installed.
    """
    splits = make_splits(samples, config.split, config.seed)
    check_folder(folder, _identity(config, splits, teachers, outlines))
    _check_outlines(config, splits, outlines)
    if config.distill is not None and not teachers:
        raise ConfigError(f"{config.name} learns from a teacher: name its checkpoint (--teacher)")
    if config.distill is None and teachers:
        raise ConfigError(f"{config.name} has no table distill, so a teacher would go unheard")
    for teacher in teachers:
        _check_teacher(teacher, samples, splits)
    if len(splits.train) < config.optimizer.batch_size:
        raise ConfigError(
            f"{len(splits.train)} training pictures do not fill a batch of "
            f"{config.optimizer.batch_size}"
        )
    if config.variant is not None and config.network is not None:
        check_fits(config.network, config.variant)
        find_weights(config.variant)
    return Plan(config, splits, folder, tuple(teachers), outlines)


def execute(plan: Plan, cache_folder: Path | None, workers: int) -> Record:
    """Decode the pictures, train, and return the record; that of a finished run at once.

    Args:
        plan: from `plan_run`.
        cache_folder: of decoded pictures; the run's own where None.
        workers: threads that prepare batches.

    Raises:
        RuntimeUnavailableError: a package that training or its plots need is not installed.
    """
    record = read_record(plan.folder)
    if record is not None and record.get("finished"):
        return record
    require_packages("keras", "matplotlib")
    make_deterministic()
    use_all_devices(plan.config.optimizer.batch_size)
    samples = (*plan.splits.train, *plan.splits.validation)
    paths = [path for s in samples for path in (s.path, s.larger) if path is not None]
    outlines = plan.outlines
    if outlines is not None:
        paths += [other.path for other in outlines.used("train")]
    cache = open_cache(paths, cache_folder or plan.folder / "cache")
    from train.run import Run

    identity = _identity(plan.config, plan.splits, plan.teachers, outlines)
    plan.folder.mkdir(parents=True, exist_ok=True)
    with held(plan.folder):
        # Within, so that what it reads of the folder is not being written by another process.
        record = start_record(identity, plan.splits, plan.folder)
        return Run(plan.config, _task(plan, cache), record, plan.folder, workers).fit()


def _task(plan: Plan, cache: Cache) -> "Task":
    if plan.config.locator is not None:
        from train.locator_task import LocatorTask

        assert plan.outlines is not None, "checked by plan_run"
        splits = plan.splits
        return LocatorTask(plan.config, splits.train, splits.validation, plan.outlines, cache)
    from train.reader_task import ReaderTask

    return ReaderTask(plan.config, plan.splits, cache, plan.teachers, plan.outlines)


def _identity(
    config: Config, splits: Splits, teachers: Sequence[Checkpoint], outlines: Outlines | None
) -> Identity:
    sha256 = "" if outlines is None else outlines.sha256
    return identify(config, splits, [teacher.sha256 for teacher in teachers], sha256)


def _check_outlines(config: Config, splits: Splits, outlines: Outlines | None) -> None:
    if config.locator is None and config.read is None:
        if outlines is not None:
            raise ConfigError(f"{config.name} sees whole pictures: --outlines would go unused")
        return
    if outlines is None:
        raise ConfigError(f"{config.name} learns from outlines: name their CSV (--outlines)")
    for side in (splits.train, splits.validation):
        require((sample.name for sample in side), outlines)


def _check_teacher(teacher: Checkpoint, samples: Sequence[LabelledPicture], splits: Splits) -> None:
    """A teacher that trained on the student's held-out patients would whisper their labels."""
    theirs = held_out(teacher, samples)
    seen = {s.patient_id for s in theirs.train} & {s.patient_id for s in splits.validation}
    if seen:
        raise ConfigError(
            f"{teacher.path}: trained on {len(seen)} patients that this run holds out; give both "
            "the same seed, folds and fold"
        )
