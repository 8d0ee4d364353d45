"""Can this machine's clock be believed? A Raspberry Pi without a network begins in the past."""

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

# Nothing of this program was installed anywhere before.
EARLIEST = "2026-11-01T00:00:00.000Z"
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronized


@dataclass(frozen=True, slots=True)
class ClockTrust:
    """Whether nothing speaks against the clock, and in a sentence why."""

    is_trusted: bool
    reason: str


def clock_trust(now: str, latest_seen: str = "", sysfs: Path = Path("/sys")) -> ClockTrust:
    """Judge the clock.

    Args:
        now: what it says: ISO 8601, UTC.
        latest_seen: a time that has surely passed, "" none known.
        sysfs: where Linux shows its devices.
    """
    if now < max(latest_seen, EARLIEST):
        return ClockTrust(False, f"says {now}, which has long passed")
    if is_synchronized():
        return ClockTrust(True, "set by a time server")
    if battery := empty_clock_battery(sysfs):
        return ClockTrust(False, f"the clock's battery is empty or missing ({battery:.1f} V)")
    if _began_from_hardware(sysfs):
        return ClockTrust(True, "set from the machine's own battery-backed clock")
    if sys.platform != "linux":
        return ClockTrust(True, "nothing speaks against it")
    return ClockTrust(False, "no time server and no battery-backed clock have set it")


def is_synchronized() -> bool:
    """Whether the kernel knows that a time server keeps its clock (Linux only)."""
    if sys.platform != "linux":
        return False
    try:
        # struct timex has some 200 bytes; its `modes` 0 only asks.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < _TIME_ERROR


def empty_clock_battery(sysfs: Path = Path("/sys")) -> float | None:
    """The voltage of a hardware clock's battery where it cannot keep the time, else None.

    A Raspberry Pi 5 has such a clock; its battery is sold apart.
    """
    for path in sorted(sysfs.glob("class/rtc/rtc*/battery_voltage")):
        try:
            volts = int(path.read_text()) / 1e6
        except (OSError, ValueError):
            continue
        if volts < 2.0:
            return volts
    return None


def _began_from_hardware(sysfs: Path) -> bool:
    """The kernel set its clock from a hardware clock when it started."""
    for path in sorted(sysfs.glob("class/rtc/rtc*/hctosys")):
        try:
            if path.read_text().strip() == "1":
                return True
        except OSError:
            continue
    return False
