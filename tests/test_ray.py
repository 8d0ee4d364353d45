"""A Ray cluster of two nodes scores a folder: the local engine's rows, whatever dies meanwhile."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edge_app.cli import main
from edge_app.errors import RuntimeUnavailableError, StorageError, UsageError
from edge_app.results.folder import RunFolder
from edge_app.results.rows import ResultRow, read_results
from edge_app.results.validate import validate_results
from edge_app.runs.batch import BatchPlan, run_batch
from edge_app.runs.cluster.engine import Cluster, ray_engine
from edge_app.runs.cluster.node import NodeReady
from edge_app.runs.engine import Engine
from edge_app.runs.scoring_run import RunOptions, StartEngine, start_workers
from edge_app.runs.summary import Outcome
from edge_app.runs.workers.messages import Answered, Ready, Settings
from edge_app.version import __version__
from tests.conftest import REPOSITORY
from tests.test_batch import phantom_png, write_ward

ray = pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
pytest.importorskip("pyarrow", reason="needs pyarrow: pip install '.[parquet]'")

OF_THE_MOMENT = {"decode_ms": None, "infer_ms": None, "total_ms": 0.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each; a test that kills one adds another."""
    from ray.cluster_utils import Cluster as Simulated

    before = dict(os.environ)
    os.environ["PYTHONPATH"] = str(REPOSITORY)  # of the nodes' processes
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 100 * 1024 * 1024, "include_dashboard": False}
    simulated = Simulated(initialize_head=True, head_node_args=node)
    simulated.add_node(num_cpus=1, object_store_memory=100 * 1024 * 1024)
    yield simulated
    ray.shutdown()
    simulated.shutdown()
    os.environ.clear()
    os.environ.update(before)


def many(folder: Path, count: int) -> Path:
    """Links to a ward's files, so many and each with a name of its own."""
    ward = write_ward(folder.with_name("ward"))
    files = sorted(path for path in ward.rglob("*") if path.suffix in (".png", ".jpeg"))
    folder.mkdir()
    for number in range(count):
        source = files[number % len(files)]
        os.link(source, folder / f"{number:05}{source.suffix}")
    return folder


def kill_machine(node: Any) -> None:
    """A node's processes at once, as when its power goes; Ray's own simulation spares actors."""
    (raylet,) = node.all_processes["raylet"]
    pids = [raylet.process.pid]
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = status.read_text().rpartition(")")[2].split()[1]
            pids += [int(status.parent.name)] if int(parent) == pids[0] else []
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def score(
    bundle: Path, start: StartEngine, folder: Path, out: str, on_outcome: Any = None
) -> list[ResultRow]:
    options = RunOptions(bundle=bundle, workers=2, formats=("jsonl", "parquet", "failed"))
    plan = BatchPlan((folder,), folder.with_name(out), options=options, start_engine=start)
    run_batch(plan, on_outcome or (lambda outcome, total: None))
    return rows_of(plan.folder.results)


def rows_of(results: Path) -> list[ResultRow]:
    """The rows without what two runs differ in."""
    assert validate_results(results).problems == ()
    moment: dict[str, Any] = {**OF_THE_MOMENT, "scored_at": "2026-11-28T00:00:00Z"}
    return [dataclasses.replace(row, **moment) for row in read_results(results)[1]]


def test_a_cluster_gives_the_rows_of_this_machine(
    cluster: Any, tmp_path: Path, signed_bundle_folder: Path
) -> None:
    folder = many(tmp_path / "in", 200)
    here = score(signed_bundle_folder, start_workers, folder, "here")
    there = score(signed_bundle_folder, ray_engine(cluster.address), folder, "there")
    assert there == here
    assert len({row.file for row in there}) == 200
    out = RunFolder(tmp_path / "there")
    assert validate_results(out.columns) == validate_results(out.results)
    assert rows_of(out.failures) == [row for row in here if row.status == "failed"]


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_node_that_dies_costs_no_file_and_no_second_row(
    cluster: Any, tmp_path: Path, signed_bundle_folder: Path, count: int
) -> None:
    folder = many(tmp_path / "in", count)
    engines: list[Cluster] = []

    def start(settings: Settings, options: RunOptions) -> Engine:
        engine = Cluster(settings, options, cluster.address)
        while len(engine._actors) < 2:
            assert engine.take(1.0) == []
        engines.append(engine)
        return engine

    seen: list[Outcome] = []

    def kill_when_half_done(outcome: Outcome, total: int) -> None:
        seen.append(outcome)
        if len(seen) == count // 3:
            kill_machine(node)

    (node,) = cluster.worker_nodes
    there = score(signed_bundle_folder, start, folder, "there", kill_when_half_done)
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=100 * 1024 * 1024)
    assert engines[0]._losses  # it was at work
    assert there == score(signed_bundle_folder, start_workers, folder, "here")


