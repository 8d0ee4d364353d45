"""Facts of the machine that a figure was measured on, and what its sensors say.

`this_machine()` and `package_versions()` name it; `read_sensors()` tells temperature, clock and
throttling, `EnergyMeter` the joules between two moments. What cannot be read is None, never 0.
Reads files below `/proc` and `/sys` only; `root` lets a test put others in their place.
"""

import platform
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge_app.cores import usable_cores

PACKAGES = (
    "numpy",
    "pillow",
    "simplejpeg",
    "ai-edge-litert",
    "tflite-runtime",
    "onnxruntime",
    "openvino",
    "tensorflow",
    "keras",
)
_INA_SENSORS = ("ina219", "ina226", "ina231", "ina238", "ina3221")
_INA_PERIOD_S = 0.05
# Bits of the Raspberry Pi firmware's `get_throttled`: what holds now, and what has held since boot.
_THROTTLE_BITS = {
    0: "under-voltage",
    1: "clock capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage since boot",
    17: "clock capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}
# What the kernels of LiteRT (XNNPACK), ONNX Runtime (MLAS) and OpenVINO tell apart.
_INSTRUCTION_SET = re.compile(
    "avx|fma$|f16c$|sse4|amx_|(asimd|neon|asimddp|asimdhp|i8mm|bf16|svei8mm|sve2?)$"
)
_SHOWN_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "avx_vnni": "VNNI",
    "amx_int8": "AMX",
    "asimd": "NEON",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "sve": "SVE",
}
# Arm's primary part numbers of the cores in Raspberry Pi 2 to 5.
_ARM_PARTS = {
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
}


@dataclass(frozen=True, slots=True)
class Processor:
    """What decides which kernels a runtime takes, and so how fast it is.

    The name alone does not: virtual machines call processors with and without VNNI "AMD EPYC",
    and one int8 inference takes nine times as long on the latter.

    Attributes:
        name: its own.
        family, model, stepping: as the kernel gives them; on Arm implementer, part, and variant
            with revision ("0x41", "0xd0b", "r4p1"). None where they are not known.
        instruction_sets: those that the kernels of the runtimes ask for, in the kernel's words.
    """

    name: str
    family: str | None
    model: str | None
    stepping: str | None
    instruction_sets: tuple[str, ...]

    def __str__(self) -> str:
        if self.family is None:
            return self.name
        sets = {text for flag, text in _SHOWN_SETS.items() if flag in self.instruction_sets}
        identity = f"{self.name} family {self.family} model {self.model} stepping {self.stepping}"
        return ", ".join([identity, " ".join(sorted(sets))]) if sets else identity

    def is_same(self, other: "Processor") -> bool:
        """Whether figures of both may be compared; never where one is known by its name only."""
        return self.family is not None and self == other


@dataclass(frozen=True, slots=True)
class Machine:
    """What figures are compared by.

    Attributes:
        processor: its identity.
        board: such as "Raspberry Pi 5 Model B Rev 1.0", None where the firmware names none.
        architecture: "x86_64", "aarch64", ...
        cores: logical processors that this process may use.
        memory_mb: of the whole machine, in 10^6 bytes.
        system: operating system and kernel.
        python: version of the interpreter.
    """

    processor: Processor
    board: str | None
    architecture: str
    cores: int
    memory_mb: int | None
    system: str
    python: str

    def __str__(self) -> str:
        memory = "" if self.memory_mb is None else f", {self.memory_mb / 1000:.1f} GB"
        board = "" if self.board is None else f"{self.board}: "
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}"
        return f"{board}{self.processor} ({self.architecture}), {cores}{memory}, {self.system}"


@dataclass(frozen=True, slots=True)
class Sensors:
    """One look at the machine; None where there is no such sensor.

    Attributes:
        temperature_c: the hottest thermal zone.
        clock_mhz: mean over the cores, as the governor reports it.
        throttling: what the Raspberry Pi's firmware complains of; empty means nothing.
        load: processes that ran or waited to run, mean of the last minute.
    """

    temperature_c: float | None
    clock_mhz: float | None
    throttling: tuple[str, ...] | None
    load: float | None


def this_machine(root: Path = Path("/")) -> Machine:
    """Describe the machine that this process runs on."""
    uname = platform.uname()
    return Machine(
        processor=_processor(root, uname.processor or uname.machine),
        board=_board(root),
        architecture=uname.machine,
        cores=usable_cores(),
        memory_mb=_memory_mb(root),
        system=f"{uname.system} {'.'.join(uname.release.split('.')[:2])}",
        python=platform.python_version(),
    )


def package_versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of the installed ones among `names`."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    if "pillow" in versions:
        versions |= _jpeg_library()
    return versions


def read_sensors(root: Path = Path("/")) -> Sensors:
    """Look at the machine's sensors."""
    return Sensors(
        temperature_c=_temperature(root),
        clock_mhz=_clock(root),
        throttling=_throttling(root),
        load=_load(root),
    )


def describe_sensors(before: Sensors, after: Sensors) -> str:
    """One line for a table's foot; "" where there is nothing to tell."""
    parts = []
    if before.temperature_c is not None and after.temperature_c is not None:
        parts.append(f"{before.temperature_c:.0f} to {after.temperature_c:.0f} °C")
    if before.clock_mhz is not None and after.clock_mhz is not None:
        parts.append(f"{before.clock_mhz:.0f} to {after.clock_mhz:.0f} MHz")
    if after.throttling is not None:
        parts.append(", ".join(after.throttling) or "not throttled")
    return "; ".join(parts)


