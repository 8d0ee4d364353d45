"""How cost grows: with the number of files, their size, and the cores at work.

A folder and limits enter, a `Scale` leaves. Each point is one run of the whole command (files and
workers), or the mean over a few pictures in one process (megapixels). `linearity` says where the
cost stops growing in proportion.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.candidates import Candidate
from benchmarks.processes import run_worker
from benchmarks.progress import progress
from benchmarks.record import Scale, ScaleCurve, ScalePoint, Stopwatch
from benchmarks.throughput import batch_command, choose_pictures, link_pictures, run_watched
from edge_app.bundle import Bundle
from edge_app.codec import encode
from edge_app.phantom import Phantom, draw_phantom

Save = Callable[[Scale], None]

FILES = (100, 1_000, 10_000, 100_000)
MEGAPIXELS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_DIFFERENT_PICTURES = 100
_FILES_PER_WORKER_POINT = 2_000
_REPEATS_PER_SIZE = 5
# Between two points, cost grows like x to this power; outside of the band it is not linear.
_LINEAR = (0.9, 1.1)
_ASPECT = 1.2


def measure_scale(
    bundle: Bundle,
    candidate: Candidate,
    folder: Path,
    files: Sequence[int],
    megapixels: Sequence[float],
    workers: Sequence[int],
    watch: Stopwatch,
    save: Save,
) -> Scale:
    """Measure the three curves; `save` is called after each point.

    Raises:
        NoInputError: the folder holds no picture.
        WorkerError: a run failed.
    """
    chosen = choose_pictures(folder, _DIFFERENT_PICTURES)
    pictures = chosen.pictures
    most = max(workers)
    curves: list[ScaleCurve] = []

    def grown(curve: ScaleCurve, points: Iterator[ScalePoint], total: int) -> None:
        curves.append(curve)
        with progress(f"scale: {curve.name}", total, "points") as bar:
            for count, point in enumerate(points, start=1):
                last = curves.pop()
                curves.append(ScaleCurve(last.name, last.unit, (*last.points, point), last.note))
                save(Scale(watch.taken(complete=False), tuple(curves)))
                bar.at(count)

    left_out = f" ({chosen})" if str(chosen) else ""
    note = (
        f"{len(pictures)} pictures of {folder.name}{left_out} under several names, {most} workers"
    )
    grown(
        ScaleCurve("files", "files", (), note), _by_files(bundle, pictures, files, most), len(files)
    )
    note = f"{_FILES_PER_WORKER_POINT} files of {folder.name}"
    grown(
        ScaleCurve("workers", "workers", (), note),
        _by_workers(bundle, pictures, workers),
        len(workers),
    )
    note = "a JPEG phantom with noise, seconds for one picture in one process"
    grown(
        ScaleCurve("megapixels", "megapixels", (), note),
        _by_size(candidate, megapixels),
        len(megapixels),
    )
    section = Scale(watch.taken(complete=True), tuple(curves))
    save(section)
    return section


def linearity(points: Sequence[ScalePoint]) -> str:
    """Where the cost stops growing in proportion, in words.

    Between neighbouring points the exponent log(t2 / t1) / log(x2 / x1) is 1 for linear growth;
    below, fixed costs still weigh; above, something grows faster than the work.
    """
    if len(points) < 2:
        return "one point only"
    steps = [(a.x, b.x, _exponent(a, b)) for a, b in pairwise(points)]
    above = [(a, b, e) for a, b, e in steps if e > _LINEAR[1]]
    below = [(a, b, e) for a, b, e in steps if e < _LINEAR[0]]
    parts = []
    if below:
        start, end, exponent = below[-1]
        parts.append(f"fixed costs weigh up to {end:g} (exponent {exponent:.2f} from {start:g})")
    if above:
        start, end, exponent = above[0]
        parts.append(f"faster than linear from {start:g} to {end:g} (exponent {exponent:.2f})")
    return "; ".join(parts) or "linear over the whole range"


def _exponent(a: ScalePoint, b: ScalePoint) -> float:
    return math.log(b.seconds / a.seconds) / math.log(b.x / a.x)


def _by_files(
    bundle: Bundle, pictures: Sequence[Path], counts: Sequence[int], workers: int
) -> Iterator[ScalePoint]:
    for count in sorted(counts):
        yield _run_folder(bundle, pictures, count, workers, x=count)


def _by_workers(
    bundle: Bundle, pictures: Sequence[Path], workers: Sequence[int]
) -> Iterator[ScalePoint]:
    for count in sorted(workers):
        yield _run_folder(bundle, pictures, _FILES_PER_WORKER_POINT, count, x=count)


def _run_folder(
    bundle: Bundle, pictures: Sequence[Path], files: int, workers: int, x: float
) -> ScalePoint:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pneumoscope-")))
        # Fewer files than pictures: the first ones only.
        links = link_pictures(pictures[:files], scratch / "in", files)
        command = batch_command(bundle.folder, links, scratch / "out", workers)
        seconds, peak = run_watched(command)
    return ScalePoint(x, seconds, peak)


def _by_size(candidate: Candidate, megapixels: Sequence[float]) -> Iterator[ScalePoint]:
    for size in sorted(megapixels):
        with tempfile.TemporaryDirectory(prefix="pneumoscope-") as scratch:
            file = Path(scratch) / "phantom.jpg"
            write_phantom(file, size)
            yield _score_size(candidate, file, size)


def _score_size(candidate: Candidate, file: Path, size: float) -> ScalePoint:
    request = {
        "task": "score",
        "candidate": encode(candidate),
        # The first is the warm-up.
        "files": [str(file)] * (_REPEATS_PER_SIZE + 1),
    }
    times: list[float] = []
    peak = None
    for message in run_worker(candidate.interpreter, request):
        if "row" in message:
            times.append(message["row"]["total_ms"] / 1000)
        if "done" in message:
            peak = message["done"]["peak_memory_mb"]
    return ScalePoint(size, float(np.median(times[1:])), peak)


def write_phantom(path: Path, megapixels: float, seed: int = 1) -> None:
    """A JPEG of this size: a phantom enlarged, with film noise so that it compresses like one."""
    height = round(math.sqrt(megapixels * 1e6 / _ASPECT))
    width = round(megapixels * 1e6 / height)
    small = Image.fromarray(draw_phantom(Phantom(seed), 512, 614))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.int16)
    noise = np.random.default_rng(seed).integers(-6, 7, pixels.shape, np.int16)
    noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path, quality=90)
