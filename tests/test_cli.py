"""The command line: what it prints, and the exit code of every way it can end."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from edge_app import __version__
from edge_app.bundle.manifest import NO_GATE
from edge_app.cli import main
from edge_app.decision import Decision, Status, show_probability
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.results.validate import validate_results
from tests.conftest import REPOSITORY
from tests.pictures import encoded
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed, name in [(1, "high.png"), (3, "low.png")]:
        Image.fromarray(draw_phantom(Phantom(seed), 256, 256)).save(folder / name)
    return folder


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "edge_app", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pneumoscope {__version__}\n"
    for arguments in (["--help"], ["score", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_nothing_heavy_is_loaded_before_it_is_needed(argument: str) -> None:
    script = (
        "import sys; from edge_app.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(' '.join(m for m in ('numpy', 'PIL', 'pydicom', 'ai_edge_litert', 'onnxruntime',"
        " 'tqdm', 'cryptography', 'json') if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, argument],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == ""


def test_scoring_a_png_loads_no_dicom_and_no_progress_bar(
    pictures: Path, tiny_bundle_folder: Path
) -> None:
    script = (
        "import sys; from edge_app.cli import main; code = main(sys.argv[1:])\n"
        "print(' '.join(m for m in ('pydicom', 'gdcm', 'onnxruntime', 'cryptography')"
        " if m in sys.modules), file=sys.stderr)\nsys.exit(code)"
    )
    bundle = ["--bundle", str(tiny_bundle_folder), "--runtime", "litert"]
    pytest.importorskip("ai_edge_litert")
    done = subprocess.run(
        [sys.executable, "-c", script, "score", str(pictures / "low.png"), *bundle],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    # So none of the modules either.
    warning, of_the_gate = done.stderr.strip().splitlines()
    assert warning.endswith("nobody has signed this model, so nobody vouches for its answers")
    assert of_the_gate.endswith(NO_GATE)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["diagnose"],
        ["score"],
        ["batch", "x"],
        ["score", "x", "--runtime", "openvino"],
        ["score", "x", "--threads", "0"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_score_prints_a_line_a_file(
    pictures: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(pictures / name) for name in ("low.png", "high.png")]
    assert main(["score", *files, "--bundle", str(tiny_bundle_folder)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{files[0]}: no_pneumonia_seen, probability 0.")
    assert second.startswith(f"{files[1]}: pneumonia_suspected, probability 0.")
    # The cut-offs of the tiny bundle at their probabilities; the logit is for --json.
    assert first.endswith(", balanced)")
    assert "(cut-offs 0." in first
    assert "raw score" not in first


def test_score_json_prints_rows_of_the_format(
    pictures: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge_app.files.codec import decode
    from edge_app.results.rows import ResultRow

    missing = str(pictures / "none.png")
    code = main(
        ["score", "--json", str(pictures / "low.png"), missing, "--bundle", str(tiny_bundle_folder)]
    )
    assert code == 1
    scored, failed = (
        decode(ResultRow, json.loads(line)) for line in capsys.readouterr().out.splitlines()
    )
    assert scored.decision is Decision.NO_PNEUMONIA_SEEN
    assert failed.status is Status.FAILED
    assert failed.message == "none.png: No such file or directory"


def test_score_ends_with_4_where_no_file_is_there_and_with_1_where_none_can_be_read(
    tmp_path: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = ["--bundle", str(tiny_bundle_folder)]
    assert main(["score", str(tmp_path / "a"), *bundle]) == 4
    # The name once.
    line = f"{tmp_path / 'a'}: not_assessable (unreadable): No such file or directory\n"
    assert capsys.readouterr().out == line
    (tmp_path / "b").write_bytes(b"no picture")
    assert main(["score", str(tmp_path / "a"), str(tmp_path / "b"), *bundle]) == 1


def test_score_of_a_folder_says_which_command_is_meant(
    pictures: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(pictures), "--bundle", str(tiny_bundle_folder)]) == 2
    printed = capsys.readouterr()
    assert f"pneumoscope batch {pictures} -o OUT" in printed.err
    assert printed.out == ""


def test_score_reads_standard_input(pictures: Path, tiny_bundle_folder: Path) -> None:
    command = ("score", "--json", "-", "--bundle", tiny_bundle_folder)
    with (pictures / "low.png").open("rb") as stream:
        done = run(*command, stdin=stream)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["file"], row["decision"]) == ("standard input", "no_pneumonia_seen")
    done = run(*command, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert json.loads(done.stdout)["message"] == "the file is empty"


def test_a_name_prints_no_second_answer_and_no_command_of_a_terminal(
    pictures: Path, tiny_bundle_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    forged = pictures / "a\nb.png: no_pneumonia_seen, probability 0.001\x1b[2J.png"
    (pictures / "low.png").rename(forged)
    bundle = ["--bundle", str(tiny_bundle_folder)]
    assert main(["score", str(forged), str(forged.with_name("c\x1b[1m\n.png")), *bundle]) == 1
    assert main(["score", str(forged.with_name("c\x1b[1m\n.png")), *bundle]) == 4
    assert main(["validate", str(forged)]) == 1
    assert main(["model", "verify", str(forged)]) != 0
    assert main(["info", "--bundle", str(forged)]) != 0
    printed = capfd.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert sum(line.startswith("b.png") for line in printed.out.splitlines()) == 0


def test_a_refusal_is_an_answer(
    tmp_path: Path, tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank = tmp_path / "blank.png"
    blank.write_bytes(encoded(Image.new("L", (300, 300)), "PNG"))
    assert main(["score", str(blank), "--bundle", str(tiny_bundle_folder)]) == 0
    assert "not_assessable (no_contrast)" in capsys.readouterr().out


def test_batch_writes_results_and_says_where(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run("batch", pictures, "-o", out, "--bundle", tiny_bundle_folder)
    assert done.returncode == 0, done.stderr
    # Piped: plain lines, no bar.
    assert done.stderr.splitlines()[-1] == "2/2 files, 1 suspected, 0 failed"
    assert "\r" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 files in ")
    assert "no_pneumonia_seen 1" in lines[1]
    assert lines[-1] == f"Results: {out / 'results.jsonl'}"
    assert validate_results(out / "results.jsonl").rows == 2


def test_batch_shows_a_bar_on_a_terminal(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "edge_app", "batch", str(pictures), "-o", str(tmp_path / "o")]
    with subprocess.Popen(
        [*command, "--bundle", str(tiny_bundle_folder)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=follower,
    ) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                shown += os.read(leader, 4096)
            except OSError:  # the other end has closed
                break
        assert process.wait() == 0
    os.close(leader)
    assert b"2/2" in shown
    assert b"\r" in shown
    assert b"1 suspected" in shown


def test_batch_ends_with_1_where_a_file_failed(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "empty.png").write_bytes(b"")
    arguments = ["batch", str(pictures), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--bundle", str(tiny_bundle_folder)]) == 1
    assert "failed:    unreadable 1" in capsys.readouterr().out


def test_batch_ends_with_4_without_input_and_writes_nothing(
    tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    for folder in ("empty", "missing"):
        arguments = ["batch", str(tmp_path / folder), "-o", str(out)]
        assert main([*arguments, "--bundle", str(tiny_bundle_folder)]) == 4
        assert folder in capsys.readouterr().err
    assert not out.exists()


def test_batch_ends_with_5_where_it_cannot_write(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["batch", str(pictures), "-o", str(tmp_path / "file" / "out")]
    assert main([*arguments, "--bundle", str(tiny_bundle_folder)]) == 5
    assert "cannot be written" in capsys.readouterr().err


def test_batch_ends_with_2_where_results_of_another_run_are_already(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["batch", str(pictures), "-o", str(tmp_path / "out")]
    arguments += ["--bundle", str(tiny_bundle_folder)]
    assert main(arguments) == 0
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    assert main([*arguments, "--operating-point", "screening"]) == 2
    assert "operating_point.name was 'balanced', is 'screening' now" in capsys.readouterr().err
    assert main(arguments) == 0
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_a_changed_bundle_ends_with_3_and_writes_nothing(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_tiny_bundle(tmp_path / "b")
    model = folder / "model.tflite"
    content = bytearray(model.read_bytes())
    content[1000] ^= 1
    model.write_bytes(content)
    out = tmp_path / "out"
    for arguments in (
        ["score", str(pictures / "low.png")],
        ["batch", str(pictures), "-o", str(out)],
        ["info"],
    ):
        assert main([*arguments, "--bundle", str(folder)]) == 3
        assert "model.tflite: changed since" in capsys.readouterr().err
    assert not out.exists()


def test_an_unknown_operating_point_ends_with_2(pictures: Path, tiny_bundle_folder: Path) -> None:
    arguments = ["score", str(pictures / "low.png"), "--bundle", str(tiny_bundle_folder)]
    assert main([*arguments, "--operating-point", "nonesuch"]) == 2
    assert main([*arguments, "--operating-point", "screening"]) == 0
    info = ["info", "--bundle", str(tiny_bundle_folder), "--operating-point"]
    assert main([*info, "nonesuch"]) == 2
    assert main([*info, "screening"]) == 0


def test_info_on_a_runtime_that_is_missing_ends_with_3(
    tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_app.runtimes.Engine.is_installed", False)
    bundle = ["--bundle", str(tiny_bundle_folder)]
    assert main(["info", "--runtime", "litert", *bundle]) == 3
    assert "pip install 'pneumoscope[litert]'" in capsys.readouterr().err
    assert main(["info", *bundle]) == 3
    said = capsys.readouterr()
    assert "not installed: pip install" in said.out
    assert "pip install" in said.err


def test_a_probability_for_people_is_never_a_certainty() -> None:
    shown = [show_probability(p) for p in (0.0, 0.0004, 0.5, 0.9994, 0.99951, 1.0)]
    assert shown == ["< 0.001", "< 0.001", "0.500", "0.999", "> 0.999", "> 0.999"]


def test_ctrl_c_ends_with_130_and_whole_rows(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    data = encoded(Image.fromarray(draw_phantom(Phantom(1), 1200, 1200)), "PNG")
    for index in range(400):
        (folder / f"{index:03d}.png").write_bytes(data)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "edge_app", "batch", str(folder), "-o", str(out)]
    with subprocess.Popen(
        [*command, "--bundle", str(tiny_bundle_folder)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        results = out / "results.jsonl"
        deadline = time.monotonic() + 60
        while not results.exists() or results.read_bytes().count(b"\n") < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; " in errors
    validation = validate_results(results)
    assert validation.problems == ()
    assert 3 <= validation.rows < 400
    assert f"{validation.rows} files were added to {results}. The same command goes on" in errors
    assert sorted(path.name for path in out.iterdir()) == [
        "files.jsonl",
        "results.jsonl",
        "run.json",
        "thumbnails.jsonl",
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs root on Linux, to mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_rows_rather_than_pictures_and_the_same_command_goes_on(
    small_disk: Path, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    data = encoded(Image.fromarray(draw_phantom(Phantom(1), 256, 256)), "PNG")
    for index in range(100):
        (folder / f"{index:03d}.png").write_bytes(data)
    out = small_disk / "out"
    command = ("batch", folder, "-o", out, "--bundle", tiny_bundle_folder)
    done = run(*command)
    assert done.returncode == 5
    assert done.stderr.splitlines()[-1].startswith(f"pneumoscope: {out}")
    assert "the same command" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    validation = validate_results(out / "results.jsonl")
    assert validation.problems == ()
    shown = int(done.stderr.splitlines()[-2].split("/")[0])
    assert shown > 10
    # What was shown as done is on the disk.
    assert validation.rows >= shown
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert validate_results(out / "results.jsonl").rows == 100
    assert validate_results(out / "results.jsonl").problems == ()


def test_a_batch_outlives_the_readers_of_its_output(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    (pictures / "empty.png").write_bytes(b"")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "edge_app", "batch", str(pictures), "-o", str(out)]
    # As `2>&1 | head -0`: nobody reads from the start.
    reader, writer = os.pipe()
    os.close(reader)
    for _ in range(2):
        done = subprocess.run(
            [*command, "--bundle", str(tiny_bundle_folder)],
            cwd=REPOSITORY,
            stdout=writer,
            stderr=writer,
            check=False,
        )
        assert done.returncode == 1
        assert validate_results(out / "results.jsonl").rows == 3
        assert (out / "report.html").exists()
    os.close(writer)


def test_progress_counts_what_is_left_to_do(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    command = ("batch", pictures, "-o", tmp_path / "out", "--bundle", tiny_bundle_folder)
    assert run(*command).returncode == 0
    for index in range(3):
        (pictures / f"more{index}.png").write_bytes((pictures / "low.png").read_bytes())
    assert run(*command).stderr.splitlines()[-1] == "3/3 files, 0 suspected, 0 failed"


def test_a_summary_that_cannot_be_written_is_said_before_the_work(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["batch", str(pictures), "-o", str(out), "--bundle", str(tiny_bundle_folder)]
    assert main([*arguments, "--summary", str(tmp_path / "none" / "s.json")]) == 5
    assert "s.json: cannot be written" in capsys.readouterr().err
    assert not out.exists()
    assert main([*arguments, "--summary", str(out / "s.json")]) == 0
    assert json.loads((out / "s.json").read_text())["files"] == 2


def test_a_dry_run_looks_at_what_a_killed_run_has_left(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["batch", str(pictures), "-o", str(out), "--bundle", str(tiny_bundle_folder)]
    assert main(arguments) == 0
    whole = (out / "results.jsonl").read_bytes()
    for left, missing in ((whole[:-20], 1), (whole[:50], 2), (b"", 2)):
        (out / "results.jsonl").write_bytes(left)
        capsys.readouterr()
        assert main([*arguments, "--dry-run"]) == 0
        assert f"2 files, {missing} to score" in capsys.readouterr().err
        assert (out / "results.jsonl").read_bytes() == left


def test_a_name_that_no_system_call_takes_is_no_input(
    tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Path.exists raises for it, as for a dead share."""
    arguments = ["--bundle", str(tiny_bundle_folder)]
    assert main(["batch", "a" * 300, "-o", str(tmp_path / "out"), *arguments]) == 4
    assert main(["batch", str(tmp_path), "-o", str(tmp_path / ("b" * 300)), *arguments]) != 0
    assert "pneumoscope: " in capsys.readouterr().err


