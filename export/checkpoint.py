"""Read a checkpoint: a `.keras` file and, beside it, the training run's record and split.

`model.keras`, `run.json` and `split.csv` enter, a frozen `Checkpoint` leaves. Nothing of `train`
is imported: the files are the contract.

A network is exported in full when its outputs are named as Pneumoscope's are (`logit` and any of
`activation_map`, `embedding`, `subtype_logit`). Any other Keras model with one (batch, 1) output,
or one of two classes, is exported with its logit alone: a final sigmoid or softmax is taken off,
since a raw score is a logit; an end of which that is not known is refused (`export.logit_end`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_app.files.codec import CodecError, decode, parse_json
from edge_app.images.preprocess import PreprocessSpec
from export.errors import CheckpointError
from export.logit_end import require_linear, with_linear_end

Role = Literal["logit", "activation_map", "embedding", "subtype_logit"]
ROLES: tuple[Role, ...] = ("logit", "activation_map", "embedding", "subtype_logit")
_RANKS = {"logit": 2, "activation_map": 4, "embedding": 2, "subtype_logit": 2}
# What a locator says, and each output's rank and channels (`manifest.LocatorOutputs`).
LOCATOR_ROLES = {"lungs": (4, 1), "orientation": (2, 4), "view": (2, 3), "cut_off": (2, 4)}


@dataclass(frozen=True, slots=True)
class Feed:
    """How a foreign network is fed and read, where it holds neither itself.

    Attributes:
        scale, offset: what it is shown is scale x grey + offset, of greys of 0 to 255; a number for
            all channels, or one for each.
        positive_output: which of two classes is the sick one, 0 or 1; for one sigmoid, 0 says that
            it gives the probability of the healthy.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    positive_output: Literal[0, 1]


PLAIN_FEED = Feed((1.0,), (0.0,), 1)


@dataclass(frozen=True, slots=True)
class Record:
    """What export takes from a training run's `run.json`; the rest of the record is ignored.

    Attributes:
        name: of the run's configuration.
        preprocess: the one that the network was trained with; goes into the bundle unchanged.
        seed: of the run.
        started: ISO date of the run.
        train_sha256, validation_sha256: hashes of the two lists of pictures.
        versions: packages that trained it.
        margin: of the frame around the lungs that a reader was trained with; None for one that
            sees whole pictures, and for a locator.
        feed: of a foreign network (`python -m export describe` writes it); None for one that takes
            greys of 0 to 255 as they are.
    """

    name: str
    preprocess: PreprocessSpec
    seed: int
    started: str
    train_sha256: str
    validation_sha256: str
    versions: Mapping[str, str]
    margin: float | None
    feed: Feed | None


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A Keras network as a function of one batch.

    Attributes:
        roles: which outputs it has, `logit` first.
        call: uint8 (batch, height, width, 1) tensor to a dict of float32 tensors by role.
        model: the Keras model that holds the variables.
    """

    roles: tuple[str, ...]
    call: Callable[[Any], dict[str, Any]]
    model: Any


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint ready for export; `sha256` is that of the `.keras` file."""

    path: Path
    sha256: str
    record: Record
    network: Network


