"""How cost grows: with the number of files, their size, and the cores at work.

A folder and limits enter, a `Scale` leaves. Each point is the median of three runs of the whole
command (files and workers; one run where it takes over a minute), or of a few pictures in one
process (megapixels). `linearity` says where the cost stops growing in proportion, `scaling` where
more workers stop helping: both beyond the noise only.
"""

import math
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.contenders import Contender
from benchmarks.folder_command import batch_command, run_command
from benchmarks.picture_folder import choose_pictures, link_pictures
from benchmarks.processes import WorkerError, run_worker
from benchmarks.record import Scale, ScaleCurve, ScalePoint
from benchmarks.store import Recording
from benchmarks.timing import log_mean, t95
from edge_app.bundle.manifest import Bundle
from edge_app.files.codec import encode
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.progress import progress
from edge_app.statistics.intervals import normal_quantile_two_sided

Measure = Callable[[float], ScalePoint]

FILES = (100, 1_000, 10_000, 100_000)
MEGAPIXELS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_DIFFERENT_PICTURES = 100
_FILES_PER_WORKER_POINT = 2_000
_REPEATS_PER_SIZE = 5
_RUNS = 3
_ONCE_FROM_S = 60.0
_RUNS_NOTE = f"median of {_RUNS} runs, one where it takes over {_ONCE_FROM_S:g} s"
# More workers that save less than this are not worth starting.
_WORTH_A_WORKER = 1.05
# Between two points, cost grows like x to this power; outside of the band it is not linear.
_LINEAR = (0.9, 1.1)
_ASPECT = 1.2


def measure_scale(
    bundle: Bundle,
    contender: Contender,
    folder: Path,
    files: Sequence[int],
    megapixels: Sequence[float],
    workers: Sequence[int],
    recording: Recording[Scale],
) -> Scale:
    """Measure the three curves, the dearest last; each point is recorded.

    Args:
        bundle, contender: what scores: folders with the command, sizes with the contender.
        folder: pictures that are put under as many names as are asked for.
        files, megapixels, workers: the points; no run takes more files than the most of `files`.
        recording: of the section; points that it holds of an interrupted run are taken over.

    Raises:
        NoInputError: the folder holds no picture.
        StorageError: the disk cannot hold the names.
        WorkerError: a run failed.
    """
    chosen = choose_pictures(folder, _DIFFERENT_PICTURES)
    left_out = f" ({chosen})" if str(chosen) else ""
    per_worker_point = min(_FILES_PER_WORKER_POINT, max(files))
    most = max(workers)
    done: list[ScaleCurve] = []

    def grow(name: str, note: str, xs: Sequence[float], measure: Measure) -> None:
        known = {point.x: point for point in _held_points(recording.held, name)}
        points: list[ScalePoint] = []
        with progress(f"scale: {name}", len(xs), "points") as at:
            for count, x in enumerate(sorted(xs), start=1):
                points.append(known.get(x) or measure(x))
                curves = (*done, ScaleCurve(name, tuple(points), note))
                recording.put(Scale(recording.taken(complete=False), curves))
                at(count)
        done.append(ScaleCurve(name, tuple(points), note))

    grow(
        "megapixels",
        f"a JPEG phantom with noise, scored by {contender.name}; median of {_REPEATS_PER_SIZE}, "
        "seconds for one picture in one process",
        megapixels,
        lambda size: _at_size(contender, size),
    )
    grow(
        "workers",
        f"{per_worker_point} files of {folder.name}{left_out}, {_RUNS_NOTE}",
        workers,
        lambda n: _run_folder(bundle, chosen.pictures, per_worker_point, round(n), x=n),
    )
    grow(
        "files",
        f"{len(chosen.pictures)} pictures of {folder.name}{left_out} under several names, {most} "
        f"workers, {_RUNS_NOTE}",
        files,
        lambda n: _run_folder(bundle, chosen.pictures, round(n), most, x=n),
    )
    return recording.put(Scale(recording.taken(complete=True), tuple(done)))


def up_to(points: Sequence[float], most: float) -> list[float]:
    """The points below a limit, and the limit itself."""
    return [*(point for point in points if point < most), most]


def _held_points(held: Scale | None, name: str) -> tuple[ScalePoint, ...]:
    curves = () if held is None else held.curves
    return next((curve.points for curve in curves if curve.name == name), ())


def linearity(points: Sequence[ScalePoint]) -> str:
    """Where the cost stops growing in proportion, in words.

    Between neighbouring points the exponent log(t2 / t1) / log(x2 / x1) is 1 for linear growth;
    below, fixed costs still weigh; above, something grows faster than the work. A step is named
    only where the interval of its exponent (95% for all steps together) leaves 1 out and the
    exponent lies outside of `_LINEAR`. The noise of one run is pooled over the points.
    """
    if len(points) < 2:
        return "one point only"
    noise = _noise(points)
    if noise is None:
        return "each point measured once: no interval, so no judgement"
    steps = [_step(a, b, noise, len(points) - 1) for a, b in pairwise(points)]
    below = [step for step in steps if step.high < 1 and step.exponent < _LINEAR[0]]
    above = [step for step in steps if step.low > 1 and step.exponent > _LINEAR[1]]
    parts = []
    if below:
        last = below[-1]
        parts.append(f"fixed costs weigh up to {last.end:g} (exponent {last} from {last.start:g})")
    if above:
        first = above[0]
        parts.append(f"faster than linear from {first.start:g} to {first.end:g} (exponent {first})")
    widest = max(step.high - step.exponent for step in steps)
    unseen = f"no step differs from linear beyond the noise (exponents to within {widest:.2f})"
    return "; ".join(parts) or unseen


