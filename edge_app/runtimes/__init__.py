"""Inference runtimes behind one interface: pick one, open the bundle's networks in it.

LiteRT comes first: it is the fastest of the three with a static int8 model. Which one runs is
part of every result, since int8 kernels differ in their last digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import get_args

from edge_app.bundle.manifest import Bundle, InputSpec, ModelFile, ModelFormat
from edge_app.errors import BundleError, RuntimeUnavailableError, UsageError
from edge_app.runtimes.base import Network, NetworkFile, RawOutputs, Runtime, RuntimeName

__all__ = ["RUNTIMES", "Engine", "RawOutputs", "Runtime", "RuntimeName", "open_runtime"]


@dataclass(frozen=True, slots=True)
class Engine:
    """An inference package: the model format that it runs, its module, the extra that brings it."""

    name: RuntimeName
    format: ModelFormat
    module: str
    extra: str

    @property
    def is_installed(self) -> bool:
        """Whether the package can be found; it is not imported."""
        return find_spec(self.module.partition(".")[0]) is not None


RUNTIMES: tuple[Engine, ...] = (
    Engine("litert", "tflite", "ai_edge_litert.interpreter", "litert"),
    Engine("tflite-runtime", "tflite", "tflite_runtime.interpreter", "tflite"),
    Engine("onnxruntime", "onnx", "onnxruntime", "onnx"),
)


def open_runtime(bundle: Bundle, name: str | None = None, threads: int = 1) -> Runtime:
    """Open the bundle's model in a runtime.

    Args:
        bundle: where the model comes from.
        name: "litert", "tflite-runtime" or "onnxruntime"; None takes the first of them that is
            installed, can be imported, and has a model in the bundle.
        threads: threads that one inference may use.

    Raises:
        UsageError: no runtime has this name, or `threads` is below 1.
        RuntimeUnavailableError: it is not installed; the message names the extra.
        BundleError: the bundle has no model for it, or the model does not load.
    """
    if threads < 1:
        raise UsageError(f"threads {threads} must be at least 1")
    if name is None:
        return _open_first(bundle, threads)
    engine = _engine(name)
    model = bundle.model(engine.format)
    if model is None:
        raise BundleError(f"{bundle.folder}: holds no {engine.format} model, as {name} needs it")
    return _open(engine, bundle, model, threads)


def _engine(name: str) -> Engine:
    for engine in RUNTIMES:
        if engine.name == name:
            return engine
    raise UsageError(f"no runtime {name!r}; there are: {', '.join(get_args(RuntimeName))}")


def _open_first(bundle: Bundle, threads: int) -> Runtime:
    reasons = []
    for engine in RUNTIMES:
        model = bundle.model(engine.format)
        if model is None:
            continue
        try:
            return _open(engine, bundle, model, threads)
        except RuntimeUnavailableError as error:
            reasons.append(str(error))
    raise RuntimeUnavailableError("; ".join(reasons))


def _open(engine: Engine, bundle: Bundle, model: ModelFile, threads: int) -> Runtime:
    module, manifest = _import(engine), bundle.manifest

    def network(file: ModelFile, input: InputSpec, roles: Mapping[str, str]) -> Network:
        described = NetworkFile(bundle.path(file.file), file.recipe, input, roles)
        return open_network(described, file.format, module, threads)

    reader = network(model, manifest.input, manifest.outputs.roles())
    finder = None
    if (locator := manifest.locator) is not None:
        finder = network(locator.model_for(model), locator.input, locator.outputs.roles())
    return Runtime(engine.name, model, reader, finder)


def open_network(
    file: NetworkFile, format: ModelFormat, module: ModuleType, threads: int
) -> Network:
    """Load one network's file into an engine's module.

    Raises:
        BundleError: it does not load, or is not what the bundle promises.
    """
    if format == "onnx":
        from edge_app.runtimes.onnx import OnnxNetwork

        return OnnxNetwork(file, module, threads)
    from edge_app.runtimes.tflite import TfliteNetwork

    return TfliteNetwork(file, module, threads)


def _import(engine: Engine) -> ModuleType:
    """Import an engine's module; a package that is installed but broken is unavailable too."""
    hint = f"pip install 'pneumoscope[{engine.extra}]'"
    if not engine.is_installed:
        raise RuntimeUnavailableError(f"{engine.name} is not installed: {hint}")
    try:
        return import_module(engine.module)
    except (ImportError, OSError, AttributeError) as error:
        # AttributeError: tflite-runtime 2.14 on numpy 2 fails inside numpy's C interface.
        text = " ".join(str(error).split())
        raise RuntimeUnavailableError(f"{engine.name} cannot be loaded ({text}): {hint}") from error
