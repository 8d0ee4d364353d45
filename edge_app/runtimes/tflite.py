"""TFLite models through LiteRT (`ai-edge-litert`) or the older `tflite-runtime`.

Both packages offer the same `Interpreter`; only the module's name differs.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import Bundle, ModelFile
from edge_app.errors import BundleError, BundleFormatError
from edge_app.runtimes.base import RawOutputs, RuntimeName, collect_outputs
from edge_app.runtimes.native_log import info_lines_dropped
from edge_app.runtimes.xnnpack import Int8Delegate, open_int8_delegate

FALLBACK_NOTE = (
    "the XNNPACK delegate cannot prepare this model; it runs on TFLite's built-in kernels, "
    "which are slower"
)
SLOW_INT8_NOTE = (
    "its XNNPACK cannot be switched on for int8 here, so an int8 model runs about ten times "
    "slower than in LiteRT: pip install 'pneumoscope[litert]'"
)
_SIGNATURE = "serving_default"


class TfliteRuntime:
    """A `.tflite` file in an interpreter with its tensors allocated."""

    def __init__(
        self, bundle: Bundle, model: ModelFile, name: RuntimeName, module: ModuleType, threads: int
    ) -> None:
        """Load and prepare the model.

        Raises:
            BundleError: the interpreter cannot load or prepare it.
            BundleFormatError: its input or outputs are not those that the bundle names.
        """
        self.name: RuntimeName = name
        self.version = _version(module)
        self.model = model
        path = str(bundle.path(model.file))
        with info_lines_dropped():
            self._interpreter, self.notes = _prepare(module, self.version, model, path, threads)
        signature = _signature(self._interpreter)
        self._input = _find_input(self._interpreter, signature, bundle)
        self._outputs = _find_outputs(self._interpreter, signature, bundle, model)

    def run(self, batch: npt.NDArray[np.uint8]) -> RawOutputs:
        """Run the network on a uint8 (1, height, width, 1) array."""
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        get = self._interpreter.get_tensor
        return collect_outputs({name: get(index) for name, index in self._outputs.items()})


def _version(module: ModuleType) -> str:
    from importlib import import_module

    package = import_module(module.__name__.partition(".")[0])
    return str(getattr(package, "__version__", "unknown"))


def _prepare(
    module: ModuleType, version: str, model: ModelFile, path: str, threads: int
) -> tuple[Any, tuple[str, ...]]:
    """An interpreter with allocated tensors, and notes on how it was come by."""
    notes: tuple[str, ...] = ()
    kernels = module.OpResolverType
    is_old = module.__name__.startswith("tflite_runtime")
    if is_old and model.recipe == "static_int8":
        delegate = open_int8_delegate(module, version, threads)
        plain = kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if delegate is not None:
            # Refused as below: the default way comes next.
            with suppress(RuntimeError, ValueError):
                return _allocate(module, path, threads, plain, [delegate]), ()
        notes = (SLOW_INT8_NOTE,)
    try:
        return _allocate(module, path, threads, kernels.AUTO), notes
    except (RuntimeError, ValueError) as delegate_error:
        # XNNPACK asks that requantization scales lie below 256, among others; a published int8
        # MobileNetV3 breaks that, and TFLite then fails instead of leaving the delegate out.
        plain = kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            return _allocate(module, path, threads, plain), (FALLBACK_NOTE,)
        except (RuntimeError, ValueError) as error:
            text = " ".join(str(delegate_error).split())
            raise BundleError(f"{path}: TFLite cannot load this model: {text}") from error


def _allocate(
    module: ModuleType,
    path: str,
    threads: int,
    resolver: object,
    delegates: Sequence[Int8Delegate] = (),
) -> Any:
    interpreter = module.Interpreter(
        model_path=path,
        num_threads=threads,
        experimental_op_resolver_type=resolver,
        experimental_delegates=list(delegates) or None,
    )
    interpreter.allocate_tensors()
    return interpreter


def _signature(interpreter: Any) -> Any | None:
    """The runner of the model's signature, None where it has none."""
    keys = list(interpreter.get_signature_list())
    if not keys:
        return None
    return interpreter.get_signature_runner(_SIGNATURE if _SIGNATURE in keys else keys[0])


def _find_input(interpreter: Any, signature: Any | None, bundle: Bundle) -> int:
    """Index of the input tensor; invoking by index avoids the signature runner's copies."""
    wanted = bundle.manifest.input
    details = _inputs_by_name(interpreter, signature)
    if wanted.name not in details:
        raise BundleFormatError(
            f"{bundle.folder}: the network has no input {wanted.name!r}; it has {_names(details)}"
        )
    found = details[wanted.name]
    shape = tuple(int(size) for size in found["shape"])
    if shape != wanted.shape or found["dtype"] != np.uint8:
        raise BundleFormatError(
            f"{bundle.folder}: the network's input is {np.dtype(found['dtype'])} {list(shape)}, "
            f"the bundle promises {wanted.dtype} {list(wanted.shape)}"
        )
    return int(found["index"])


def _find_outputs(
    interpreter: Any, signature: Any | None, bundle: Bundle, model: ModelFile
) -> dict[str, int]:
    """Indices of the output tensors by their role (`logit`, `activation_map`, ...)."""
    if signature is None:
        details = _by_tensor_name(interpreter.get_output_details())
    else:
        details = signature.get_output_details()
    roles = bundle.manifest.outputs.roles()
    for role, name in roles.items():
        if name not in details:
            raise BundleFormatError(
                f"{bundle.folder}: {model.file} has no output {name!r} ({role}); "
                f"it has {_names(details)}"
            )
        if details[name]["dtype"] != np.float32:
            raise BundleFormatError(f"{bundle.folder}: {model.file}: {name!r} is not float32")
    return {role: int(details[name]["index"]) for role, name in roles.items()}


def _inputs_by_name(interpreter: Any, signature: Any | None) -> Mapping[str, Any]:
    if signature is None:
        return _by_tensor_name(interpreter.get_input_details())
    details: Mapping[str, Any] = signature.get_input_details()
    return details


def _by_tensor_name(details: list[dict[str, Any]]) -> dict[str, Any]:
    """By the tensors' own names, with and without TensorFlow's ":0"."""
    named = {entry["name"].removesuffix(":0"): entry for entry in details}
    return named | {entry["name"]: entry for entry in details}


def _names(details: Mapping[str, Any]) -> str:
    return ", ".join(sorted(details)) or "none"
