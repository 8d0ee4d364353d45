"""What a command costs before and beside its work: fresh processes, wall time, peak memory.

`python -c pass` is the measure: `pneumoscope --version` should cost little more, and one score
from cold little enough that nobody keeps a server running for it. Files are in the page cache
after the first, untimed, run: cold means a new process, not a cold disk. Rows run interleaved.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from benchmarks.processes import WorkerError
from benchmarks.record import Startup, StartupRow
from benchmarks.store import Recording
from edge_app.errors import RuntimeUnavailableError
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.progress import progress

BARE = "python -c pass"
VERSION = "pneumoscope --version"
SCORE = "pneumoscope score FILE"
# The median picture of the Kermany set has 1.2 megapixels.
_PHANTOM_SIZE = (1000, 1200)


def measure_startup(
    bundle: Path, file: Path | None, runs: int, recording: Recording[Startup]
) -> Startup:
    """Start each command `runs` times; each round is recorded.

    Args:
        bundle: folder of the model bundle.
        file: the picture to score; None draws a phantom.
        runs: that count; one more, before, fills the page cache.
        recording: of the section.

    Raises:
        RuntimeUnavailableError: Windows has no wait4.
        WorkerError: a command failed.
    """
    if sys.platform == "win32":
        raise RuntimeUnavailableError("startup measures with wait4, which Windows does not have")
    with tempfile.TemporaryDirectory(prefix="pneumoscope-") as scratch:
        picture = file or _phantom_file(Path(scratch))
        commands = _commands(bundle, picture)
        rows = [StartupRow(name, _shown(name, picture), (), ()) for name in commands]
        section = Startup(recording.taken(complete=False), tuple(rows))
        with progress("startup", runs + 1, "runs") as at:
            for run in range(runs + 1):
                measured = [_launch(command) for command in commands.values()]
                if run:
                    rows = [_with_run(row, *m) for row, m in zip(rows, measured, strict=True)]
                    taken = recording.taken(complete=run == runs)
                    section = recording.put(Startup(taken, tuple(rows)))
                at(run + 1)
    return section


def _commands(bundle: Path, picture: Path) -> dict[str, list[str]]:
    program = _program()
    return {
        BARE: [sys.executable, "-c", "pass"],
        VERSION: [*program, "--version"],
        SCORE: [*program, "score", str(picture), "--bundle", str(bundle.resolve())],
    }


def _program() -> list[str]:
    """The installed command beside this interpreter, else the checkout's module."""
    script = Path(sys.executable).with_name("pneumoscope")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "edge_app"]


def _shown(name: str, picture: Path) -> str:
    return name.replace("FILE", picture.name)


def _with_run(row: StartupRow, seconds: float, peak_memory_mb: float) -> StartupRow:
    return replace(
        row,
        seconds=(*row.seconds, round(seconds, 6)),
        peak_memory_mb=(*row.peak_memory_mb, round(peak_memory_mb, 3)),
    )


def _launch(command: Sequence[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in 10^6 bytes of one run."""
    launcher = Path(__file__).with_name("launcher.py")
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(launcher), *command],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(answer.stdout)
    # 1: the phantom or the picture was refused, which is an answer too.
    if figures["code"] not in (0, 1):
        raise WorkerError(f"{' '.join(command)}: ended with status {figures['code']}")
    return figures["seconds"], figures["peak_memory_mb"]


def _phantom_file(folder: Path) -> Path:
    path = folder / "phantom.jpg"
    pixels = draw_phantom(Phantom(seed=1), *_PHANTOM_SIZE)
    Image.fromarray(pixels).save(path, quality=90)
    return path
