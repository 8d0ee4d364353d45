"""How a folder run went: counts by answer, time by stage, and the same as `summary.json`.

Outcomes enter one by one, a `Summary` leaves; the counts are of all rows in the results, the times
of the rows that this run added.
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_app.decision import Decision, Reason, Status
from edge_app.runs.workers.messages import STAGES

_MEGA = 1e6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        file, status, decision, reason: of its row.
        row: the whole of it, as its line of the results; empty for one that stood there before.
    """

    file: str
    status: Status
    decision: Decision
    reason: Reason | None
    row: str


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run went.

    Attributes:
        complete: whether every file that was found has a row (or is known from elsewhere).
        files: rows in the results.
        scored_now: rows that this run added; the others stood there already.
        known: files without a row, since an earlier run knows their content.
        stale: rows of content that was overwritten since; they count among all others.
        unlisted_folders: sub-folders that could not be listed when the run looked last; what is in
            them has no score.
        empty_folders: sub-folders without a name in them, as where a device is not mounted.
        left_out: files that are no pictures by name and content, by the ending of their names.
        decisions, refused, failed: rows by answer and by reason.
        seconds: from the command to the last row.
        startup_seconds: until a model was open, within `seconds`.
        derive_seconds: for the table and the report, after `seconds`.
        files_per_second: rows added by the seconds after the start-up; 0 where there were none.
        stage_ms: mean time of an added row by stage, in a worker.
        workers, threads: processes side by side, and threads of one inference.
        peak_memory_mb: largest resident memory of this process and of the largest worker, each in
            10^6 bytes; 0 where the system does not tell.
    """

    complete: bool
    files: int
    scored_now: int
    known: int
    stale: int
    unlisted_folders: int
    empty_folders: int
    left_out: Mapping[str, int]
    decisions: Mapping[str, int]
    refused: Mapping[str, int]
    failed: Mapping[str, int]
    seconds: float
    startup_seconds: float
    derive_seconds: float
    files_per_second: float
    stage_ms: Mapping[str, float]
    workers: int
    threads: int
    peak_memory_mb: Mapping[str, float]


@dataclass(slots=True)
class RunningSummary:
    """Counts and times while a run goes on; only the run itself writes here."""

    started: float = field(default_factory=time.perf_counter)
    ready: float | None = None
    finished: float | None = None
    decisions: Counter[Decision] = field(default_factory=Counter)
    refused: Counter[Reason] = field(default_factory=Counter)
    failed: Counter[Reason] = field(default_factory=Counter)
    scored_now: int = 0
    known: int = 0
    stages: list[float] = field(default_factory=lambda: [0.0] * len(STAGES))

    @property
    def files(self) -> int:
        """Rows in the results."""
        return self.decisions.total()

    def note_ready(self) -> None:
        """A model is open."""
        self.ready = time.perf_counter()

    def note_finished(self) -> None:
        """The last row is written."""
        self.finished = time.perf_counter()

    def count(self, outcome: Outcome) -> None:
        """Count a row, an old one or a new one."""
        self.decisions[outcome.decision] += 1
        if outcome.reason is not None:
            reasons = self.failed if outcome.status is Status.FAILED else self.refused
            reasons[outcome.reason] += 1

    def count_new(self, outcome: Outcome, stage_ms: Sequence[float]) -> None:
        """Count a row that this run added, and its times."""
        self.count(outcome)
        self.scored_now += 1
        for index, milliseconds in enumerate(stage_ms):
            self.stages[index] += milliseconds

    def as_of_now(
        self,
        *,
        complete: bool,
        workers: int,
        threads: int,
        stale: int,
        unlisted_folders: int,
        empty_folders: int,
        left_out: Mapping[str, int],
    ) -> Summary:
        """The summary, of whose attributes whoever asks for it knows these."""
        now = time.perf_counter()
        finished = now if self.finished is None else self.finished
        ready = finished if self.ready is None else self.ready
        rows = max(self.scored_now, 1)
        return Summary(
            complete=complete,
            files=self.files,
            scored_now=self.scored_now,
            known=self.known,
            stale=stale,
            unlisted_folders=unlisted_folders,
            empty_folders=empty_folders,
            left_out=dict(left_out),
            decisions={d.value: self.decisions[d] for d in Decision},
            refused={reason.value: n for reason, n in self.refused.most_common()},
            failed={reason.value: n for reason, n in self.failed.most_common()},
            seconds=round(finished - self.started, 3),
            derive_seconds=round(now - finished, 3),
            startup_seconds=round(ready - self.started, 3),
            files_per_second=round(self.scored_now / max(finished - ready, 1e-9), 2),
            stage_ms={
                name: round(total / rows, 3)
                for name, total in zip(STAGES, self.stages, strict=True)
            },
            workers=workers,
            threads=threads,
            peak_memory_mb=_peak_memory(),
        )


def _peak_memory() -> dict[str, float]:
    try:
        import resource
    except ImportError:  # Windows
        return {"run": 0.0, "worker": 0.0}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MEGA
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / _MEGA
    return {"run": round(own, 1), "worker": round(largest, 1)}
