"""Folder scoring: a row a file whatever is wrong with it, in their order, and none twice."""

import csv
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edge_app.bundle.manifest import NO_GATE
from edge_app.cli import main
from edge_app.cli.run_options import describe
from edge_app.decision import Decision, Reason, Status
from edge_app.errors import (
    BundleIntegrityError,
    NoInputError,
    RuntimeUnavailableError,
    StorageError,
    UsageError,
)
from edge_app.files.whole import make_folder
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.results.folder import RunFolder
from edge_app.results.journal import SYNC_ROWS, Journal
from edge_app.results.rows import ResultRow, read_results
from edge_app.results.validate import validate_results
from edge_app.runs.batch import BatchPlan, _Devices, list_files, run_batch
from edge_app.runs.engine import News
from edge_app.runs.row_order import RowOrder
from edge_app.runs.scoring_run import RunOptions
from edge_app.runs.summary import Outcome
from edge_app.runs.workers.messages import Answered
from edge_app.runs.workers.pool import Pool
from tests.conftest import REPOSITORY
from tests.pictures import encoded
from tests.test_discovery import deny
from tests.tiny_bundle import write_tiny_bundle


def phantom_png(seed: int, side: int = 256) -> bytes:
    return encoded(Image.fromarray(draw_phantom(Phantom(seed), side, side)), "PNG")