def scaling(points: Sequence[ScalePoint]) -> str:
    """Up to how many workers more of them are faster, in words."""
    if len(points) < 2:
        return "one number of workers only"
    noise = _noise(points)
    if noise is None:
        return "each point measured once: no interval, so no judgement"
    for a, b in pairwise(points):
        half = noise.half_width(a, b, len(points) - 1)
        if _growth(b, a) <= max(half, math.log(_WORTH_A_WORKER)):
            return f"stops scaling at {a.x:g}: {b.x:g} are no faster beyond the noise"
    first, last = points[0], points[-1]
    speedup = first.seconds / last.seconds
    return f"scales to the end: {last.x:g} are {speedup:.2f} times as fast as {first.x:g}"


@dataclass(frozen=True, slots=True)
class _Noise:
    """Standard deviation of the logarithm of one run's seconds, and its degrees of freedom."""

    deviation: float
    degrees: int

    def half_width(self, a: ScalePoint, b: ScalePoint, comparisons: int) -> float:
        """Of the interval of ln(t_b / t_a), 95% for so many comparisons together (Bonferroni).

        The quantile of Student's t is widened as the normal one would be, which is near enough.
        """
        wider = normal_quantile_two_sided(1 - 0.05 / comparisons) / normal_quantile_two_sided(0.95)
        error = self.deviation * math.sqrt(1 / len(a.runs) + 1 / len(b.runs))
        return wider * t95(self.degrees) * error


@dataclass(frozen=True, slots=True)
class _Step:
    """Local exponent between two points, with its interval."""

    start: float
    end: float
    exponent: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.exponent:.2f}, {self.low:.2f} to {self.high:.2f}"


def _step(a: ScalePoint, b: ScalePoint, noise: _Noise, comparisons: int) -> _Step:
    width = math.log(b.x / a.x)
    exponent = _growth(a, b) / width
    half = noise.half_width(a, b, comparisons) / width
    return _Step(a.x, b.x, exponent, exponent - half, exponent + half)


def _growth(a: ScalePoint, b: ScalePoint) -> float:
    """ln(t_b / t_a) of the runs' geometric means, whose error the noise tells."""
    return log_mean(b.runs).value - log_mean(a.runs).value


def _noise(points: Sequence[ScalePoint]) -> _Noise | None:
    """Pooled over the points that were measured more than once; None where none was."""
    repeated = [[math.log(run) for run in point.runs] for point in points if len(point.runs) > 1]
    degrees = sum(len(logs) - 1 for logs in repeated)
    if not degrees:
        return None
    squares = sum((len(logs) - 1) * statistics.variance(logs) for logs in repeated)
    return _Noise(math.sqrt(squares / degrees), degrees)


def _run_folder(
    bundle: Bundle, pictures: Sequence[Path], files: int, workers: int, *, x: float
) -> ScalePoint:
    """The cost of exactly so many files; of fewer files than pictures, the first ones."""
    runs: list[float] = []
    peaks: list[float | None] = []
    with tempfile.TemporaryDirectory(prefix="pneumoscope-") as scratch:
        links = link_pictures(pictures, Path(scratch) / "in", files)
        out = Path(scratch) / "out"
        while len(runs) < _RUNS and (not runs or runs[0] < _ONCE_FROM_S):
            what = f"{files} files, {workers} workers, run {len(runs) + 1}"
            command = batch_command(bundle.folder, links, out, workers)
            rows = Rows(out / "results.jsonl")
            with progress(what, files, "files") as at:
                # Called within this round of the loop only.
                seconds, peak = run_command(command, lambda: at(rows.count()), watched=True)  # noqa: B023
            runs.append(seconds)
            peaks.append(peak)
            # A run of 100,000 files leaves 100 MB.
            shutil.rmtree(out)
    return ScalePoint(x, peaks[0], tuple(runs))


class Rows:
    """Counts the rows of a `results.jsonl` that grows; reads each byte once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._lines = 0

    def count(self) -> int:
        """Rows so far; 0 before the file is there."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._read)
                new = stream.read()
        except OSError:
            return 0
        self._read += len(new)
        self._lines += new.count(b"\n")
        # The first line describes the run.
        return max(0, self._lines - 1)


def _at_size(contender: Contender, size: float) -> ScalePoint:
    with tempfile.TemporaryDirectory(prefix="pneumoscope-") as scratch:
        file = Path(scratch) / "phantom.jpg"
        write_phantom(file, size)
        return score_size(contender, file, size)


def score_size(contender: Contender, file: Path, size: float) -> ScalePoint:
    """One picture, scored several times in one process.

    Raises:
        WorkerError: it could not be read, so that there is no time to tell.
    """
    request = {
        "task": "score",
        "contender": encode(contender),
        # The first is the warm-up.
        "files": [str(file)] * (_REPEATS_PER_SIZE + 1),
    }
    times: list[float] = []
    peak = None
    for message in run_worker(contender.interpreter, request):
        if "row" in message:
            row = message["row"]
            if row["status"] == "failed":
                raise WorkerError(f"a picture of {size:g} megapixels: {row['message']}")
            times.append(row["total_ms"] / 1000)
        if "done" in message:
            peak = message["done"]["peak_memory_mb"]
    return ScalePoint(size, peak, tuple(times[1:]))


def write_phantom(path: Path, megapixels: float, seed: int = 1) -> None:
    """A JPEG of this size: a phantom enlarged, with film noise so that it compresses like one."""
    height = round(math.sqrt(megapixels * 1e6 / _ASPECT))
    width = round(megapixels * 1e6 / height)
    small = Image.fromarray(draw_phantom(Phantom(seed), 512, 614))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.int16)
    noise = np.random.default_rng(seed).integers(-6, 7, pixels.shape, np.int16)
    noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path, quality=90)
