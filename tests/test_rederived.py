"""What OUT holds beside rows: how a run ended; table and report once more, input and all gone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edge_app.cli import main
from edge_app.errors import UsageError
from edge_app.results.run_end import RunEnd, read_run_end
from edge_app.runs.batch import BatchPlan, run_batch
from edge_app.runs.scoring_run import RunOptions
from tests.test_batch import phantom_png


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    folder = tmp_path / "ward"
    (folder / "b").mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.png").write_bytes(phantom_png(number + 1))
    (folder / "b" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    (folder / "b" / "films.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "notes").write_text("no picture")
    return folder


@pytest.fixture
def plan(ward: Path, tmp_path: Path, tiny_bundle_folder: Path) -> BatchPlan:
    return BatchPlan((ward,), tmp_path / "o", options=RunOptions(bundle=tiny_bundle_folder))


def test_files_left_out_are_counted_and_unread_pictures_have_a_row(
    plan: BatchPlan, ward: Path
) -> None:
    notes: list[str] = []
    summary = run_batch(plan, on_note=notes.append)
    assert (summary.files, summary.failed) == (4, {"unreadable": 1})
    assert summary.left_out == {".zip": 1, "": 1}
    words = "files that are no pictures were left out: 1 without an ending, 1 .zip"
    assert words in notes
    assert words in plan.folder.report.read_text(encoding="utf-8").replace("Files", "files")
    rows = [json.loads(line) for line in plan.folder.results.read_text().splitlines()[1:]]
    (phone,) = (row for row in rows if row["file"] == "b/phone.HEIC")
    assert "a HEIC photograph, which is not read" in phone["message"]
    end = read_run_end(plan.folder)
    assert end == RunEnd(True, 4, str(ward), {".zip": 1, "": 1})


def test_a_report_is_made_again_without_the_input(
    plan: BatchPlan, ward: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_batch(plan)
    before = plan.folder.table.read_bytes(), plan.folder.report.read_bytes()
    shutil.rmtree(ward)
    plan.folder.table.unlink()
    plan.folder.report.unlink()
    command = ["report", str(plan.out), "--bundle", str(tiny_bundle_folder)]
    assert main(command) == 0
    assert (plan.folder.table.read_bytes(), plan.folder.report.read_bytes()) == before
    assert "had not come to its end" not in capsys.readouterr().err
    plan.folder.run_end.unlink()  # as after a kill: the same, but that the end is not known
    assert main(command) == 0
    assert "had not come to its end" in capsys.readouterr().err
    page = plan.folder.report.read_text(encoding="utf-8")
    assert "This run has not come to its end" in page
    assert '"root": "../ward/"' in page


def test_a_report_needs_results_of_the_model(
    plan: BatchPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path / "none")]) == 4
    run_batch(plan)
    before = plan.folder.report.read_bytes()
    assert main(["report", str(plan.out)]) == 2
    assert "name its bundle with --bundle" in capsys.readouterr().err
    assert plan.folder.report.read_bytes() == before


def test_a_run_goes_on_after_its_input_moved(plan: BatchPlan, ward: Path, tmp_path: Path) -> None:
    run_batch(plan)
    moved = tmp_path / "stick" / "ward"
    moved.parent.mkdir()
    shutil.move(ward, moved)
    (moved / "new.png").write_bytes(phantom_png(9))
    elsewhere = replace(plan, named=(moved,))
    with pytest.raises(UsageError, match="input was"):
        run_batch(elsewhere)
    notes: list[str] = []
    summary = run_batch(replace(elsewhere, same_input=True), on_note=notes.append)
    assert (summary.files, summary.scored_now) == (5, 1)
    assert "4 of 5 files have their row already" in notes
    end = read_run_end(plan.folder)
    assert end is not None
    assert end.root == str(moved)


def test_same_input_is_held_against_names_and_contents(
    plan: BatchPlan, ward: Path, tmp_path: Path
) -> None:
    run_batch(plan)
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.png").write_bytes(phantom_png(9))
    with pytest.raises(UsageError, match="none of the files that have a row"):
        run_batch(replace(plan, named=(other,), same_input=True))
    (other / "0.png").write_bytes(phantom_png(8))
    with pytest.raises(UsageError, match="another file lies here"):
        run_batch(replace(plan, named=(other,), same_input=True))


def test_a_link_to_the_input_names_the_same_run(plan: BatchPlan, ward: Path) -> None:
    run_batch(plan)
    link = ward.with_name("link")
    link.symlink_to(ward)
    assert run_batch(replace(plan, named=(link,))).scored_now == 0


def test_a_mended_file_is_told_how_it_is_scored_again(plan: BatchPlan, ward: Path) -> None:
    (ward / "1.png").write_bytes(phantom_png(2)[:500])
    run_batch(plan)
    (ward / "1.png").write_bytes(phantom_png(2))
    with pytest.raises(UsageError, match="--retry-failed scores it again"):
        run_batch(plan)
    options = replace(plan.options, retry_failed=True)
    assert run_batch(replace(plan, options=options)).scored_now == 2


def test_progress_never_runs_back(plan: BatchPlan, ward: Path) -> None:
    for number in range(20):
        (ward / f"later{number}").mkdir()
        (ward / f"later{number}" / "film").write_bytes(phantom_png(number))
    seen: list[int] = []
    run_batch(plan, lambda outcome, total: seen.append(total))
    assert seen == [24] * 24
