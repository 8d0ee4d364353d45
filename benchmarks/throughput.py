"""From a folder of files to results, ours beside the loops that people write and the floor.

A folder, a bundle and contenders enter, a `Throughput` leaves. All contenders take the same
pictures in the same run, one pass after another in a rotating order, so that what else the machine
does meets all of them; what is compared is the ratio within each round, with its spread.

What is charged: ours is the whole command, from the start of Python over loading the model to the
last byte on the disk; a peer only its loop, in a warm process. The floor is what no program of
this model on this machine can leave out: entropy decoding and one inference, divided by the cores.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.candidates import Candidate, bundle_candidates
from benchmarks.machine import Sensors, read_sensors, usable_cores
from benchmarks.memory import TreeMemory
from benchmarks.processes import REPOSITORY, Worker, WorkerError
from benchmarks.progress import progress
from benchmarks.record import ContenderRow, Stopwatch, Throughput
from benchmarks.reference import REFERENCE
from edge_app.bundle.manifest import Bundle, ModelFormat
from edge_app.errors import NoInputError, StorageError
from edge_app.files.codec import encode
from edge_app.images.labelled_pictures import Labelling, list_pictures
from edge_app.results.rows import read_results
from edge_app.statistics import discrimination as metrics

Save = Callable[[Throughput], None]
FLOOR = "floor"
_TICK_S = 1.0
_STOP_WITHIN_S = 10.0
_DICOM_SUFFIXES = (".dcm", ".dicom")


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure.

    Attributes:
        pictures: at most so many of the folder, evenly spread.
        files: ours scores so many, the same pictures under several names, so that its start is
            the share of the time that it has in a clinic's day and not more.
        rounds: passes of each contender that count; one more, before, warms up.
        workers: numbers of workers for ours; the largest is what ratios are taken with.
        peers: names of `peers.LOOPS`.
        pythons: interpreters of other environments, by runtime.
        checkpoint: Keras model for the Keras loop, None for the untrained architecture.
    """

    pictures: int
    files: int
    rounds: int
    workers: tuple[int, ...]
    peers: tuple[str, ...]
    pythons: Mapping[str, str]
    checkpoint: Path | None


@dataclass(slots=True)
class Contender:
    """A row in the making, and how to run one pass of it."""

    row: ContenderRow
    run: Callable[[], "Pass"]
    ours: bool = False
    seconds: list[float] = field(default_factory=list)

    def finished_row(self) -> ContenderRow:
        return replace(self.row, seconds=tuple(self.seconds))


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass gave: its wall time, a score for each picture, parts of the time."""

    seconds: float
    scores: tuple[float, ...] | None = None
    parts_ms: Mapping[str, float] | None = None
    peak_memory_mb: float | None = None


_WHAT = {
    "keras": "Keras load_img and predict in a loop",
    "onnxruntime": "Pillow and ONNX Runtime float32 in a loop",
    "openvino": "Pillow and OpenVINO float32 in a loop",
    "litert": "Pillow and LiteRT in a loop",
    "tflite-runtime": "Pillow and tflite-runtime in a loop",
    FLOOR: "entropy decoding and inference, one core",
    REFERENCE: "Pillow decodes every file in full, one core",
}


def measure_throughput(
    bundle: Bundle, folder: Path, options: Options, watch: Stopwatch, save: Save
) -> Throughput:
    """Run all contenders; `save` is called after each round.

    Raises:
        NoInputError: the folder holds no picture.
        WorkerError: our own command failed; a peer that does has a row that says so.
    """
    chosen = choose_pictures(folder, options.pictures)
    pictures = chosen.pictures
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pneumoscope-")))
        links = link_pictures(pictures, scratch / "in", options.files)
        run = Run(bundle, folder, chosen, options, watch, read_sensors())
        contenders = [
            *_our_contenders(bundle, links, scratch, options, pictures),
            *(_peer(name, stack, bundle, pictures, options) for name in (*options.peers, FLOOR)),
        ]
        return run_rounds(run, contenders, save)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Pictures that every loop can read.

    Attributes:
        pictures: at most as many as were asked for.
        dicom: DICOM files in the folder, left out since the loops read none.
        unreadable: files that were chosen first and are no whole picture.
    """

    pictures: tuple[Path, ...]
    dicom: int
    unreadable: int

    def __str__(self) -> str:
        """What was left out, "" where nothing was."""
        parts = [f"{self.dicom} DICOM"] if self.dicom else []
        parts += [f"{self.unreadable} unreadable"] if self.unreadable else []
        return f"left out: {' and '.join(parts)} files" if parts else ""


