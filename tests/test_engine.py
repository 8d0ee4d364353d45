"""Whoever scores, the same rows come out: an engine without processes, in another order."""

from pathlib import Path

import pytest

from edge_app.bundle.load import load_bundle
from edge_app.decision import Reason, Status
from edge_app.errors import StorageError, UsageError
from edge_app.results.folder import RunFolder
from edge_app.results.rows import read_results
from edge_app.runs.discovery import Inputs
from edge_app.runs.engine import Engine, GivenUp, News
from edge_app.runs.scoring_run import RunInput, RunOptions, ScoringRun
from edge_app.runs.summary import Outcome
from edge_app.runs.workers.messages import Ready, Settings, Task
from edge_app.runs.workers.process import answer, open_screener
from tests.test_batch import plan, rows_of, run_batch, write_ward


class Backwards:
    """Takes all tasks, answers the last one first, and gives one file up."""

    def __init__(self, settings: Settings, given_up: str) -> None:
        self._screener, self._ready = open_screener(settings)
        self._tasks: list[Task] = []
        self._given_up = given_up
        self.ends: list[str] = []

    def wait_until_ready(self) -> Ready:
        return self._ready

    def offer(self, task: Task, *, is_near_end: bool = False) -> bool:
        self._tasks.append(task)
        return True

    def take(self, seconds: float) -> list[News]:
        news = [self._answer(task) for task in reversed(self._tasks)]
        self._tasks.clear()
        return news

    def _answer(self, task: Task) -> News:
        if task.name == self._given_up:
            return GivenUp(task, Reason.TIMED_OUT, "no node answers", 1.5)
        return answer(self._screener, task, frozenset())

    def close(self) -> None:
        self.ends.append("closed")

    def __enter__(self) -> "Backwards":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.ends.append("left" if error is None else "dropped")


def test_any_engine_gives_the_rows_of_the_pool(tmp_path: Path, signed_bundle_folder: Path) -> None:
    ward = write_ward(tmp_path / "ward")
    options = RunOptions(bundle=signed_bundle_folder, workers=1, formats=("jsonl", "html"))
    run_batch(plan(options, ward))
    engines: list[Backwards] = []

    def start(settings: Settings, options: RunOptions) -> Engine:
        engines.append(Backwards(settings, given_up="blank.png"))
        return engines[0]

    seen: list[Outcome] = []
    folder = RunFolder(tmp_path / "other")
    what = RunInput(str(ward), {"recursive": True})
    with ScoringRun.open(
        folder, what, options, lambda text: None, names=False, start_engine=start
    ) as run:
        for file in Inputs([ward]):
            assert run.store.claim(file.name)
            assert run.offer(file)
        run.advance(0, seen.append)
        assert run.in_flight == 0
        run.finish()
        summary = run.summary(complete=True, left_out={})
    assert engines[0].ends == ["closed", "left"]
    ours, pools = rows_of(folder.path), rows_of(tmp_path / "out")
    assert [row.file for row in ours] == [outcome.file for outcome in seen]
    lost = next(row for row in ours if row.file == "blank.png")
    assert (lost.status, lost.reason, lost.total_ms) == (Status.FAILED, Reason.TIMED_OUT, 1500.0)
    assert lost.message == "blank.png: no node answers"
    assert [(r.file, r.raw_score, r.sha256) for r in ours if r is not lost] == [
        (r.file, r.raw_score, r.sha256) for r in pools if r.file != "blank.png"
    ]
    assert (summary.files, summary.failed["timed_out"]) == (8, 1)
    header, _ = read_results(folder.results)
    model = load_bundle(signed_bundle_folder).manifest.models[0]
    assert (header.model_sha256, header.runtime) == (model.sha256, "litert")


def test_an_engine_drops_what_it_is_at_when_the_run_fails(
    tmp_path: Path, signed_bundle_folder: Path
) -> None:
    engines: list[Backwards] = []

    def start(settings: Settings, options: RunOptions) -> Engine:
        engines.append(Backwards(settings, given_up=""))
        return engines[-1]

    options = RunOptions(bundle=signed_bundle_folder)
    (tmp_path / "out").write_text("no folder")
    with pytest.raises(StorageError, match="cannot be written"):
        open_run(tmp_path / "out", options, start)
    assert [engine.ends for engine in engines] == [["dropped"]]


def test_names_are_checked_here_before_anything_is_written(
    tmp_path: Path, signed_bundle_folder: Path
) -> None:
    """Not by a worker that has loaded its model meanwhile."""

    class NeverReady(Backwards):
        def __init__(self) -> None:
            self.ends = []

        def wait_until_ready(self) -> Ready:
            raise AssertionError("the name is unknown, whatever the engine says")

    options = RunOptions(bundle=signed_bundle_folder, operating_point="none")
    with pytest.raises(UsageError, match="no operating point 'none'"):
        open_run(tmp_path / "out", options, lambda settings, options: NeverReady())
    assert not (tmp_path / "out").exists()


def open_run(out: Path, options: RunOptions, start: object) -> None:
    with ScoringRun.open(
        RunFolder(out),
        RunInput("in", {}),
        options,
        lambda text: None,
        names=False,
        start_engine=start,  # type: ignore[arg-type]
    ):
        raise AssertionError("it does not open")
