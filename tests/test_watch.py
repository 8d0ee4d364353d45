"""Watching a folder: what arrives is scored once it stands still; what goes away comes back."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edge_app.bundle.manifest import NO_GATE
from edge_app.decision import Reason
from edge_app.errors import NoInputError
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.results.rows import ResultRow, read_results
from edge_app.results.validate import validate_results
from edge_app.runs.discovery import ImageFile
from edge_app.runs.scoring_run import RunOptions
from edge_app.runs.summary import Outcome, Summary
from edge_app.runs.watch import Arrivals, WatchPlan, watch_folder
from edge_app.runs.workers.messages import Answered
from tests.conftest import REPOSITORY
from tests.pictures import encoded
from tests.test_batch import phantom_png
from tests.test_discovery import deny

MOST_SECONDS = 60.0


class Session:
    """A watch that a script of steps drives; each step waits for what it yields to come true."""

    def __init__(self, plan: WatchPlan, script: Callable[["Session"], Iterator[bool]]) -> None:
        self.outcomes: list[str] = []
        self.notes: list[str] = []
        self._script = script(self)
        self._deadline = time.monotonic() + MOST_SECONDS
        self.summary: Summary = watch_folder(
            plan, self._on_outcome, on_note=self._on_note, check=self._check
        )

    def _on_note(self, note: str) -> None:
        if note != NO_GATE:  # the tiny model has none, which is said of every run
            self.notes.append(note)

    def _on_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome.file)

    def _check(self) -> None:
        assert time.monotonic() < self._deadline, (self.outcomes, self.notes)
        try:
            next(self._script)
        except StopIteration:
            raise KeyboardInterrupt from None


def until(condition: Callable[[], bool]) -> Iterator[bool]:
    while not condition():
        yield False


@pytest.fixture
def plan(tmp_path: Path, signed_bundle_folder: Path) -> WatchPlan:
    (tmp_path / "in").mkdir()
    options = RunOptions(bundle=signed_bundle_folder, formats=("jsonl", "csv"))
    return WatchPlan(tmp_path / "in", tmp_path / "out", 0.1, 0.5, 0.1, options)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of all files that were tried, whether they got a row or not."""
    names: list[str] = []
    wants = Arrivals.wants

    def spy(arrivals: Arrivals, file: ImageFile, answered: Answered) -> bool:
        names.append(file.name)
        return wants(arrivals, file, answered)

    monkeypatch.setattr(Arrivals, "wants", spy)
    return names


def rows(plan: WatchPlan) -> list[ResultRow]:
    results = plan.out / "results.jsonl"
    assert validate_results(results).problems == ()
    return list(read_results(results)[1])


