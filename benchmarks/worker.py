"""A process of its own for one contender: so that memory, load time and crashes are its alone.

    python -m benchmarks.worker       (started by `benchmarks.processes`, never by hand)

One JSON request enters on the first line of standard input; JSON lines leave on standard output:
`ready`, then progress, then `done` or `failed`. Runs in any environment with the edge app's
dependencies, such as the old Python that `tflite-runtime` needs.
"""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from benchmarks.contenders import Contender
from benchmarks.machine import EnergyMeter
from benchmarks.memory import peak_memory_mb
from benchmarks.operations import count_multiply_adds
from benchmarks.reference import alternate
from edge_app.bundle.manifest import Bundle
from edge_app.errors import BundleError, InputError, PneumoscopeError
from edge_app.files.codec import decode
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import PreprocessSpec, preprocess
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import read_image
from edge_app.runtimes import Runtime, open_runtime
from edge_app.screening.screener import Screener

PROGRESS_EVERY_S = 0.5
_DISTINCT_INPUTS = 8

# One picture's inference by its number, on inputs that are ready.
Infer = Callable[[int], object]


def main() -> int:
    """Answer the one request of this process."""
    # Ctrl-C reaches the whole process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = _private_stdout()
    request = json.loads(sys.stdin.readline())
    try:
        for message in TASKS[request["task"]](request):
            print(json.dumps(message), file=channel, flush=True)
    except (PneumoscopeError, ImportError) as error:
        message = {"failed": " ".join(str(error).split())}
        print(json.dumps(message), file=channel, flush=True)
    return 0


