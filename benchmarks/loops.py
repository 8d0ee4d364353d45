"""The loops that people write, each run by `benchmarks.worker` in a process of its own.

A request (which loop, which files, which model) enters; a loop yields the versions that it runs on
once everything is imported, loaded and warmed up, then the figures of one pass over the files each
time that it is asked. Only the pass is timed, so a loop is charged neither its import nor its load.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.contenders import Contender
from benchmarks.memory import peak_memory_mb
from benchmarks.reference import REFERENCE
from benchmarks.worker import ready_looks
from edge_app.errors import RuntimeUnavailableError
from edge_app.files.codec import decode
from edge_app.runtimes import open_runtime

ScoreFile = Callable[[str], float]


def keras_loop(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """`load_img`, `img_to_array`, `predict`: the loop of the article's reader."""
    import keras

    model = _keras_model(request)
    _, height, width, channels = model.input_shape
    mode = "grayscale" if channels == 1 else "rgb"

    def score(file: str) -> float:
        image = keras.utils.load_img(file, color_mode=mode, target_size=(height, width))
        batch = keras.utils.img_to_array(image)[np.newaxis]
        outputs = model.predict(batch, verbose=0)
        return _logit(outputs["logit"] if isinstance(outputs, dict) else outputs)

    names = ("keras", "tensorflow" if keras.backend.backend() == "tensorflow" else "jax")
    return _passes(score, request["files"], names)


def onnxruntime_loop(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Pillow and an ONNX Runtime session with as many threads as cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request["threads"]
    session = onnxruntime.InferenceSession(
        _model_file(request), options, providers=["CPUExecutionProvider"]
    )
    name, output = request["input"], request["logit"]

    def score(file: str) -> float:
        return _logit(session.run([output], {name: _picture(file, request)})[0])

    return _passes(score, request["files"], ("onnxruntime",))


def openvino_loop(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Pillow and OpenVINO on the ONNX file, tuned for latency, with as many threads as cores."""
    import openvino

    core = openvino.Core()
    model = core.read_model(_model_file(request))
    model.reshape([1, request["height"], request["width"], 1])
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": request["threads"]}
    compiled = core.compile_model(model, "CPU", settings)
    output = compiled.output(request["logit"])

    def score(file: str) -> float:
        return _logit(compiled(_picture(file, request))[output])

    return _passes(score, request["files"], ("openvino",))


def litert_loop(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Pillow and a LiteRT interpreter with as many threads as cores."""
    from ai_edge_litert.interpreter import Interpreter

    return _tflite_loop(Interpreter, request, "ai-edge-litert")


def tflite_runtime_loop(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Pillow and a tflite-runtime interpreter with as many threads as cores."""
    from tflite_runtime.interpreter import Interpreter

    return _tflite_loop(Interpreter, request, "tflite-runtime")


def floor_loop(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What cannot be left out: entropy decoding of the file and one inference, on one core.

    Entropy decoding is measured as decoding at libjpeg's 1/8 scale: every Huffman code is read,
    and of each 8 x 8 block one value is computed. A file that is no JPEG is decoded in full.
    """
    contender = decode(Contender, request["contender"])
    bundle = contender.open_bundle()
    runtime = open_runtime(bundle, contender.runtime, 1)
    infer = ready_looks(bundle)(runtime)
    for index in range(8):
        infer(index)
    yield {}  # the versions are those of our own row
    clock = time.perf_counter
    while True:
        decoding = inference = 0.0
        for index, file in enumerate(request["files"]):
            started = clock()
            with Image.open(io.BytesIO(Path(file).read_bytes())) as image:
                image.draft("L", (1, 1))
                image.load()
            decoded = clock()
            infer(index)
            decoding += decoded - started
            inference += clock() - decoded
        count = len(request["files"]) / 1000
        yield {
            "seconds": decoding + inference,
            "parts_ms": {"entropy decoding": decoding / count, "inference": inference / count},
            "peak_memory_mb": peak_memory_mb(),
        }


def reference_loop(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The guard's measure: every file decoded in full by Pillow, and nothing else."""
    for file in request["files"][:3]:
        _decode(file)
    yield {}
    while True:
        started = time.perf_counter()
        for file in request["files"]:
            _decode(file)
        seconds = time.perf_counter() - started
        yield {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}


def _decode(file: str) -> None:
    with Image.open(file) as image:
        image.load()


LOOPS = {
    "keras": keras_loop,
    "onnxruntime": onnxruntime_loop,
    "openvino": openvino_loop,
    "litert": litert_loop,
    "tflite-runtime": tflite_runtime_loop,
    "floor": floor_loop,
    REFERENCE: reference_loop,
}


def _passes(
    score: ScoreFile, files: Sequence[str], packages: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for file in files[:3]:
        score(file)
    yield {name: version(name) for name in packages}
    while True:
        started = time.perf_counter()
        scores = [score(file) for file in files]
        seconds = time.perf_counter() - started
        yield {"seconds": seconds, "scores": scores, "peak_memory_mb": peak_memory_mb()}


def _tflite_loop(
    interpreter_class: Any, request: Mapping[str, Any], package: str
) -> Iterator[dict[str, Any]]:
    interpreter = interpreter_class(model_path=_model_file(request), num_threads=request["threads"])
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    output = request["logit"]

    def score(file: str) -> float:
        return _logit(runner(**{request["input"]: _picture(file, request)})[output])

    return _passes(score, request["files"], (package,))


def _picture(file: str, request: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """As tutorials do it: decode, to grey, resize; uint8 (1, height, width, 1)."""
    with Image.open(file) as image:
        size = (request["width"], request["height"])
        small = image.convert("L").resize(size, Image.Resampling.BILINEAR)
    return np.asarray(small)[np.newaxis, :, :, np.newaxis]


def _model_file(request: Mapping[str, Any]) -> str:
    if request["model"] is None:
        raise RuntimeUnavailableError("the bundle has no model file of this format")
    return str(request["model"])


def _keras_model(request: Mapping[str, Any]) -> Any:
    """The checkpoint; without one the same architecture untrained, which takes the same time."""
    import keras

    if request["checkpoint"] is not None:
        import_module("train.network")  # registers the layers that are the project's own
        return keras.models.load_model(request["checkpoint"], compile=False)
    from train.config import load_config
    from train.network import build_network

    spec = load_config(request["config"]).network
    if spec is None:
        raise RuntimeUnavailableError(f"the configuration {request['config']} has no Lite network")
    return build_network(spec)


def _logit(value: Any) -> float:
    return float(np.asarray(value).reshape(-1)[0])
