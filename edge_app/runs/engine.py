"""What scores the files of a run: tasks go in, what became of each comes out, in any order.

The run knows no more of it than this, so that processes on this machine (`workers.pool`) and a
cluster can do the same work. An engine loses no task: it answers each one, or says why it gave it
up.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from edge_app.decision import Reason
from edge_app.runs.workers.messages import Answered, KnownContent, Ready, Task


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A task that has no answer, why, and the seconds that it took."""

    task: Task
    reason: Reason
    message: str
    seconds: float


News = Answered | KnownContent | GivenUp


class Engine(AbstractContextManager["Engine"], Protocol):
    """Leaving its context closes it; on an error it drops what it is at."""

    def wait_until_ready(self) -> Ready:
        """Wait until a model is open, and say which one.

        Raises:
            PneumoscopeError: what kept it from being opened.
        """

    def offer(self, task: Task, *, is_near_end: bool = False) -> bool:
        """Hand over a task; False where there is no room for it now.

        Args:
            task: the file.
            is_near_end: whether few tasks follow, so that those who score should be given less at
                a time, and end together.
        """

    def take(self, seconds: float) -> list[News]:
        """Wait for news at most so long; gives what has come in.

        Raises:
            PneumoscopeError: files cannot be scored any more, whatever is in them.
        """

    def close(self) -> None:
        """End, after the tasks that were handed over."""
