"""Trains some steps of the tests' configuration on this process's Keras backend; prints JSON.

    KERAS_BACKEND=jax python -m tests.train_one_step FOLDER [STEPS]

With TensorFlow's `TF_CONFIG` it is one of several workers.

The first weights come from NumPy, since each backend has random numbers of its own.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from tests.train_inputs import tiny_config, write_phantoms
from train.cache import open_cache
from train.devices import make_deterministic, use_all_devices
from train.loader import TrainingBatches
from train.predict import predict_batch
from train.samples import read_samples
from train.trainer import averaged, make_trainer


def main(folder: Path, steps: int = 1) -> None:
    """Print backend, devices, the step's losses, the logits before and after it, and more."""
    config = tiny_config(network__dropout=0.0, optimizer__warmup_share=0.0)
    make_deterministic()
    devices = use_all_devices(config.optimizer.batch_size)
    samples = read_samples(write_phantoms(folder / "data", 2))
    cache = open_cache([s.path for s in samples], folder / "cache")
    trainer = make_trainer(config, len(samples))
    rng = np.random.default_rng(1)
    trainer.network.set_weights(
        [
            rng.normal(0, 2 * np.prod(w.shape[:-1]) ** -0.5, w.shape) if w.ndim > 1 else w
            for w in trainer.network.get_weights()
        ]
    )
    batches = TrainingBatches(samples, cache, config, 0)
    batch = batches[0]
    before = predict_batch(trainer.network, batch.pictures)["logit"]
    for step in range(steps):
        losses = trainer.train(batches[step % len(batches)])
    with averaged(trainer):
        after = predict_batch(trainer.network, batch.pictures)["logit"]
    # What a run saves after an epoch: on JAX, predicting with averages must not give them away.
    state = [keras.ops.convert_to_numpy(variable) for variable in trainer.variables()]
    answer = {
        "variables": sum(bool(np.isfinite(array).all()) for array in state),
        "backend": keras.backend.backend(),
        "devices": devices,
        "losses": losses,
        "before": before.ravel().tolist(),
        "after": after.ravel().tolist(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
