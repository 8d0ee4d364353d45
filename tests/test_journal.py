"""The journal: whatever ends a run, what is in it is whole, and the next run goes on from there."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from edge_app.decision import Decision, Status
from edge_app.errors import StorageError, UsageError
from edge_app.files.codec import compact_json
from edge_app.results.journal import SYNC_ROWS, Journal, describe_differences
from edge_app.results.rows import (
    CutOffs,
    ResultRow,
    RunHeader,
    decode_row,
    encode_row,
    read_results,
)
from edge_app.results.validate import validate_results
from tests.conftest import REPOSITORY
from tests.pictures import encoded, gradient

HEADER = RunHeader(
    format_version=3,
    pneumoscope_version="0",
    started_at="2026-11-23T19:10:23.125Z",
    input="in",
    model_id="m",
    model_sha256="0" * 64,
    runtime="litert",
    runtime_version="2",
    operating_point=CutOffs("balanced", 0.0, -1.0, 1.0),
    parameters={"recursive": True},
)


def row(number: int) -> ResultRow:
    return ResultRow(
        file=f"{number:05d}.png",
        sha256="1" * 64,
        sop_instance_uid=None,
        status=Status.SCORED,
        decision=Decision.INDETERMINATE,
        reason=None,
        message=None,
        raw_score=0.25,
        probability=0.5,
        operating_point="balanced",
        quality={"b": True, "a": False},
        lungs=None,
        model_id="m",
        model_sha256="0" * 64,
        runtime="litert",
        decode_ms=1.5,
        infer_ms=2.5,
        total_ms=4.5,
        scored_at="2026-11-23T19:10:23.125Z",
    )


def reopened(path: Path) -> tuple[Journal, list[ResultRow]]:
    rows: list[ResultRow] = []
    journal = Journal(path)
    try:
        journal.recover(rows.append)
    except BaseException:
        journal.close()
        raise
    return journal, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def write(path: Path, count: int) -> bytes:
    journal, _ = reopened(path)
    with journal:
        journal.begin(HEADER)
        for number in range(count):
            journal.append(encode_row(row(number)))
    return path.read_bytes()


def test_a_row_is_written_as_the_codec_writes_it_and_read_as_strictly() -> None:
    assert encode_row(row(1)).decode() == compact_json(row(1)) + "\n"
    assert decode_row(encode_row(row(1))) == row(1)
    for wrong in (b'"file":1', b'"file":"x","more":1'):
        with pytest.raises(ValueError, match=r"file|more"):
            decode_row(encode_row(row(1)).replace(b'"file":"00001.png"', wrong))


@pytest.mark.parametrize(
    "content",
    [
        b'{"somebody": "else"}\n',
        b"not ours at all",
        b"file,label\na.png,1\n",
        (compact_json(HEADER) + "\n").replace('_version":3', '_version":2').encode(),
    ],
)
def test_a_file_that_no_run_of_this_version_began_is_left_as_it_is(
    path: Path, content: bytes
) -> None:
    """One line alone could pass for a beginning that was cut short, and be cut off."""
    path.write_bytes(content)
    with pytest.raises(StorageError, match="no results of this format version"):
        reopened(path)
    assert path.read_bytes() == content


def test_a_cut_at_every_byte_costs_the_torn_row_only(path: Path) -> None:
    whole = write(path, 3)
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        journal, rows = reopened(path)
        with journal:
            journal.begin(HEADER)
            for number in range(len(rows), 3):
                journal.append(encode_row(row(number)))
        assert len(rows) == max(0, sum(end <= length for end in ends) - 1)
        assert path.read_bytes() == whole


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 100 + b"\n", b'{"file":"x"}\n{"a":1}\n'])
def test_what_a_power_cut_leaves_behind_the_synced_rows_is_cut(path: Path, tail: bytes) -> None:
    whole = write(path, 3)
    path.write_bytes(whole + tail)
    journal, rows = reopened(path)
    with journal:
        assert journal.cut_bytes == len(tail)
        journal.begin(HEADER)
    assert len(rows) == 3
    assert path.read_bytes() == whole
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_good_rows_behind_damage_are_set_aside_and_said(path: Path) -> None:
    whole = write(path, 6)
    lines = whole.splitlines(keepends=True)
    damaged = whole.replace(b'"00002.png"', b"00002.png")
    path.write_bytes(damaged)
    journal, rows = reopened(path)
    notes: list[str] = []
    with journal:
        assert path.read_bytes() == damaged
        journal.begin(HEADER, notes.append)
    assert [r.file for r in rows] == ["00000.png", "00001.png"]
    assert path.read_bytes() == b"".join(lines[:3])
    (copy,) = path.parent.glob("results.jsonl.cut-*")
    assert path.read_bytes() + copy.read_bytes() == damaged
    (note,) = notes
    assert "line 4 is damaged: it and the 3 lines behind it" in note
    assert str(copy) in note


def test_nothing_is_cut_where_another_run_is_refused(path: Path) -> None:
    from dataclasses import replace

    torn = write(path, 3)[:-10]
    path.write_bytes(torn)
    journal, _ = reopened(path)
    with journal, pytest.raises(UsageError):
        journal.begin(replace(HEADER, input="other"))
    assert path.read_bytes() == torn


def test_rows_behind_a_damaged_first_line_are_never_cut(path: Path) -> None:
    whole = write(path, 3)
    for damaged in (
        whole.replace(b'"model_id":"m"', b'"model_id":"m', 1),
        whole.replace(b'"model_id":"m"', b'"more":1', 1),
    ):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"line 1.*name another folder|3 rows stand behind"):
            reopened(path)
        assert path.read_bytes() == damaged


def test_damage_far_from_the_end_is_no_torn_end(path: Path) -> None:
    whole = write(path, 10 * SYNC_ROWS)
    damaged = whole.replace(b'"00003.png"', b"00003.png")
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match=r"line 5: .* no interrupted write"):
        reopened(path)
    assert path.read_bytes() == damaged


def test_dropped_rows_are_gone_and_the_journal_stays_locked(path: Path) -> None:
    write(path, 4)
    journal, _ = reopened(path)
    with journal:
        journal.begin(HEADER)
        journal.drop(lambda old: old.file in ("00001.png", "00003.png"))
        with pytest.raises(StorageError, match="another run is writing"):
            reopened(path)
        journal.append(encode_row(row(9)))
    _, rows = read_results(path)
    assert [r.file for r in rows] == ["00000.png", "00002.png", "00009.png"]
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_two_runs_cannot_write_at_once(path: Path) -> None:
    journal, _ = reopened(path)
    with journal, pytest.raises(StorageError, match="another run is writing"):
        reopened(path)
    reopened(path)[0].close()


def test_a_journal_of_another_run_is_refused_with_what_differs(path: Path) -> None:
    from dataclasses import replace

    before = write(path, 1)
    other = replace(HEADER, model_sha256="2" * 64, parameters={"recursive": False})
    journal, _ = reopened(path)
    with journal, pytest.raises(UsageError, match=r"model_sha256 was .*recursive was True"):
        journal.begin(other)
    assert path.read_bytes() == before
    later = replace(HEADER, started_at="2026-11-24T19:10:23.125Z")
    assert describe_differences(HEADER, later) == []


def test_rows_are_due_after_a_bounded_number_and_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, _ = reopened(path)
    with journal:
        journal.begin(HEADER)
        for number in range(SYNC_ROWS):
            assert not journal.is_due
            journal.append(encode_row(row(number)))
        assert journal.is_due
        journal.sync()
        assert not journal.is_due
        journal.append(encode_row(row(0)))
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 1.1)
        assert journal.is_due


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from edge_app.errors import StorageError
from edge_app.results.journal import Journal
from edge_app.results.rows import encode_row
from tests.test_journal import HEADER, row

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with Journal(Path(sys.argv[1])) as journal:
        journal.begin(HEADER)
        for number in range(100):
            journal.append(encode_row(row(number)))
            journal.sync()
except StorageError as error:
    print(number, error.exit_code)
"""


