"""What every inference runtime offers: uint8 pictures in, raw outputs out."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import ModelFile

RuntimeName = Literal["litert", "tflite-runtime", "onnxruntime"]


@dataclass(frozen=True, slots=True, eq=False)
class RawOutputs:
    """One picture's outputs; None where the network has no such output.

    Attributes:
        logit: the raw score, unbounded.
        activation_map: float32 (h, w), its mean is the logit.
        embedding: float32 (d,).
        subtype_logit: above 0 bacterial, below 0 viral, given pneumonia.
    """

    logit: float
    activation_map: npt.NDArray[np.float32] | None
    embedding: npt.NDArray[np.float32] | None
    subtype_logit: float | None


class Runtime(Protocol):
    """A model file loaded into an inference engine. One thread at a time may run it.

    `notes` tells what a user should know about how it runs, such as a fallback that is slower.
    """

    @property
    def name(self) -> RuntimeName: ...

    @property
    def version(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def model(self) -> ModelFile: ...

    def run(self, batch: npt.NDArray[np.uint8]) -> RawOutputs:
        """Run the network on a uint8 (1, height, width, 1) array."""
        ...


def collect_outputs(arrays: dict[str, npt.NDArray[np.float32]]) -> RawOutputs:
    """Shape named output arrays, each with a leading batch of one, into `RawOutputs`."""
    activation_map = arrays.get("activation_map")
    embedding = arrays.get("embedding")
    subtype_logit = arrays.get("subtype_logit")
    return RawOutputs(
        logit=float(arrays["logit"].reshape(())),
        activation_map=None if activation_map is None else activation_map[0, :, :, 0],
        embedding=None if embedding is None else embedding.reshape(-1),
        subtype_logit=None if subtype_logit is None else float(subtype_logit.reshape(())),
    )
