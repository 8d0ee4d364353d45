"""k-fold training: every picture is held out once, and judged by a network that never saw it.

Plans of all folds are made before the first one trains. Each fold is a run of its own in
`fold0`, `fold1`, ...; an interrupted k-fold goes on where it stood. `folds.json` pools them.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_app.files.codec import encode
from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure
from train.checkpoint import read_checkpoint
from train.config import Config, ConfigError
from train.decision import Floats, Performance, cross_fit, fit_views, perform
from train.outlines import Outlines
from train.plan import Plan, execute, plan_run
from train.record import RECORD, VALIDATION, identity_of, read_record, write_json


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What `validation.csv` of one run or of all folds says.

    Attributes:
        labels: (n,).
        logits: (n,), of the pictures as they are.
        degraded: (n,), of the pictures degraded once; None where the run does not degrade.
        patients: n names.
    """

    labels: np.ndarray
    logits: Floats
    degraded: Floats | None
    patients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Folds:
    """Figures of a k-fold.

    Attributes:
        aurocs: of each fold, in order.
        aurocs_degraded: the same on degraded pictures; None where the runs do not degrade.
        pooled: over all pictures. Logits of different networks are compared with each other
            here, as one threshold for all of them must.
        threshold: that all folds give together.
    """

    aurocs: tuple[Figure, ...]
    aurocs_degraded: tuple[Figure, ...] | None
    pooled: tuple[Performance, ...]
    threshold: float


def plan_folds(
    config: Config,
    samples: Sequence[LabelledPicture],
    folder: Path,
    teachers: Sequence[Path],
    outlines: Outlines | None = None,
) -> list[Plan]:
    """A plan for each fold; see `plan_run` for what is refused.

    Args:
        config: its `split.fold` is replaced by each fold in turn.
        samples: all pictures.
        folder: of the folds.
        teachers: runs, or k-fold folders of which each fold takes its own.
        outlines: of lungs, for a configuration that reads them alone.
    """
    if config.split.unit != "patient":
        raise ConfigError(f"{config.name} splits by {config.split.unit}: folds are by patient")
    plans = []
    for fold in range(config.split.folds):
        of_fold = [path / f"fold{fold}" for path in teachers]
        chosen = [own if own.is_dir() else p for own, p in zip(of_fold, teachers, strict=True)]
        changed = replace(config, split=replace(config.split, fold=fold))
        checkpoints = [read_checkpoint(path) for path in chosen]
        plans.append(plan_run(changed, samples, folder / f"fold{fold}", checkpoints, outlines))
    return plans


def run_folds(plans: Sequence[Plan], folder: Path, cache: Path | None, workers: int) -> Folds:
    """Train every fold, pool what they say of their held-out pictures, and write `folds.json`."""
    import keras

    for plan in plans:
        print(f"{plan.folder.name} of {len(plans)}", flush=True)
        execute(plan, cache or folder / "cache", workers)
        keras.utils.clear_session()
    folds = pool([read_held_out(plan.folder) for plan in plans])
    write_json(encode(folds), folder / "folds.json")
    return folds


def pool(parts: Sequence[HeldOut]) -> Folds:
    """Figures of each fold and of all together."""
    labels = np.concatenate([part.labels for part in parts])
    views = {"all folds": np.concatenate([part.logits for part in parts])}
    degraded = [part.degraded for part in parts if part.degraded is not None]
    how = "fitted on the other patients (5 folds), clean copies alone"
    if len(degraded) == len(parts):
        views["all folds, degraded"] = np.concatenate(degraded)
        how = "fitted on the other patients (5 folds), clean and degraded copies"
    patients = [patient for part in parts for patient in part.patients]
    judged = cross_fit(labels, list(views.values()), patients)
    return Folds(
        aurocs=tuple(
            metrics.auroc_delong(part.labels, part.logits, groups=part.patients) for part in parts
        ),
        aurocs_degraded=(
            tuple(
                metrics.auroc_delong(part.labels, logits, groups=part.patients)
                for part, logits in zip(parts, degraded, strict=True)
            )
            if len(views) > 1
            else None
        ),
        pooled=tuple(perform(seen, name, how) for seen, name in zip(judged, views, strict=True)),
        threshold=fit_views(labels, list(views.values()), patients).threshold,
    )


def read_held_out(run: Path) -> HeldOut:
    """The held-out logits that a finished run wrote.

    Raises:
        ConfigError: the run has not written them, or the file is damaged.
    """
    path = run / VALIDATION
    if not path.is_file():
        raise ConfigError(f"{path} is missing: the run is not finished")
    record = read_record(run)
    if record is None:
        raise ConfigError(f"{run / RECORD} is missing: no run")
    # The column alone does not tell: older runs without a degradation repeated the clean logits.
    degrades = identity_of(record, run / RECORD).config.degrade is not None
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return HeldOut(
            labels=np.array([int(row["label"]) for row in rows]),
            logits=np.array([float(row["logit"]) for row in rows]),
            degraded=(
                np.array([float(row["logit_degraded"]) for row in rows]) if degrades else None
            ),
            patients=tuple(row["patient_id"] for row in rows),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not what a run writes: {error}") from error
