"""XNNPACK's int8 kernels in `tflite-runtime` 2.14, which its wheel has and leaves switched off.

The wheel was built without `xnn_enable_qs8`, so its own delegate takes float operators only and an
int8 network runs on TFLite's reference kernels: 159 ms against 16 ms for EfficientNet-Lite0 at
192 pixels on one busy core of an AMD EPYC, LiteRT needing 7 ms. The wheel's library exports the
delegate's C interface, though (`tensorflow/lite/delegates/xnnpack/xnnpack_delegate.h`), and there
the flag can be set. LiteRT has it on.
"""

import ctypes
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

# The one version whose C structure is known here; it is also the last one.
KNOWN_VERSION = "2.14.0"

_SIGNED_INT8 = 0x1  # TFLITE_XNNPACK_DELEGATE_FLAG_QS8
_LIBRARY = "_pywrap_tensorflow_interpreter_wrapper"


class _Options(ctypes.Structure):
    """`TfLiteXNNPackDelegateOptions` of TensorFlow 2.14, with room to spare at the end."""

    _fields_ = (
        ("num_threads", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("weights_cache", ctypes.c_void_p),
        ("rest", ctypes.c_byte * 64),
    )


class Int8Delegate:
    """What `Interpreter(experimental_delegates=[...])` takes: the delegate's address.

    It is never freed: an interpreter gives no sign of when it has stopped using it, and a process
    opens one or two.
    """

    def __init__(self, address: int) -> None:
        self._address = address

    def _get_native_delegate_pointer(self) -> int:
        """Named and called by `tflite_runtime.interpreter.Interpreter`."""
        return self._address


def open_int8_delegate(module: ModuleType, version: str, threads: int) -> Int8Delegate | None:
    """The XNNPACK delegate with its int8 kernels on; None where this package cannot give one.

    Args:
        module: `tflite_runtime.interpreter`, already imported.
        version: of that package.
        threads: threads that one inference may use.
    """
    package = module.__name__.partition(".")[0]
    if package != "tflite_runtime" or version != KNOWN_VERSION:
        return None
    found = find_spec(f"{package}.{_LIBRARY}")
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return None
    try:
        # The same file that Python has loaded already, so the same library with its state.
        library = ctypes.CDLL(found.origin)
        default, create = (
            library.TfLiteXNNPackDelegateOptionsDefault,
            library.TfLiteXNNPackDelegateCreate,
        )
    except (OSError, AttributeError):  # not loadable by name, or a build that hides its symbols
        return None
    default.restype = _Options
    create.restype, create.argtypes = ctypes.c_void_p, (ctypes.POINTER(_Options),)
    options = default()
    options.num_threads = threads
    options.flags |= _SIGNED_INT8
    address = create(ctypes.byref(options))
    return Int8Delegate(address) if address else None
