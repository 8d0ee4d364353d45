"""The output folder's `results.json`: opened once, written after every step, taken up again.

A section that is whole is replaced by a whole one only: what a run has done of another waits in
`interrupted.json` until it is finished.
"""

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

from benchmarks.machine import (
    Machine,
    busy_share,
    package_versions,
    read_sensors,
    this_machine,
)
from benchmarks.record import FORMAT_VERSION, AnySection, Results, Section, Taken
from edge_app.errors import StorageError, UsageError
from edge_app.files.codec import CodecError, decode, encode, parse_json
from edge_app.files.whole import write_whole

FILE = "results.json"
PARTIAL_FILE = "interrupted.json"
_TIMED = ("latency", "throughput", "scale", "startup")
_NUMBERS = re.compile(r"\[\s+(?:(?:-?[0-9][0-9.eE+-]*|null),?\s+)+\]")


class Store:
    """The results of one folder and one machine."""

    def __init__(self, folder: Path, machine: Machine | None = None) -> None:
        """Open what is there, or begin.

        Raises:
            StorageError: the folder cannot be made or written.
            UsageError: it holds another machine's results, or a file that does not fit.
        """
        self.folder = folder
        machine = machine or this_machine()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be made: {error.strerror}") from error
        self.path = folder / FILE
        self.partial_path = folder / PARTIAL_FILE
        self.changed: dict[str, bool] = {}
        self.results = Results(FORMAT_VERSION, machine)
        if self.path.exists():
            self.results = read_results(self.path)
        if self.results.machine != machine:
            raise UsageError(
                f"{self.path}: holds figures of {self.results.machine}; this is {machine}. "
                "Name another folder with -o"
            )

    def put(self, name: str, section: Section) -> None:
        """Replace a section and write the file, atomically.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        sections: dict[str, Any] = {name: section}
        self.changed[name] = section.taken.complete
        if self._is_whole(name) and not section.taken.complete:
            write_results(self.partial_path, replace(self.results, **sections))
            return
        self.results = replace(self.results, **sections)
        write_results(self.path, self.results)
        if section.taken.complete:
            self.partial_path.unlink(missing_ok=True)

    def left(self, name: str, command: str, model_id: str) -> Section | None:
        """What an earlier run of the same command, model and packages has left of a section.

        Interrupted first, since that is the newer one.
        """
        files = [read_results(self.partial_path)] if self.partial_path.exists() else []
        wanted = (command, model_id, package_versions())
        for results in (*files, self.results):
            section: Section | None = getattr(results, name)
            if section is None:
                continue
            if (section.taken.command, section.taken.model_id, section.taken.versions) == wanted:
                return section
        return None

    def kept(self) -> str:
        """What an interruption leaves of this run, in words."""
        parts = [f"{name} is finished" for name, complete in self.changed.items() if complete]
        for name in (name for name, complete in self.changed.items() if not complete):
            if self._is_whole(name):
                parts.append(
                    f"what was done of {name} is in {PARTIAL_FILE}, the earlier, whole {name} "
                    f"stays in {FILE}"
                )
            else:
                parts.append(f"what was done of {name} is in {FILE}")
        return "; ".join(parts) or f"nothing was finished, nothing was written to {FILE}"

    def _is_whole(self, name: str) -> bool:
        held: Section | None = getattr(self.results, name)
        return held is not None and held.taken.complete


class Recording(Generic[AnySection]):
    """A section in the making: says how it came about, and keeps every state of it.

    Attributes:
        held: what an earlier, interrupted run has left of it, for those that go on from there.
        section: the last state that was kept, None before the first.
    """

    def __init__(self, name: str, command: str, model_id: str, store: Store | None = None) -> None:
        """Look at the machine and begin; without a store only `section` is kept."""
        self.held: AnySection | None = None
        self.section: AnySection | None = None
        self._name, self._store = name, store
        self._began = time.monotonic()
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        load, busy = read_sensors().load, busy_share() if name in _TIMED else None
        self._taken = Taken(command, at, 0.0, load, busy, model_id, package_versions(), False)

    @property
    def busy(self) -> float | None:
        """Share of the cores' time that others took when it was begun."""
        return self._taken.busy

    def taken(self, *, complete: bool) -> Taken:
        """How the section came about, up to now."""
        seconds = round(time.monotonic() - self._began, 1)
        return replace(self._taken, seconds=seconds, complete=complete)

    def put(self, section: AnySection) -> AnySection:
        """Keep this state of the section, in place of the one before.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        self.section = section
        if self._store is not None:
            self._store.put(self._name, section)
        return section


def read_results(path: Path) -> Results:
    """Read a `results.json`.

    Raises:
        UsageError: no such file, another format version, or a key that does not fit.
    """
    try:
        document = parse_json(path.read_bytes())
        version = document.get("format_version") if isinstance(document, dict) else None
        if version != FORMAT_VERSION:
            raise CodecError(f"format version {version!r} is not {FORMAT_VERSION}")
        return decode(Results, document)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except CodecError as error:
        raise UsageError(f"{path}: not a results.json of this version: {error}") from error


def write_results(path: Path, results: Results) -> None:
    """Write UTF-8 JSON, whole or not at all, each list of numbers on one line.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    text = json.dumps(encode(results), indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, [_NUMBERS.sub(_on_one_line, text), "\n"])


def _on_one_line(match: re.Match[str]) -> str:
    return " ".join(match[0].split()).replace("[ ", "[").replace(" ]", "]")
