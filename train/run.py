"""A training run: a configuration and pictures enter, a checkpoint and its record leave.

The run folder holds `model.keras` (the network with averaged weights of the best epoch),
`run.json`, `split.csv`, `history.csv`, `curves.png` and `validation.csv`; while it trains,
`state.npz`, from which the same command goes on. Everything random follows from (seed, step), so
a resumed run equals an uninterrupted one.
"""

import json
import math
import time
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edge_app.errors import ConfigError
from edge_app.files.whole import whole
from train.config import Config
from train.loader import prefetch
from train.network import multiply_adds
from train.plots import draw_curves
from train.record import (
    CHECKPOINT,
    HISTORY,
    RECORD,
    VALIDATION,
    Record,
    file_sha256,
    write_json,
    write_rows,
)
from train.task import Task
from train.trainer import averaged, float32_copy, make_trainer
from train.workers import current_workers

STATE_EVERY_STEPS = 50
STATE = "state.npz"


@dataclass
class Progress:
    """How far a run is; saved beside the variables, and restored with them.

    Attributes:
        step: steps done in all.
        seconds: spent in training steps, over all resumptions.
        losses: sums of the current epoch's batch losses.
        history: a row of each finished epoch.
        best: figures of the epoch that the checkpoint holds.
    """

    step: int = 0
    seconds: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)


class Run:
    """One training run in one folder.

    Args:
        config: what to train.
        task: batches to train on, and how the network is judged.
        record: of this run, as `start_record` gives it.
        folder: new, or that of the same run, which then goes on.
        workers: threads that prepare batches; they do not change the result.

    Raises:
        ConfigError: `folder` holds another run or other files.
    """

    def __init__(
        self, config: Config, task: Task, record: Record, folder: Path, workers: int = 2
    ) -> None:
        self._config, self._task, self._record = config, task, record
        self._folder, self._workers = folder, workers
        self._trainer = make_trainer(config, task.n_train)
        self._progress = Progress()

    def fit(self) -> Record:
        """Train to the end, or from where the folder's state stands; the record."""
        if self._record["finished"]:
            return self._record
        self._load_state()
        steps = self._trainer.steps_per_epoch
        # Asked before an epoch, not after it: a run may have been cut between its last and the end.
        while (
            self._progress.step < self._config.optimizer.epochs * steps
            and not self._out_of_patience()
        ):
            self._train_epoch()
            self._finish_epoch()
        return self._finish()

    def _train_epoch(self) -> None:
        progress, steps = self._progress, self._trainer.steps_per_epoch
        epoch, start = divmod(progress.step, steps)
        batches = self._task.batches(epoch)
        if start == 0:
            progress.losses = {}
        began = time.perf_counter()
        for batch in prefetch(batches, start, self._workers):
            losses = self._trainer.train(self._task.ready(batch))
            if not math.isfinite(losses["loss"]):
                # Before it is saved: what follows can only be no number again.
                raise ConfigError(
                    f"{self._config.name}: the loss is {losses['loss']} at step "
                    f"{progress.step + 1}: lower learning_rate or clip_norm, in a new folder"
                )
            progress.losses = {
                name: progress.losses.get(name, 0.0) + value for name, value in losses.items()
            }
            progress.step += 1
            now = time.perf_counter()
            progress.seconds, began = progress.seconds + now - began, now
            if progress.step % STATE_EVERY_STEPS == 0 and progress.step % steps:
                self._save_state()
                self._report(progress.step - epoch * steps)

    def _report(self, steps_in_epoch: int) -> None:
        progress = self._progress
        total = self._trainer.steps_per_epoch * self._config.optimizer.epochs
        loss = progress.losses["loss"] / steps_in_epoch
        left = (total - progress.step) * progress.seconds / progress.step
        print(
            f"step {progress.step}/{total} loss {loss:.4f} {self._images_per_s():.1f} images/s, "
            f"{left / 60:.0f} min left",
            flush=True,
        )

    def _finish_epoch(self) -> None:
        progress, steps = self._progress, self._trainer.steps_per_epoch
        row = {
            "epoch": progress.step // steps,
            "step": progress.step,
            "images_per_s": round(self._images_per_s(), 2),
        }
        row |= {name: round(total / steps, 5) for name, total in progress.losses.items()}
        if self._config.optimizer.ema_momentum > 0:
            with averaged(self._trainer):
                row |= self._validate()
        else:
            row |= self._validate()
        progress.history.append(row)
        print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
        write_rows(progress.history, self._folder / HISTORY)
        self._save_state()

    def _validate(self) -> dict[str, float]:
        """Figures of the held-out pictures; the network is kept if it is the best so far."""
        row, pictures = self._task.validate(self._trainer.network)
        criterion = self._task.criterion
        if row[criterion] >= self._progress.best.get(criterion, -1.0):
            epoch = self._progress.step // self._trainer.steps_per_epoch
            self._progress.best = {"epoch": epoch, **row}
            self._save_checkpoint()
            write_rows(pictures, self._folder / VALIDATION)
        return row

    def _save_checkpoint(self) -> None:
        network = self._trainer.network
        if self._config.optimizer.precision != "float32" or current_workers().count > 1:
            network = float32_copy(network, self._config)
        with whole(self._folder / CHECKPOINT) as partial:
            network.save(partial)

    def _out_of_patience(self) -> bool:
        patience = self._config.optimizer.patience
        values = [row[self._task.criterion] for row in self._progress.history]
        if patience == 0 or not values:
            return False
        return len(values) - 1 - int(np.argmax(values)) >= patience

    def _finish(self) -> Record:
        progress = self._progress
        self._record |= {
            "finished": True,
            "training_s": round(progress.seconds, 1),
            "images_per_s": round(self._images_per_s(), 2),
            "history": progress.history,
            "best": progress.best,
            "multiply_adds": multiply_adds(self._trainer.network),
            "parameters": self._trainer.network.count_params(),
            "checkpoint_sha256": file_sha256(self._folder / CHECKPOINT),
        }
        draw_curves(progress.history, self._config.name, self._folder / "curves.png")
        write_json(self._record, self._folder / RECORD)
        (self._folder / STATE).unlink(missing_ok=True)
        return self._record

    def _images_per_s(self) -> float:
        progress = self._progress
        return progress.step * self._config.optimizer.batch_size / max(progress.seconds, 1e-9)

    def _save_state(self) -> None:
        arrays = {
            f"v{i}": keras.ops.convert_to_numpy(variable)
            for i, variable in enumerate(self._trainer.variables())
        }
        with whole(self._folder / STATE) as partial:
            np.savez(partial, progress=np.array(json.dumps(asdict(self._progress))), **arrays)

    def _load_state(self) -> None:
        path = self._folder / STATE
        if not path.exists():
            return
        variables = self._trainer.variables()
        try:
            with np.load(path) as state:
                arrays = {name: state[name] for name in state.files}
            progress = Progress(**json.loads(str(arrays.pop("progress"))))
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path} is damaged ({error}); remove it to begin this run again"
            ) from error
        shapes = [tuple(variable.shape) for variable in variables]
        if [arrays[f"v{i}"].shape for i in range(len(arrays))] != shapes:
            raise ConfigError(f"{path}: the state of another network")
        for i, variable in enumerate(variables):
            variable.assign(arrays[f"v{i}"])
        self._progress = progress
        if self._config.degrade is None:
            # An older run without a degradation repeated its clean figures under this name.
            for row in (*self._progress.history, self._progress.best):
                row.pop("val_auroc_degraded", None)
        print(f"going on at step {self._progress.step}", flush=True)
