"""Worker processes that crash, hang or cannot start: no task is lost with them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge_app.decision import Reason
from edge_app.errors import BundleFormatError, RuntimeUnavailableError, StorageError
from edge_app.runs.engine import GivenUp, News
from edge_app.runs.workers.messages import Answered, Settings, Task
from edge_app.runs.workers.pool import Pool
from tests.conftest import REPOSITORY
from tests.test_batch import phantom_png

# Found by the workers before anything else (PYTHONPATH): a decoder with faults, chosen by content.
FAULTY_DECODER = """
import os, time
import edge_app.screening.score_file as scoring

honest = scoring.decode_image

def decode_image(data, name, **options):
    if data == b"crash":
        os.abort()
    if data == b"hang":
        time.sleep(3600)
    if data == b"print":
        os.write(1, b"a library prints\\\\n")
    return honest(data, name, **options)

scoring.decode_image = decode_image
"""


@pytest.fixture
def settings(tiny_bundle_folder: Path) -> Settings:
    return Settings(str(tiny_bundle_folder), None, None, None, 1, None)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers' decoder fail."""
    home = tmp_path / "site"
    home.mkdir()
    (home / "sitecustomize.py").write_text(FAULTY_DECODER.replace("\\\\n", "\\n"))
    monkeypatch.setenv("PYTHONPATH", str(home))


def tasks(folder: Path, contents: dict[str, bytes]) -> list[Task]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [Task(i, str(folder / name), name, {}) for i, name in enumerate(contents)]


def answers(pool: Pool, todo: list[Task], seconds: float = 240) -> dict[int, News]:
    waiting, found = list(todo), {}
    deadline = time.monotonic() + seconds
    while len(found) < len(todo):
        assert time.monotonic() < deadline, found
        while waiting and pool.offer(waiting[0]):
            waiting.pop(0)
        for news in pool.take(0.1):
            found[news.task.id if isinstance(news, GivenUp) else news.id] = news
    return found


def test_a_crash_costs_its_file_only(settings: Settings, faulty: None, tmp_path: Path) -> None:
    good = phantom_png(1)
    todo = tasks(
        tmp_path / "in",
        {"0.png": good, "1.png": b"crash", "2.png": good, "3.png": good, "4.png": b"print"},
    )
    with Pool(settings, 2, seconds_per_file=30) as pool:
        found = answers(pool, todo)
    lost = found.pop(1)
    assert isinstance(lost, GivenUp)
    assert lost.reason is Reason.DECODER_CRASHED
    assert f"signal {signal.SIGABRT.value}" in lost.message
    replies = {id: news for id, news in found.items() if isinstance(news, Answered)}
    assert {id: reply.status for id, reply in replies.items()} == {
        0: "scored",
        2: "scored",
        3: "scored",
        4: "failed",
    }


def test_a_file_that_hangs_is_given_up(settings: Settings, faulty: None, tmp_path: Path) -> None:
    good = phantom_png(1)
    todo = tasks(tmp_path / "in", {"0.png": b"hang", "1.png": good, "2.png": good})
    started = time.monotonic()
    with Pool(settings, 1, seconds_per_file=1.5) as pool:
        found = answers(pool, todo)
    lost = found[0]
    assert isinstance(lost, GivenUp)
    assert lost.reason is Reason.TIMED_OUT
    assert 1.5 <= lost.seconds < 30
    assert [type(found[i]) for i in (1, 2)] == [Answered, Answered]
    assert time.monotonic() - started < 50


DYING_NETWORK = """
import os
from pathlib import Path
import edge_app.screening.screener as screener
import edge_app.screening.selftest as selftest

spoilt = Path({spoilt!r})

def die(*arguments, **options):
    spoilt.touch()
    os.abort()

screener.resize = die
if {everywhere} and spoilt.exists():
    selftest.preprocess = die
"""


