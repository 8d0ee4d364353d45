"""From a folder of files to results, ours beside the loops that people write and the floor.

A folder, a bundle and names of loops enter, a `Throughput` leaves. All contenders take the same
pictures in the same run, one pass after another in a rotating order, so that what else the machine
does meets all of them; what is compared is the ratio within each round, with its spread.

What is charged: ours is the whole command, from the start of Python over loading the model to the
last byte on the disk; a loop only its pass, in a warm process. The floor is what no program of
this model on this machine can leave out: entropy decoding and one inference, divided by the cores.
"""

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.contenders import bundle_contenders
from benchmarks.folder_command import batch_command, run_command
from benchmarks.machine import Sensors, read_sensors
from benchmarks.picture_folder import Chosen, choose_pictures, link_pictures
from benchmarks.processes import Worker, WorkerError
from benchmarks.record import Throughput, ThroughputRow
from benchmarks.reference import REFERENCE
from benchmarks.store import Recording
from edge_app.bundle.manifest import Bundle, ModelFormat
from edge_app.cores import usable_cores
from edge_app.files.codec import encode
from edge_app.images.labelled_pictures import Labelling
from edge_app.progress import progress
from edge_app.results.rows import read_results
from edge_app.runtimes import open_runtime
from edge_app.statistics import discrimination as metrics

