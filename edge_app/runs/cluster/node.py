"""What runs on a node of the cluster: an actor that keeps one worker of the local engine.

The worker is the very process that scores on one machine, so rows are the same, and a decoder that
hangs or dies costs its file only. The bundle comes as bytes: all nodes have the same one.
"""

import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_app.bundle.archive import decode_archive
from edge_app.errors import PneumoscopeError, StorageError
from edge_app.files.whole import write_files
from edge_app.runs.engine import News
from edge_app.runs.workers.messages import Ready, Refused, Settings, Task
from edge_app.runs.workers.pool import Pool
from edge_app.version import __version__

_SECONDS_A_LOOK = 1.0


@dataclass(frozen=True, slots=True)
class NodeReady:
    """An actor whose worker has opened its model and scored the golden inputs.

    Attributes:
        node: the machine's name.
        version: of Pneumoscope there.
        ready: what the worker said.
    """

    node: str
    version: str
    ready: Ready


class Scorer:
    """One model on one core; the methods are called through Ray, one call at a time."""

    def __init__(self, settings: Settings, bundle: bytes, seconds_per_file: float) -> None:
        """Start the worker; it loads its model meanwhile.

        Args:
            settings: its own, but for the bundle's folder.
            bundle: the archive of the bundle.
            seconds_per_file: after which a file is given up.
        """
        self._settings = settings
        self._bundle = bundle
        self._seconds_per_file = seconds_per_file
        self._folder = TemporaryDirectory(prefix="pneumoscope-")
        self._pool: Pool | None = None

    def start(self) -> NodeReady | Refused:
        """Wait until the model is open."""
        node = socket.gethostname()
        try:
            folder = Path(self._folder.name)
            write_files(folder, decode_archive(self._bundle).items())
            self._bundle = b""
            settings = replace(self._settings, bundle=str(folder))
            self._pool = Pool(settings, 1, seconds_per_file=self._seconds_per_file)
            return NodeReady(node, __version__, self._pool.wait_until_ready())
        except OSError as error:
            text = f"{self._folder.name}: cannot be written: {error.strerror or error}"
            return Refused(StorageError.__name__, f"node {node}: {text}")
        except PneumoscopeError as error:
            return Refused(type(error).__name__, f"node {node}: {error}")

    def score(self, tasks: Sequence[Task]) -> list[News] | Refused:
        """News of each of these tasks."""
        assert self._pool is not None
        waiting, news = deque(tasks), list[News]()
        try:
            while len(news) < len(tasks):
                while waiting and self._pool.offer(waiting[0]):
                    waiting.popleft()
                news += self._pool.take(_SECONDS_A_LOOK)
        except PneumoscopeError as error:
            return Refused(type(error).__name__, f"node {socket.gethostname()}: {error}")
        return news
