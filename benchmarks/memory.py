"""Peak memory: of this process, and of a process with all its children while it runs."""

import sys
import threading
from collections import defaultdict
from pathlib import Path

from benchmarks.machine import read_text

_PROC = Path("/proc")
_PERIOD_S = 0.1


def peak_memory_mb() -> float | None:
    """Largest resident set of this process so far, in 10^6 bytes; None where unknown.

    On Linux VmHWM: `getrusage` would count what the parent held before the exec as well.
    """
    status = read_text(_PROC / "self/status")
    for line in (status or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


class TreeMemory:
    """Watches a process and its descendants; `peak_mb` is the most they held together.

    Sums the proportional set size (pages that several share count once in all), ten times a
    second; Linux only, None elsewhere. Watching costs a little time, so timed passes run without.
    """

    def __init__(self, pid: int) -> None:
        self.peak_mb: float | None = None
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "TreeMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            held = [size for pid in family(self._pid) if (size := _pss_mb(pid)) is not None]
            if held:
                self.peak_mb = max(self.peak_mb or 0.0, sum(held))
            if self._stop.wait(_PERIOD_S):
                return


def family(pid: int) -> list[int]:
    """A process and its descendants, as far as they live."""
    children: dict[int, list[int]] = defaultdict(list)
    for stat in _PROC.glob("[0-9]*/stat"):
        text = read_text(stat)
        if text:
            # The name in parentheses may hold spaces; the parent is the second field behind it.
            children[int(text.rpartition(")")[2].split()[1])].append(int(stat.parent.name))
    found = [pid]
    for member in found:
        found += children[member]
    return found


def _pss_mb(pid: int) -> float | None:
    for line in (read_text(_PROC / str(pid) / "smaps_rollup") or "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None
