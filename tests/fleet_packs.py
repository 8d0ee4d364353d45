"""Made-up devices with keys of their own, and their packs: nothing is scored."""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_app.files.codec import compact_json
from edge_app.fleet.answers import answers_of_run
from edge_app.fleet.device import Device
from edge_app.fleet.pack import Written, write_pack
from edge_app.fleet.pack_file import Pack, encode_pack
from edge_app.fleet.registry import enrol
from edge_app.results.rows import ResultRow

DAY = "2026-12-20"


@contextmanager
def data_folder(folder: Path) -> Iterator[None]:
    """Within, this is the user's data folder."""
    before = os.environ["PNEUMOSCOPE_DATA"]
    os.environ["PNEUMOSCOPE_DATA"] = str(folder)
    try:
        yield
    finally:
        os.environ["PNEUMOSCOPE_DATA"] = before


@dataclass(frozen=True)
class Machine:
    """A device of a test: its own data folder, the stick that it packs onto, its model."""

    name: str
    folder: Path
    stick: Path
    bundle: Path

    def pack(self, rows: Sequence[ResultRow], **options: Any) -> Written:
        """Pack rows as the command does."""
        with data_folder(self.folder), Device() as device:
            answers = answers_of_run({row.file: row for row in rows}, None, device.pseudonyms)
            return write_pack(device, answers, self.stick, bundle=self.bundle, **options)

    def enrol(self, registry: Path, site: str) -> str:
        """Register it."""
        return enrol(registry, self.folder / "fleet" / "device.pub", self.name, site)


def pack_with(path: Path, machine: Machine, lines: Sequence[str], **changes: Any) -> Path:
    """Write a pack that its device has signed and that says something else: a clock, a line."""
    from edge_app.bundle.private_key import open_signer

    pack = Pack(
        format_version=1,
        pneumoscope_version="0.1.0",
        sequence=1,
        packed_at=f"{DAY}T08:00:00.000Z",
        clock_is_trusted=True,
        clock="set by a time server",
        model_id="made-up",
        model_created="2026-11-01",
        profile=None,
        answers=0,
        body_bytes=0,
        body_sha256="",
        lines_bytes=0,
    )
    sign = open_signer(machine.folder / "fleet" / "device.key")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_pack(replace(pack, **changes), lines, sign))
    return path


def lines_of(machine: Machine, rows: Sequence[ResultRow]) -> list[str]:
    """The lines that a device would pack."""
    with data_folder(machine.folder), Device() as device:
        answers = answers_of_run({row.file: row for row in rows}, None, device.pseudonyms)
        return [compact_json(one) for one in answers]


def public_key(machine: Machine) -> str:
    """Of a device, as the registry has it."""
    raw = base64.b64decode((machine.folder / "fleet" / "device.pub").read_bytes())
    return base64.b64encode(raw).decode("ascii")
