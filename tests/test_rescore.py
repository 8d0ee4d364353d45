"""`pneumoscope rescore` and `batch --sort-into`: stored answers, read again and laid out."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edge_app.cli import main
from edge_app.decision import Decision, Reason, Status
from edge_app.errors import DataError, StorageError, UsageError
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.results.folder import RunFolder
from edge_app.results.rows import CutOffs
from edge_app.runs.discovery import path_of, portable_name
from edge_app.runs.rescore import RescorePlan, rescore
from edge_app.runs.sorted_files import sort_files
from edge_app.screening.locator import ONE_LUNG
from edge_app.site.cases import read_run
from edge_app.site.rescored import rescored
from tests.site_runs import HEADER, LUNGS, decision_of, refused, scored, write_run
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, seed in (("a/1.png", 1), ("b/1.png", 3), ("b/8.png", 8)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        pixels = draw_phantom(Phantom(seed=seed), 160, 192, bits=8)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def out(films: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the films."""
    folder = tmp_path_factory.mktemp("run") / "out"
    main(["batch", str(films), "-o", str(folder), "--bundle", str(bundle), "--quiet"])
    return folder


def _rows(folder: Path) -> list[bytes]:
    return (folder / "results.jsonl").read_bytes().splitlines()[1:]


@given(
    scores=st.lists(st.floats(-20, 20), max_size=20),
    cuts=st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(sorted),
)
def test_other_cut_offs_and_back_is_the_identity(scores: list[float], cuts: list[float]) -> None:
    rows = [scored(f"{i}.png", score) for i, score in enumerate(scores)] + [refused("r.png")]
    other = CutOffs("other", cuts[0], cuts[0], cuts[1])
    for row in rows:
        assert rescored(row, HEADER.operating_point) == row
        moved = rescored(row, other)
        assert moved.raw_score == row.raw_score
        if row.raw_score is not None:
            assert moved.decision == decision_of(row.raw_score, other)
        assert rescored(moved, HEADER.operating_point) == row


@given(score=st.floats(-20, 20), cuts=st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(sorted))
def test_a_film_with_one_lung_is_suspected_or_refused(score: float, cuts: list[float]) -> None:
    """As the screener has it: half a chest is never called clear, nor in between."""
    half = scored("half.png", score, lungs=replace(LUNGS, parts=1))
    other = CutOffs("other", cuts[0], cuts[0], cuts[1])
    row = rescored(half, other)
    assert row.operating_point == "other"
    if score >= cuts[1]:
        assert (row.decision, row.raw_score) == (Decision.PNEUMONIA_SUSPECTED, score)
    else:
        assert (row.status, row.reason) == (Status.REFUSED, Reason.LUNGS_NOT_FOUND)
        assert row.message == ONE_LUNG.message
        assert (row.raw_score, row.probability, row.lungs, row.infer_ms) == (None,) * 4
        assert rescored(row, HEADER.operating_point).reason is row.reason


def test_the_runs_own_cut_offs_give_its_rows_byte_for_byte(
    out: Path, bundle: Path, tmp_path: Path
) -> None:
    done = rescore(RescorePlan(out, tmp_path / "same", bundle, operating_point="balanced"))
    assert _rows(tmp_path / "same") == _rows(out)
    assert (done.rows, done.changed) == (4, 0)
    assert (tmp_path / "same" / "results.csv").read_bytes() == (out / "results.csv").read_bytes()


