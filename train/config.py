"""A training run as data: a TOML file becomes one frozen `Config`, strictly.

An unknown or missing key, or a value of another kind, is a `ConfigError` before any time is
spent; so this module imports no Keras. A comment at the head of each file gives its command,
hardware, run time and result.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_app.errors import ConfigError as ConfigError
from edge_app.files.codec import CodecError, decode
from edge_app.images.preprocess import PreprocessSpec
from train.degrade import DegradeSpec
from train.locator_views import LocateSpec
from train.reader_views import ReadSpec

CONFIG_FOLDER = Path(__file__).parent / "configs"
# A table that a file may leave out; TOML has no null.
_OPTIONAL_TABLES = ("network", "seed_cnn", "locator", "locate", "read", "degrade", "distill")


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """Which pictures are held out.

    Attributes:
        unit: "patient"; "given" takes the data's own train and validation folders or column;
            "image" is what the article did (leaks patients; only for comparison).
        folds, fold: the validation split is fold `fold` of `folds`; by image, a share 1/folds;
            without meaning for a given split.
    """

    unit: Literal["patient", "image", "given"]
    folds: int
    fold: int

    def __post_init__(self) -> None:
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds} does not exist")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Size of an EfficientNet-Lite (train.network).

    Attributes:
        height, width: input size in pixels.
        width_multiplier, depth_multiplier: Lite0 is 1.0 and 1.0, Lite1 1.0 and 1.1, Lite2 1.1
            and 1.2. Stem and head keep their size in the published variants.
        head_channels: channels of the last feature map, which is also the embedding's length.
        stem_channels: channels after the first convolution.
        dropout: share of feature channels dropped in training.
        stages: how many of the seven stages there are; the last two hold three quarters of the
            parameters. With five the activation map has a cell for 16 x 16 pixels, else 32 x 32.
    """

    height: int
    width: int
    width_multiplier: float
    depth_multiplier: float
    head_channels: int
    stem_channels: int
    dropout: float
    stages: int

    def __post_init__(self) -> None:
        if not 1 <= self.stages <= 7:
            raise ValueError(f"stages must lie in 1 to 7: {self.stages}")
        if min(self.height, self.width) < 32:
            raise ValueError("the network halves its input five times: 32 pixels or more")
        if self.width_multiplier <= 0 or self.depth_multiplier <= 0:
            raise ValueError("width_multiplier and depth_multiplier must be positive")
        if self.head_channels < 1 or self.stem_channels < 1:
            raise ValueError("head_channels and stem_channels must be positive")
        _check_share("dropout", self.dropout)


@dataclass(frozen=True, slots=True)
class SeedCnnSpec:
    """Size of the article's network (train.seed_cnn).

    Attributes:
        height, width: input size in pixels.
        filters: of each convolution; a max-pooling that halves the sides follows each.
        kernel: side of the convolutions.
        dropout: share of the flattened features dropped in training.
    """

    height: int
    width: int
    filters: tuple[int, ...]
    kernel: int
    dropout: float

    def __post_init__(self) -> None:
        if not self.filters or min(self.filters) < 1 or self.kernel < 1:
            raise ValueError("filters and kernel must be positive")
        if min(self.height, self.width) < 2 ** len(self.filters):
            raise ValueError(f"{self.height} pixels can't be halved {len(self.filters)} times")
        _check_share("dropout", self.dropout)


