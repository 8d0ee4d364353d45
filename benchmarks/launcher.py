"""Runs a command and prints its wall seconds and peak memory as JSON; standard library only.

    python -I -S launcher.py COMMAND...       (started by `benchmarks.startup`, never by hand)

It is small on purpose: what the kernel reports as a child's peak memory is at least what its
parent held at the fork, so the parent must hold less than anything that is measured.
"""

import json
import os
import sys
import time


def main() -> int:
    """Run the command with its output thrown away."""
    sink = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0o600) for fd in (1, 2)]
    started = time.perf_counter()
    pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=sink)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    scale = 1 if sys.platform == "darwin" else 1024
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_memory_mb": usage.ru_maxrss * scale / 1e6,
                "code": os.waitstatus_to_exitcode(status),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
