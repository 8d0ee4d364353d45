"""A training run as data: a TOML file becomes one frozen `Config`, strictly.

An unknown or missing key, or a value of another kind, is a `ConfigError` before any time is
spent. A comment at the head of each file gives its command, hardware, run time and result.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_app.codec import CodecError, decode
from edge_app.preprocess import PreprocessSpec
from train.degrade import DegradeSpec
from train.network import NetworkSpec

CONFIG_FOLDER = Path(__file__).parent / "configs"


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """Which part is held out: one of `folds` patient-wise parts, or a share of images.

    Attributes:
        unit: "patient", or "image" as the article did (leaks patients; only for comparison).
        folds, fold: the validation part is part `fold` of `folds`; by image, a share 1/folds.
    """

    unit: Literal["patient", "image"]
    folds: int
    fold: int


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """AdamW with linear warm-up and cosine decay to zero.

    Attributes:
        batch_size, epochs: pictures a step, passes over the training pictures.
        learning_rate: the peak.
        warmup_share: share of all steps in which the rate rises.
        weight_decay: decoupled (Loshchilov and Hutter 2019).
        clip_norm: largest norm of the whole gradient.
        ema_momentum: of the weights' moving average, which is what gets evaluated and saved;
            0 turns it off.
        label_smoothing: targets become smoothing/2 and 1 - smoothing/2.
        balance: 1 weighs the classes equally, 0 each picture equally.
        subtype_weight: weight of the bacterial-or-viral loss, over pictures that name it.
        precision: Keras's dtype policy, such as "float32" or "mixed_bfloat16".
        patience: epochs without a better validation AUROC after which to stop; 0 never.
    """

    batch_size: int
    epochs: int
    learning_rate: float
    warmup_share: float
    weight_decay: float
    clip_norm: float
    ema_momentum: float
    label_smoothing: float
    balance: float
    subtype_weight: float
    precision: str
    patience: int


@dataclass(frozen=True, slots=True)
class Config:
    """One training run.

    Attributes:
        name: the checkpoint's and the record's name.
        seed: of the split, the order, the degradation, the fresh weights and dropout.
        initial_weights: "imagenet-lite0", "imagenet-lite1", "imagenet-lite2" or "random".
        preprocess: travels into the bundle unchanged.
        degrade: null trains on clean pictures (the article's way).
    """

    name: str
    seed: int
    initial_weights: str
    split: SplitSpec
    network: NetworkSpec
    preprocess: PreprocessSpec
    optimizer: OptimizerSpec
    degrade: DegradeSpec | None


def load_config(name: str | Path) -> Config:
    """Read a configuration: a path, or the name of a file in train/configs.

    Raises:
        ConfigError: no such file, not TOML, a key that is unknown, missing or of another kind.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = CONFIG_FOLDER / f"{name}.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in CONFIG_FOLDER.glob("*.toml")))
        raise ConfigError(f"{path}: no such configuration; there are {known}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    # TOML has no null: leaving the table out is how a file says "no degradation".
    document.setdefault("degrade", None)
    try:
        config = decode(Config, document)
    except (CodecError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    sizes = {(config.network.height, config.network.width)}
    if sizes != {(config.preprocess.height, config.preprocess.width)}:
        raise ConfigError(f"{path}: network and preprocess disagree about the input's size")
    return config
