"""ONNX models through ONNX Runtime on the CPU."""

from types import ModuleType

from edge_app.errors import BundleError, BundleFormatError
from edge_app.runtimes.base import Floats, NetworkFile, Pictures

_ONLY_FATAL = 4


class OnnxNetwork:
    """An `.onnx` file in an inference session."""

    notes: tuple[str, ...] = ()

    def __init__(self, file: NetworkFile, module: ModuleType, threads: int) -> None:
        """Load the model.

        Raises:
            BundleError: ONNX Runtime cannot load it.
            BundleFormatError: its input or outputs are not those that the bundle names.
        """
        self.version = str(module.__version__)
        options = module.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ONLY_FATAL
        # Without it int8 sums saturate on AVX2 and AVX-512 without VNNI: docs/decisions/0030.
        options.add_session_config_entry("session.x64quantprecision", "1")
        path = str(file.path)
        try:
            self._session = module.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exception classes share no base but Exception
            raise BundleError(f"{path}: ONNX Runtime cannot load this model: {error}") from error
        self._file = file
        self._names = list(file.roles.values())
        self._check(file)

    def run(self, batch: Pictures) -> dict[str, Floats]:
        """Run the network on a uint8 (1, height, width, 1) array."""
        arrays = self._session.run(self._names, {self._file.input.name: batch})
        return dict(zip(self._file.roles, arrays, strict=True))

    def _check(self, file: NetworkFile) -> None:
        place, wanted = file.path, file.input
        inputs = {entry.name: entry for entry in self._session.get_inputs()}
        if set(inputs) != {wanted.name}:
            raise BundleFormatError(f"{place} asks for {sorted(inputs)}, not for {wanted.name!r}")
        found = inputs[wanted.name]
        # A dynamic axis is a name, or None, in place of a number.
        fits = len(found.shape) == len(wanted.shape) and all(
            not isinstance(size, int) or size == expected
            for size, expected in zip(found.shape, wanted.shape, strict=True)
        )
        if not fits or found.type != f"tensor({wanted.dtype})":
            raise BundleFormatError(
                f"{place}: the input is {found.type} {found.shape}, "
                f"the bundle promises {wanted.dtype} {list(wanted.shape)}"
            )
        outputs = {entry.name: entry.type for entry in self._session.get_outputs()}
        for role, name in file.roles.items():
            if outputs.get(name) != "tensor(float)":
                raise BundleFormatError(
                    f"{place} has no float32 output {name!r} ({role}); it has {sorted(outputs)}"
                )