def read_checkpoint(path: Path, record: Path | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: a `.keras` file, or the folder of a run that holds `model.keras`.
        record: its record; None takes `run.json` beside it.

    Raises:
        CheckpointError: a file is missing, damaged or of an unknown layout.
    """
    path = checkpoint_file(path)
    found = read_record(record or path.parent / "run.json")
    return Checkpoint(
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        record=found,
        network=load_network(path, found.preprocess, found.feed or PLAIN_FEED),
    )


def read_locator(path: Path) -> Checkpoint:
    """Read a locator's checkpoint, which must have all outputs of `LOCATOR_ROLES`.

    Raises:
        CheckpointError: a file is missing, damaged, or is no locator's.
    """
    path = checkpoint_file(path)
    found = read_record(path.parent / "run.json")
    model = load_model(path)
    _check_input(path, model, found.preprocess)
    outputs = model.output if isinstance(model.output, dict) else {}
    shapes = {role: (len(t.shape), t.shape[-1]) for role, t in outputs.items()}
    if shapes != LOCATOR_ROLES:
        raise CheckpointError(f"{path}: no locator: its outputs are not {list(LOCATOR_ROLES)}")
    roles = tuple(LOCATOR_ROLES)
    network = Network(roles, _call_with_dict(model, roles), model)
    return Checkpoint(path, hashlib.sha256(path.read_bytes()).hexdigest(), found, network)


def checkpoint_file(path: Path) -> Path:
    """The file of a checkpoint that is named by itself or by its run's folder.

    Raises:
        CheckpointError: there is none, or it is a SavedModel.
    """
    if (path / "saved_model.pb").is_file():
        raise CheckpointError(
            f"{path}: a TensorFlow SavedModel, which holds a graph in place of layers: whether it "
            "ends in a logit or in a probability cannot be told. Save the Keras model itself: "
            "model.save('model.keras')"
        )
    path = path / "model.keras" if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(f"{path}: no checkpoint here")
    return path


def read_record(path: Path) -> Record:
    """Read the part of a `run.json` that export needs.

    Raises:
        CheckpointError: no such file, a key is missing or of the wrong kind, or the record says
            that its run is not finished.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: the checkpoint's record is missing; it says how pictures were prepared, "
            "which cannot be guessed. For a network that was trained elsewhere, write it with: "
            "python -m export describe"
        )
    try:
        document = parse_json(path.read_bytes())
        if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
            raise CodecError("config: missing key")
        if document.get("finished") is False:
            raise CheckpointError(
                f"{path}: this run is not finished; its checkpoint will still change"
            )
        config = document["config"]
        wanted: dict[str, object] = {key: config[key] for key in ("name", "preprocess", "seed")}
        read = config.get("read")
        wanted["margin"] = read["margin"] if isinstance(read, dict) else None
        wanted["feed"] = config.get("feed")
        for key in ("started", "train_sha256", "validation_sha256", "versions"):
            wanted[key] = document[key]
        return decode(Record, wanted)
    except KeyError as error:
        raise CheckpointError(f"{path}: {error.args[0]}: missing key") from error
    except (CodecError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def load_network(path: Path, preprocess: PreprocessSpec, feed: Feed = PLAIN_FEED) -> Network:
    """Load a `.keras` or `.h5` file and find its input and outputs.

    Raises:
        CheckpointError: not a Keras 3 model, several inputs, an input of another size, or outputs
            among which no logit can be told.
    """
    model = load_model(path)
    channels = _check_input(path, model, preprocess)
    if isinstance(model.output, dict) and "logit" in model.output:
        if feed != PLAIN_FEED:
            raise CheckpointError(f"{path}: a network with named outputs takes greys as they are")
        roles = _named_roles(path, model)
        return Network(roles, _call_with_dict(model, roles), model)
    size = (preprocess.height, preprocess.width, channels)
    return Network(("logit",), _call_with_single_output(path, model, size, feed), model)


def load_model(path: Path) -> Any:
    """The Keras model of a file, with its input and output as one tensor where there is one.

    Raises:
        CheckpointError: Keras cannot load it.
    """
    import keras

    model = _load_file(path)
    if isinstance(model, keras.Sequential) and model.built and len(model.inputs or ()) == 1:
        # It knows neither its input nor its output as one tensor.
        return keras.Model(model.inputs[0], model.outputs[0])
    return model


def _load_file(path: Path) -> Any:
    import keras

    try:
        # Safe mode stays on: a checkpoint with a Lambda layer would run code of its author's.
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises what the damaged part happens to raise
        text = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path}: Keras cannot load this checkpoint: {text}") from error


def _check_input(path: Path, model: Any, preprocess: PreprocessSpec) -> int:
    """Channels of the one input."""
    if not hasattr(model, "input") or isinstance(model.input, list | tuple | dict):
        raise CheckpointError(f"{path}: a network with exactly one input can be exported")
    shape = tuple(model.input.shape)
    fits = len(shape) == 4 and shape[3] in (1, 3)
    sizes = (preprocess.height, preprocess.width)
    if not fits or any(a not in (None, b) for a, b in zip(shape[1:3], sizes, strict=True)):
        raise CheckpointError(
            f"{path}: the input {list(shape)} is not (batch, {sizes[0]}, {sizes[1]}, 1 or 3), "
            "the size that the record's preprocessing gives"
        )
    return int(shape[3])


def _named_roles(path: Path, model: Any) -> tuple[Role, ...]:
    unknown = sorted(set(model.output) - set(ROLES))
    if unknown:
        raise CheckpointError(f"{path}: unknown layout: outputs {unknown} besides {list(ROLES)}")
    for role, tensor in model.output.items():
        shape = tuple(tensor.shape)
        if len(shape) != _RANKS[role] or (role != "embedding" and shape[-1] != 1):
            raise CheckpointError(f"{path}: unknown layout: output {role} is {list(shape)}")
        if role in ("logit", "subtype_logit"):
            require_linear(path, tensor, role)
    return tuple(role for role in ROLES if role in model.output)


def _call_with_dict(model: Any, roles: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    def call(image: Any) -> dict[str, Any]:
        outputs = model(image, training=False)
        return {role: outputs[role] for role in roles}

    return call


def _call_with_single_output(
    path: Path, model: Any, size: tuple[int, int, int], feed: Feed
) -> Callable[[Any], dict[str, Any]]:
    import keras

    shape = tuple(getattr(model.output, "shape", ()))
    if len(shape) != 2 or shape[1] not in (1, 2):
        raise CheckpointError(
            f"{path}: unknown layout: outputs named {list(ROLES)}, or one output (batch, 1), or "
            f"(batch, 2) of two classes, can be exported, not {list(shape)}"
        )
    for name, values in (("scale", feed.scale), ("offset", feed.offset)):
        if len(values) not in (1, size[2]):
            raise CheckpointError(f"{path}: {name}: {len(values)} numbers for {size[2]} channels")
    model = with_linear_end(path, model, size)
    sick = feed.positive_output

    def call(image: Any) -> dict[str, Any]:
        picture = keras.ops.cast(image, "float32")
        if size[2] == 3:
            picture = keras.ops.repeat(picture, 3, axis=-1)
        if (feed.scale, feed.offset) != (PLAIN_FEED.scale, PLAIN_FEED.offset):
            picture = picture * feed.scale + feed.offset
        found = keras.ops.cast(model(picture, training=False), "float32")
        if shape[1] == 2:
            found = found[:, sick : sick + 1] - found[:, 1 - sick : 2 - sick]
        elif sick == 0:
            found = -found
        return {"logit": found}

    return call
