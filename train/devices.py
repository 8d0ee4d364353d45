"""What the backend computes on: determinism, and several accelerators.

Called before the first network is built. Batch normalization is computed over the whole batch
whatever the number of devices, so that does not change what is learned.
"""

import os
from importlib import import_module

from edge_app.errors import RuntimeUnavailableError
from train.workers import join_workers, require_equal_parts

# The extras that bring a package, where `train` alone does not.
_EXTRAS = {"jax": "train,jax", "jaxlib": "train,jax"}


def prepare_environment() -> None:
    """Set what must stand in the environment before a backend is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # XLA picks faster GPU kernels whose sums depend on timing, unless told not to.
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def require_packages(*packages: str) -> None:
    """Import packages, such as keras (with its backend) before anything is spent on pictures.

    Raises:
        RuntimeUnavailableError: one is missing; the message names the extra.
    """
    try:
        for package in packages:
            import_module(package)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        how = f"pip install 'pneumoscope[{_EXTRAS.get(missing, 'train')}]'"
        if missing == "torch":
            how = "Pneumoscope trains on tensorflow or jax (KERAS_BACKEND)"
        raise RuntimeUnavailableError(f"{missing} is not installed: {how}") from error


def make_deterministic() -> None:
    """Ask the backend for the same result each time on one machine."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def use_all_devices(batch_size: int) -> int:
    """Divide each batch among all accelerators, where the backend can; their number.

    On JAX among the devices of this machine, on TensorFlow among the machines of `TF_CONFIG`.

    Raises:
        ConfigError: the batch can't be divided into equal parts.
    """
    import keras

    if keras.backend.backend() != "jax":
        return join_workers(batch_size).count
    devices = keras.distribution.list_devices()
    if len(devices) < 2:
        return 1
    require_equal_parts(batch_size, len(devices), "devices")
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )
    return len(devices)
