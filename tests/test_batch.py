"""Folder scoring: a row a file whatever is wrong with it, and nothing half-written."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_app.batch import BatchPlan, plan_batch, run_batch, score_file
from edge_app.bundle import load_bundle
from edge_app.decision import Decision, Reason, Status
from edge_app.errors import BundleError, NoInputError, StorageError, UsageError
from edge_app.phantom import Phantom, draw_phantom
from edge_app.results import ResultRow, read_results, validate_results
from edge_app.screener import Screener
from tests.pictures import encoded


def phantom_png(seed: int, side: int = 256) -> bytes:
    return encoded(Image.fromarray(draw_phantom(Phantom(seed), side, side)), "PNG")


@pytest.fixture
def screener(tiny_bundle_folder: Path) -> Screener:
    return Screener(load_bundle(tiny_bundle_folder))


@pytest.fixture
def ward(tmp_path: Path) -> Path:
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
        path = tmp_path / "ward" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "ward"


def test_a_folder_becomes_rows_in_the_order_of_the_names(
    ward: Path, screener: Screener, tmp_path: Path
) -> None:
    plan = plan_batch(ward, tmp_path / "out")
    assert plan.total == 8
    seen: list[ResultRow] = []
    summary = run_batch(plan, screener, seen.append)
    header, rows = read_results(plan.results)
    rows = list(rows)
    assert rows == seen
    answers = [(row.file, row.decision, row.reason) for row in rows]
    unreadable = (Decision.NOT_ASSESSABLE, Reason.UNREADABLE)
    assert answers[:7] == [
        ("a/clear.png", Decision.NO_PNEUMONIA_SEEN, None),
        ("a/suspected.png", Decision.PNEUMONIA_SUSPECTED, None),
        ("between.png", Decision.INDETERMINATE, None),
        ("blank.png", Decision.NOT_ASSESSABLE, Reason.NO_CONTRAST),
        ("cut.jpeg", *unreadable),
        ("empty.png", *unreadable),
        ("note.png", *unreadable),
    ]
    assert answers[7][0] == "whole.jpeg"
    assert [row.status for row in rows].count(Status.FAILED) == 3
    assert validate_results(plan.results).problems == ()
    assert header.input == str(ward)
    assert header.operating_point.name == "balanced"
    assert header.model_sha256 == screener.runtime.model.sha256
    assert summary.total == 8
    assert summary.failed == {Reason.UNREADABLE: 3}
    assert summary.refused == {Reason.NO_CONTRAST: 1}
    assert summary.decisions[Decision.NOT_ASSESSABLE] == 4
    with plan.table.open(encoding="utf-8-sig", newline="") as stream:
        assert [line["file"] for line in csv.DictReader(stream)] == [row.file for row in rows]
    assert sorted(path.name for path in plan.out.iterdir()) == ["results.csv", "results.jsonl"]


def test_hashes_and_times(ward: Path, screener: Screener) -> None:
    import hashlib

    for name in ("between.png", "cut.jpeg"):
        row = score_file(screener, ward / name, name)
        assert row.sha256 == hashlib.sha256((ward / name).read_bytes()).hexdigest()
    scored = score_file(screener, ward / "between.png", "x")
    assert scored.decode_ms is not None
    assert scored.infer_ms is not None
    assert 0 < scored.decode_ms + scored.infer_ms <= scored.total_ms
    assert score_file(screener, ward / "empty.png", "x").sha256 is None


def test_two_runs_give_the_same_scores(ward: Path, screener: Screener, tmp_path: Path) -> None:
    def scores(out: str) -> list[float | None]:
        plan = plan_batch(ward, tmp_path / out)
        run_batch(plan, screener, lambda row: None)
        return [row.raw_score for row in read_results(plan.results)[1]]

    assert scores("one") == scores("two")


def test_a_defect_costs_its_file_only(
    ward: Path, screener: Screener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_score = Screener.score

    def score(self: Screener, radiograph: object) -> object:
        if getattr(radiograph, "source_format", "") == "JPEG":
            raise ZeroDivisionError("a defect")
        return true_score(self, radiograph)  # type: ignore[arg-type]

    monkeypatch.setattr(Screener, "score", score)
    plan = plan_batch(ward, tmp_path / "out")
    summary = run_batch(plan, screener, lambda row: None)
    assert summary.total == 8
    assert summary.failed[Reason.INTERNAL_ERROR] == 1
    (row,) = (r for r in read_results(plan.results)[1] if r.reason is Reason.INTERNAL_ERROR)
    assert row.message == "whole.jpeg: ZeroDivisionError: a defect"


def test_what_concerns_the_model_stops(
    ward: Path, screener: Screener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(self: Screener, radiograph: object) -> object:
        raise BundleError("gone")

    monkeypatch.setattr(Screener, "score", score)
    with pytest.raises(BundleError):
        score_file(screener, ward / "between.png", "x")


def test_an_interruption_leaves_whole_rows(ward: Path, screener: Screener, tmp_path: Path) -> None:
    plan = plan_batch(ward, tmp_path / "out")
    done: list[ResultRow] = []

    def stop_after_three(row: ResultRow) -> None:
        done.append(row)
        if len(done) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(plan, screener, stop_after_three)
    assert validate_results(plan.results).problems == ()
    assert list(read_results(plan.results)[1]) == done
    assert not plan.table.exists()


def test_plans_are_refused_before_anything_is_written(ward: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    for folder in (empty, tmp_path / "none"):
        with pytest.raises(NoInputError):
            plan_batch(folder, out)
    assert not out.exists()
    out.mkdir()
    (out / "results.jsonl").write_text("kept")
    with pytest.raises(UsageError, match="never overwritten"):
        plan_batch(ward, out)
    assert (out / "results.jsonl").read_text() == "kept"


def test_an_unwritable_output_folder_is_a_storage_error(
    ward: Path, screener: Screener, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    plan = BatchPlan(folder=ward, out=blocked / "out", total=8)
    with pytest.raises(StorageError, match="cannot be written"):
        run_batch(plan, screener, lambda row: None)


def test_a_name_with_a_formula_is_harmless_in_the_table(screener: Screener, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "=1+1.png").write_bytes(phantom_png(1))
    plan = plan_batch(folder, tmp_path / "out")
    run_batch(plan, screener, lambda row: None)
    assert json.loads(plan.results.read_text().splitlines()[1])["file"] == "=1+1.png"
    assert "\r\n'=1+1.png," in plan.table.read_bytes().decode("utf-8-sig")


def test_runtimes_agree_on_every_decision(ward: Path, tiny_bundle_folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("ai_edge_litert")
    bundle = load_bundle(tiny_bundle_folder)
    files = sorted(ward.rglob("*.png"))
    by_runtime = [
        [score_file(Screener(bundle, name), path, path.name) for path in files]
        for name in ("litert", "onnxruntime")
    ]
    for first, second in zip(*by_runtime, strict=True):
        if first.raw_score is not None and second.raw_score is not None:
            assert abs(first.raw_score - second.raw_score) < 0.05
        assert first.reason == second.reason
    assert np.isfinite([r.raw_score for r in by_runtime[0] if r.raw_score is not None]).all()
