"""The commands from the outside: bad input, exit codes, interruption, and small real runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks.article import read_article
from benchmarks.cli import main
from benchmarks.contenders import bundle_contenders
from benchmarks.folder_command import run_command
from benchmarks.latency import FULL
from benchmarks.machine import read_sensors
from benchmarks.picture_folder import choose_pictures, link_pictures
from benchmarks.processes import WorkerError
from benchmarks.record import ArticleRow, Scale, ScalePoint, Throughput, ThroughputRow
from benchmarks.scale import FILES, Rows, measure_scale, score_size, up_to
from benchmarks.store import FILE, Recording, read_results
from benchmarks.throughput import Options, Pass, Race, Runner
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle, Metric, Split
from edge_app.errors import NoInputError, StorageError, UsageError
from edge_app.files.codec import encode
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.statistics.intervals import Figure
from tests.tiny_bundle import write_tiny_bundle

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for index in range(4):
        path = folder / ("PNEUMONIA" if index % 2 else "NORMAL") / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw_phantom(Phantom(index, opacity=index % 2), 160, 180)
        Image.fromarray(pixels).save(path)
    return folder


def options(bundle: Path, out: Path) -> list[str]:
    return ["--bundle", str(bundle), "-o", str(out)]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["accuracy", "--data", "{empty}"], 4, "no picture of class"),
        (["accuracy", "--data", "{empty}/absent"], 4, "no such folder"),
        (["accuracy", "--data", "{empty}", "--runtime", "torch"], 4, ""),
        (["latency", "--runtime", "torch"], 2, "no runtime 'torch'"),
        (["latency", "--model", "a.onnx", "{empty}/absent.json"], 2, "absent.json"),
        (["latency", "--python", "litert=/no/python"], 2, "cannot be executed"),
        (["throughput", "{empty}"], 4, "no PNG"),
        (["throughput", "{empty}", "--contenders", "caffe"], 2, "no contender 'caffe'"),
        (["scale", "{empty}"], 4, "no PNG"),
        (["article", "{empty}"], 4, "no training record"),
    ],
)
def test_bad_input_ends_with_the_code_of_the_design(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    tiny_bundle_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    filled = [argument.format(empty=empty) for argument in arguments]
    assert main([*filled, *options(tiny_bundle_folder, tmp_path / "out")]) == code
    assert message in capsys.readouterr().err


def test_results_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_text("{}")
    assert main(["report", str(tmp_path / FILE), "-o", str(tmp_path)]) == 2
    assert "format version" in capsys.readouterr().err


def test_compare_measures_chooses_and_reports(
    tiny_bundle_folder: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_STATE", str(tmp_path / "state"))
    # What is tested is what is measured and kept, not how exactly.
    short = replace(FULL, warmup_s=0.05, offline_samples=64, offline_rounds=2)
    monkeypatch.setattr("benchmarks.cli.latency.FULL", short)
    arguments = ["compare", *options(tiny_bundle_folder, tmp_path / "out"), "--threads", "1"]
    arguments += ["--runs", "50", "--data", str(pictures), "--runtime", "litert"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "**recommended**" in shown
    assert (tmp_path / "state" / "recommendation.json").is_file()
    held = read_results(tmp_path / "out" / FILE)
    assert held.accuracy is not None
    assert held.latency is not None
    assert held.compare is not None
    assert "static_int8 litert" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    # What is there already is not measured again.
    began = time.monotonic()
    assert main(arguments) == 0
    assert read_results(tmp_path / "out" / FILE).latency == held.latency
    assert time.monotonic() - began < 30
    # Other pictures, and contenders that were not there: what is held is not about them.
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    shutil.copy(pictures / "NORMAL" / "0.jpg", other / "NORMAL" / "more.jpg")
    assert main([*arguments, "--data", str(other)]) == 0
    again = read_results(tmp_path / "out" / FILE)
    assert again.accuracy is not None
    assert (again.accuracy.data.n, again.accuracy.data.name) == (5, "other")
    assert again.latency == held.latency
    assert main([*arguments, "--data", str(other), "--threads", "1,2"]) == 0
    third = read_results(tmp_path / "out" / FILE)
    assert third.accuracy == again.accuracy
    assert third.latency is not None
    assert {row.threads for row in third.latency.rows} == {1, 2}
    assert main([*arguments, "--data", str(other), "--runtime", "onnxruntime"]) == 0
    fourth = read_results(tmp_path / "out" / FILE)
    assert fourth.accuracy is not None
    assert len(fourth.accuracy.rows) == 2


def test_throughput_of_real_commands_in_one_run(
    tiny_bundle_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    arguments = ["throughput", str(pictures), *options(tiny_bundle_folder, tmp_path / "out")]
    arguments += ["--rounds", "2", "--files", "8", "--workers", "1"]
    assert main([*arguments, "--contenders", "litert,tflite-runtime"]) == 0
    section = read_results(tmp_path / "out" / FILE).throughput
    assert section is not None
    rows = {row.name: row for row in section.rows}
    ours = rows["pneumoscope batch, 1 worker"]
    assert (ours.images, len(ours.seconds)) == (8, 2)
    assert len(rows["litert"].seconds) == len(rows["floor"].seconds) == 2
    assert set(section.floor_parts_ms) == {"entropy decoding", "inference"}
    # The same network on the same pictures: the same ranking.
    assert ours.auroc is not None
    assert rows["litert"].auroc == pytest.approx(ours.auroc, abs=0.26)
    missing = rows["tflite-runtime"]
    assert bool(missing.missing) != bool(missing.seconds)


def test_files_that_no_loop_can_read_are_left_out_and_counted(
    tiny_bundle_folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (pictures / "NORMAL" / "0.jpg").read_bytes()
    (pictures / "NORMAL" / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (pictures / "NORMAL" / "a.dcm").write_bytes(b"DICM")
    arguments = ["throughput", str(pictures), *options(tiny_bundle_folder, tmp_path / "out")]
    arguments += ["--rounds", "1", "--files", "4", "--workers", "1", "--contenders", "litert"]
    assert main(arguments) == 0
    assert "4 pictures of pictures, left out: 1 DICOM and 1 unreadable files" in (
        capsys.readouterr().out
    )
    section = read_results(tmp_path / "out" / FILE).throughput
    assert section is not None
    assert all(row.seconds for row in section.rows)


def test_loop_that_dies_in_a_pass_is_missing_and_the_rest_goes_on(
    pictures: Path,
) -> None:
    def runner(name: str, fails: int | None, *, ours: bool = False) -> Runner:
        passes = iter(range(10))

        def run() -> Pass:
            if next(passes) == fails:
                raise WorkerError("the worker died with status -9")
            return Pass(1.0)

        return Runner(ThroughputRow(name, "", 1, 4, {}, "", None, None, ()), run, ours=ours)

    recording: Recording[Throughput] = Recording("throughput", "t", "m")
    options = Options(4, 4, 3, (1,), ())
    race = Race("x", choose_pictures(pictures, 4), options, recording, read_sensors())
    runners = [runner("ours", None, ours=True), runner("a", 2), runner("b", None)]
    section = race.run(runners)
    ours, dead, alive = section.rows
    assert (dead.missing, dead.seconds) == ("the worker died with status -9", ())
    assert len(ours.seconds) == len(alive.seconds) == 3
    with pytest.raises(WorkerError):
        race.run([runner("ours", 1, ours=True)])


@pytest.mark.skipif(sys.platform == "win32", reason="needs wait4")
def test_startup_measures_fresh_processes(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    arguments = ["startup", *options(tiny_bundle_folder, tmp_path / "out"), "--runs", "2"]
    assert main(arguments) == 0
    section = read_results(tmp_path / "out" / FILE).startup
    assert section is not None
    bare, version, score = section.rows
    assert all(len(row.seconds) == 2 for row in section.rows)
    assert max(bare.peak_memory_mb) < 40
    assert score.peak_memory_mb[0] > bare.peak_memory_mb[0]
    assert score.seconds[0] > version.seconds[0]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_interrupted_keeps_what_is_done(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks", "latency", *options(tiny_bundle_folder, out)]
    command += ["--threads", "1,2", "--runs", "50", "--runtime", "litert"]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out / FILE).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "what was done of latency is in results.json" in errors
    assert "Interrupted" in (out / "report.html").read_text(encoding="utf-8")
    section = read_results(out / FILE).latency
    assert section is not None
    assert not section.taken.complete
    assert [row.threads for row in section.rows] == [1]


def interrupt_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.accuracy.run_worker", interrupted)


def test_interrupted_before_anything_is_done_says_so(
    tiny_bundle_folder: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt_scoring(monkeypatch)
    out = tmp_path / "out"
    arguments = ["accuracy", "--data", str(pictures), *options(tiny_bundle_folder, out)]
    assert main(arguments) == 130
    assert "nothing was finished" in capsys.readouterr().err
    assert not (out / FILE).exists()


def test_interrupted_check_does_not_claim_to_keep_anything(
    tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.cli.check._landed", lambda *_, **__: ())
    monkeypatch.setattr("benchmarks.cli.check.measure_throughput", interrupted)
    assert main(["check", "--bundle", str(tiny_bundle_folder)]) == 130
    assert capsys.readouterr().err.strip().endswith("interrupted; nothing was written")


def test_same_pictures_under_several_names(pictures: Path, tmp_path: Path) -> None:
    chosen = choose_pictures(pictures, 2).pictures
    assert len(chosen) == 2
    links = link_pictures(chosen, tmp_path / "links", 6)
    found = sorted(path for path in links.rglob("*") if path.is_file())
    assert len(found) == 6
    assert {path.parent.name for path in found} == {path.parent.name for path in chosen}
    assert {path.read_bytes() for path in found} == {path.read_bytes() for path in chosen}


def write_record(folder: Path, name: str, unit: str, logits: list[float]) -> Path:
    folder.mkdir(parents=True)
    config = f'{{"name": "{name}", "split": {{"unit": "{unit}"}}, "degrade": {{}}}}'
    (folder / "run.json").write_text(f'{{"config": {config}, "finished": true}}')
    lines = ["file,label,patient_id,logit,logit_degraded"]
    for index, logit in enumerate(logits):
        lines.append(f"{index}.png,{index % 2},p{index // 2},{logit},{-logit}")
    (folder / "validation.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_article_reads_both_ways_of_splitting(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    logits = [-2.0, 1.0, -1.0, 3.0, 0.5, 2.0, -3.0, -0.5]
    records = [
        write_record(tmp_path / "a", "seed_cnn", "image", logits),
        write_record(tmp_path / "b", "seed_cnn_patient", "patient", logits),
    ]
    section = read_article(
        [*records, tmp_path / "absent"],
        load_bundle(tiny_bundle_folder),
        Recording("article", "t", "m"),
    )
    by_image, by_patient, published = section.rows
    assert (by_image.split, by_patient.split) == ("by image", "by patient")
    assert by_image.auroc is not None
    # 15 of the 16 pairs are in order.
    assert by_image.auroc.value == pytest.approx(15 / 16)
    assert by_image.auroc_degraded is not None
    assert by_image.auroc_degraded.value == pytest.approx(1 / 16)
    assert by_image.sensitivity is not None
    assert by_image.sensitivity.value == pytest.approx(3 / 4)
    assert published.n == 624
    assert published.specificity is not None
    assert published.specificity.value == pytest.approx(0.901, abs=5e-4)


def write_evaluation(folder: Path, n_images: int, n_positive: int) -> None:
    auroc = encode(Figure(0.888, 0.86, 0.91, 0.95, "delong", n_images))
    performance = {"n_images": n_images, "n_positive": n_positive, "auroc": auroc}
    performances = [
        {"pictures": "validation", **performance, "auroc": None},
        {"pictures": "validation, degraded", **performance},
    ]
    (folder / "evaluation.json").write_text(json.dumps({"performances": performances}))


def test_article_takes_the_degraded_figure_from_the_evaluation_beside_the_record(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    folder = write_record(tmp_path / "a", "seed_cnn", "image", [-2.0, 1.0, -1.0, 3.0])
    config = (folder / "run.json").read_text().replace('"degrade": {}', '"degrade": null')
    (folder / "run.json").write_text(config)
    bundle = load_bundle(tiny_bundle_folder)
    assert (
        read_article([folder], bundle, Recording("article", "t", "m")).rows[0].auroc_degraded
        is None
    )
    write_evaluation(folder, 4, 2)
    (row, *_) = read_article([folder], bundle, Recording("article", "t", "m")).rows
    assert row.auroc_degraded is not None
    assert row.auroc_degraded.value == 0.888
    write_evaluation(folder, 5, 2)
    with pytest.raises(UsageError, match="of 5 pictures"):
        read_article([folder], bundle, Recording("article", "t", "m"))


def test_article_leaves_out_what_a_run_without_degradation_no_longer_writes(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    """Its degraded column is empty, or is not there at all; both runs read the same."""
    bundle = load_bundle(tiny_bundle_folder)
    folder = write_record(tmp_path / "a", "seed_cnn", "image", [-2.0, 1.0, -1.0, 3.0])
    config = (folder / "run.json").read_text().replace('"degrade": {}', '"degrade": null')
    (folder / "run.json").write_text(config)
    lines = (folder / "validation.csv").read_text().splitlines()
    shorter = [line.rpartition(",")[0] for line in lines]
    found = []
    for written in ([lines[0], *(f"{line}," for line in shorter[1:])], shorter):
        (folder / "validation.csv").write_text("\n".join(written) + "\n")
        found.append(read_article([folder], bundle, Recording("article", "t", "m")).rows[0])
    assert found[0] == found[1]
    assert found[0].auroc_degraded is None
    assert found[0].auroc is not None
    assert found[0].auroc.value == 1.0


def shipped(folder: Path, n: int) -> Bundle:
    """The tiny bundle with a figure on n stored pictures, exported from checkpoint abc of `net`."""
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    metric = Metric(
        name="auroc",
        operating_point=None,
        model_sha256=manifest.models[0].sha256,
        split=Split("x validation, stored", n, n, n // 2, "0" * 64),
        value=Figure(0.9, 0.8, 0.95, 0.95, "delong", n),
    )
    provenance = replace(manifest.provenance, config="net", checkpoint_sha256="abc")
    return replace(bundle, manifest=replace(manifest, metrics=(metric,), provenance=provenance))


def test_shipped_model_s_degraded_figure_is_that_of_its_own_checkpoint(
    tmp_path: Path, tiny_bundle_folder: Path
) -> None:
    logits = [-2.0, 1.0, -1.0, 3.0, 0.5, 2.0, -3.0, -0.5]
    seed = write_record(tmp_path / "a", "seed_cnn", "image", logits)
    own = write_record(tmp_path / "net", "net", "patient", logits)

    def row(bundle: Bundle) -> ArticleRow:
        return read_article([seed], bundle, Recording("article", "t", "m"), tmp_path).rows[1]

    record = (own / "run.json").read_text()
    (own / "run.json").write_text(
        record.replace('"finished"', '"checkpoint_sha256": "abc", "finished"')
    )
    bundle = shipped(tiny_bundle_folder, 8)
    found = row(bundle)
    assert found.auroc_degraded is not None
    # `write_record` turns every logit's sign: of 16 pairs, one is in order.
    assert found.auroc_degraded.value == pytest.approx(1 / 16)
    assert found.auroc_degraded.low < 1 / 16 < found.auroc_degraded.high
    assert "net, float32" in found.source
    # Figures of other pictures, or of another checkpoint, are not this model's.
    assert row(shipped(tiny_bundle_folder, 9)).auroc_degraded is None
    (own / "run.json").write_text(
        record.replace('"finished"', '"checkpoint_sha256": "d", "finished"')
    )
    assert row(bundle).auroc_degraded is None


def test_article_without_a_finished_record(tmp_path: Path, tiny_bundle_folder: Path) -> None:
    folder = write_record(tmp_path / "a", "seed_cnn", "image", [0.0, 1.0])
    (folder / "run.json").write_text('{"finished": false}')
    with pytest.raises(NoInputError, match="--train DATA"):
        read_article([folder], load_bundle(tiny_bundle_folder), Recording("article", "t", "m"))


def measured_scale(
    monkeypatch: pytest.MonkeyPatch,
    bundle: Bundle,
    folder: Path,
    files: list[int],
    held: Scale | None = None,
    stop_after: int = 99,
) -> tuple[list[Scale], list[list[str]]]:
    """Every state of `scale` with commands that take no time, and those commands."""
    commands: list[list[str]] = []

    def run(command: list[str], *_: object, **__: object) -> tuple[float, float]:
        commands.append(command)
        out = Path(command[command.index("-o") + 1])
        # What an earlier run left is gone.
        assert not out.exists()
        out.mkdir()
        return 100.0 if len(commands) == 1 else 1.0, 9.0

    monkeypatch.setattr("benchmarks.scale.run_command", run)
    monkeypatch.setattr(
        "benchmarks.scale.score_size", lambda _, __, size: ScalePoint(size, None, (1.0,))
    )
    contender = bundle_contenders(bundle, ("litert",))[0]
    states: list[Scale] = []

    class Kept(Recording[Scale]):
        def put(self, section: Scale) -> Scale:
            states.append(section)
            if len(states) == stop_after:
                raise KeyboardInterrupt
            return super().put(section)

    recording = Kept("article", "t", "m")
    recording.held = held
    with suppress(KeyboardInterrupt):
        measure_scale(bundle, contender, folder, files, [0.2, 0.5], [1], recording)
    return states, commands


def test_points_of_scale_are_at_the_files_really_there_and_a_slow_one_runs_once(
    tiny_bundle_folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    saved, commands = measured_scale(monkeypatch, bundle, pictures, [2, 5, 9])
    curves = {curve.name: curve for curve in saved[-1].curves}
    # The dearest comes last; exactly as many files as were asked for, of four pictures.
    assert list(curves) == ["megapixels", "workers", "files"]
    assert [p.x for p in curves["files"].points] == [2, 5, 9]
    # No run takes more files than the most that were asked for.
    assert curves["workers"].note.startswith("9 files of")
    assert curves["workers"].points[0].runs == (100.0,)
    assert [len(p.runs) for p in curves["files"].points] == [3, 3, 3]
    assert len(commands) == 10
    assert all(p.peak_memory_mb == 9.0 for p in curves["files"].points)
    # Each point was kept as soon as it was there.
    counts = [sum(len(curve.points) for curve in part.curves) for part in saved]
    assert counts == [1, 2, 3, 4, 5, 6, 6]
    assert [part.taken.complete for part in saved] == [False] * 6 + [True]


def test_scale_goes_on_where_it_was_interrupted(
    tiny_bundle_folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    saved, _ = measured_scale(monkeypatch, bundle, pictures, [4, 8], stop_after=4)
    (*_, section), commands = measured_scale(monkeypatch, bundle, pictures, [4, 8], saved[-1])
    assert section.curves[2].points[0] == saved[-1].curves[2].points[0]
    # Only the last point was missing; its first run is the slow one.
    assert len(commands) == 1
    assert [p.x for p in section.curves[2].points] == [4, 8]


def test_limits_of_scale_are_points_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert up_to(FILES, 2000) == [100, 1000, 2000]
    assert up_to(FILES, 100_000) == list(FILES)
    assert up_to(FILES, 50) == [50]
    for option in (["--most-files", "100001"], ["--most-megapixels", "51"]):
        with pytest.raises(SystemExit):
            main(["scale", "x", *option])
        assert "must be from" in capsys.readouterr().err


def test_picture_that_cannot_be_scored_ends_the_curve_with_its_reason(
    tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    contender = bundle_contenders(load_bundle(tiny_bundle_folder), ("litert",))[0]
    with pytest.raises(WorkerError, match=r"a picture of 5 megapixels: .*torn\.jpg"):
        score_size(contender, tmp_path / "torn.jpg", 5)


def test_rows_are_counted_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    rows = Rows(path)
    assert rows.count() == 0
    path.write_bytes(b'{"run": 1}\n{"file": 1}\n{"fi')
    assert rows.count() == 1
    with path.open("ab") as stream:
        stream.write(b'le": 2}\n{"file": 3}\n')
    assert rows.count() == 3


def test_where_no_link_is_allowed_copies_are_made_if_the_disk_can_hold_them(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError("not allowed")

    chosen = choose_pictures(pictures, 4).pictures
    monkeypatch.setattr(Path, "symlink_to", forbidden)
    hard = sorted(link_pictures(chosen, tmp_path / "hard", 8).rglob("*.jpg"))
    assert len(hard) == 8
    assert {path.stat().st_ino for path in hard} == {path.stat().st_ino for path in chosen}
    monkeypatch.setattr(os, "link", forbidden)
    copies = sorted(link_pictures(chosen, tmp_path / "copies", 8).rglob("*.jpg"))
    assert {path.stat().st_nlink for path in copies} == {1}
    assert len(copies) == 8
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match="more than half of the 0 MB"):
        link_pictures(chosen, tmp_path / "full", 8)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGTERM")
def test_interrupted_run_ends_its_command(tmp_path: Path) -> None:
    """A Ctrl-C that reaches the benchmark alone leaves no batch behind."""
    mark = tmp_path / "pid"
    script = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def tick() -> None:
        if mark.exists() and mark.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command([sys.executable, "-c", script], tick, watched=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_resume_takes_over_a_whole_section_of_the_same_command(
    tiny_bundle_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["startup", *options(tiny_bundle_folder, tmp_path / "out"), "--runs"]
    assert main([*arguments, "1", "--resume"]) == 0
    first = read_results(tmp_path / "out" / FILE).startup
    assert first is not None
    assert "--resume" not in first.taken.command
    assert main([*arguments, "1", "--resume"]) == 0
    assert read_results(tmp_path / "out" / FILE).startup == first
    assert "is taken from results.json" in capsys.readouterr().err
    # Another command, other packages, and a run without --resume measure again.
    assert main([*arguments, "2", "--resume"]) == 0
    second = read_results(tmp_path / "out" / FILE).startup
    assert second is not None
    assert len(second.rows[0].seconds) == 2
    assert main([*arguments, "2"]) == 0
    third = read_results(tmp_path / "out" / FILE).startup
    assert third is not None
    assert third.rows != second.rows
    monkeypatch.setattr("benchmarks.store.package_versions", lambda: {"numpy": "0"})
    assert main([*arguments, "2", "--resume"]) == 0
    fourth = read_results(tmp_path / "out" / FILE).startup
    assert fourth is not None
    assert fourth.rows != third.rows


def test_phantom_of_a_given_size(tmp_path: Path) -> None:
    from benchmarks.scale import write_phantom

    write_phantom(tmp_path / "x.jpg", 0.5)
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.width * image.height == pytest.approx(0.5e6, rel=0.01)
        assert np.asarray(image).std() > 10


def test_tiny_bundle_in_a_folder_with_a_space(tmp_path: Path) -> None:
    """Paths go through requests and command lines whole."""
    bundle = write_tiny_bundle(tmp_path / "a bundle")
    out = tmp_path / "an out"
    arguments = ["latency", *options(bundle, out), "--runtime", "litert", "--threads", "1"]
    assert main([*arguments, "--runs", "5"]) == 0
    held = read_results(out / FILE).latency
    assert held is not None
    assert "'" in held.taken.command