def choose_pictures(folder: Path, most: int) -> Chosen:
    """At most `most` pictures of a folder, evenly spread over the order of their names.

    Raises:
        NoInputError: there are none that a loop with Pillow can read.
    """
    found = list_pictures(folder)
    plain = [path for path in found if path.suffix.lower() not in _DICOM_SUFFIXES]
    taken = min(most, len(plain))
    spread = [plain[index * len(plain) // taken] for index in range(taken)]
    pictures = tuple(path for path in spread if _is_whole(path))
    chosen = Chosen(pictures, len(found) - len(plain), len(spread) - len(pictures))
    if not pictures:
        why = f"; {chosen}" if str(chosen) else ""
        raise NoInputError(f"{folder}: no PNG, JPEG, TIFF, BMP or WebP file to read in it{why}")
    return chosen


def _is_whole(path: Path) -> bool:
    """Whether Pillow decodes it to the end: other people's loops die of a file that is torn."""
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return False
    return True


def link_pictures(pictures: Sequence[Path], folder: Path, files: int) -> Path:
    """Put pictures under about `files` names into a folder, as links where allowed.

    A picture's own folder is kept, since it may be its class.

    Raises:
        StorageError: no kind of link is allowed here and copies would fill the disk.
    """
    copies = linked_count(pictures, files) // len(pictures)
    for picture in pictures:
        (folder / picture.parent.name).mkdir(parents=True, exist_ok=True)
    put = _way_to_put(pictures, folder, copies)
    originals = [picture.resolve() for picture in pictures]
    for copy in range(copies):
        for index, (picture, original) in enumerate(zip(pictures, originals, strict=True)):
            name = f"{copy:04d}_{index:05d}{picture.suffix}"
            put(original, folder / picture.parent.name / name)
    return folder


def _way_to_put(
    pictures: Sequence[Path], folder: Path, copies: int
) -> Callable[[Path, Path], object]:
    """Symbolic links; hard ones where those are forbidden (Windows); copies where they fit."""
    probe = folder / "probe"
    for link in (_symlink, os.link):
        try:
            link(pictures[0].resolve(), probe)
        except OSError:
            continue
        probe.unlink()
        return link
    needed = copies * sum(picture.stat().st_size for picture in pictures)
    free = shutil.disk_usage(folder).free
    if needed > free / 2:
        raise StorageError(
            f"{folder}: no links are allowed here, and {needed / 1e6:.0f} MB of copies are more "
            f"than half of the {free / 1e6:.0f} MB that are free; name fewer files, or another "
            "place for temporary files with TMPDIR"
        )
    return shutil.copyfile


def _symlink(original: Path, target: Path) -> None:
    target.symlink_to(original)


def linked_count(pictures: Sequence[Path], files: int) -> int:
    """How many names `link_pictures` makes: whole copies of the pictures, at least one."""
    return len(pictures) * max(1, round(files / len(pictures)))


def median_megapixels(pictures: Sequence[Path]) -> float:
    """Median size of pictures that Pillow can open, 0 where it opens none."""
    sizes = []
    for picture in pictures:
        try:
            with Image.open(picture) as image:
                sizes.append(image.width * image.height / 1e6)
        except OSError:
            continue
    return statistics.median(sizes) if sizes else 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """What all rows of a section share."""

    bundle: Bundle
    folder: Path
    chosen: Chosen
    options: Options
    watch: Stopwatch
    before: Sensors

    def section(
        self,
        contenders: Sequence[Contender],
        parts: Sequence[Mapping[str, float]],
        *,
        complete: bool,
    ) -> Throughput:
        names = list(parts[0]) if parts else []
        return Throughput(
            taken=self.watch.taken(complete=complete),
            data=self.folder.name,
            pictures=len(self.chosen.pictures),
            left_out=str(self.chosen),
            megapixels=round(median_megapixels(self.chosen.pictures), 3),
            ours=our_name(max(self.options.workers)),
            floor=FLOOR,
            floor_parts_ms={n: statistics.median(part[n] for part in parts) for n in names},
            cores=usable_cores(),
            before=self.before,
            after=read_sensors(),
            rows=tuple(contender.finished_row() for contender in contenders),
        )


def run_rounds(run: Run, contenders: Sequence[Contender], save: Save) -> Throughput:
    """Interleaved passes: in round r the r-th contender begins."""
    runners = [contender for contender in contenders if not contender.row.missing]
    rounds = run.options.rounds
    parts: list[Mapping[str, float]] = []
    section = run.section(contenders, parts, complete=False)
    with progress("throughput", (rounds + 1) * len(runners), "passes") as bar:
        for number in range(rounds + 1):
            start = number % max(1, len(runners))
            for position, contender in enumerate([*runners[start:], *runners[:start]]):
                done = _pass_of(contender)
                bar.at(number * len(runners) + position + 1)
                if done is None:
                    continue
                if number == 0:
                    pictures = run.chosen.pictures
                    contender.row = _with_first_pass(contender.row, done, pictures)
                    continue
                contender.seconds.append(done.seconds)
                if done.parts_ms is not None:
                    parts.append(done.parts_ms)
            if number:
                section = run.section(contenders, parts, complete=number == rounds)
                save(section)
    return section


def _pass_of(contender: Contender) -> Pass | None:
    """Its next pass; a peer that dies in it is missing from then on, and its times with it."""
    if contender.row.missing:
        return None
    try:
        return contender.run()
    except WorkerError as error:
        if contender.ours:
            raise
        contender.row = replace(contender.row, missing=str(error))
        contender.seconds.clear()
        return None


def _with_first_pass(row: ContenderRow, first: Pass, pictures: Sequence[Path]) -> ContenderRow:
    """The warm-up pass is not timed; it tells the memory and whether the scores are any good."""
    auroc = None if first.scores is None else _auroc(first.scores, pictures)
    return replace(row, auroc=auroc, peak_memory_mb=first.peak_memory_mb)


def _auroc(scores: Sequence[float], pictures: Sequence[Path]) -> float | None:
    labels = [Labelling().label_of(picture.parent.name) for picture in pictures]
    pairs = [(lab, s) for lab, s in zip(labels, scores, strict=True) if lab is not None]
    try:
        return metrics.auroc([label for label, _ in pairs], [score for _, score in pairs])
    except ValueError:  # no classes here
        return None


def our_name(workers: int) -> str:
    """Name of our own row."""
    return f"pneumoscope batch, {workers} worker{'s' if workers != 1 else ''}"


def _our_contenders(
    bundle: Bundle, links: Path, scratch: Path, options: Options, pictures: Sequence[Path]
) -> Iterator[Contender]:
    files = len(list_pictures(links))
    for workers in options.workers:
        row = ContenderRow(
            name=our_name(workers),
            what="the whole command, start and writing included",
            workers=workers,
            images=files,
            versions={},
            missing="",
            auroc=None,
            peak_memory_mb=None,
            seconds=(),
        )
        yield Contender(
            row, _OurPass(bundle.folder, links, scratch, workers, len(pictures)), ours=True
        )


class _OurPass:
    """Runs `pneumoscope batch` once; the first time under watch for its memory."""

    def __init__(
        self, bundle: Path, links: Path, scratch: Path, workers: int, pictures: int
    ) -> None:
        self._out = scratch / f"out-{workers}"
        self._command = batch_command(bundle, links, self._out, workers)
        self._pictures = pictures
        self._watched = False

    def __call__(self) -> Pass:
        peak = None
        if not self._watched:
            seconds, peak = run_watched(self._command)
            self._watched = True
        else:
            seconds = run_timed(self._command)
        scores = _scores_by_picture(self._out, self._pictures)
        shutil.rmtree(self._out)
        return Pass(seconds, scores, None, peak)


def batch_command(bundle: Path, folder: Path, out: Path, workers: int) -> list[str]:
    """The command line of a folder run with this interpreter."""
    return [
        *(sys.executable, "-m", "edge_app", "batch", str(folder), "-o", str(out)),
        *("--bundle", str(bundle.resolve()), "--threads", "1", "--workers", str(workers)),
        *("--format", "jsonl,csv", "--quiet"),
    ]


def run_timed(command: Sequence[str]) -> float:
    """Wall seconds of a command that must end well.

    Raises:
        WorkerError: it did not; its last line says why.
    """
    started = time.perf_counter()
    with _start(command) as process:
        text = _last_words(process)
        seconds = time.perf_counter() - started
        _check_ended_well(process.returncode, text)
    return seconds


def run_watched(
    command: Sequence[str], tick: Callable[[], None] | None = None
) -> tuple[float, float | None]:
    """The same, and the peak memory of the command with its children in 10^6 bytes.

    `tick` is called about once a second while it runs.
    """
    started = time.perf_counter()
    with _start(command) as process, TreeMemory(process.pid) as memory:
        text = _last_words(process, tick)
        seconds = time.perf_counter() - started
        _check_ended_well(process.returncode, text)
    return seconds, memory.peak_mb


def _last_words(process: "subprocess.Popen[str]", tick: Callable[[], None] | None = None) -> str:
    """Wait for its end; whatever interrupts this ends the process too, with its children."""
    try:
        while True:
            try:
                _, text = process.communicate(timeout=_TICK_S)
            except subprocess.TimeoutExpired:
                if tick is not None:
                    tick()
            else:
                return text
    except BaseException:
        # Not killed at once: a batch that is told ends its own workers.
        process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def _start(command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _check_ended_well(code: int, text: str) -> None:
    # 1: some files could not be read, which is an answer too.
    if code not in (0, 1):
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
        raise WorkerError(f"pneumoscope batch ended with status {code}: {last}")


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


def _peer(
    name: str, stack: ExitStack, bundle: Bundle, pictures: Sequence[Path], options: Options
) -> Contender:
    row = ContenderRow(
        name=name,
        what=_WHAT[name],
        workers=1,
        images=len(pictures),
        versions={},
        missing="",
        auroc=None,
        peak_memory_mb=None,
        seconds=(),
    )
    try:
        request = _request(name, bundle, pictures, options)
        python = options.pythons.get(name, sys.executable)
        worker = stack.enter_context(Worker(python, "benchmarks.peers", request))
        ready = worker.receive()["ready"]
    except WorkerError as error:
        return Contender(replace(row, missing=str(error)), _never)
    return Contender(replace(row, versions=ready["versions"]), lambda: _peer_pass(worker))


def _never() -> Pass:
    raise AssertionError("a contender that is missing does not run")


def _peer_pass(worker: Worker) -> Pass:
    worker.send("go")
    answer = worker.receive()["pass"]
    scores = answer["scores"]
    return Pass(
        seconds=answer["seconds"],
        scores=None if scores is None else tuple(scores),
        parts_ms=answer.get("parts_ms"),
        peak_memory_mb=answer["peak_memory_mb"],
    )


def _request(
    name: str, bundle: Bundle, pictures: Sequence[Path], options: Options
) -> dict[str, Any]:
    manifest = bundle.manifest
    wanted: ModelFormat = "onnx" if name in ("onnxruntime", "openvino") else "tflite"
    model = bundle.model(wanted)
    return {
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
        "candidate": encode(_our_candidate(bundle)) if name == FLOOR else None,
    }


def _our_candidate(bundle: Bundle) -> Candidate:
    """The model and runtime that `pneumoscope batch` picks here."""
    from edge_app.runtimes import open_runtime

    opened = open_runtime(bundle)
    for candidate in bundle_candidates(bundle):
        if (candidate.model, candidate.runtime) == (opened.model, opened.name):
            return candidate
    raise AssertionError("an open runtime is one of the bundle's candidates")