@pytest.mark.parametrize("everywhere", [True, False])
def test_workers_that_die_of_everything_end_the_run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everywhere: bool
) -> None:
    """No file is blamed where, from then on, the golden inputs are lost too."""
    home = tmp_path / "site"
    home.mkdir()
    (home / "sitecustomize.py").write_text(
        DYING_NETWORK.format(everywhere=everywhere, spoilt=str(tmp_path / "spoilt"))
    )
    monkeypatch.setenv("PYTHONPATH", str(home))
    count = 12 if everywhere else 6
    todo = tasks(tmp_path / "in", {f"{i}.png": phantom_png(i) for i in range(count)})
    told: list[object] = []
    honest = Pool.take
    monkeypatch.setattr(Pool, "take", lambda pool, s: told.extend(honest(pool, s)) or told[:])
    with Pool(settings, 2, seconds_per_file=30) as pool:
        if everywhere:
            with pytest.raises(RuntimeUnavailableError, match="score its golden inputs"):
                answers(pool, todo)
            assert told == []
        else:
            found = answers(pool, todo)
            assert all(isinstance(news, GivenUp) for news in found.values())
    assert RuntimeUnavailableError.exit_code == 3


def test_files_lost_all_at_once_are_not_blamed_while_no_worker_can_begin(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = tasks(tmp_path / "in", {f"{i}.png": phantom_png(i) for i in range(10)})
    told: list[object] = []
    with Pool(settings, 5, seconds_per_file=1.5) as pool:
        while any(worker.ready is None for worker in pool._workers):
            pool.take(0.2)
        for pid in pool.pids:
            os.kill(pid, signal.SIGSTOP)
        for task in todo:
            assert pool.offer(task)
        monkeypatch.setattr("edge_app.runs.workers.pool.sys.executable", shutil.which("false"))

        def wait() -> None:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                told.extend(pool.take(0.2))

        with pytest.raises(RuntimeUnavailableError, match="score its golden inputs"):
            wait()
    assert told == []


def test_a_bundle_that_has_gone_is_what_a_new_worker_tells_of(
    settings: Settings, tmp_path: Path
) -> None:
    gone = replace(settings, bundle=str(tmp_path / "gone"))
    with (
        Pool(gone, 1, seconds_per_file=30) as pool,
        pytest.raises(StorageError, match="gone: the bundle cannot be read any more"),
    ):
        pool.wait_until_ready()


def test_a_worker_that_is_killed_once_costs_nothing(
    settings: Settings, faulty: None, tmp_path: Path
) -> None:
    todo = tasks(tmp_path / "in", {f"{i}.png": phantom_png(i) for i in range(20)})
    with Pool(settings, 1, seconds_per_file=30) as pool:
        pool.wait_until_ready()
        for task in todo[:4]:
            assert pool.offer(task)
        os.kill(pool.pids[0], signal.SIGKILL)
        found = answers(pool, [])
        deadline = time.monotonic() + 30
        while len(found) < 4 and time.monotonic() < deadline:
            found |= {n.id: n for n in pool.take(0.1) if isinstance(n, Answered)}
        assert sorted(found) == [0, 1, 2, 3]
        assert pool.pending == 0


def test_a_pool_works_where_python_drops_assertions(settings: Settings) -> None:
    """PYTHONOPTIMIZE=1 once took the waiting away with its assertion."""
    script = (
        "import sys; from edge_app.runs.workers.messages import read_message\n"
        "from edge_app.runs.workers.pool import Pool\n"
        "with Pool(read_message(sys.stdin.buffer.readline()), 1, seconds_per_file=9) as p:\n"
        "    print(p.wait_until_ready().manifest_sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-O", "-c", script],
        cwd=REPOSITORY,
        input=settings.to_line(),
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert len(done.stdout.strip()) == 64


def test_workers_end_with_the_pool(settings: Settings, tmp_path: Path) -> None:
    with Pool(settings, 2, seconds_per_file=30) as pool:
        pool.wait_until_ready()
        pids = pool.pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_keeps_a_worker_from_starting_is_raised_here(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path(settings.bundle) / "bundle.json").write_text("{}")
    with (
        pytest.raises(BundleFormatError, match="missing key"),
        Pool(settings, 1, seconds_per_file=30) as pool,
    ):
        pool.wait_until_ready()
    home = tmp_path / "site"
    home.mkdir()
    (home / "sitecustomize.py").write_text("import os; os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(home))
    with (
        pytest.raises(RuntimeUnavailableError, match="exit code 7"),
        Pool(settings, 1, seconds_per_file=30) as pool,
    ):
        pool.wait_until_ready()
