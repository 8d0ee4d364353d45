"""How many processors there are to work with."""

import os


def usable_cores() -> int:
    """Logical processors that this process may run on (affinity counts, quotas do not)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