def score(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Score files one after another, as `pneumoscope score` would."""
    contender, bundle, runtime = _opened(request)
    screener = None if contender.foreign is not None else Screener(bundle, runtime)
    yield {"ready": _identity(runtime)}
    for index, file in enumerate(request["files"]):
        row = _score_file(Path(file), runtime, screener, bundle.manifest.preprocess)
        yield {"row": {"index": index, **row}}
    yield {"done": {"peak_memory_mb": peak_memory_mb()}}


def latency(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Single stream: one inference after another, each timed, after a warm-up."""
    contender = decode(Contender, request["contender"])
    bundle = contender.open_bundle()
    looks = ready_looks(bundle)
    started = time.perf_counter()
    runtime = open_runtime(bundle, contender.runtime, contender.threads)
    loaded = time.perf_counter()
    infer = looks(runtime)
    infer(0)
    first = time.perf_counter()
    facts = {"load_ms": (loaded - started) * 1e3, "first_ms": (first - loaded) * 1e3}
    yield {"ready": _identity(runtime) | facts}
    warmup = _warm_up(infer, request["warmup_runs"], request["warmup_s"])
    samples: list[int] = []
    with EnergyMeter() as energy:
        yield from _single_stream(infer, request, samples)
    yield {
        "done": {
            "warmup_runs": warmup,
            # Tenths of a microsecond say nothing; whole ones keep the file small.
            "samples_us": [round(ns / 1000) for ns in samples],
            "peak_memory_mb": peak_memory_mb(),
            "joules": energy.joules,
            "energy_source": energy.source,
            "multiply_adds": _multiply_adds(contender, bundle),
        }
    }


def offline(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All samples at once: runs its share of them when told to, as fast as it can."""
    _, bundle, runtime = _opened(request)
    infer = ready_looks(bundle)(runtime)
    _warm_up(infer, request["warmup_runs"], request["warmup_s"])
    yield {"ready": _identity(runtime)}
    sys.stdin.readline()
    started = time.monotonic()
    for index in range(request["samples"]):
        infer(index)
    # CLOCK_MONOTONIC is one clock for all processes of the machine.
    yield {"done": {"started": started, "ended": time.monotonic()}}


def beside_reference(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Inference and the guard's fixed computation, taking turns."""
    _, bundle, runtime = _opened(request)
    ours, theirs = alternate(ready_looks(bundle)(runtime))
    yield {"done": {"contender_us": ours, "reference_us": theirs}}


def loop(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A loop that people write, loaded and warmed up; each line "go" asks for one pass of it."""
    from benchmarks.loops import LOOPS

    passes = LOOPS[request["loop"]](request)
    yield {"ready": next(passes)}
    while sys.stdin.readline():
        yield {"pass": next(passes)}


TASKS = {
    "score": score,
    "latency": latency,
    "offline": offline,
    "beside_reference": beside_reference,
    "loop": loop,
}


def network_inputs(spec: PreprocessSpec) -> list[npt.NDArray[np.uint8]]:
    """A few different inputs: phantoms, since what they show does not change the time."""
    phantoms = (draw_phantom(Phantom(seed), 256, 256) for seed in range(_DISTINCT_INPUTS))
    return [preprocess(phantom, spec) for phantom in phantoms]


def ready_looks(bundle: Bundle) -> Callable[[Runtime], Infer]:
    """Both looks of a bundle that has a locator, the reader's alone of another.

    Inputs are made once, before any time is taken. Where the lungs are does not change the time, so
    the reader's are not cut out of the locator's.
    """
    manifest = bundle.manifest
    inputs = network_inputs(manifest.preprocess)
    whole = None if manifest.locator is None else network_inputs(manifest.locator.preprocess)

    def with_runtime(runtime: Runtime) -> Infer:
        def infer(index: int) -> object:
            if whole is not None:
                runtime.locate(whole[index % len(whole)])
            return runtime.run(inputs[index % len(inputs)])

        return infer

    return with_runtime


def _multiply_adds(contender: Contender, bundle: Bundle) -> int | None:
    """Of all that one picture is looked at with; None where a file cannot be counted."""
    files = [contender.path]
    if (locator := bundle.manifest.locator) is not None:
        files.append(bundle.path(locator.model_for(contender.model).file))
    counts = [count_multiply_adds(file) for file in files]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _opened(request: Mapping[str, Any]) -> tuple[Contender, Bundle, Runtime]:
    contender = decode(Contender, request["contender"])
    bundle = contender.open_bundle()
    return contender, bundle, open_runtime(bundle, contender.runtime, contender.threads)


def _score_file(
    path: Path, runtime: Runtime, screener: Screener | None, spec: PreprocessSpec
) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        radiograph = read_image(path, spec=spec)
        read = time.perf_counter()
        row = score_pixels(radiograph, runtime, screener, spec)
    except InputError as error:
        return {"status": "failed", "reason": error.reason, "message": str(error)}
    ended = time.perf_counter()
    return row | {
        "read_ms": (read - started) * 1e3,
        "total_ms": (ended - started) * 1e3,
        "groups": header_groups(path, radiograph),
    }


def score_pixels(
    radiograph: Radiograph, runtime: Runtime, screener: Screener | None, spec: PreprocessSpec
) -> dict[str, Any]:
    """A row of `score`; without a screener, of a foreign model.

    Raises:
        BundleError: a foreign model's score is no finite number.
    """
    if screener is None:
        outputs = runtime.run(preprocess(radiograph.pixels, spec))
        if not math.isfinite(outputs.logit):
            raise BundleError(f"the model gave {outputs.logit} in place of a score")
        return {"status": "scored", "raw_score": outputs.logit, "probability": None}
    result = screener.score(radiograph)
    if result.reason is not None:
        return {"status": "refused", "reason": result.reason.value, "message": result.message}
    return {
        "status": "scored",
        "raw_score": result.raw_score,
        "probability": result.probability,
    }


def header_groups(path: Path, radiograph: Radiograph) -> dict[str, Any]:
    """What a DICOM header adds to what the labels know."""
    facts = radiograph.dicom
    if facts is None:
        return {}
    return {
        "view": facts.view_position,
        "age": facts.patient_age_years,
        "sex": _sex(path),
    }


def _sex(path: Path) -> str:
    """(0010,0040) Patient's Sex: "M", "F", "O", or "" where it is not given.

    The edge app does not read it: no answer depends on it.
    """
    from pydicom import dcmread

    wanted = ["PatientSex"]
    dataset = dcmread(path, stop_before_pixels=True, specific_tags=wanted, force=True)
    return str(dataset.get("PatientSex") or "").strip()


def _identity(runtime: Runtime) -> dict[str, Any]:
    return {"version": runtime.version, "notes": list(runtime.notes)}


def _warm_up(infer: Infer, runs: int, seconds: float) -> int:
    """Run until both so many runs and so many seconds have passed; returns the runs."""
    end = time.perf_counter() + seconds
    done = 0
    while done < runs or time.perf_counter() < end:
        infer(done)
        done += 1
    return done


def _single_stream(
    infer: Infer,
    request: Mapping[str, Any],
    samples: list[int],
) -> Iterator[dict[str, Any]]:
    """Fill `samples` with nanoseconds a run; yields progress between runs, outside of the time."""
    clock = time.perf_counter_ns
    end = clock() + int(request["max_s"] * 1e9)
    shown = clock()
    while len(samples) < request["runs"] and clock() < end:
        index = len(samples)
        started = clock()
        infer(index)
        ended = clock()
        samples.append(ended - started)
        if ended - shown > PROGRESS_EVERY_S * 1e9:
            shown = ended
            yield {"progress": len(samples)}


def _private_stdout() -> TextIO:
    """The pipe to the parent; what libraries print to file descriptor 1 goes to 2 instead."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


if __name__ == "__main__":
    sys.exit(main())