@dataclass(frozen=True, slots=True)
class LocatorSpec:
    """Size of the locator.

    Attributes:
        height, width: input size in pixels, multiples of 16.
        stem_channels: channels at half the input's size.
        channels: at a quarter, an eighth and a sixteenth of it.
        expansion: of the inverted residuals.
        dropout: share of the pooled features dropped in training.
    """

    height: int
    width: int
    stem_channels: int
    channels: tuple[int, int, int]
    expansion: int
    dropout: float

    def __post_init__(self) -> None:
        """Raises ValueError for a number outside of its domain."""
        if self.height % 16 or self.width % 16 or min(self.height, self.width) < 32:
            raise ValueError("the locator halves its input four times: multiples of 16 from 32 on")
        if self.stem_channels < 1 or min(self.channels) < 1 or self.expansion < 1:
            raise ValueError("stem_channels, channels and expansion must be positive")

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of the map of lungs."""
        return self.height // 4, self.width // 4


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
        precision: Keras's dtype policy. bfloat16 needs no loss scaling, which float16 would.
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
    precision: Literal["float32", "mixed_bfloat16"]
    patience: int

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.epochs < 1:
            raise ValueError("batch_size and epochs must be at least 1")
        if self.learning_rate <= 0 or self.clip_norm <= 0:
            raise ValueError("learning_rate and clip_norm must be positive")
        if min(self.weight_decay, self.balance, self.subtype_weight, self.patience) < 0:
            raise ValueError("weight_decay, balance, subtype_weight, patience: not negative")
        for name in ("warmup_share", "ema_momentum", "label_smoothing"):
            _check_share(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class DistillSpec:
    """Learning from a teacher's logits (Hinton, Vinyals and Dean 2015, arXiv:1503.02531).

    The teacher sees the same degraded pictures. The target is
    (1 - weight) * label + weight * sigmoid(teacher's logit / temperature), for the sub-type alike.

    Attributes:
        weight: 0 is the labels alone, 1 the teacher alone.
        temperature: above 1 softens the teacher.
    """

    weight: float
    temperature: float

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1 or self.temperature <= 0:
            raise ValueError("weight must lie in (0, 1], temperature must be positive")


@dataclass(frozen=True, slots=True)
class Config:
    """One training run.

    Attributes:
        name: the checkpoint's and the record's name.
        seed: of the split, the order, the degradation, the fresh weights and dropout.
        initial_weights: of an EfficientNet-Lite. A network narrower or shallower than the
            published one takes its most important channels and its first blocks.
        preprocess: travels into the bundle unchanged.
        network, seed_cnn, locator: one of the three families; the last finds the lungs, the others
            read them.
        locate: how a locator's pictures are varied; it needs `degrade` besides.
        read: how a reader's frame is found and varied; null shows it whole pictures.
        degrade: null trains on clean pictures (the article's way).
        distill: null learns from the labels alone.
    """

    name: str
    seed: int
    initial_weights: Literal["random", "imagenet-lite0", "imagenet-lite1", "imagenet-lite2"]
    split: SplitSpec
    preprocess: PreprocessSpec
    optimizer: OptimizerSpec
    network: NetworkSpec | None
    seed_cnn: SeedCnnSpec | None
    locator: LocatorSpec | None
    locate: LocateSpec | None
    read: ReadSpec | None
    degrade: DegradeSpec | None
    distill: DistillSpec | None

    def __post_init__(self) -> None:
        family = self.family
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must lie in [0, 2**32): {self.seed}")
        if (family.height, family.width) != (self.preprocess.height, self.preprocess.width):
            raise ValueError("network and preprocess disagree about the input's size")
        if (self.locator is None) != (self.locate is None):
            raise ValueError("the tables locator and locate come together")
        if self.locator is not None and self.degrade is None:
            raise ValueError("a locator needs the table degrade")
        if self.read is not None and (self.locator is not None or self.degrade is None):
            raise ValueError("the table read is for readers, and needs the table degrade")
        if self.network is None:
            if self.initial_weights != "random":
                raise ValueError(
                    "ImageNet weights fit the table network alone: initial_weights = 'random'"
                )
            if self.optimizer.subtype_weight:
                raise ValueError("only the table network has a sub-type output: subtype_weight = 0")

    @property
    def family(self) -> NetworkSpec | SeedCnnSpec | LocatorSpec:
        """The one table of `network`, `seed_cnn` and `locator` that is there."""
        there = [table for table in (self.network, self.seed_cnn, self.locator) if table]
        if len(there) != 1:
            raise ValueError("exactly one of the tables network, seed_cnn, locator must be there")
        return there[0]

    @property
    def variant(self) -> str | None:
        """The published network whose ImageNet weights come first, such as "lite0"; or None."""
        if self.initial_weights == "random":
            return None
        return self.initial_weights.removeprefix("imagenet-")


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse_config(document, str(path))


def parse_config(document: object, where: str) -> Config:
    """A configuration from parsed TOML or from a run's record; `where` stands in messages.

    Raises:
        ConfigError: a key is unknown, missing or of another kind, or values contradict.
    """
    if isinstance(document, dict):
        document = dict.fromkeys(_OPTIONAL_TABLES) | document
    try:
        return decode(Config, document)
    except CodecError as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in [0, 1): {value}")