def test_other_cut_offs_give_what_a_run_with_them_gives(
    films: Path, out: Path, bundle: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    options = ["--bundle", str(bundle), "--quiet", "--operating-point", "screening"]
    main(["batch", str(films), "-o", str(again), *options])
    rescore(RescorePlan(out, tmp_path / "new", bundle, operating_point="screening"))
    expected, found = read_run(again), read_run(tmp_path / "new")
    assert found.header.operating_point == expected.header.operating_point
    for name, row in expected.rows.items():
        other = found.rows[name]
        assert (other.decision, other.probability) == (row.decision, row.probability)
        assert other.operating_point == row.operating_point == "screening"
    assert main(["validate", str(tmp_path / "new")]) == 0


def test_cut_offs_are_probabilities_and_pictures_follow_their_answers(
    out: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    command = ["rescore", str(out), "--bundle", str(bundle), "-o", str(new), "--cut-offs"]
    assert main([*command, "0.998,0.999"]) == 0
    assert "have another answer" in capsys.readouterr().out
    run = read_run(new)
    decisions = {row.decision for row in run.rows.values() if row.raw_score is not None}
    assert decisions == {Decision.NO_PNEUMONIA_SEEN}
    assert run.header.parameters["rescored_from"]
    report = (new / "report.html").read_text(encoding="utf-8")
    assert "cut-offs 0.998 and 0.999" in report
    low = tmp_path / "low"
    command = ["rescore", str(out), "--bundle", str(bundle), "-o", str(low)]
    assert main([*command, "--cut-offs", "0.001,0.002"]) == 0
    shown = json.loads(
        (low / "report.html")
        .read_text(encoding="utf-8")
        .partition('id="data-pictures">')[2]
        .partition("</script>")[0]
    )
    # The clear film of the first run had no picture, and none can be made of a score.
    assert {picture["file"] for picture in shown["suspected"]} == {"a/1.png", "b/8.png"}


@pytest.mark.parametrize("text", ["0.5", "0.8,0.2", "0,0.5", "a,b", "0.1,0.2,0.3"])
def test_what_are_no_cut_offs_is_usage(out: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(SystemExit):
        main(["rescore", str(out), "-o", str(tmp_path / "x"), "--cut-offs", text])


def test_what_cannot_be_rescored_says_why_and_writes_nothing(
    out: Path, bundle: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    with pytest.raises(DataError, match="line 1: scored by made-up"):
        rescore(RescorePlan(write_run(tmp_path / "x", []), new, bundle, "balanced"))
    with pytest.raises(UsageError, match="no operating point 'foo'"):
        rescore(RescorePlan(out, new, bundle, "foo"))
    with pytest.raises(UsageError, match="holds something"):
        rescore(RescorePlan(out, out, bundle, "balanced"))
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "results.jsonl").write_bytes((out / "results.jsonl").read_bytes()[:-4])
    with pytest.raises(DataError, match="line 5: torn"):
        rescore(RescorePlan(torn, new, bundle, "balanced"))
    assert not (new / "results.jsonl").exists()


def test_a_rescored_run_is_not_gone_on_with(
    films: Path, out: Path, bundle: Path, tmp_path: Path
) -> None:
    rescore(RescorePlan(out, tmp_path / "new", bundle, "balanced"))
    command = ["batch", str(films), "-o", str(tmp_path / "new"), "--bundle", str(bundle)]
    assert main([*command, "--quiet"]) == 2


def test_names_lead_back_to_their_files(tmp_path: Path) -> None:
    for name in ("a b/ü.png", "x\\x41.png", os.fsdecode(b"\xff\xfe.png"), "\\n.png"):
        path = tmp_path / name
        assert path_of(portable_name(path, tmp_path), tmp_path) == path


def test_films_are_linked_by_answer(
    films: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "sorted"
    command = ["batch", str(films), "-o", str(tmp_path / "o"), "--bundle", str(bundle)]
    for _ in range(2):  # again: nothing changes
        assert main([*command, "--sort-into", str(into)]) == 1
        assert f"Sorted:  {into} (4 films)" in capsys.readouterr().out
        found = {p.relative_to(into).as_posix() for p in into.rglob("*") if not p.is_dir()}
        assert found == {
            "pneumonia_suspected/a/1.png",
            "no_pneumonia_seen/b/1.png",
            "indeterminate/b/8.png",
            "not_assessable/bad.png",
        }
    link = into / "pneumonia_suspected" / "a" / "1.png"
    assert link.is_symlink()
    assert link.read_bytes() == (films / "a" / "1.png").read_bytes()


def test_a_folder_that_is_scored_takes_no_sorted_films(films: Path, tmp_path: Path) -> None:
    command = ["batch", str(films), "-o", str(tmp_path / "o"), "--sort-into"]
    assert main([*command, str(films / "sorted")]) == 2
    assert not (tmp_path / "o").exists()


def test_copies_where_links_are_not_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.png").write_bytes(b"film")
    run = write_run(tmp_path / "o", [scored("1.png", 9.0)])

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    notes: list[str] = []
    sort_files(RunFolder(run), tmp_path, tmp_path / "s", copies=False, on_note=notes.append)
    copy = tmp_path / "s" / "pneumonia_suspected" / "1.png"
    assert not copy.is_symlink()
    assert copy.read_bytes() == b"film"
    assert len(notes) == 1


def test_a_changed_answer_moves_its_film_and_missing_ones_are_counted(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"film")
    run = write_run(tmp_path / "o", [scored("1.png", 9.0), scored("gone.png", 9.0)])
    done = sort_files(RunFolder(run), tmp_path, tmp_path / "s", copies=False)
    assert (done.films, done.missing) == (1, 1)
    # Under a watch a film that was overwritten has a second row, which holds.
    write_run(run, [scored("1.png", 9.0), scored("1.png", -9.0, sha256="e" * 64)])
    sort_files(RunFolder(run), tmp_path, tmp_path / "s", copies=False)
    found = [p for p in (tmp_path / "s").rglob("*") if not p.is_dir()]
    assert found == [tmp_path / "s" / "no_pneumonia_seen" / "1.png"]


@given(name=st.text(max_size=20) | st.sampled_from(["../../x", "/etc/x", "C:\\x", "..", "a/../b"]))
def test_no_name_leads_out(name: str) -> None:
    from edge_app.runs.sorted_files import _safe_parts

    parts = list(_safe_parts(name))
    place = Path("/sorted/answer").joinpath(*parts)
    assert os.path.normpath(place) == str(place)
    assert place.is_relative_to("/sorted/answer")


def test_names_that_meet_get_numbers(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "x.png").write_bytes(b"1")
    (tmp_path / "_").mkdir()
    (root / "_").mkdir()
    (tmp_path / "y.png").write_bytes(b"2")
    (root / "_" / "y.png").write_bytes(b"3")
    rows = [scored("../y.png", 9.0), scored("_/y.png", 9.0)]
    run = write_run(tmp_path / "o", rows)
    for _ in range(2):
        sort_files(RunFolder(run), root, tmp_path / "s", copies=True)
        folder = tmp_path / "s" / "pneumonia_suspected" / "_"
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert found == {"y.png": b"2", "y (2).png": b"3"}


def test_a_full_disk_leaves_no_half_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.png").write_bytes(b"film")
    run = write_run(tmp_path / "o", [replace(scored("1.png", 9.0))])

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"fi")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(StorageError, match="No space left"):
        sort_files(RunFolder(run), tmp_path, tmp_path / "s", copies=True)
    assert not [p for p in (tmp_path / "s").rglob("*") if not p.is_dir()]