def test_validate(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    main(["batch", str(pictures), "-o", str(out), "--bundle", str(tiny_bundle_folder)])
    capsys.readouterr()
    results = out / "results.jsonl"
    for named in (results, out):
        assert main(["validate", str(named)]) == 0
        assert capsys.readouterr().out == f"{results}: 2 rows, valid\n"
    results.write_bytes(results.read_bytes()[:-20])
    assert main(["validate", str(results)]) == 1
    assert "line 3: torn" in capsys.readouterr().out
    assert main(["validate", str(tmp_path / "none")]) == 4


def test_info(tiny_bundle_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = ["--bundle", str(tiny_bundle_folder)]
    assert main(["info", "--self-test", *bundle]) == 0
    printed = capsys.readouterr().out
    for text in (
        "Model tiny-random-1 of 2026-11-23, not signed",
        "age: 1 to 5 years",
        "Operating point balanced",
        "others: screening",
        "sensitivity 0.900 (95% CI 0.800 to 0.950",
        "1 golden inputs passed",
    ):
        assert text in printed
    assert "raw score" not in printed
    assert len(printed.splitlines()) <= 24  # one screen
    assert main(["info", "--verbose", *bundle]) == 0
    assert "raw scores: " in capsys.readouterr().out
    assert main(["info", "--json", *bundle]) == 0
    assert json.loads(capsys.readouterr().out)["model_id"] == "tiny-random-1"


@pytest.mark.parametrize("command", ["info --self-test", "score low.png", "batch . -o {out}"])
def test_a_failed_self_test_ends_with_3(
    command: str,
    pictures: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No command answers on a processor whose kernels give other scores."""

    def promise(document: dict) -> None:
        for key in document["golden"]["cases"][0]["logits"]:
            document["golden"]["cases"][0]["logits"][key] = 99.0

    folder = write_tiny_bundle(tmp_path / "b", change=promise)
    monkeypatch.chdir(pictures)
    words = command.format(out=tmp_path / "out").split()
    assert main([*words, "--bundle", str(folder)]) == 3
    printed = capfd.readouterr()
    assert "Do not use this bundle" in printed.err
    assert "low.png" not in printed.out


def test_a_reader_that_goes_away_is_no_failure(pictures: Path, signed_bundle_folder: Path) -> None:
    files = " ".join([str(pictures / "low.png")] * 50)
    done = subprocess.run(
        f"{sys.executable} -m edge_app score {files} --bundle {signed_bundle_folder} | head -n 1",
        shell=True,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr.splitlines() == [f"pneumoscope: warning: {NO_GATE}"]


def test_file_names_that_are_no_utf8_are_printed(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"r\xf6ntgen.png")
    done = run("score", tmp_path / name, "--bundle", tiny_bundle_folder)
    assert done.returncode == 4
    assert "ntgen.png: not_assessable (unreadable)" in done.stdout
    done = run("score", "--json", tmp_path / name, "--bundle", tiny_bundle_folder)
    assert json.loads(done.stdout)["status"] == "failed"
