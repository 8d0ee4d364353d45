"""A training run: a configuration and pictures enter, a checkpoint and its record leave.

The run folder holds `model.keras` (the network with averaged weights of the best epoch),
`run.json` (configuration, data hash, seed, versions, time, figures), `history.csv` and
`curves.png`; while it trains, `state.npz`, from which the same command goes on. Everything
random follows from (seed, step), so a resumed run equals an uninterrupted one.
"""

import csv
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edge_app import metrics
from edge_app.codec import encode
from edge_app.preprocess import preprocess
from train.cache import Cache
from train.config import Config, ConfigError
from train.degrade import degrade
from train.imagenet import load_imagenet
from train.loader import TrainingBatches, prefetch
from train.network import build_network, multiply_adds
from train.samples import Sample, Split, data_hash

STATE_EVERY_STEPS = 50


@dataclass(frozen=True, slots=True)
class Trainer:
    """The network and the two-headed model that shares its weights and is compiled."""

    network: keras.Model
    model: keras.Model
    steps_per_epoch: int


def make_trainer(config: Config, n_train: int) -> Trainer:
    """Build and compile for `n_train` pictures an epoch, with the configured first weights."""
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(config.optimizer.precision)
    network = build_network(config.network)
    if config.initial_weights != "random":
        load_imagenet(network, config.initial_weights.removeprefix("imagenet-"))
    steps = n_train // config.optimizer.batch_size
    if steps == 0:
        raise ConfigError(f"{n_train} pictures do not fill one batch")
    outputs = {name: network.output[name] for name in ("logit", "subtype_logit")}
    model = keras.Model(network.input, outputs)
    model.compile(
        optimizer=_optimizer(config, steps * config.optimizer.epochs),
        loss={name: keras.losses.BinaryCrossentropy(from_logits=True) for name in outputs},
        loss_weights={"logit": 1.0, "subtype_logit": config.optimizer.subtype_weight},
    )
    model.optimizer.build(model.trainable_variables)
    return Trainer(network, model, steps)


