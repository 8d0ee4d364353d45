"""Keeps a native library's chatter off the terminal; nothing but its INFO lines is lost."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from edge_app.files.scratch import scratch_file


@contextmanager
def info_lines_dropped() -> Iterator[None]:
    """Drop lines that begin with "INFO:" from what is written to file descriptor 2 meanwhile.

    TFLite announces its XNNPACK delegate there and reads no setting that would stop it. All other
    lines are passed on at the end, also after an exception.
    """
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no standard error to protect
        yield
        return
    with scratch_file() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not line.startswith(b"INFO:"):
                    os.write(2, line)