FLOOR = "floor"
LOOPS = {
    "keras": "Keras load_img and predict in a loop",
    "onnxruntime": "Pillow and ONNX Runtime float32 in a loop",
    "openvino": "Pillow and OpenVINO float32 in a loop",
    "litert": "Pillow and LiteRT in a loop",
    "tflite-runtime": "Pillow and tflite-runtime in a loop",
}
_WHAT = LOOPS | {
    FLOOR: "entropy decoding and inference, one core",
    REFERENCE: "Pillow decodes every file in full, one core",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure.

    Attributes:
        pictures: at most so many of the folder, evenly spread.
        files: ours scores about so many, whole copies of the pictures under several names, so that
            its start is the share of the time that it has in a clinic's day and not more.
        rounds: passes of each contender that count; one more, before, warms up.
        workers: numbers of workers for ours; the largest is what ratios are taken with.
        loops: names of `LOOPS`, or the guard's reference.
        pythons: interpreters of other environments, by runtime.
        checkpoint: Keras model for the Keras loop, None for the untrained architecture.
    """

    pictures: int
    files: int
    rounds: int
    workers: tuple[int, ...]
    loops: tuple[str, ...]
    pythons: Mapping[str, str] = field(default_factory=dict)
    checkpoint: Path | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass gave: its wall time, a score for each picture, parts of the time."""

    seconds: float
    scores: Sequence[float] | None = None
    parts_ms: Mapping[str, float] | None = None
    peak_memory_mb: float | None = None


@dataclass(slots=True)
class Runner:
    """A contender's row in the making, and how to run one pass of it."""

    row: ThroughputRow
    run: Callable[[], Pass]
    ours: bool = False
    parts_ms: list[Mapping[str, float]] = field(default_factory=list)

    def warm_up(self, pictures: Sequence[Path]) -> None:
        """A pass that is not timed; it tells the memory and whether the scores are any good."""
        done = self._pass()
        if done is not None:
            auroc = None if done.scores is None else _auroc(done.scores, pictures)
            self.row = replace(self.row, auroc=auroc, peak_memory_mb=done.peak_memory_mb)

    def time(self) -> None:
        """A pass that counts."""
        done = self._pass()
        if done is not None:
            self.row = replace(self.row, seconds=(*self.row.seconds, done.seconds))
            self.parts_ms += [] if done.parts_ms is None else [done.parts_ms]

    def _pass(self) -> Pass | None:
        """The next pass; a loop that dies in it is missing from then on, and its times with it."""
        if self.row.missing:
            return None
        try:
            return self.run()
        except WorkerError as error:
            if self.ours:
                raise
            self.row = replace(self.row, missing=str(error), seconds=())
            return None


@dataclass(frozen=True, slots=True)
class Race:
    """What all rows of a section share."""

    data: str
    chosen: Chosen
    options: Options
    recording: Recording[Throughput]
    before: Sensors

    def run(self, runners: Sequence[Runner]) -> Throughput:
        """Interleaved passes: in round r the r-th contender begins; each round is recorded."""
        racing = [runner for runner in runners if not runner.row.missing]
        rounds = self.options.rounds
        section = self._section(runners, complete=False)
        with progress("throughput", (rounds + 1) * len(racing), "passes") as at:
            for number in range(rounds + 1):
                start = number % max(1, len(racing))
                for position, runner in enumerate([*racing[start:], *racing[:start]], start=1):
                    runner.time() if number else runner.warm_up(self.chosen.pictures)
                    at(number * len(racing) + position)
                if number:
                    section = self._section(runners, complete=number == rounds)
                    self.recording.put(section)
        return section

    def _section(self, runners: Sequence[Runner], *, complete: bool) -> Throughput:
        parts = [part for runner in runners for part in runner.parts_ms]
        names = list(parts[0]) if parts else []
        return Throughput(
            taken=self.recording.taken(complete=complete),
            data=self.data,
            pictures=len(self.chosen.pictures),
            left_out=str(self.chosen),
            megapixels=round(self.chosen.median_megapixels(), 3),
            ours=our_name(max(self.options.workers)),
            floor=FLOOR,
            floor_parts_ms={n: statistics.median(part[n] for part in parts) for n in names},
            cores=usable_cores(),
            before=self.before,
            after=read_sensors(),
            rows=tuple(runner.row for runner in runners),
        )


def measure_throughput(
    bundle: Bundle, folder: Path, options: Options, recording: Recording[Throughput]
) -> Throughput:
    """Run all contenders.

    Raises:
        NoInputError: the folder holds no picture.
        WorkerError: our own command failed; a loop that does has a row that says so.
    """
    chosen = choose_pictures(folder, options.pictures)
    pictures = chosen.pictures
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pneumoscope-")))
        # Whole copies: each picture weighs as much in our time as in a loop's.
        files = len(pictures) * max(1, round(options.files / len(pictures)))
        links = link_pictures(pictures, scratch / "in", files)
        race = Race(folder.name, chosen, options, recording, read_sensors())
        return race.run(
            [
                *_our_runners(bundle, links, scratch, options.workers, files, len(pictures)),
                *(_loop(n, stack, bundle, pictures, options) for n in (*options.loops, FLOOR)),
            ]
        )


def _auroc(scores: Sequence[float], pictures: Sequence[Path]) -> float | None:
    """AUROC where the pictures lie in folders of both classes."""
    labels = [Labelling().label_of(picture.parent.name) for picture in pictures]
    pairs = [(lab, s) for lab, s in zip(labels, scores, strict=True) if lab is not None]
    if len({label for label, _ in pairs}) < 2:
        return None
    return metrics.auroc([label for label, _ in pairs], [score for _, score in pairs])


def our_name(workers: int) -> str:
    """Name of our own row."""
    return f"pneumoscope batch, {workers} worker{'s' if workers != 1 else ''}"


def _row(name: str, what: str, workers: int, images: int) -> ThroughputRow:
    return ThroughputRow(name, what, workers, images, {}, "", None, None, ())


def _our_runners(
    bundle: Bundle,
    links: Path,
    scratch: Path,
    worker_counts: Sequence[int],
    files: int,
    pictures: int,
) -> Iterator[Runner]:
    what = "the whole command, start and writing included"
    for workers in worker_counts:
        out = scratch / f"out-{workers}"
        command = batch_command(bundle.folder, links, out, workers)
        row = _row(our_name(workers), what, workers, files)
        yield Runner(row, _OurPass(command, out, pictures), ours=True)


@dataclass(slots=True)
class _OurPass:
    """Runs `pneumoscope batch` once; the first time under watch for its memory."""

    command: list[str]
    out: Path
    pictures: int
    watched: bool = True

    def __call__(self) -> Pass:
        seconds, peak = run_command(self.command, watched=self.watched)
        self.watched = False
        scores = _scores_by_picture(self.out, self.pictures)
        shutil.rmtree(self.out)
        return Pass(seconds, scores, None, peak)


def _scores_by_picture(out: Path, pictures: int) -> tuple[float, ...] | None:
    """Raw scores of the first copy of each picture, in their order; None if one has none."""
    scores: dict[int, float] = {}
    _, rows = read_results(out / "results.jsonl")
    for row in rows:
        copy, _, index = Path(row.file).stem.partition("_")
        if int(copy) == 0 and row.raw_score is not None:
            scores[int(index)] = row.raw_score
    if len(scores) < pictures:
        return None
    return tuple(scores[index] for index in range(pictures))


def _loop(
    name: str, stack: ExitStack, bundle: Bundle, pictures: Sequence[Path], options: Options
) -> Runner:
    row = _row(name, _WHAT[name], 1, len(pictures))
    request = _request(name, bundle, pictures, options)
    try:
        worker = stack.enter_context(Worker(options.pythons.get(name, sys.executable), request))
        versions = worker.receive()["ready"]
    except WorkerError as error:
        return Runner(replace(row, missing=str(error)), lambda: Pass(0.0))

    def run() -> Pass:
        worker.send("go")
        return Pass(**worker.receive()["pass"])

    return Runner(replace(row, versions=versions), run)


def _request(
    name: str, bundle: Bundle, pictures: Sequence[Path], options: Options
) -> dict[str, Any]:
    manifest = bundle.manifest
    wanted: ModelFormat = "onnx" if name in ("onnxruntime", "openvino") else "tflite"
    model = bundle.model(wanted)
    request = {
        "task": "loop",
        "loop": name,
        "files": [str(picture.resolve()) for picture in pictures],
        "threads": usable_cores(),
        "model": None if model is None else str(bundle.path(model.file).resolve()),
        "input": manifest.input.name,
        "logit": manifest.outputs.logit,
        "height": manifest.preprocess.height,
        "width": manifest.preprocess.width,
        "checkpoint": None if options.checkpoint is None else str(options.checkpoint.resolve()),
        "config": manifest.provenance.config,
    }
    if name == FLOOR:
        # The model and runtime that `pneumoscope batch` picks here.
        opened = open_runtime(bundle)
        found = {(c.model, c.runtime): c for c in bundle_contenders(bundle)}
        request["contender"] = encode(found[opened.model, opened.name])
    return request