def test_files_are_scored_when_they_have_stopped_growing(plan: WatchPlan) -> None:
    (plan.folder / "first.png").write_bytes(phantom_png(1))
    slow = phantom_png(3)

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: session.outcomes == ["first.png"])
        (plan.folder / "sub").mkdir()
        with (plan.folder / "sub" / "slow.png").open("wb") as stream:
            for start in range(0, len(slow), len(slow) // 8 + 1):
                stream.write(slow[start : start + len(slow) // 8 + 1])
                stream.flush()
                pause = time.monotonic() + 0.2
                yield from until(lambda pause=pause: time.monotonic() > pause)
                assert session.outcomes == ["first.png"]
        yield from until(lambda: len(session.outcomes) == 2)

    session = Session(plan, script)
    assert [(row.file, row.reason) for row in rows(plan)] == [
        ("first.png", None),
        ("sub/slow.png", None),
    ]
    assert session.summary.scored_now == 2
    assert (plan.out / "results.csv").read_text(encoding="utf-8-sig").count("\n") == 3


def test_a_folder_that_goes_away_is_waited_for(plan: WatchPlan, tmp_path: Path) -> None:
    (plan.folder / "a.png").write_bytes(phantom_png(1))
    away = tmp_path / "away"

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: session.outcomes == ["a.png"])
        plan.folder.rename(away)
        yield from until(lambda: "has gone" in " ".join(session.notes))
        (away / "b.png").write_bytes(phantom_png(1))
        away.rename(plan.folder)
        yield from until(lambda: "is back" in " ".join(session.notes))
        yield from until(lambda: len(session.outcomes) == 2)

    Session(plan, script)
    assert [(row.file, row.reason) for row in rows(plan)] == [("a.png", None), ("b.png", None)]


def test_an_overwritten_file_gets_a_second_row_and_the_first_is_stale(plan: WatchPlan) -> None:
    """By this session or an earlier one; the old child's answer and picture are in no report."""
    plan = replace(plan, options=replace(plan.options, formats=("jsonl", "csv", "html")))
    (plan.folder / "a.png").write_bytes(phantom_png(1))
    (plan.folder / "b.png").write_bytes(phantom_png(8))
    Session(plan, lambda session: until(lambda: len(session.outcomes) == 2))
    shown = (plan.out / "report.html").read_text(encoding="utf-8")
    assert shown.count('"file":"a.png"') == 1  # its film; the row stands in a list

    def script(session: Session) -> Iterator[bool]:
        # Copied again: another time, the same content.
        os.utime(plan.folder / "b.png", ns=(1, 1))
        (plan.folder / "a.png").write_bytes(phantom_png(3, 300))
        yield from until(lambda: session.outcomes == ["a.png"])
        (plan.folder / "a.png").write_bytes(phantom_png(8, 300))
        yield from until(lambda: session.outcomes == ["a.png", "a.png"])

    session = Session(plan, script)
    assert [note.partition(";")[0] for note in session.notes] == [
        "a.png was changed after it was scored"
    ] * 2
    assert session.summary.stale == 2
    found = rows(plan)
    assert [row.file for row in found] == ["a.png", "b.png", "a.png", "a.png"]
    assert len({row.sha256 for row in found if row.file == "a.png"}) == 3
    with (plan.out / "results.csv").open(encoding="utf-8-sig", newline="") as table:
        stale = [line["stale"] for line in csv.DictReader(table)]
    assert stale == ["stale", "", "stale", ""]
    report = (plan.out / "report.html").read_text(encoding="utf-8")
    assert "2 earlier answers are left out" in report
    assert report.count('["a.png",') == 1
    # The film of the first content, which was suspected, is not the third one's.
    films = [json.loads(line) for line in (plan.out / "thumbnails.jsonl").open()]
    assert [film["decision"] for film in films if film["file"] == "a.png"] == ["indeterminate"]
    # Nothing is left to do, and a third session knows it.
    Session(plan, lambda session: until_looked(session, 1.0))
    assert len(rows(plan)) == 4


def until_looked(session: Session, seconds: float) -> Iterator[bool]:
    pause = time.monotonic() + seconds
    yield from until(lambda: time.monotonic() > pause)


def test_a_row_of_half_a_copy_is_replaced_when_the_copy_is_complete(plan: WatchPlan) -> None:
    """Space is made for all of it, its head and tail come first, the rest after a long pause."""
    whole = encoded(Image.fromarray(draw_phantom(Phantom(1), 300, 300)), "BMP")
    late, arriving = plan.folder / "late.bmp", plan.folder / "arriving.bmp"
    with late.open("wb") as stream:
        stream.write(whole[:2000])
        stream.seek(len(whole) - 2000)
        stream.write(whole[-2000:])
    arriving.write_bytes(whole[:2000] + bytes(len(whole) - 4000) + whole[-2000:])

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: session.outcomes == ["arriving.bmp"])
        if hasattr(os, "SEEK_HOLE"):
            yield from until_looked(session, 2.0)
            assert session.outcomes == ["arriving.bmp"]  # a file with a hole has not arrived
        for path in (late, arriving):
            with path.open("r+b") as stream:
                stream.write(whole)
        yield from until(lambda: len(session.outcomes) == 3)

    Session(replace(plan, patience_seconds=10 * MOST_SECONDS), script)
    first, *last = rows(plan)
    assert first.raw_score != last[0].raw_score
    assert sorted(row.file for row in last) == ["arriving.bmp", "late.bmp"]
    assert last[0].raw_score == last[1].raw_score


def test_a_transfer_that_failed_for_good_is_scored_when_it_goes_on(plan: WatchPlan) -> None:
    whole = phantom_png(1)
    path = plan.folder / "stalled.png"
    path.write_bytes(whole[: len(whole) // 2])

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: session.outcomes == ["stalled.png"])
        path.write_bytes(whole)
        yield from until(lambda: len(session.outcomes) == 2)

    Session(plan, script)
    assert [(row.file, row.reason) for row in rows(plan)] == [
        ("stalled.png", Reason.UNREADABLE),
        ("stalled.png", None),
    ]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Mounts something at a folder; skips where this user may not."""
    mounted: list[Path] = []

    def mount_at(folder: Path) -> None:
        command = ["mount", "-t", "tmpfs", "none", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("may not mount anything here")
        mounted.append(folder)

    yield mount_at
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


@pytest.mark.parametrize("where", ["", "ward"])
def test_what_lies_beneath_a_mount_is_not_scored(
    plan: WatchPlan, mount: Callable[[Path], None], where: str
) -> None:
    point = plan.folder / where
    point.mkdir(exist_ok=True)
    (point / "beneath.png").write_bytes(phantom_png(1))
    mount(point)
    (point / "a.png").write_bytes(phantom_png(1))
    prefix = f"{where}/" if where else ""

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: session.outcomes == [f"{prefix}a.png"])
        subprocess.run(["umount", str(point)], check=True)
        yield from until(lambda: "nothing is mounted there any more" in " ".join(session.notes))
        yield from until_looked(session, 2.0)
        assert len(session.outcomes) == 1
        mount(point)
        (point / "b.png").write_bytes(phantom_png(1))
        yield from until(lambda: len(session.outcomes) == 2)

    session = Session(plan, script)
    assert [row.file for row in rows(plan)] == [f"{prefix}a.png", f"{prefix}b.png"]
    assert sum("nothing is mounted" in note for note in session.notes) == 1


def test_a_transfer_that_stalls_is_scored_when_it_is_whole(
    plan: WatchPlan, tried: list[str]
) -> None:
    """Half a picture stands still for longer than a file has to, fails, and is completed."""
    whole = encoded(Image.fromarray(draw_phantom(Phantom(2), 300, 300)), "JPEG")
    stalled = plan.folder / "stalled.jpeg"
    stalled.write_bytes(whole[: len(whole) // 2])
    # Its row is never due while half of it is there, however slow this machine is.
    plan = replace(plan, patience_seconds=10 * MOST_SECONDS)

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: tried == ["stalled.jpeg"])
        with stalled.open("ab") as stream:
            stream.write(whole[len(whole) // 2 :])
        yield from until(lambda: len(session.outcomes) == 1)

    Session(plan, script)
    assert [(row.file, row.reason) for row in rows(plan)] == [("stalled.jpeg", None)]


def test_what_fails_for_good_gets_a_row_and_what_still_may_come_is_said(
    plan: WatchPlan, tried: list[str]
) -> None:
    (plan.folder / "bad.png").write_bytes(b"no picture")
    Session(plan, lambda session: until(lambda: session.outcomes == ["bad.png"]))
    (plan.folder / "late.png").write_bytes(b"")
    patient = replace(plan, patience_seconds=10 * MOST_SECONDS)
    session = Session(patient, lambda session: until(lambda: "late.png" in tried))
    assert session.notes[-1].startswith("1 files that cannot be read")
    assert [(row.file, row.reason) for row in rows(plan)] == [("bad.png", Reason.UNREADABLE)]


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.EACCES, errno.EIO, errno.ENOENT])
def test_a_share_that_dies_is_waited_for(
    plan: WatchPlan, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's answers for a dead share; Path.exists and Path.is_dir raise most of them."""
    (plan.folder / "a.png").write_bytes(phantom_png(1))
    stat, scandir = os.stat, os.scandir
    is_dead = False

    def fail_below(path: object) -> None:
        if is_dead and os.fsdecode(os.fspath(path)).startswith(str(plan.folder)):  # type: ignore[call-overload]
            raise OSError(number, os.strerror(number))

    def dead_stat(path: Any, **options: Any) -> os.stat_result:
        fail_below(path)
        return stat(path, **options)

    def dead_scandir(path: Any) -> Any:
        fail_below(path)
        return scandir(path)

    def script(session: Session) -> Iterator[bool]:
        nonlocal is_dead
        yield from until(lambda: session.outcomes == ["a.png"])
        monkeypatch.setattr(os, "stat", dead_stat)
        monkeypatch.setattr(os, "scandir", dead_scandir)
        is_dead = True
        yield from until(lambda: "waiting for it" in " ".join(session.notes))
        is_dead = False
        (plan.folder / "b.png").write_bytes(phantom_png(1))
        yield from until(lambda: "is back" in " ".join(session.notes))
        yield from until(lambda: len(session.outcomes) == 2)

    Session(plan, script)
    assert [(row.file, row.reason) for row in rows(plan)] == [("a.png", None), ("b.png", None)]


def test_a_sub_folder_that_cannot_be_listed_is_said_once_and_waited_for(
    plan: WatchPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plan.folder / "sub").mkdir()
    (plan.folder / "sub" / "b.png").write_bytes(phantom_png(1))
    (plan.folder / "a.png").write_bytes(phantom_png(1))

    def script(session: Session) -> Iterator[bool]:
        with monkeypatch.context() as patch:
            deny(patch, plan.folder / "sub")
            yield from until(lambda: session.outcomes == ["a.png"])
            # Longer than a file has to stand still, and than the patience with one that fails.
            pause = time.monotonic() + 1.5
            yield from until(lambda: time.monotonic() > pause)
        yield from until(lambda: len(session.outcomes) == 2)

    session = Session(plan, script)
    (note,) = session.notes
    assert note == f"{plan.folder / 'sub'}: cannot be listed: Permission denied; waiting for it"
    assert [(row.file, row.reason) for row in rows(plan)] == [("a.png", None), ("sub/b.png", None)]


def test_a_table_that_cannot_be_replaced_is_said_once(
    plan: WatchPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is open in Excel on Windows: scoring goes on, and so does the report."""
    monkeypatch.setattr("edge_app.runs.watch._SECONDS_BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr("edge_app.runs.watch._REPORT_SHARE", 1e9)
    (plan.out / "results.csv").mkdir(parents=True)
    (plan.folder / "a.png").write_bytes(phantom_png(1))
    options = replace(plan.options, formats=("jsonl", "csv", "html"))
    plan = replace(plan, options=options)

    def script(session: Session) -> Iterator[bool]:
        yield from until(lambda: bool(session.notes))
        (plan.folder / "b.png").write_bytes(phantom_png(1))
        yield from until(lambda: len(session.outcomes) == 2)
        yield from until(lambda: "b.png" in (plan.out / "report.html").read_text(encoding="utf-8"))
        (plan.out / "results.csv").rmdir()
        yield from until((plan.out / "results.csv").is_file)

    session = Session(plan, script)
    (note,) = session.notes
    assert "results.csv: cannot be written" in note
    assert len(rows(plan)) == 2


def test_a_missing_folder_is_no_input(plan: WatchPlan, tmp_path: Path) -> None:
    plan.folder.rmdir()
    with pytest.raises(NoInputError):
        Session(plan, lambda session: iter([]))
    assert not plan.out.exists()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_the_command_ends_with_130_when_it_is_stopped(plan: WatchPlan) -> None:
    (plan.folder / "a.png").write_bytes(phantom_png(1))
    bundle = str(plan.options.bundle)
    arguments = ["watch", str(plan.folder), "-o", str(plan.out), "--bundle", bundle]
    with subprocess.Popen(
        [sys.executable, "-m", "edge_app", *arguments, "--settle", "0.3", "--poll", "0.1"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert " a.png: " in process.stdout.readline()  # behind the time
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in errors
    assert len(rows(plan)) == 1
    assert (plan.out / "report.html").exists()
