"""Raw scores of a network or of an exported file, picture by picture as on the edge.

uint8 (n, height, width, 1) pictures enter, (n,) float64 logits leave.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import ModelFormat
from edge_app.progress import track
from export.checkpoint import Network
from export.errors import ExportError
from export.tflite_model import SIGNATURE

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float64]
Array = npt.NDArray[np.float32]
Outputs = dict[str, Array]
RuntimeName = Literal["litert", "tflite-runtime", "onnxruntime"]

_BATCH = 32


def keras_logits(network: Network, pictures: Pixels) -> Logits:
    """Logits of the trained network in float32: the reference of everything else."""
    return keras_outputs(network, pictures, ("logit",))["logit"][:, 0].astype(np.float64)


def keras_outputs(network: Network, pictures: Pixels, roles: Sequence[str]) -> Outputs:
    """Outputs of a trained network in float32 by role, a row a picture."""
    import tensorflow as tf

    @tf.function(  # type: ignore[untyped-decorator, unused-ignore]
        input_signature=[tf.TensorSpec((None, *pictures.shape[1:]), tf.uint8)]
    )
    def run(batch: Any) -> Any:
        found = network.call(batch)
        return {role: found[role] for role in roles}

    starts = range(0, len(pictures), _BATCH)
    parts = [run(pictures[at : at + _BATCH]) for at in track(starts, "Keras float32")]
    return {role: np.concatenate([part[role].numpy() for part in parts]) for role in roles}


def file_logits(model: bytes, format: ModelFormat, pictures: Pixels) -> Logits:
    """Logits of an exported file in LiteRT or ONNX Runtime, one thread, batch 1."""
    return file_outputs(model, format, pictures, ("logit",))["logit"][:, 0].astype(np.float64)


def file_outputs(
    model: bytes, format: ModelFormat, pictures: Pixels, roles: Sequence[str]
) -> Outputs:
    """Outputs of an exported file by role, a row a picture; as `file_logits` otherwise."""
    run = _litert(model, roles) if format == "tflite" else _onnxruntime(model, roles)
    rows = [run(picture[np.newaxis]) for picture in track(pictures, format)]
    return {
        role: np.concatenate(column)
        for role, column in zip(roles, zip(*rows, strict=True), strict=True)
    }


def tflite_runtime_logits(model: bytes, pictures: Pixels, python: Path) -> Logits:
    """Logits of a TFLite file in the `tflite-runtime` of another Python environment.

    It needs numpy below 2 and Python up to 3.11, so it never lives beside TensorFlow. As on the
    edge, an int8 file gets XNNPACK's int8 kernels where they can be switched on.

    Raises:
        ExportError: that interpreter cannot run it.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / name) for name in ("model.tflite", "in.npy", "out.npy")}
        Path(files["model.tflite"]).write_bytes(model)
        np.save(files["in.npy"], pictures)
        arguments = [str(python), "-c", _FOREIGN, json.dumps(files)]
        done = subprocess.run(
            arguments, cwd=_REPOSITORY, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ExportError(f"{python}: tflite-runtime failed: {done.stderr.strip()[-300:]}")
        return np.asarray(np.load(files["out.npy"]), np.float64)


_REPOSITORY = Path(__file__).resolve().parents[1]

# Runs in an environment that has the edge app's dependencies and tflite-runtime.
_FOREIGN = """
import json, sys
import numpy as np
import tflite_runtime
from tflite_runtime import interpreter as module
from edge_app.runtimes.xnnpack import open_int8_delegate
files = json.loads(sys.argv[1])
delegate = open_int8_delegate(module, tflite_runtime.__version__, 1)
interpreter = module.Interpreter(
    files["model.tflite"], num_threads=1, experimental_delegates=[delegate] if delegate else None
)
interpreter.allocate_tensors()
run = interpreter.get_signature_runner("serving_default")
pictures = np.load(files["in.npy"])
np.save(files["out.npy"], [run(image=p[None])["logit"].item() for p in pictures])
"""


def _litert(model: bytes, roles: Sequence[str]) -> Callable[[Pixels], list[Array]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner(SIGNATURE)
    source = interpreter.get_input_details()[0]["index"]
    details = signature.get_output_details()
    targets = [details[role]["index"] for role in roles]

    def run(batch: Pixels) -> list[Array]:
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        return [interpreter.get_tensor(target) for target in targets]

    return run


def _onnxruntime(model: bytes, roles: Sequence[str]) -> Callable[[Pixels], list[Array]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # As on the edge: int8 sums that no processor saturates (docs/decisions/0030).
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(batch: Pixels) -> list[Array]:
        return list(session.run(list(roles), {name: batch}))

    return run
