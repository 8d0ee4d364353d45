"""`results.json`: strict, whole, one machine a file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.machine import Processor, this_machine
from benchmarks.record import Startup, StartupRow
from benchmarks.store import FILE, PARTIAL_FILE, Recording, Store, read_results
from edge_app.errors import StorageError, UsageError


def startup() -> Startup:
    row = StartupRow("python -c pass", "python -c pass", (0.01, 0.02), (9.0, 9.1))
    return Startup(Recording[Startup]("startup", "x", "m").taken(complete=True), (row,))


def test_what_is_put_is_read_back(tmp_path: Path) -> None:
    section = startup()
    Store(tmp_path).put("startup", section)
    assert read_results(tmp_path / FILE).startup == section


def test_sections_of_earlier_commands_are_kept(tmp_path: Path) -> None:
    Store(tmp_path).put("startup", startup())
    second = Store(tmp_path)
    assert second.results.startup is not None


def test_interrupted_rerun_leaves_the_whole_section_in_place(tmp_path: Path) -> None:
    whole = startup()
    Store(tmp_path).put("startup", whole)
    partial = replace(whole, taken=replace(whole.taken, complete=False), rows=())
    second = Store(tmp_path)
    second.put("startup", partial)
    assert read_results(tmp_path / FILE).startup == whole
    assert read_results(tmp_path / PARTIAL_FILE).startup == partial
    assert "the earlier, whole startup stays in results.json" in second.kept()
    second.put("startup", whole)
    assert not (tmp_path / PARTIAL_FILE).exists()
    assert second.kept() == "startup is finished"


def test_raw_samples_stand_on_one_line(tmp_path: Path) -> None:
    Store(tmp_path).put("startup", startup())
    lines = (tmp_path / FILE).read_text(encoding="utf-8").splitlines()
    assert any(line.strip() == '"seconds": [0.01, 0.02],' for line in lines)


def test_figures_of_two_machines_do_not_mix(tmp_path: Path) -> None:
    other = replace(this_machine(), processor=Processor("Cortex-A76", "0x41", "0xd0b", "r4p1", ()))
    Store(tmp_path, other).put("startup", startup())
    with pytest.raises(UsageError, match=r"Cortex-A76.*Name another folder"):
        Store(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 2 is not 3"),
        ({"surprise": 1}, "surprise: unknown key"),
        ({"machine": None}, "machine: expected an object"),
    ],
)
def test_file_that_does_not_fit(tmp_path: Path, change: dict[str, object], message: str) -> None:
    Store(tmp_path).put("startup", startup())
    path = tmp_path / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UsageError, match=message):
        read_results(path)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        Store(tmp_path / "file" / "out")