def write_ward(folder: Path) -> Path:
    """A folder with good pictures, a refusal, and each kind of bad file."""
    jpeg = encoded(Image.fromarray(draw_phantom(Phantom(2), 300, 300)), "JPEG")
    files = {
        "a/suspected.png": phantom_png(1),
        "a/clear.png": phantom_png(3),
        "between.png": phantom_png(8),
        "blank.png": encoded(Image.new("L", (300, 300), 90), "PNG"),
        "cut.jpeg": jpeg[: len(jpeg) // 2],
        "empty.png": b"",
        "note.png": b"This is no picture.\n",
        "whole.jpeg": jpeg,
        "notes.txt": b"left out",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


WARD = [
    ("a/clear.png", Decision.NO_PNEUMONIA_SEEN, None),
    ("a/suspected.png", Decision.PNEUMONIA_SUSPECTED, None),
    ("between.png", Decision.INDETERMINATE, None),
    ("blank.png", Decision.NOT_ASSESSABLE, Reason.NO_CONTRAST),
    ("cut.jpeg", Decision.NOT_ASSESSABLE, Reason.UNREADABLE),
    ("empty.png", Decision.NOT_ASSESSABLE, Reason.UNREADABLE),
    ("note.png", Decision.NOT_ASSESSABLE, Reason.UNREADABLE),
    ("whole.jpeg", Decision.NO_PNEUMONIA_SEEN, None),
]


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    return write_ward(tmp_path / "ward")


@pytest.fixture
def options(signed_bundle_folder: Path) -> RunOptions:
    return RunOptions(bundle=signed_bundle_folder, workers=2, formats=("jsonl",))


def plan(options: RunOptions, *named: Path, out: Path | None = None) -> BatchPlan:
    return BatchPlan(tuple(named), out or named[0].parent / "out", options=options)


def rows_of(out: Path) -> list[ResultRow]:
    results = RunFolder(out).results
    assert validate_results(results).problems == ()
    return list(read_results(results)[1])


def answers(rows: Sequence[ResultRow]) -> list[tuple[str, Decision, Reason | None]]:
    return [(row.file, row.decision, row.reason) for row in rows]


def test_a_folder_becomes_rows_in_the_order_of_the_names(ward: Path, options: RunOptions) -> None:
    every = replace(options, formats=("jsonl", "csv", "html"))
    todo = plan(every, ward)
    seen: list[tuple[Outcome, int]] = []
    summary = run_batch(todo, lambda outcome, found: seen.append((outcome, found)))
    rows = rows_of(todo.out)
    assert answers(rows) == WARD
    assert [(o.file, o.status, o.decision, o.reason) for o, _ in seen] == [
        (row.file, row.status, row.decision, row.reason) for row in rows
    ]
    assert seen[-1][1] == 8
    header, _ = read_results(todo.folder.results)
    assert header.input == str(ward)
    assert header.operating_point.name == "balanced"
    assert header.parameters["recursive"] is True
    manifest = (options.bundle or Path()) / "bundle.json"
    assert header.parameters["bundle_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert (summary.files, summary.scored_now, summary.known) == (8, 8, 0)
    assert summary.failed == {"unreadable": 3}
    assert summary.refused == {"no_contrast": 1}
    assert summary.decisions["not_assessable"] == 4
    assert summary.stage_ms["infer"] > 0
    with todo.folder.table.open(encoding="utf-8-sig", newline="") as stream:
        assert [line["file"] for line in csv.DictReader(stream)] == [row.file for row in rows]
    assert sorted(os.listdir(todo.out)) == [
        "files.jsonl",
        "report.html",
        "results.csv",
        "results.jsonl",
        "run.json",
        "thumbnails.jsonl",
    ]


def test_the_process_that_only_hands_out_files_loads_no_numpy(
    ward: Path, options: RunOptions
) -> None:
    """It would start its workers later by as long as that takes, and hold 20 MB for nothing."""
    program = (
        "import sys; from edge_app.cli import main; code = main(sys.argv[1:]); "
        "print(code, sorted({'numpy', 'PIL'} & sys.modules.keys()))"
    )
    arguments = ["batch", str(ward), "-o", f"{ward}-out", "--bundle", str(options.bundle)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--quiet"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1 []\n"


def test_the_number_of_workers_changes_nothing_but_the_time(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    for index in range(30):
        (ward / f"more{index:02d}.png").write_bytes(phantom_png(index, 160 + index))

    def facts(workers: int) -> list[dict[str, object]]:
        out = tmp_path / f"out{workers}"
        run_batch(plan(replace(options, workers=workers), ward, out=out))
        times = {"decode_ms", "infer_ms", "total_ms", "scored_at"}
        lines = RunFolder(out).results.read_text(encoding="utf-8").splitlines()[1:]
        return [{k: v for k, v in json.loads(line).items() if k not in times} for line in lines]

    one = facts(1)
    assert len(one) == 38
    assert one == facts(3)


def test_the_same_command_again_adds_only_what_is_new(ward: Path, options: RunOptions) -> None:
    todo = plan(options, ward)
    run_batch(todo)
    before = todo.folder.results.read_bytes()
    assert run_batch(todo).scored_now == 0
    assert todo.folder.results.read_bytes() == before
    (ward / "a" / "0.png").write_bytes(phantom_png(1))
    summary = run_batch(todo)
    assert (summary.files, summary.scored_now) == (9, 1)
    assert todo.folder.results.read_bytes().startswith(before)
    assert [row.file for row in rows_of(todo.out)][8:] == ["a/0.png"]


def test_other_parameters_are_refused_with_what_differs(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    todo = plan(options, ward)
    run_batch(todo)
    before = todo.folder.results.read_bytes()
    other_bundle = write_tiny_bundle(
        tmp_path / "other", change=lambda document: document.update(created="2026-11-24")
    )
    elsewhere = shutil.copytree(ward, tmp_path / "elsewhere")
    for changed, what in (
        (replace(todo, options=replace(options, operating_point="screening")), "screening"),
        (replace(todo, options=replace(options, bundle=other_bundle)), "bundle_sha256"),
        (replace(todo, recursive=False), "parameters.recursive was True, is False now"),
        (replace(todo, named=(elsewhere,)), "input was .*ward.* is .*elsewhere"),
    ):
        with pytest.raises(UsageError, match=what):
            run_batch(changed)
    assert todo.folder.results.read_bytes() == before


def test_nothing_is_written_where_nothing_can_be_scored(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    for named in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(NoInputError):
            run_batch(plan(options, named, out=out))
    with pytest.raises(RuntimeUnavailableError, match="tflite"):
        run_batch(plan(replace(options, runtime="tflite-runtime"), ward, out=out))
    assert options.bundle is not None
    (options.bundle / "model.onnx").write_bytes(b"changed")
    with pytest.raises(BundleIntegrityError, match=r"model\.onnx"):
        run_batch(plan(options, ward, out=out))
    assert not out.exists()


def test_a_foreign_results_file_is_never_touched(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.jsonl").write_text("my own notes")
    with pytest.raises(StorageError, match="name another folder"):
        run_batch(plan(options, ward, out=out))
    assert (out / "results.jsonl").read_text() == "my own notes"
    with pytest.raises(StorageError, match="cannot be written"):
        run_batch(plan(options, ward, out=out / "results.jsonl" / "out"))


def test_only_new_leaves_out_known_content_but_not_failures(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    run_batch(plan(options, ward, out=earlier))
    (ward / "moved.png").write_bytes((ward / "between.png").read_bytes())
    (ward / "new.png").write_bytes(phantom_png(5))
    todo = plan(replace(options, only_new=(earlier,)), ward)
    summary = run_batch(todo)
    assert [row.file for row in rows_of(todo.out)] == [
        "cut.jpeg",
        "empty.png",
        "new.png",
        "note.png",
    ]
    assert (summary.files, summary.known) == (4, 6)
    # The same again, with the file itself named: nothing is left to do.
    again = replace(options, only_new=(earlier / "results.jsonl",))
    assert run_batch(plan(again, ward)).scored_now == 0
    with pytest.raises(UsageError, match="no results to compare with"):
        run_batch(plan(replace(options, only_new=(ward,)), ward, out=tmp_path / "out2"))
    assert not list(tmp_path.rglob("*.sqlite*"))


def test_files_patterns_and_lists(ward: Path, options: RunOptions, tmp_path: Path) -> None:
    def names(*named: Path, recursive: bool = True) -> list[str]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        run_batch(BatchPlan(named, out, recursive=recursive, options=options))
        return [row.file for row in rows_of(out)]

    assert names(ward / "whole.jpeg") == ["whole.jpeg"]
    assert names(ward, recursive=False) == [n for n, *_ in WARD if "/" not in n]
    assert names(ward / "**" / "*.png") == [n for n, *_ in WARD if n.endswith(".png")]
    assert names(ward / "*.jpeg") == ["cut.jpeg", "whole.jpeg"]
    # Files keep the order in which they are named, and one that is named twice is scored once.
    assert names(ward / "whole.jpeg", ward / "a", ward / "a" / "clear.png") == [
        "whole.jpeg",
        "a/clear.png",
        "a/suspected.png",
    ]
    listed = ward / "list.txt"
    listed.write_text("# two\nwhole.jpeg\r\n\na/clear.png\nwhole.jpeg\nmissing.png\n")
    assert names(listed) == ["whole.jpeg", "a/clear.png", "missing.png"]


def test_a_list_may_name_what_no_file_can_be_called(ward: Path, options: RunOptions) -> None:
    """Further down than where a list is looked at to tell text from something else."""
    listed = ward / "list.txt"
    listed.write_bytes(b"#" * 5000 + b"\na/clear.png\nno\0folder/1.png\nno\0file.png\n")
    first = plan(options, listed)
    run_batch(first)
    assert [(row.file, row.status.value) for row in rows_of(first.out)] == [
        ("a/clear.png", "scored"),
        ("no\0folder/1.png", "failed"),
        ("no\0file.png", "failed"),
    ]


def test_a_dry_run_tells_and_writes_nothing(ward: Path, options: RunOptions) -> None:
    todo = plan(options, ward)
    assert [(file.name, done) for file, done in list_files(todo)] == [
        (name, False) for name, *_ in WARD
    ]
    assert not todo.out.exists()
    run_batch(todo)
    (ward / "new.png").write_bytes(phantom_png(1))
    assert [file.name for file, done in list_files(todo) if not done] == ["new.png"]


def test_a_sub_folder_that_cannot_be_listed_is_said_and_has_a_row(
    ward: Path, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ward / "mount").mkdir()
    todo = plan(options, ward)
    before = f"{ward / 'a'}: cannot be listed: Permission denied; nothing in it is scored"
    empty = "sub-folders that are empty, 1: mount. Is a device or a share not mounted?"
    notes: list[str] = []
    with monkeypatch.context() as patch:
        deny(patch, ward / "a")
        assert [file.name for file, _ in list_files(todo, notes.append)] == [
            name for name, *_ in WARD[2:]
        ]
        left_out = "files that are no pictures were left out: 1 .txt"
        assert notes == [before, empty, left_out]
        notes.clear()
        summary = run_batch(todo, on_note=notes.append)
    assert notes == [NO_GATE, before, empty, left_out]
    assert (summary.unlisted_folders, summary.empty_folders) == (1, 1)
    assert "sub-folders that could not be listed: 1" in describe(summary)
    rows = rows_of(todo.out)
    assert answers(rows) == [("a", Decision.NOT_ASSESSABLE, Reason.UNREADABLE), *WARD[2:]]
    assert rows[0].message == "a: the folder cannot be listed: Permission denied"
    # Once it can be listed, its row can go and its files are scored.
    again = replace(todo, options=replace(options, retry_failed=True))
    summary = run_batch(again)
    assert summary.unlisted_folders == 0
    assert sorted(answers(rows_of(todo.out)), key=str) == sorted(WARD, key=str)


def test_where_nothing_is_found_empty_folders_are_named(
    options: RunOptions, tmp_path: Path
) -> None:
    (tmp_path / "in" / "mount").mkdir(parents=True)
    with pytest.raises(NoInputError, match="sub-folders that are empty, 1: mount"):
        run_batch(plan(options, tmp_path / "in"))


def test_an_interruption_leaves_whole_rows_and_the_rest_follows(
    ward: Path, options: RunOptions
) -> None:
    for index in range(40):
        (ward / f"more{index:02d}.png").write_bytes(phantom_png(1))
    todo = plan(options, ward)
    count = 0

    def stop_after_three(outcome: Outcome, found: int) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(todo, stop_after_three)
    there = len(rows_of(todo.out))
    assert 3 <= there < 48
    assert answers(rows_of(todo.out))[:6] == WARD[:6][:there]
    summary = run_batch(todo)
    assert (summary.files, summary.scored_now) == (48, 48 - there)
    assert [row.file for row in rows_of(todo.out)] == sorted(
        p.relative_to(ward).as_posix() for p in ward.rglob("*") if p.suffix in (".png", ".jpeg")
    )


@pytest.mark.parametrize("patience", [60.0, 0.0])
def test_rows_behind_a_slow_file_survive_an_interruption(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """The first picture waits for a file to be made; all others are finished before it."""
    home, scored = tmp_path / "site", tmp_path / "scored"
    home.mkdir()
    gate = tmp_path / "gate"
    decoder = f"""
import os, time
import edge_app.screening.score_file as scoring

honest = scoring.decode_image

def decode_image(data, name, **options):
    with open({str(scored)!r}, "a") as log:
        log.write(name + " ")
    while name == "000.png" and not os.path.exists({str(gate)!r}):
        time.sleep(0.01)
    return honest(data, name, **options)

scoring.decode_image = decode_image
"""
    (home / "sitecustomize.py").write_text(decoder)
    monkeypatch.setenv("PYTHONPATH", str(home))
    monkeypatch.setattr("edge_app.runs.scoring_run.SECONDS_TO_WIND_DOWN", patience)
    folder = tmp_path / "in"
    names = many(folder, 30)
    todo = plan(replace(options, formats=("jsonl", "html")), folder)

    def stop_when_others_are_finished() -> None:
        if scored.exists() and len(scored.read_text().split()) >= 12:
            if patience:
                gate.touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(todo, check=stop_when_others_are_finished)
    before = [row.file for row in rows_of(todo.out)]
    assert before == names[: len(before)]
    waiting = json_files(todo.folder.kept_answers)
    if patience:
        assert len(before) >= 12
        assert not waiting
    else:
        assert not before
        assert len(waiting) >= 8
        assert waiting == sorted(waiting)
        assert "000.png" not in waiting
    finished = set(before) | set(waiting)
    gate.touch()
    # One that has changed meanwhile is scored again.
    changed = waiting[:1]
    for name in changed:
        os.utime(folder / name, ns=(1, 1))
    scored.unlink()
    run_batch(todo)
    assert [row.file for row in rows_of(todo.out)] == names
    assert set(scored.read_text().split()) == set(names) - (finished - set(changed))
    assert not todo.folder.kept_answers.exists()


def json_files(waiting: Path) -> list[str]:
    if not waiting.exists():
        return []
    lines = waiting.read_text().splitlines()[1:]
    return [json.loads(json.loads(line)[1]["row"])["file"] for line in lines]


def test_pictures_that_wait_are_bounded_by_what_the_report_takes() -> None:
    kinds = [("pneumonia_suspected", True), ("not_assessable", False)]
    order = RowOrder()
    scores = {number: float(number * 7919 % 5000) for number in range(1, 5000)}
    for number, score in scores.items():
        decision, is_scored = kinds[number % 2]
        order.add(number, "x", Answered(**ANSWER | {
            "decision": decision, "raw_score": score if is_scored else None, "picture": "p"
        }))  # fmt: skip
    held = [n for n, reply in zip(scores, order.answers(), strict=True) if reply.picture]
    assert len(held) <= 1024
    suspected = sorted((n for n in scores if n % 2 == 0), key=lambda n: -scores[n])[:200]
    assert set(suspected) <= set(held)
    assert set(range(1, 200, 2)) <= set(held)


ANSWER: dict[str, Any] = {
    "id": 0,
    "row": "{}",
    "sha256": None,
    "status": "scored",
    "decision": "",
    "reason": None,
    "raw_score": None,
    "unread": False,
    "stage_ms": [],
    "picture": None,
    "stamp": None,
}


def test_an_input_that_goes_away_is_no_failure_of_its_files(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    for index in range(300):
        (ward / f"more{index:03d}.png").write_bytes(phantom_png(1, 64))
    todo = plan(replace(options, workers=1), ward)
    moved = tmp_path / "unplugged"

    def unplug(outcome: Outcome, found: int) -> None:
        if not moved.exists():
            ward.rename(moved)

    with pytest.raises(StorageError, match="the folder has gone"):
        run_batch(todo, unplug)
    assert all(
        row.status is not Status.FAILED or "No such file" not in (row.message or "")
        for row in rows_of(todo.out)
    )
    moved.rename(ward)
    assert run_batch(todo).files == 308
    assert [row.reason for row in rows_of(todo.out)].count(Reason.UNREADABLE) == 3


def test_another_picture_under_a_name_that_has_a_row_is_refused(
    ward: Path, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = plan(options, ward)
    run_batch(todo)
    before = todo.folder.results.read_bytes()
    # The same content under another time is the same picture, and noted as such.
    os.utime(ward / "between.png", ns=(1, 1))
    assert run_batch(todo).scored_now == 0
    assert todo.folder.file_stamps.read_text().splitlines()[-1].startswith('{"file":"between.png"')
    monkeypatch.setattr("edge_app.runs.run_store.content_digest", lambda path: None)
    assert run_batch(todo).scored_now == 0
    monkeypatch.undo()
    (ward / "0.png").write_bytes(phantom_png(5))
    for name in ("between.png", "empty.png", "cut.jpeg"):
        kept = (ward / name).read_bytes()
        (ward / name).write_bytes(phantom_png(12))
        with pytest.raises(UsageError, match=f"{name}: another file .* new folder"):
            run_batch(todo)
        # Nothing of another patient's folder is added either.
        assert todo.folder.results.read_bytes() == before
        (ward / name).write_bytes(kept)
    todo.folder.file_stamps.unlink()
    os.utime(ward / "between.png", ns=(2, 2))
    assert run_batch(todo).scored_now == 1
    todo.folder.file_stamps.write_bytes(b'{"file":"between.png","size":1,"mt')
    (ward / "between.png").write_bytes(phantom_png(12))
    with pytest.raises(UsageError, match=r"between\.png: another file"):
        run_batch(todo)


def test_a_relative_input_is_another_one_elsewhere(
    ward: Path, options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "1.png").write_bytes(phantom_png(1))
    todo = plan(options, Path("."), out=tmp_path / "out")
    monkeypatch.chdir(ward)
    run_batch(todo)
    assert read_results(todo.folder.results)[0].input == str(ward)
    assert run_batch(todo).scored_now == 0
    monkeypatch.chdir(other)
    with pytest.raises(UsageError, match=r"input was .*ward.* is .*other"):
        run_batch(todo)


def test_a_run_without_its_stamps_goes_on_by_the_content(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    todo = plan(options, ward, out=tmp_path / "out")
    run_batch(todo)
    lines = todo.folder.results.read_text().splitlines(keepends=True)
    todo.folder.results.write_text("".join(lines[:6]))
    todo.folder.file_stamps.unlink()
    assert run_batch(todo).scored_now == 3
    assert answers(rows_of(todo.out)) == WARD


def test_what_is_left_out_as_known_is_a_parameter_of_the_run(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    run_batch(plan(options, ward, out=earlier))
    (ward / "new.png").write_bytes(phantom_png(5))
    todo = plan(replace(options, only_new=(earlier,)), ward)
    assert [file.name for file, done in list_files(todo) if not done] == [
        "cut.jpeg",
        "empty.png",
        "new.png",
        "note.png",
    ]
    run_batch(todo)
    assert all(done for _, done in list_files(todo))
    with pytest.raises(UsageError, match=r"only_new was .*earlier.*results\.jsonl', is '' now"):
        run_batch(plan(options, ward))


def test_a_second_run_into_one_folder_touches_nothing_of_the_first(
    ward: Path, options: RunOptions, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    run_batch(plan(options, ward, out=earlier))
    todo = plan(replace(options, only_new=(earlier,)), ward)
    make_folder(todo.out)
    todo.folder.hashes.write_bytes(b"of the first run")
    todo.folder.names.write_bytes(b"of the first run")
    with Journal(todo.folder.results), pytest.raises(StorageError, match="another run"):
        run_batch(todo)
    assert todo.folder.hashes.read_bytes() == b"of the first run"
    assert todo.folder.names.read_bytes() == b"of the first run"


def test_rows_that_come_at_once_are_synced_in_bounded_batches(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(700):
        (folder / f"{index:03d}.png").write_bytes(b"no picture")
    written: list[int] = []
    honest = Journal.sync

    def sync(journal: Journal) -> None:
        before = results.read_bytes().count(b"\n") if results.exists() else 0
        honest(journal)
        written.append(results.read_bytes().count(b"\n") - before)

    results = RunFolder(tmp_path / "out").results
    monkeypatch.setattr(Journal, "sync", sync)
    # As after a stall: the first row's news comes when all others have come.
    take = Pool.take
    held: list[News] = []

    def late(pool: Pool, seconds: float) -> list[News]:
        held.extend(take(pool, seconds))
        if len(held) < 700:
            return []
        return [held.pop() for _ in range(700)]

    monkeypatch.setattr(Pool, "take", late)
    assert run_batch(plan(options, folder)).files == 700
    assert sum(written) == 700
    assert max(written) <= SYNC_ROWS


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks the system for a file's name")
def test_no_row_is_on_the_disk_before_its_stamp(
    ward: Path, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut at any moment leaves at least: what was brought onto the disk before it."""
    todo = plan(options, ward)
    disk: dict[str, set[str]] = {"results.jsonl": set(), "files.jsonl": set()}
    folders: list[int] = []
    honest = os.fsync

    def fsync(handle: int) -> None:
        honest(handle)
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            folders.append(os.stat(handle).st_ino)
            return
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path.name not in disk:
            return
        lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        disk[path.name] = {line["file"] for line in lines if "file" in line}
        assert disk["results.jsonl"] <= disk["files.jsonl"]

    monkeypatch.setattr("os.fsync", fsync)
    run_batch(todo)
    assert disk["results.jsonl"] == disk["files.jsonl"] == {name for name, *_ in WARD}
    # The names of the two files, and of run.json, are on the disk as well.
    assert folders == [os.stat(todo.out).st_ino] * 3


def test_rows_that_do_not_fit_get_the_room_of_their_pictures(
    ward: Path, options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = plan(replace(options, formats=("jsonl", "html")), ward)
    honest = Journal.sync

    def sync(journal: Journal) -> None:
        if todo.folder.thumbnails.stat().st_size:
            raise StorageError("no room")
        honest(journal)

    monkeypatch.setattr(Journal, "sync", sync)
    shown: list[str] = []
    with pytest.raises(StorageError, match="no room"):
        run_batch(todo, lambda outcome, found: shown.append(outcome.file))
    assert shown
    assert [row.file for row in rows_of(todo.out)] == shown
    monkeypatch.undo()
    assert run_batch(todo).scored_now == len(WARD) - len(shown)


def many(folder: Path, count: int) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{index:03d}.png" for index in range(count)]
    for name in names:
        (folder / name).write_bytes(phantom_png(1, 64))
    return names


@pytest.mark.parametrize("kind", ["tree", "list"])
def test_a_folder_within_the_input_that_goes_away_stops_the_run(
    ward: Path, options: RunOptions, tmp_path: Path, kind: str
) -> None:
    stick = ward / "z" if kind == "tree" else tmp_path / "stick"
    names = many(stick, 300)
    named = ward
    if kind == "list":
        named = ward / "list.txt"
        many(ward / "here", 100)
        listed = sorted((ward / "here").iterdir()) + [stick / name for name in names]
        named.write_text("\n".join(map(str, listed)))
    todo = plan(replace(options, workers=1), named, out=tmp_path / "out")
    moved = tmp_path / "unplugged"

    def unplug(outcome: Outcome, found: int) -> None:
        if not moved.exists() and (kind == "list" or outcome.file.startswith("z/")):
            stick.rename(moved)

    with pytest.raises(StorageError, match=f"{stick}: the folder has gone"):
        run_batch(todo, unplug)
    failed = [row for row in rows_of(todo.out) if row.status is Status.FAILED]
    assert not any("No such file" in (row.message or "") for row in failed)
    moved.rename(stick)
    run_batch(todo)
    files = {row.file for row in rows_of(todo.out)}
    assert len(files) == (400 if kind == "list" else 308)


def test_a_folder_on_another_device_is_not_the_one_that_was_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unmounted folder is still there, empty, on the device below it."""
    devices = _Devices()
    devices.note(tmp_path / "a.png")
    assert not devices.has_changed(tmp_path / "a.png")
    monkeypatch.setattr("edge_app.runs.batch._device", lambda folder: -1)
    assert devices.has_changed(tmp_path / "a.png")
    monkeypatch.undo()
    # What was missing from the start is a failure of its own.
    devices.note(tmp_path / "none" / "a.png")
    assert not devices.has_changed(tmp_path / "none" / "a.png")


def test_files_that_failed_are_scored_again_on_request(ward: Path, options: RunOptions) -> None:
    todo = plan(options, ward)
    run_batch(todo)
    before = rows_of(todo.out)
    (ward / "empty.png").write_bytes(phantom_png(1))
    again = replace(todo, options=replace(options, retry_failed=True))
    assert [f.name for f, done in list_files(again) if not done] == [
        "cut.jpeg",
        "empty.png",
        "note.png",
    ]
    notes: list[str] = []
    summary = run_batch(again, on_note=notes.append)
    assert notes == [
        NO_GATE,
        "3 files that had failed are scored again",
        "5 of 8 files have their row already",
        "files that are no pictures were left out: 1 .txt",
    ]
    assert (summary.files, summary.scored_now, summary.failed) == (8, 3, {"unreadable": 2})
    after = rows_of(todo.out)
    assert after[:5] == [row for row in before if row.status is not Status.FAILED]
    assert [(row.file, row.status) for row in after[5:]] == [
        ("cut.jpeg", Status.FAILED),
        ("empty.png", Status.SCORED),
        ("note.png", Status.FAILED),
    ]


def test_a_name_with_a_formula_is_harmless_in_the_table(
    options: RunOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "=1+1.png").write_bytes(phantom_png(1))
    todo = plan(replace(options, formats=("jsonl", "csv")), folder)
    run_batch(todo)
    assert rows_of(todo.out)[0].file == "=1+1.png"
    assert "\r\n'=1+1.png," in todo.folder.table.read_bytes().decode("utf-8-sig")


def test_a_dry_run_prints_one_line_a_file_whatever_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a\nb.png", "c\x1b[2Jd.png", "é.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "e\rf").mkdir()
    assert main(["batch", str(tmp_path), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "a\\x0ab.png\nc\\x1b[2Jd.png\né.png\n"
    assert r"sub-folders that are empty, 1: e\x0df." in printed.err


def test_a_name_that_is_no_utf8_is_scored(options: RunOptions, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / os.fsdecode(b"r\xf6ntgen\n1.png")
    try:
        path.write_bytes(phantom_png(1))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    todo = plan(options, folder)
    run_batch(todo)
    (row,) = rows_of(todo.out)
    assert (row.file, row.status) == ("r\\xf6ntgen\n1.png", Status.SCORED)
    assert run_batch(todo).scored_now == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize("shared", [False, True])
def test_results_are_their_owners_only_unless_they_are_shared(
    tmp_path: Path, signed_bundle_folder: Path, shared: bool
) -> None:
    """In full: the rows, the table, the report, its films, the stamps and the summary."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(phantom_png(1))
    out, summary = tmp_path / "out", tmp_path / "summary.json"
    arguments = ["batch", str(tmp_path / "in"), "-o", str(out), "--summary", str(summary)]
    arguments += ["--bundle", str(signed_bundle_folder), "--quiet", "--workers", "1"]
    before = os.umask(0o022)
    try:
        assert main([*arguments, *(["--shared"] if shared else [])]) == 0
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [*out.iterdir(), summary]}
    assert len(modes) == 7
    assert set(modes.values()) == {0o644 if shared else 0o600}, modes
    assert stat.S_IMODE(out.stat().st_mode) == (0o755 if shared else 0o700)


def test_a_model_that_nobody_signed_is_named_so_in_header_and_table(
    ward: Path, tmp_path: Path, signed_bundle_folder: Path
) -> None:
    from edge_app.bundle.signature import key_id
    from tests.tiny_bundle import TEST_PUBLIC_KEY

    unsigned = write_tiny_bundle(tmp_path / "unsigned")
    for bundle, signer in ((unsigned, "nobody"), (signed_bundle_folder, key_id(TEST_PUBLIC_KEY))):
        out = tmp_path / f"by-{signer}"
        notes: list[str] = []
        options = RunOptions(bundle=bundle, workers=1, formats=("jsonl", "csv"))
        run_batch(BatchPlan((ward,), out, options=options), on_note=notes.append)
        assert read_results(out / "results.jsonl")[0].parameters["signed_by"] == signer
        head, *lines = (out / "results.csv").read_text("utf-8-sig").splitlines()
        assert head.endswith("model_signed_by")
        assert all(line.endswith(f",{signer}") for line in lines)
        assert any("nobody has signed" in note for note in notes) == (signer == "nobody")
