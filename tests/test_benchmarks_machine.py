"""Sensors read from files laid out as Linux and the Raspberry Pi's firmware lay them out."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.machine import (
    EnergyMeter,
    Processor,
    Sensors,
    busy_share,
    describe_sensors,
    package_versions,
    read_sensors,
    this_machine,
)
from benchmarks.memory import TreeMemory, family, peak_memory_mb


def put(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_raspberry_pi_is_recognized_and_its_throttling_told(tmp_path: Path) -> None:
    firmware = "sys/devices/platform/soc/soc:firmware/get_throttled"
    put(
        tmp_path,
        **{
            "proc/cpuinfo": (
                "processor\t: 0\nFeatures\t: fp asimd aes asimddp\nCPU implementer\t: 0x41\n"
                "CPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n"
            ),
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\x00",
            "proc/meminfo": "MemTotal:        4050000 kB\n",
            "proc/loadavg": "0.52 0.58 0.59 1/467 1234\n",
            "sys/class/thermal/thermal_zone0/temp": "61900\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1600000\n",
            firmware: "50004\n",
        },
    )
    machine = this_machine(tmp_path)
    sets = ("asimd", "asimddp")
    assert machine.processor == Processor("Cortex-A76", "0x41", "0xd0b", "r4p1", sets)
    assert str(machine.processor).endswith("stepping r4p1, NEON dotprod")
    assert machine.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.memory_mb == 4147
    sensors = read_sensors(tmp_path)
    assert (sensors.temperature_c, sensors.clock_mhz, sensors.load) == (61.9, 2000, 0.52)
    # 0x50004: bits 2, 16 and 18.
    expected = ("throttled", "under-voltage since boot", "throttled since boot")
    assert sensors.throttling == expected


CPUINFO = """processor\t: 0
cpu family\t: {family}
model\t\t: 2
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu sse4_1 avx2 {more}
"""


def test_processors_of_one_name_are_told_apart(tmp_path: Path) -> None:
    found = []
    for number, more in (("26", "avx512f avx512_vnni"), ("26", ""), ("25", "avx512f avx512_vnni")):
        put(tmp_path, **{"proc/cpuinfo": CPUINFO.format(family=number, more=more)})
        found.append(this_machine(tmp_path).processor)
    with_vnni, without, older = found
    assert str(with_vnni) == "AMD EPYC family 26 model 2 stepping 1, AVX-512 AVX2 VNNI"
    assert with_vnni.is_same(replace(with_vnni))
    assert not with_vnni.is_same(without)
    assert not with_vnni.is_same(older)
    # Known by its name only, it is not even the same as itself.
    put(tmp_path, **{"proc/cpuinfo": "model name\t: AMD EPYC\n"})
    unknown = this_machine(tmp_path).processor
    assert not unknown.is_same(unknown)


def test_busy_machine_is_told_by_what_its_cores_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(_: float) -> None:
        # 100 ticks: 30 of others, 10 stolen by the host, 50 idle, 10 waiting for a disk.
        put(tmp_path, **{"proc/stat": "cpu  1030 0 0 5050 10 0 0 10 0 0\ncpu0 0"})

    put(tmp_path, **{"proc/stat": "cpu  1000 0 0 5000 0 0 0 0 0 0\ncpu0 0"})
    monkeypatch.setattr(time, "sleep", work)
    assert busy_share(tmp_path) == pytest.approx(0.4)
    assert busy_share(tmp_path / "absent") is None


def test_what_has_no_sensor_is_none_not_zero(tmp_path: Path) -> None:
    assert read_sensors(tmp_path) == Sensors(None, None, None, None)
    with EnergyMeter(tmp_path) as meter:
        pass
    assert (meter.joules, meter.source) == (None, None)
    nothing = Sensors(None, None, None, None)
    assert describe_sensors(nothing, nothing) == ""


def test_rapl_counter_that_starts_again_at_zero(tmp_path: Path) -> None:
    package = "sys/class/powercap/intel-rapl:0"
    put(
        tmp_path,
        **{
            f"{package}/energy_uj": "900000",
            f"{package}/max_energy_range_uj": "1000000",
            # The core domain is a part of the package: not counted.
            f"{package}/intel-rapl:0:0/energy_uj": "5",
        },
    )
    with EnergyMeter(tmp_path) as meter:
        put(tmp_path, **{f"{package}/energy_uj": "400000"})
    assert meter.source == "RAPL"
    assert meter.joules == pytest.approx(0.5)


def test_ina_power_is_summed_over_time(tmp_path: Path) -> None:
    put(
        tmp_path,
        **{
            "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
            "sys/class/hwmon/hwmon0/power1_input": "99000000",
            "sys/class/hwmon/hwmon1/name": "ina226\n",
            "sys/class/hwmon/hwmon1/power1_input": "2000000",
        },
    )
    started = time.monotonic()
    with EnergyMeter(tmp_path) as meter:
        time.sleep(0.3)
    seconds = time.monotonic() - started
    assert meter.source == "INA"
    assert meter.joules is not None
    # Two watts for at most as long as the block took; the last sample may be missing.
    assert 0.2 <= meter.joules <= 2 * seconds + 1e-6


def test_versions_name_the_jpeg_library() -> None:
    versions = package_versions()
    assert "numpy" in versions
    assert any(name.startswith("libjpeg") for name in versions)


def test_memory_of_a_process_and_its_family() -> None:
    import os

    peak = peak_memory_mb()
    assert peak is not None
    assert peak > 5
    assert family(os.getpid())[0] == os.getpid()
    with TreeMemory(os.getpid()) as memory:
        time.sleep(0.05)
    if Path("/proc/self/smaps_rollup").exists():
        assert memory.peak_mb is not None
        assert memory.peak_mb > 5
