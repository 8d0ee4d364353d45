"""Disk, temperature, throttling, power, camera: what Linux and a Raspberry Pi's firmware tell.

Each function reads files below `root` (and asks `vcgencmd`, where there is one); none writes.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from edge_app.device.finding import Finding, Verdict

_GIGA = 1e9
_HOT, _TOO_HOT = 70.0, 80.0  # a Raspberry Pi slows down from 80 degrees on
_LOW_BATTERY_PERCENT = 20
# Bits of the firmware's get_throttled: what is now, and 16 above what was since the start.
_UNDER_VOLTAGE, _SLOWED = 0x1, 0x2 | 0x4 | 0x8
_SINCE_START = 16
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


def examine_disk(folder: Path) -> Finding:
    """Room and writability where the record lies, or will lie."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        usage = shutil.disk_usage(there)
    except OSError as error:
        return Finding("disk", Verdict.PROBLEM, f"{there}: {error.strerror or error}")
    room = f"{usage.free / _GIGA:.1f} of {usage.total / _GIGA:.1f} GB free at {there}"
    if not os.access(there, os.W_OK):
        advice = "look for a full or failing card: `dmesg`; make the folder this user's"
        return Finding("disk", Verdict.PROBLEM, f"{there} cannot be written", advice)
    advice = "export to a USB stick, then `pneumoscope record retain`"
    if usage.free < 0.5 * _GIGA:
        return Finding("disk", Verdict.PROBLEM, room, advice)
    if usage.free < 2 * _GIGA:
        return Finding("disk", Verdict.ATTENTION, room, advice)
    return Finding("disk", Verdict.OK, room)


def examine_temperature(root: Path = Path("/")) -> Finding:
    """The hottest sensor."""
    values = [value / 1000 for value in _numbers(root, "sys/class/thermal/thermal_zone*/temp")]
    values = [value for value in values if -40 < value < 150]
    if not values:
        return Finding("temperature", Verdict.UNKNOWN, "no sensor")
    hottest = max(values)
    found = f"{hottest:.0f} degrees Celsius"
    if hottest < _HOT:
        return Finding("temperature", Verdict.OK, found)
    verdict = Verdict.PROBLEM if hottest >= _TOO_HOT else Verdict.ATTENTION
    return Finding("temperature", verdict, found, "give it air, shade, a heat sink or a fan")


def examine_throttling(root: Path = Path("/")) -> Finding:
    """Whether the processor was slowed down."""
    bits = throttled_bits(root)
    if bits is not None:
        advice = "cool it, and use the maker's power supply"
        if bits & _SLOWED:
            return Finding("throttling", Verdict.PROBLEM, "the processor is slowed down", advice)
        if bits >> _SINCE_START & _SLOWED:
            found = "the processor was slowed down since the start"
            return Finding("throttling", Verdict.ATTENTION, found, advice)
        return Finding("throttling", Verdict.OK, "not since the start")
    pattern = "sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"
    counts = list(_numbers(root, pattern))
    if not counts:
        return Finding("throttling", Verdict.UNKNOWN, "this machine does not tell")
    if times := int(max(counts)):
        found = f"slowed down by heat {times} times since the start"
        return Finding("throttling", Verdict.ATTENTION, found, "clean its fan, give it air")
    return Finding("throttling", Verdict.OK, "not since the start")


def examine_power(root: Path = Path("/")) -> Finding:
    """Voltage, where the firmware tells it, and the battery."""
    bits = throttled_bits(root) or 0
    supply = "use the maker's power supply and a short, thick cable"
    if bits & _UNDER_VOLTAGE:
        return Finding("power", Verdict.PROBLEM, "the voltage is too low", supply)
    if bits >> _SINCE_START & _UNDER_VOLTAGE:
        found = "the voltage was too low since the start: a card can lose data by it"
        return Finding("power", Verdict.ATTENTION, found, supply)
    for battery in sorted(root.glob("sys/class/power_supply/*/capacity")):
        percent = _number(battery)
        status = _text(battery.with_name("status"))
        if percent is None or _text(battery.with_name("scope")) == "Device":  # a mouse's
            continue
        found = f"battery at {percent:.0f}%, {status.casefold() or 'status unknown'}"
        if percent < _LOW_BATTERY_PERCENT and status == "Discharging":
            return Finding("power", Verdict.ATTENTION, found, "plug it in")
        return Finding("power", Verdict.OK, found)
    if throttled_bits(root) is not None:
        return Finding("power", Verdict.OK, "the voltage held since the start")
    return Finding("power", Verdict.UNKNOWN, "no battery, and no sensor of the voltage")


def examine_camera(root: Path = Path("/")) -> Finding:
    """Cameras of this machine; a phone's needs none."""
    names = {
        _text(path)
        for path in root.glob("sys/class/video4linux/video*/name")
        # A Raspberry Pi shows its codec and its image processor there as well.
        if not _text(path).startswith(("bcm2835-codec", "bcm2835-isp", "pispbe", "rpi"))
    }
    if names:
        return Finding("camera", Verdict.OK, ", ".join(sorted(names)))
    return Finding("camera", Verdict.OK, "none here; a phone's camera does for films")


def throttled_bits(root: Path = Path("/")) -> int | None:
    """The Raspberry Pi firmware's get_throttled; None on another machine."""
    text = _text(root / _FIRMWARE) or _ask_firmware(root)
    try:
        return int(text.rpartition("=")[2], 16)
    except ValueError:
        return None


def _ask_firmware(root: Path) -> str:
    if root != Path("/") or (command := shutil.which("vcgencmd")) is None:
        return ""
    try:
        done = subprocess.run(
            [command, "get_throttled"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _numbers(root: Path, pattern: str) -> Iterator[float]:
    for path in sorted(root.glob(pattern)):
        if (value := _number(path)) is not None:
            yield value


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