class EnergyMeter:
    """Joules between entering and leaving, from RAPL counters or an INA power sensor.

    RAPL (Linux powercap) counts the processor packages only; an INA sensor measures the rail that
    it sits on, and is sampled every 50 ms. `joules` is None where there is neither, or where the
    counters may not be read (since 2020 the kernel lets root only, CVE-2020-8694).
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.source: str | None = None
        self.joules: float | None = None
        self._rapl = _rapl_packages(root)
        self._ina = _ina_power_files(root)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sum = 0.0

    def __enter__(self) -> "EnergyMeter":
        if self._rapl:
            self.source = "RAPL"
            self._start = {package: _number(package / "energy_uj") for package in self._rapl}
        elif self._ina:
            self.source = "INA"
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.source == "RAPL":
            self.joules = self._rapl_joules()
        elif self._thread is not None:
            self._stop.set()
            self._thread.join()
            self.joules = self._sum

    def _rapl_joules(self) -> float | None:
        total = 0.0
        for package, start in self._start.items():
            end = _number(package / "energy_uj")
            if start is None or end is None:
                return None
            # The counter starts again at zero after max_energy_range_uj.
            if end < start:
                end += _number(package / "max_energy_range_uj") or 0.0
            total += end - start
        return total / 1e6

    def _sample(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(_INA_PERIOD_S):
            now = time.monotonic()
            watts = sum((_number(file) or 0.0) for file in self._ina) / 1e6
            self._sum += watts * (now - last)
            last = now


def _processor(root: Path, name: str) -> Processor:
    """The processor by /proc/cpuinfo; `name` is what the operating system says elsewhere."""
    fields = _colon_fields(root / "proc/cpuinfo")
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    sets = tuple(sorted(flag for flag in set(flags) if _INSTRUCTION_SET.match(flag)))
    if "CPU part" in fields:  # arm64 kernels print numbers only
        part = fields["CPU part"]
        stepping = f"r{int(fields.get('CPU variant', '0'), 16)}p{fields.get('CPU revision', '0')}"
        name = fields.get("model name") or _ARM_PARTS.get(part, name)
        return Processor(name, fields.get("CPU implementer"), part, stepping, sets)
    numbers = [fields.get(key) for key in ("cpu family", "model", "stepping")]
    return Processor(fields.get("model name", name), numbers[0], numbers[1], numbers[2], sets)


def busy_share(root: Path = Path("/"), seconds: float = 0.5) -> float | None:
    """Share of all cores' time that others take while this process sleeps; None where unknown.

    Time that the host gave to other virtual machines ("steal") counts too. The load average will
    not do: a minute after a run of our own it still tells of that run.
    """
    before = _processor_times(root)
    time.sleep(seconds)
    after = _processor_times(root)
    if before is None or after is None or sum(after) <= sum(before):
        return None
    idle = sum(after[3:5]) - sum(before[3:5])
    return max(0.0, 1 - idle / (sum(after) - sum(before)))


def _processor_times(root: Path) -> list[int] | None:
    """User, nice, system, idle, iowait, irq, softirq and steal of all cores, in ticks (proc(5))."""
    words = (read_text(root / "proc/stat") or "").partition("\n")[0].split()
    return [int(word) for word in words[1:9]] if words[:1] == ["cpu"] else None


def _board(root: Path) -> str | None:
    text = read_text(root / "proc/device-tree/model")
    return None if text is None else text.strip("\x00\n ")


def _memory_mb(root: Path) -> int | None:
    total = _colon_fields(root / "proc/meminfo").get("MemTotal", "").removesuffix(" kB")
    return int(total) * 1024 // 1_000_000 if total.isdigit() else None


def _temperature(root: Path) -> float | None:
    zones = (root / "sys/class/thermal").glob("thermal_zone*/temp")
    readings = [value for zone in zones if (value := _number(zone)) is not None]
    return max(readings) / 1000 if readings else None


def _clock(root: Path) -> float | None:
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    readings = [value for file in files if (value := _number(file)) is not None]
    return sum(readings) / len(readings) / 1000 if readings else None


def _throttling(root: Path) -> tuple[str, ...] | None:
    text = read_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if text is None:
        return None
    bits = int(text.strip(), 16)
    return tuple(name for bit, name in _THROTTLE_BITS.items() if bits >> bit & 1)


def _load(root: Path) -> float | None:
    text = read_text(root / "proc/loadavg")
    return None if text is None else float(text.split()[0])


def _rapl_packages(root: Path) -> list[Path]:
    """Package domains only: core and uncore are parts of them."""
    packages = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*"))
    return [
        package
        for package in packages
        if package.name.count(":") == 1 and _number(package / "energy_uj") is not None
    ]


def _ina_power_files(root: Path) -> list[Path]:
    """Hwmon power readings in microwatts."""
    found: list[Path] = []
    for sensor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if (read_text(sensor / "name") or "").strip() in _INA_SENSORS:
            found += sorted(sensor.glob("power*_input"))
    return found


def _jpeg_library() -> Mapping[str, str]:
    from PIL import features

    name = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
    found = features.version_feature("libjpeg_turbo") or features.version_codec("jpg")
    return {} if found is None else {name: str(found)}


def _colon_fields(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in (read_text(path) or "").splitlines())
    return {key.strip(): value.strip() for key, colon, value in lines if colon}


def _number(path: Path) -> float | None:
    try:
        return float((read_text(path) or "").strip())
    except ValueError:
        return None


def read_text(path: Path) -> str | None:
    """A file of the kernel's; None where there is no such file or it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