def test_a_full_disk_leaves_whole_rows(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    number, code = map(int, done.stdout.split())
    assert code == 5
    assert 0 < number < 100
    assert path.stat().st_size <= 10_000
    assert [r.file for r in read_results(path)[1]] == [row(n).file for n in range(number)]


# --- whole runs, really killed -----------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    data = encoded(Image.fromarray(gradient(160, 160)), "PNG")
    for index in range(2500):
        (folder / f"{index:04d}.png").write_bytes(data)
    (folder / "0700.png").write_bytes(b"broken")
    return folder


def command(folder: Path, bundle: Path, out: Path) -> list[str]:
    arguments = ["-m", "edge_app", "batch", str(folder), "-o", str(out), "--bundle", str(bundle)]
    return [sys.executable, *arguments, "--workers", "2", "--format", "jsonl", "--quiet"]


def kills(arguments: list[str], pictures: Path, results: Path, times: int) -> None:
    """Start the command again and again, killing its whole process group so often.

    Every other time at any moment of its start, every other time while it writes. Where a run was
    through before its kill, however fast the machine is, there is more to do for the next one.
    """
    rng = random.Random(20)
    count = 0
    add_pictures(pictures)
    while count < times:
        delay = rng.uniform(0, 0.05) if count % 2 else rng.uniform(0, 1.5)
        process = subprocess.Popen(
            arguments, cwd=REPOSITORY, start_new_session=True, stderr=subprocess.DEVNULL
        )
        before = results.stat().st_size if results.exists() else 0
        deadline = time.monotonic() + 30
        while count % 2 and process.poll() is None and time.monotonic() < deadline:
            if results.exists() and results.stat().st_size > before:
                break
            time.sleep(0.002)
        time.sleep(delay)
        if process.poll() is not None:
            assert process.wait() == 1  # one of the pictures is broken
            add_pictures(pictures)
            continue
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        count += 1
        if results.exists() and results.read_bytes().count(b"\n") > 1:
            assert_no_row_twice(results)


def add_pictures(folder: Path) -> None:
    """Ten thousand more, whose names come after all that are there."""
    count = len(os.listdir(folder))
    for index in range(count, count + 10_000):
        (folder / f"x{index:07d}.png").hardlink_to(folder / "0000.png")


def assert_no_row_twice(results: Path) -> None:
    lines = results.read_bytes().split(b"\n")[1:-1]
    names = [line[9:17] for line in lines]
    assert len(set(names)) == len(names)


def assert_killed_run_is_exact(pictures: Path, bundle: Path, out: Path, times: int) -> None:
    arguments = command(pictures, bundle, out)
    results = out / "results.jsonl"
    kills(arguments, pictures, results, times)
    assert subprocess.run(arguments, cwd=REPOSITORY, check=False).returncode == 1
    assert validate_results(results).problems == ()
    found = [r.file for r in read_results(results)[1]]
    assert found == sorted(path.name for path in pictures.iterdir())


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_a_run_killed_at_random_moments_loses_and_repeats_nothing(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    assert_killed_run_is_exact(pictures, tiny_bundle_folder, tmp_path / "out", 5)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_a_run_killed_at_a_hundred_random_moments_loses_and_repeats_nothing(
    pictures: Path, tiny_bundle_folder: Path, tmp_path: Path
) -> None:
    assert_killed_run_is_exact(pictures, tiny_bundle_folder, tmp_path / "out", 100)