def test_what_one_engine_began_the_other_finishes(
    cluster: Any, tmp_path: Path, signed_bundle_folder: Path
) -> None:
    folder = many(tmp_path / "in", 120)

    def stop(outcome: Outcome, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(signed_bundle_folder, ray_engine(cluster.address), folder, "out", stop)
    assert not ray.is_initialized()
    rows = score(signed_bundle_folder, start_workers, folder, "out")
    assert [row.file for row in rows] == sorted(path.name for path in folder.iterdir())


def test_content_that_is_known_gets_no_row(
    cluster: Any, tmp_path: Path, signed_bundle_folder: Path
) -> None:
    ward = write_ward(tmp_path / "ward")
    score(signed_bundle_folder, start_workers, ward, "first")
    (ward / "new.png").write_bytes(phantom_png(5))
    options = RunOptions(
        bundle=signed_bundle_folder, formats=("jsonl",), only_new=(tmp_path / "first",), workers=2
    )
    start = ray_engine(cluster.address)
    plan = BatchPlan((ward,), tmp_path / "second", options=options, start_engine=start)
    summary = run_batch(plan)
    names = [row.file for row in rows_of(plan.folder.results)]
    assert names == ["cut.jpeg", "empty.png", "new.png", "note.png"]  # what failed is tried again
    assert summary.known == 5


def test_without_a_cluster_nothing_is_written(
    tmp_path: Path, signed_bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ward = write_ward(tmp_path / "ward")
    arguments = ["batch", str(ward), "-o", str(tmp_path / "out"), "--bundle"]
    arguments += [str(signed_bundle_folder), "--address"]
    assert main([*arguments, "127.0.0.1:1"]) == 2
    assert "add --engine ray" in capsys.readouterr().err
    assert main([*arguments, "127.0.0.1:1", "--engine", "ray"]) == 3
    assert "no Ray cluster can be used at 127.0.0.1:1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_version_of_ray_is_an_error_of_ours(
    tmp_path: Path, signed_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**options: Any) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.1.0")

    monkeypatch.setattr(ray, "init", init)
    ward = write_ward(tmp_path / "ward")
    with pytest.raises(RuntimeUnavailableError, match=r"cluster was started with: Ray: 2\.1\.0"):
        score(signed_bundle_folder, ray_engine("10.0.0.1:6379"), ward, "out")
    assert not (tmp_path / "out").exists()


def test_a_node_with_another_version_ends_the_run() -> None:
    engine = Cluster.__new__(Cluster)
    engine._ready = None
    ready = Ready("a" * 64, "litert", "2.3.0", "b" * 64, [])
    engine._require_same(NodeReady("n1", __version__, ready))
    for version, changed in (
        ("0.0.1", ready),
        (__version__, dataclasses.replace(ready, runtime_version="1")),
    ):
        with pytest.raises(RuntimeUnavailableError, match=r"node n2: .* same versions on every"):
            engine._require_same(NodeReady("n2", version, changed))


def test_a_folder_that_is_not_mounted_on_a_node_blames_no_file(tmp_path: Path) -> None:
    engine = Cluster.__new__(Cluster)
    engine._known_file = None
    here = tmp_path / "a.png"
    here.write_bytes(b"picture")
    facts = (None, "failed", "not_assessable", "unreadable", None)
    unread = Answered(7, "{}\n", *facts, True, (0.0,) * 5, None, None)
    with pytest.raises(StorageError, match="is not there on node n1, but it is here"):
        engine._checked(unread, {7: str(here)}, "n1")
    here.unlink()  # gone here too: its row says so
    assert engine._checked(unread, {7: str(here)}, "n1") is unread


def test_what_workers_write_on_their_own_disk_is_refused(tmp_path: Path) -> None:
    for options in (RunOptions(answers=tmp_path), RunOptions(heatmaps="all")):
        with pytest.raises(UsageError, match="any machine of the cluster"):
            ray_engine(None)(Settings("", None, None, None, 1, None), options)
