"""`python -m train` from end to end on phantoms, and every bad input before any time is spent."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="needs the extra train")

from tests.train_inputs import tiny_document, write_phantoms
from train.cli import main
from train.locator_task import FORMS
from train.record import write_rows


def write_toml(path: Path, **changes: Any) -> Path:
    """`tiny_document` as a TOML file."""
    document = tiny_document(**changes)
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(v)}" for key, v in document.items() if key not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.decision._RESAMPLES", 20)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("commands") / "data", 15, side=64)


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny configuration, made by the command."""
    folder = tmp_path_factory.mktemp("teacher")
    config = write_toml(folder / "tiny.toml", optimizer__epochs=1)
    arguments = ["fit", str(config), "--data", str(data), "-o", str(folder / "run")]
    assert main(arguments) == 0
    return folder / "run"


def test_fit_evaluate_and_probe(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = write_phantoms(tmp_path / "copies", 15, side=96)
    arguments = [str(teacher), "--data", str(data), "-o"]
    evaluated = main(["evaluate", *arguments, str(tmp_path / "e"), "--copies", str(copies)])
    assert evaluated == 0
    evaluation = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    record = json.loads((teacher / "run.json").read_text())
    assert evaluation["checkpoints"] == [record["checkpoint_sha256"]]
    clean, degraded = evaluation["performances"][:2]
    assert clean["auroc"]["value"] == pytest.approx(record["best"]["val_auroc"], abs=1e-5)
    # Degraded by the same seed as in training, so the figure is the same one.
    best = record["best"]["val_auroc_degraded"]
    assert degraded["auroc"]["value"] == pytest.approx(best, abs=1e-5)
    assert [skew["trained_on"] for skew in evaluation["skews"]] == [False, True]
    assert sum(skew["n_images"] for skew in evaluation["skews"]) == 60
    assert evaluation["subtype"]["auroc"]["n"] == clean["n_positive"]
    assert main(["probe", *arguments, str(tmp_path / "p")]) == 0
    assert {p.name for p in (tmp_path / "p").iterdir()} == {"lungs.json", "probe.json", "probe.png"}
    assert "JPEG quality 30" in capsys.readouterr().out
    # Neither report is written over.
    assert main(["probe", *arguments, str(tmp_path / "p")]) == 2
    assert "holds files already" in capsys.readouterr().err


def test_an_ensemble_averages_logits(teacher: Path, data: Path) -> None:
    from train.checkpoint import Scorer, read_checkpoint, read_file

    checkpoint = read_checkpoint(teacher)
    paths = sorted(data.rglob("*.png"))[:5]
    single = Scorer([checkpoint]).logits(paths, read_file)
    twice = Scorer([checkpoint, checkpoint]).logits(paths, read_file)
    np.testing.assert_allclose(single, twice, atol=1e-5)
    mirrored = Scorer([checkpoint], mirror=True).logits(paths, read_file)

    def flipped(path: Path, spec: Any) -> np.ndarray:
        return np.ascontiguousarray(read_file(path, spec)[:, ::-1])

    other = Scorer([checkpoint]).logits(paths, flipped)
    np.testing.assert_allclose(mirrored, (single + other) / 2, atol=1e-5)


def test_a_student_learns_from_its_teacher(teacher: Path, data: Path, tmp_path: Path) -> None:
    from train.checkpoint import read_checkpoint

    config = write_toml(
        tmp_path / "student.toml",
        name="student",
        optimizer__epochs=1,
        distill={"weight": 0.5, "temperature": 2.0},
    )
    arguments = ["fit", str(config), "--data", str(data), "-o", str(tmp_path / "run")]
    assert main([*arguments, "--teacher", str(teacher)]) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["teachers"] == [read_checkpoint(teacher).sha256]
    # Another teacher would be another run.
    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    (other / "model.keras").write_bytes((other / "model.keras").read_bytes() + b" ")
    assert main([*arguments, "--teacher", str(other)]) == 2


def test_soft_targets_by_hand(teacher: Path) -> None:
    from train.checkpoint import read_checkpoint
    from train.config import DistillSpec
    from train.distill import Teachers, mix
    from train.loader import Batch

    spec = DistillSpec(weight=0.25, temperature=2.0)
    hard = np.array([[1.0], [0.0]], np.float32)
    # sigmoid(4 / 2) = 0.8808 and sigmoid(0) = 0.5
    mixed = mix(hard, np.array([[4.0], [0.0]], np.float32), spec)
    np.testing.assert_allclose(mixed, [[0.75 + 0.25 * 0.8808], [0.125]], atol=1e-4)
    pictures = np.zeros((2, 32, 32, 1), np.uint8)
    targets = {"logit": hard, "subtype_logit": hard}
    batch = Batch(pictures, targets, targets, (pictures,))
    softened = Teachers([read_checkpoint(teacher)], spec).soften(batch)
    assert softened.teacher_pictures == ()
    for name in targets:
        values = softened.targets[name].ravel()
        # Two black pictures: the teacher says the same of both, so the labels' gap stays.
        assert values[0] - values[1] == pytest.approx(0.75, abs=1e-5)
        assert 0 < values[1] < 0.25
    assert Teachers([], None).soften(batch) is batch


def test_kfold_holds_each_picture_out_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_toml(tmp_path / "tiny.toml", optimizer__epochs=1, split__folds=2)
    arguments = ["kfold", str(config), "--data", str(data), "-o", str(tmp_path / "runs")]
    assert main(arguments) == 0
    held_out = [
        line.split(",")[0]
        for fold in range(2)
        for line in (tmp_path / f"runs/fold{fold}/validation.csv").read_text().splitlines()[1:]
    ]
    assert sorted(held_out) == sorted(p.relative_to(data).as_posix() for p in data.rglob("*.png"))
    folds = json.loads((tmp_path / "runs" / "folds.json").read_text())
    assert sum(figure["n"] for figure in folds["aurocs"]) == 60
    assert folds["pooled"][0]["n_images"] == len(held_out) == 60
    assert "all folds" in capsys.readouterr().out
    carried = tmp_path / "carried"
    arguments = ["carry", str(tmp_path / "runs"), "--data", str(data), "-o", str(carried)]
    assert main(arguments) == 0
    rows = json.loads((carried / "carried.json").read_text())
    assert {(row["fold"], row["framing"]) for row in rows} == {
        (f"fold{fold}", form.name) for fold in range(2) for form in FORMS
    }
    stored = [row for row in rows if row["framing"] == "stored"]
    assert sum(row["sensitivity"]["n"] + row["specificity"]["n"] for row in stored) == 60
    assert main([*arguments[:1], str(data), *arguments[2:-1], str(tmp_path / "none")]) == 2


def test_search_draws_the_curve(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_toml(tmp_path / "tiny.toml", optimizer__epochs=1)
    output = tmp_path / "search"
    arguments = ["search", str(config), "--data", str(data), "-o", str(output)]
    assert main([*arguments, "--sizes", "32", "48", "64", "--budget", "0.6"]) == 0
    names = {path.name for path in output.iterdir() if path.name.startswith("tiny-")}
    # A 64-pixel network needs four times the multiply-adds of a 32-pixel one, and is left out.
    assert names == {"tiny-32px-w0.1-d0.2-s2", "tiny-48px-w0.1-d0.2-s2"}
    assert (output / "curve.png").read_bytes().startswith(b"\x89PNG")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    assert [line.split("|")[1].strip() for line in lines] == sorted(names)
    runs = [str(output / name) for name in sorted(names)]
    assert main(["compare", *runs, "-o", str(tmp_path / "again.png")]) == 0
    assert main(["compare", *runs, "-o", str(tmp_path / "again.png")]) == 2


def test_predict_says_what_a_run_makes_of_single_pictures(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very logit that the run wrote of a held-out picture, by its own calibration."""
    with (teacher / "validation.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert main(["predict", str(teacher), str(data / row["file"])]) == 0
    (line,) = (x for x in capsys.readouterr().out.splitlines() if row["file"] in x)
    found = re.search(r": like (no )?pneumonia, probability ([0-9.]+) \(logit (\S+), thre", line)
    assert found is not None
    assert float(found[3]) == pytest.approx(float(row["logit"]), abs=2e-3)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert main(["predict", str(teacher), str(broken), str(data / row["file"])]) == 1
    said = capsys.readouterr().out
    assert "broken.png" in said
    assert row["file"] in said


def test_describe_lists_the_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "seed_cnn", "--layers"]) == 0
    summary, head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert any(row.split()[:2] == ["conv0", "Conv2D"] for row in rows)
    columns = [[int(cell.replace(",", "")) for cell in row.split()[-2:]] for row in rows]
    parameters, multiply_adds = map(sum, zip(*columns, strict=True))
    assert f"{multiply_adds / 1e6:.1f} million multiply-adds" in summary
    assert f"{parameters / 1e6:.2f} million parameters" in summary


def test_describe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "reader"]) == 0
    assert "128x128, 78.9 million multiply-adds, 0.75 million" in capsys.readouterr().out


def _empty_class(data: Path, _: dict[str, str]) -> None:
    for path in (data / "NORMAL").iterdir():
        path.unlink()


def _unreadable(data: Path, _: dict[str, str]) -> None:
    path = next((data / "NORMAL").iterdir())
    path.write_bytes(path.read_bytes()[:100])


def _patient_on_both_sides(data: Path, changes: dict[str, str]) -> None:
    for part in ("train", "val"):
        shutil.copytree(data / "NORMAL", data / part / "NORMAL")
        shutil.copytree(data / "PNEUMONIA", data / part / "PNEUMONIA")
        for path in (data / part).rglob("*.png"):
            path.write_bytes(path.read_bytes() + part.encode())
    shutil.rmtree(data / "NORMAL")
    shutil.rmtree(data / "PNEUMONIA")
    changes["split__unit"] = "given"


def _unknown_key(_: Path, changes: dict[str, str]) -> None:
    changes["optimizer__momentum"] = "0.9"


def _few_pictures(_: Path, changes: dict[str, Any]) -> None:
    changes["optimizer__batch_size"] = 500


def _too_wide(_: Path, changes: dict[str, Any]) -> None:
    changes |= {"initial_weights": "imagenet-lite0", "network__stem_channels": 64}


def _too_deep(_: Path, changes: dict[str, Any]) -> None:
    changes |= {"initial_weights": "imagenet-lite0", "network__depth_multiplier": 3.0}


def _no_teacher(_: Path, changes: dict[str, Any]) -> None:
    changes["distill"] = {"weight": 0.5, "temperature": 1.0}


@pytest.mark.parametrize(
    ("spoil", "code", "message"),
    [
        (_empty_class, 2, "a class folder without pictures"),
        (_unreadable, 1, "1 of 60 pictures cannot be read"),
        (_patient_on_both_sides, 2, "values of patient_id stand in training and validation"),
        (_unknown_key, 2, "optimizer.momentum: unknown key"),
        (_few_pictures, 2, "do not fill a batch of 500"),
        (_no_teacher, 2, "learns from a teacher"),
        (_too_wide, 2, "stem: 64 channels, the ImageNet weights of lite0 have 32"),
        (_too_deep, 2, "stage 1 is deeper than in lite0"),
    ],
)
def test_bad_input_costs_no_time_and_writes_nothing(
    spoil: Callable[[Path, dict[str, Any]], None],
    code: int,
    message: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    changes: dict[str, Any] = {}
    spoil(copy, changes)
    config = write_toml(tmp_path / "tiny.toml", **changes)
    monkeypatch.setattr("train.run.Run.__init__", _must_not_run)
    run = tmp_path / "run"
    cache = tmp_path / "cache"
    arguments = ["fit", str(config), "--data", str(copy), "-o", str(run), "--cache", str(cache)]
    assert main(arguments) == code
    assert message in capsys.readouterr().err
    assert not run.exists()
    # What is known from names and numbers is known before a picture is decoded.
    assert not cache.exists() or (spoil is _unreadable and list(cache.iterdir()) == [])


@pytest.mark.parametrize(
    ("command", "backend", "missing", "advice"),
    [
        ("fit", "tensorflow", "tensorflow", "pip install 'pneumoscope[train]'"),
        ("fit", "jax", "jax", "pip install 'pneumoscope[train,jax]'"),
        ("fit", "torch", "torch", "Pneumoscope trains on tensorflow or jax (KERAS_BACKEND)"),
        ("fit", "tensorflow", "matplotlib", "pip install 'pneumoscope[train]'"),
        ("evaluate", "tensorflow", "keras", "pip install 'pneumoscope[train]'"),
    ],
)
def test_a_missing_backend_is_named_before_a_picture_is_decoded(
    command: str, backend: str, missing: str, advice: str, teacher: Path, data: Path, tmp_path: Path
) -> None:
    first = {"fit": write_toml(tmp_path / "tiny.toml"), "evaluate": teacher}[command]
    out, cache = tmp_path / "out", tmp_path / "cache"
    arguments = [command, str(first), "--data", str(data), "-o", str(out)]
    arguments += ["--cache", str(cache)] if command == "fit" else []
    # None in sys.modules is how Python marks a module that cannot be imported.
    program = (
        f"import sys; sys.modules[{missing!r}] = None; from train.cli import main; "
        f"sys.exit(main({arguments!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"KERAS_BACKEND": backend},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    assert f"error: {missing} is not installed: {advice}" in done.stderr.splitlines()
    assert not cache.exists()
    assert not out.exists()


def test_one_run_is_trained_by_one_process(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from train.record import held

    config = write_toml(tmp_path / "tiny.toml", optimizer__epochs=1)
    run = tmp_path / "run"
    run.mkdir()
    arguments = ["fit", str(config), "--data", str(data), "-o", str(run)]
    with held(run):
        assert main(arguments) == 5
    assert "another process is training this run" in capsys.readouterr().err
    # It was not begun, but what was written is of this very run, which then trains.
    assert not (run / "history.csv").exists()
    assert main(arguments) == 0


@pytest.mark.parametrize(("command", "message"), [("fit", "goes on"), ("audit", "begins again")])
def test_ctrl_c_says_what_the_same_command_does(
    command: str,
    message: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"train.cli.{command}.samples_of", interrupted)
    output = ["-o", str(tmp_path / "out")]
    given = [str(data)] if command == "audit" else ["seed_cnn", "--data", str(data)]
    assert main([command, *given, *output]) == 130
    assert f"interrupted; the same command {message}" in capsys.readouterr().err


def test_a_finished_run_decodes_nothing_again(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(teacher, tmp_path / "run")
    shutil.rmtree(run / "cache", ignore_errors=True)
    config = write_toml(tmp_path / "tiny.toml", optimizer__epochs=1)
    monkeypatch.setattr("train.run.Run.__init__", _must_not_run)
    assert main(["fit", str(config), "--data", str(data), "-o", str(run)]) == 0
    assert not (run / "cache").exists()


def test_a_network_that_says_the_same_of_all_is_said_to(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an epoch of five steps, averaged weights are where they began, like the teacher's."""
    run = shutil.copytree(teacher, tmp_path / "run")
    config = write_toml(tmp_path / "tiny.toml", optimizer__epochs=1)
    arguments = ["fit", str(config), "--data", str(data), "-o", str(run)]
    assert main(arguments) == 0
    with (run / "validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    message = f"says nearly the same of every picture: its {len(rows)} logits lie within 0.00"
    assert message in capsys.readouterr().err
    for number, row in enumerate(rows):
        row["logit"] = f"{0.01 * number:.5f}"
    write_rows(rows, run / "validation.csv")
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""


def _must_not_run(*_: object) -> None:
    raise AssertionError("time was spent")


def test_a_teacher_that_saw_the_held_out_patients_is_refused(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_toml(
        tmp_path / "student.toml", split__fold=1, distill={"weight": 0.5, "temperature": 1.0}
    )
    arguments = ["fit", str(config), "--data", str(data), "-o", str(tmp_path / "run")]
    assert main([*arguments, "--teacher", str(teacher)]) == 2
    assert "patients that this run holds out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_finished_is_refused(
    teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = shutil.copytree(teacher, tmp_path / "teacher")
    record = json.loads((running / "run.json").read_text())
    (running / "run.json").write_text(json.dumps(record | {"finished": False}))
    config = write_toml(tmp_path / "student.toml", distill={"weight": 0.5, "temperature": 1.0})
    run, more = str(tmp_path / "run"), ["--data", str(data), "-o", str(tmp_path / "run")]
    for arguments in (
        ["fit", str(config), *more, "--teacher", str(running)],
        ["evaluate", str(running), *more],
        ["probe", str(running), *more],
    ):
        assert main(arguments) == 2
        assert "not finished" in capsys.readouterr().err
    assert not Path(run).exists()


def test_slips_of_the_pen_end_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.toml").mkdir()
    config, out = write_toml(tmp_path / "tiny.toml"), tmp_path / "run"
    assert main(["fit", str(tmp_path / "folder.toml"), "--data", str(data), "-o", str(out)]) == 2
    (tmp_path / "file").write_text("")
    taken = str(tmp_path / "file" / "run")
    assert main(["fit", str(config), "--data", str(data), "-o", taken]) == 2
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert errors.count("error: ") == 2
    with pytest.raises(SystemExit, match="2"):
        main(["fit", str(config), "--data", str(data), "-o", str(out), "--workers", "0"])


def test_a_checkpoint_of_other_data_is_refused(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_phantoms(tmp_path / "other", 12, first=100)
    for command in ("evaluate", "probe"):
        arguments = [command, str(teacher), "--data", str(other), "-o", str(tmp_path / "out")]
        assert main(arguments) == 2
        assert "was trained on other data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_evaluate_looks_at_other_sets_before_it_scores(
    teacher: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("train.checkpoint.Scorer.__init__", _must_not_run)
    out = tmp_path / "out"
    site = write_phantoms(tmp_path / "site", 3, first=100)
    torn = write_phantoms(tmp_path / "torn", 3, first=200) / "NORMAL" / "IM-0200-0000.png"
    torn.write_bytes(torn.read_bytes()[:100])
    copies = write_phantoms(tmp_path / "copies", 3, side=96)
    cases = [
        (["--external", str(data)], 2, "of its patients were trained on"),
        (["--external", str(site), "--external", str(site)], 2, "is named twice"),
        (["--external", str(tmp_path / "none")], 4, "no such folder"),
        (["--external", str(tmp_path / "torn")], 1, "1 of 12 cannot be read"),
        (["--adult", str(tmp_path / "none")], 4, "no such folder or CSV file"),
        (["--copies", str(site)], 2, "holds none of the pictures again"),
        (["--copies", str(copies), "--copies", str(copies)], 2, "is named twice"),
        (["--degrade", str(write_toml(tmp_path / "c.toml", degrade=None))], 2, "no degrade table"),
    ]
    for more, code, message in cases:
        arguments = ["evaluate", str(teacher), "--data", str(data), "-o", str(out), *more]
        assert main(arguments) == code
        assert message in capsys.readouterr().err
        assert not out.exists()


def test_the_seed_network_trains(data: Path, tmp_path: Path) -> None:
    from train.checkpoint import load_network, read_checkpoint

    config = write_toml(
        tmp_path / "seed.toml",
        network=None,
        degrade=None,
        seed_cnn={"height": 32, "width": 32, "filters": [4, 8], "kernel": 3, "dropout": 0.5},
        optimizer__subtype_weight=0.0,
        optimizer__ema_momentum=0.0,
        optimizer__epochs=1,
        split__unit="image",
    )
    arguments = ["fit", str(config), "--data", str(data), "-o", str(tmp_path / "run")]
    assert main(arguments) == 0
    network = load_network(read_checkpoint(tmp_path / "run"))
    kinds = [type(layer).__name__ for layer in network.layers]
    # As the article has it: convolution, max-pooling, flatten, dropout, one output.
    assert kinds == [
        "InputLayer",
        "Rescaling",
        *2 * ["Conv2D", "MaxPooling2D"],
        "Flatten",
        "Dropout",
        "Dense",
    ]
    # 1 * 9 * 4 multiply-adds at 32 x 32, 4 * 9 * 8 at 16 x 16, 8 * 8 * 8 for the output.
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["multiply_adds"] == 36 * 1024 + 288 * 256 + 512