def fit(
    config: Config, split: Split, cache: Cache, folder: Path, *, workers: int = 2
) -> dict[str, Any]:
    """Train, or go on with the run that `folder` holds, and return the record.

    Raises:
        ConfigError: `folder` holds a run of another configuration or other data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = _open_record(config, split, folder)
    if record.get("finished"):
        return record
    trainer = make_trainer(config, len(split.train))
    step, history, best = _load_state(trainer, folder)
    epochs = config.optimizer.epochs
    while step < epochs * trainer.steps_per_epoch:
        epoch, start = divmod(step, trainer.steps_per_epoch)
        began = time.perf_counter()
        step = _train_epoch(trainer, config, split, cache, folder, step, history, best, workers)
        seconds = time.perf_counter() - began
        images = (trainer.steps_per_epoch - start) * config.optimizer.batch_size
        row = {"epoch": epoch + 1, "step": step, "images_per_s": round(images / seconds, 2)}
        row |= _loss_row(trainer)
        row |= _validate(trainer, config, split.validation, cache, folder, best)
        history.append(row)
        print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)
        _write_history(history, folder)
        _save_state(trainer, folder, step, history, best)
        if _out_of_patience(history, config.optimizer.patience):
            break
    record |= {
        "finished": True,
        "history": history,
        "best": best,
        "multiply_adds": multiply_adds(trainer.network),
        "parameters": trainer.network.count_params(),
    }
    _write_json(record, folder / "run.json")
    (folder / "state.npz").unlink(missing_ok=True)
    return record


def predict(
    network: keras.Model, pictures: npt.NDArray[np.uint8], batch_size: int = 64
) -> dict[str, npt.NDArray[np.float32]]:
    """All outputs by name for uint8 (n, height, width, 1) pictures, float32, first axis n."""
    parts = [
        network.predict_on_batch(pictures[start : start + batch_size])
        for start in range(0, len(pictures), batch_size)
    ]
    return {
        name: np.concatenate([np.asarray(part[name], np.float32) for part in parts])
        for name in parts[0]
    }


def prepared(
    samples: Sequence[Sample], cache: Cache, config: Config, degrade_seed: int | None = None
) -> npt.NDArray[np.uint8]:
    """Network inputs of `samples`: clean, or each degraded once by a fixed seed."""
    pictures = []
    for index, sample in enumerate(samples):
        pixels = cache.read(sample.path)
        if degrade_seed is not None and config.degrade is not None:
            rng = np.random.default_rng([degrade_seed, index])
            pixels = degrade(pixels, config.degrade, rng)
        pictures.append(preprocess(pixels, config.preprocess))
    return np.concatenate(pictures)


def _optimizer(config: Config, steps: int) -> keras.optimizers.Optimizer:
    spec = config.optimizer
    warmup = round(spec.warmup_share * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else spec.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=spec.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=spec.weight_decay,
        global_clipnorm=spec.clip_norm,
        use_ema=spec.ema_momentum > 0,
        ema_momentum=spec.ema_momentum or 0.99,
        ema_overwrite_frequency=None,
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _train_epoch(
    trainer: Trainer,
    config: Config,
    split: Split,
    cache: Cache,
    folder: Path,
    step: int,
    history: list[dict[str, Any]],
    best: dict[str, Any],
    workers: int,
) -> int:
    epoch, start = divmod(step, trainer.steps_per_epoch)
    batches = TrainingBatches(split.train, cache, config, epoch)
    trainer.model.reset_metrics()
    began = time.perf_counter()
    for pictures, targets, weights in prefetch(batches, start, workers):
        trainer.model.train_on_batch(pictures, targets, sample_weight=weights)
        step += 1
        if step % STATE_EVERY_STEPS == 0 and step % trainer.steps_per_epoch:
            _save_state(trainer, folder, step, history, best)
            done = step - epoch * trainer.steps_per_epoch - start
            rate = done * config.optimizer.batch_size / (time.perf_counter() - began)
            loss = _loss_row(trainer)["loss"]
            total = trainer.steps_per_epoch * config.optimizer.epochs
            print(f"step {step}/{total} loss {loss} {rate:.1f} images/s", flush=True)
    return step


def _loss_row(trainer: Trainer) -> dict[str, float]:
    values = trainer.model.get_metrics_result()
    return {name: round(float(value), 5) for name, value in values.items()}


def _validate(
    trainer: Trainer,
    config: Config,
    samples: Sequence[Sample],
    cache: Cache,
    folder: Path,
    best: dict[str, Any],
) -> dict[str, float]:
    """AUROC of the averaged weights on clean and on degraded validation pictures; keep the best."""
    labels = np.array([s.label for s in samples])
    trained = [variable.numpy() for variable in trainer.model.trainable_variables]
    if config.optimizer.ema_momentum > 0:
        trainer.model.optimizer.finalize_variable_values(trainer.model.trainable_variables)
    row = {}
    for name, seed in (("val_auroc", None), ("val_auroc_degraded", config.seed)):
        outputs = predict(trainer.network, prepared(samples, cache, config, seed))
        row[name] = round(float(metrics.auroc(labels, outputs["logit"][:, 0])), 5)
    if row["val_auroc_degraded"] >= best.get("val_auroc_degraded", -1.0):
        best.clear()
        best.update(row)
        partial = folder / "partial.keras"
        trainer.network.save(partial)
        os.replace(partial, folder / "model.keras")
    for variable, value in zip(trainer.model.trainable_variables, trained, strict=True):
        variable.assign(value)
    return row


def _out_of_patience(history: list[dict[str, Any]], patience: int) -> bool:
    values = [row["val_auroc_degraded"] for row in history]
    return bool(patience) and len(values) - 1 - int(np.argmax(values)) >= patience


def _variables(trainer: Trainer) -> list[Any]:
    """Weights, the state of dropout's random numbers, and the optimizer's, in a fixed order."""
    return [*trainer.network.variables, *trainer.model.optimizer.variables]


def _save_state(
    trainer: Trainer,
    folder: Path,
    step: int,
    history: list[dict[str, Any]],
    best: dict[str, Any],
) -> None:
    arrays = {f"v{i}": np.asarray(v) for i, v in enumerate(_variables(trainer))}
    progress = json.dumps({"step": step, "history": history, "best": best})
    partial = folder / "state.partial.npz"
    np.savez(partial, progress=np.array(progress), **arrays)
    os.replace(partial, folder / "state.npz")


def _load_state(
    trainer: Trainer, folder: Path
) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    path = folder / "state.npz"
    if not path.exists():
        return 0, [], {}
    with np.load(path) as state:
        variables = _variables(trainer)
        if len(state.files) != len(variables) + 1:
            raise ConfigError(f"{path}: the state of another network")
        for i, variable in enumerate(variables):
            variable.assign(state[f"v{i}"])
        progress = json.loads(str(state["progress"]))
    print(f"going on at step {progress['step']}", flush=True)
    return progress["step"], progress["history"], progress["best"]


def _open_record(config: Config, split: Split, folder: Path) -> dict[str, Any]:
    """The run's record: a new one, or the one that `folder` holds if it is the same run."""
    identity = {
        "config": encode(config),
        "train_sha256": data_hash(split.train),
        "validation_sha256": data_hash(split.validation),
    }
    path = folder / "run.json"
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key, value in identity.items() if record.get(key) != value]
        if different:
            raise ConfigError(f"{folder} holds another run ({', '.join(different)} differ)")
        return record
    record = identity | {
        "n_train": len(split.train),
        "n_validation": len(split.validation),
        "n_validation_positive": sum(s.label for s in split.validation),
        "n_validation_patients": len({s.patient_id for s in split.validation}),
        "versions": _versions(),
        "machine": platform.machine(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "finished": False,
    }
    _write_json(record, path)
    return record


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in ("keras", "tensorflow", "jax", "numpy", "pillow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _write_json(value: Any, path: Path) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _write_history(history: list[dict[str, Any]], folder: Path) -> None:
    with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
