"""What every inference runtime offers: uint8 pictures in, raw outputs out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import InputSpec, ModelFile, Recipe

RuntimeName = Literal["litert", "tflite-runtime", "onnxruntime"]
Floats = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A network's file and what the bundle promises of it.

    Attributes:
        path: the file.
        recipe: how it was quantized.
        input: its only input.
        roles: names of its float32 output tensors by role.
    """

    path: Path
    recipe: Recipe
    input: InputSpec
    roles: Mapping[str, str]


class Network(Protocol):
    """A network loaded into an inference engine. One thread at a time may run it.

    `notes` tells what a user should know about how it runs, such as a fallback that is slower.
    """

    @property
    def version(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def run(self, batch: Pictures) -> dict[str, Floats]:
        """Run it on a uint8 (1, height, width, 1) array: outputs by role, a batch of one each."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RawOutputs:
    """What the reader says of one picture; None where the network has no such output.

    Attributes:
        logit: the raw score, unbounded.
        activation_map: float32 (h, w), its mean is the logit.
        embedding: float32 (d,).
        subtype_logit: above 0 bacterial, below 0 viral, given pneumonia.
    """

    logit: float
    activation_map: Floats | None
    embedding: Floats | None
    subtype_logit: float | None


@dataclass(frozen=True, slots=True, eq=False)
class LungOutputs:
    """What the locator says of one picture, as logits; see `manifest.LocatorOutputs`.

    Attributes:
        lungs: float32 (h, w).
        orientation: float32 (4,).
        view: float32 (3,).
        cut_off: float32 (4,).
    """

    lungs: Floats
    orientation: Floats
    view: Floats
    cut_off: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """A bundle's networks in an inference engine. One thread at a time may run them.

    Attributes:
        name: of the engine.
        model: the reader's file, which scores belong to.
        reader: the network that scores.
        locator: the network that finds the lungs, None where the bundle has none.
    """

    name: RuntimeName
    model: ModelFile
    reader: Network
    locator: Network | None

    @property
    def version(self) -> str:
        """Of the engine's package."""
        return self.reader.version

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how it runs, each once."""
        networks = (self.reader,) if self.locator is None else (self.reader, self.locator)
        return tuple(dict.fromkeys(note for network in networks for note in network.notes))

    def run(self, batch: Pictures) -> RawOutputs:
        """Run the reader on a uint8 (1, height, width, 1) array."""
        arrays = self.reader.run(batch)
        activation_map = arrays.get("activation_map")
        embedding = arrays.get("embedding")
        subtype_logit = arrays.get("subtype_logit")
        return RawOutputs(
            logit=float(arrays["logit"].reshape(())),
            activation_map=None if activation_map is None else activation_map[0, :, :, 0],
            embedding=None if embedding is None else embedding.reshape(-1),
            subtype_logit=None if subtype_logit is None else float(subtype_logit.reshape(())),
        )

    def locate(self, batch: Pictures) -> LungOutputs:
        """Run the locator, which must be there, on a uint8 (1, height, width, 1) array."""
        assert self.locator is not None
        arrays = self.locator.run(batch)
        return LungOutputs(
            lungs=arrays["lungs"][0, :, :, 0],
            orientation=arrays["orientation"].reshape(-1),
            view=arrays["view"].reshape(-1),
            cut_off=arrays["cut_off"].reshape(-1),
        )
