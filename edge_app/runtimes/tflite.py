"""TFLite models through LiteRT (`ai-edge-litert`) or the older `tflite-runtime`.

Both packages offer the same `Interpreter`; only the module's name differs.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from edge_app.errors import BundleError, BundleFormatError
from edge_app.runtimes.base import Floats, NetworkFile, Pictures
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


class TfliteNetwork:
    """A `.tflite` file in an interpreter with its tensors allocated."""

    def __init__(self, file: NetworkFile, module: ModuleType, threads: int) -> None:
        """Load and prepare the model.

        Raises:
            BundleError: the interpreter cannot load or prepare it.
            BundleFormatError: its input or outputs are not those that the bundle names.
        """
        self.version = _version(module)
        with info_lines_dropped():
            self._interpreter, self.notes = _prepare(module, self.version, file, threads)
        signature = _signature(self._interpreter)
        self._input = _find_input(self._interpreter, signature, file)
        self._outputs = _find_outputs(self._interpreter, signature, file)

    def run(self, batch: Pictures) -> dict[str, Floats]:
        """Run the network on a uint8 (1, height, width, 1) array."""
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        get = self._interpreter.get_tensor
        return {role: get(index) for role, index in self._outputs.items()}


def _version(module: ModuleType) -> str:
    from importlib import import_module

    package = import_module(module.__name__.partition(".")[0])
    return str(getattr(package, "__version__", "unknown"))


def _prepare(
    module: ModuleType, version: str, file: NetworkFile, threads: int
) -> tuple[Any, tuple[str, ...]]:
    """An interpreter with allocated tensors, and notes on how it was come by."""
    path = str(file.path)
    notes: tuple[str, ...] = ()
    kernels = module.OpResolverType
    is_old = module.__name__.startswith("tflite_runtime")
    if is_old and file.recipe == "static_int8":
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


def _find_input(interpreter: Any, signature: Any | None, file: NetworkFile) -> int:
    """Index of the input tensor; invoking by index avoids the signature runner's copies."""
    wanted = file.input
    details = _inputs_by_name(interpreter, signature)
    if wanted.name not in details:
        raise BundleFormatError(
            f"{file.path}: the network has no input {wanted.name!r}; it has {_names(details)}"
        )
    found = details[wanted.name]
    shape = tuple(int(size) for size in found["shape"])
    if shape != wanted.shape or found["dtype"] != np.uint8:
        raise BundleFormatError(
            f"{file.path}: the network's input is {np.dtype(found['dtype'])} {list(shape)}, "
            f"the bundle promises {wanted.dtype} {list(wanted.shape)}"
        )
    return int(found["index"])


def _find_outputs(interpreter: Any, signature: Any | None, file: NetworkFile) -> dict[str, int]:
    """Indices of the output tensors by their role (`logit`, `activation_map`, ...)."""
    if signature is None:
        details = _by_tensor_name(interpreter.get_output_details())
    else:
        details = signature.get_output_details()
    for role, name in file.roles.items():
        if name not in details:
            raise BundleFormatError(
                f"{file.path} has no output {name!r} ({role}); it has {_names(details)}"
            )
        if details[name]["dtype"] != np.float32:
            raise BundleFormatError(f"{file.path}: {name!r} is not float32")
    return {role: int(details[name]["index"]) for role, name in file.roles.items()}


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
