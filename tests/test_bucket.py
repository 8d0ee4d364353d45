"""An S3-compatible bucket is scored as its local copy is, though one of ten requests fails."""

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from edge_app.cli import main
from edge_app.errors import StorageError
from edge_app.files import bucket
from edge_app.files.bucket import address_of, input_path, is_in_bucket
from edge_app.results.folder import RunFolder
from edge_app.results.rows import ResultRow, read_results
from edge_app.results.validate import validate_results
from edge_app.runs.batch import BatchPlan, run_batch
from edge_app.runs.bucket_inputs import BucketInputs
from edge_app.runs.discovery import Inputs
from edge_app.runs.scoring_run import RunOptions
from edge_app.runs.summary import Outcome
from tests.conftest import REPOSITORY
from tests.test_batch import phantom_png, write_ward

fs = pytest.importorskip("pyarrow.fs", reason="needs pyarrow: pip install '.[parquet]'")


def server_python() -> Path:
    """The interpreter that has moto; skips where there is none."""
    named = os.environ.get("PNEUMOSCOPE_MOTO_PYTHON")
    python = Path(named) if named else REPOSITORY / ".venv-s3" / "bin" / "python"
    if not python.exists():
        pytest.skip("needs an S3 server: make .venv-s3/.tried")
    return python


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that refuses one of ten requests."""
    script = REPOSITORY / "tests" / "s3_server.py"
    process = subprocess.Popen(
        [server_python(), script, "10"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    before = dict(os.environ)
    address = f"http://127.0.0.1:{int(process.stdout.readline())}"
    os.environ |= {"AWS_ENDPOINT_URL": address, "AWS_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    bucket._store.cache_clear()
    yield address
    process.kill()
    process.wait()
    os.environ.clear()
    os.environ.update(before)
    bucket._store.cache_clear()


def upload(server: str, folder: Path, name: str) -> Path:
    """A folder as the bucket of this name; gives its path."""
    storage = fs.S3FileSystem(
        endpoint_override=server.removeprefix("http://"), scheme="http", allow_bucket_creation=True
    )
    storage.create_dir(name)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with storage.open_output_stream(f"{name}/{path.relative_to(folder)}") as stream:
                stream.write(path.read_bytes())
    return input_path(f"s3://{name}")


def asked(server: str) -> tuple[int, int]:
    """How many requests there were, and how many were refused."""
    with urlopen(f"{server}/-/counts") as answer:
        all_of_them, refused = answer.read().split()
    return int(all_of_them), int(refused)


def rows_of(out: Path) -> list[ResultRow]:
    results = RunFolder(out).results
    assert validate_results(results).problems == ()
    moment: dict[str, Any] = dict.fromkeys(("decode_ms", "infer_ms"))
    moment |= {"total_ms": 0.0, "scored_at": "2026-11-28T00:00:00Z"}
    return [dataclasses.replace(row, **moment) for row in read_results(results)[1]]


def options(folder: Path) -> RunOptions:
    return RunOptions(bundle=folder, workers=2, formats=("jsonl", "html"))


def test_addresses_and_paths() -> None:
    assert input_path("file:///tmp/a%20b") == Path("/tmp/a b")
    path = input_path("s3://films/2026/a.png")
    assert (is_in_bucket(path), path.name, address_of(path)) == (
        True,
        "a.png",
        "s3://films/2026/a.png",
    )
    assert not is_in_bucket(Path("s3"))
    assert not is_in_bucket(Path("/s3:/films"))


def test_a_bucket_gives_the_rows_of_its_copy_though_requests_fail(
    server: str, tmp_path: Path, signed_bundle_folder: Path
) -> None:
    ward = write_ward(tmp_path / "ward")
    for number in range(15):
        (ward / f"a.{number}").mkdir()  # sorts before a/ as a key, behind it as a folder
        (ward / f"a.{number}" / "IM0001").write_bytes(phantom_png(number % 5))
    (ward / ".hidden.png").write_bytes(phantom_png(1))
    top = upload(server, ward, "ward")
    before = asked(server)
    run_batch(BatchPlan((top,), tmp_path / "there", options=options(signed_bundle_folder)))
    after = asked(server)
    run_batch(BatchPlan((ward,), tmp_path / "here", options=options(signed_bundle_folder)))
    assert after[1] - before[1] >= 5
    assert rows_of(tmp_path / "there") == rows_of(tmp_path / "here")
    assert [f.name for f in BucketInputs([top])] == [f.name for f in Inputs([ward])]
    header, _ = read_results(RunFolder(tmp_path / "there").results)
    assert header.input == "s3://ward"
    assert "s3://ward/" in RunFolder(tmp_path / "there").report.read_text(encoding="utf-8")


def test_a_run_on_a_bucket_goes_on_and_sees_what_changed(
    server: str, tmp_path: Path, signed_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ward = write_ward(tmp_path / "ward")
    upload(server, ward, "resumed")
    arguments = ["batch", "s3://resumed", "-o", str(tmp_path / "out"), "--workers", "1"]
    arguments += ["--bundle", str(signed_bundle_folder), "--format", "jsonl"]

    def stop(outcome: Outcome, total: int) -> None:
        raise KeyboardInterrupt

    plan = BatchPlan(
        (input_path("s3://resumed"),), tmp_path / "out", options=options(signed_bundle_folder)
    )
    with pytest.raises(KeyboardInterrupt):
        run_batch(plan, stop)
    assert main(arguments) == 1  # three of them are no pictures
    assert len(rows_of(tmp_path / "out")) == 8
    assert main(arguments) == 1
    assert "8 of 8 files have their row already" in capsys.readouterr().err
    (ward / "between.png").write_bytes(phantom_png(2, 300))
    upload(server, ward, "resumed")
    assert main(arguments) == 2
    assert "another file lies here" in capsys.readouterr().err


def test_what_cannot_be_listed_is_said_and_nothing_is_written(
    server: str, tmp_path: Path, signed_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for address, code, words in (
        ("s3://denied/films", 4, "access denied: do the credentials allow"),
        ("s3://nowhere", 4, "no such bucket"),
        ("s3://ward/nothing", 4, "there is no such file"),
    ):
        arguments = ["batch", address, "-o", str(tmp_path / "out")]
        assert main([*arguments, "--bundle", str(signed_bundle_folder)]) == code
        assert words in capsys.readouterr().err
    assert main(["batch", "s3://ward", "here", "-o", str(tmp_path / "out")]) == 2
    assert "stands alone" in capsys.readouterr().err
    assert main(["batch", "s3://ward", "-o", "out", "--dicom-out", "answers"]) == 2
    assert not (tmp_path / "out").exists()


def test_a_storage_that_goes_away_blames_no_file(
    server: str, tmp_path: Path, signed_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = upload(server, write_ward(tmp_path / "ward"), "leaving")
    plan = BatchPlan((top,), tmp_path / "out", options=options(signed_bundle_folder))
    inputs = plan.inputs()

    class Gone(BucketInputs):
        def __iter__(self) -> Iterator[Any]:
            files = list(inputs)
            self._top = self.root = input_path("s3://denied")
            yield from (
                dataclasses.replace(file, path=input_path(f"s3://denied/{file.name}"))
                for file in files
            )

    monkeypatch.setattr(BatchPlan, "inputs", lambda self: Gone([top]))
    with pytest.raises(StorageError, match=r"access denied.*the same command goes on"):
        run_batch(plan)
    assert rows_of(tmp_path / "out") == []
