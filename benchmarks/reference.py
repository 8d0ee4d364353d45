"""What the guard's ratios are taken against: fixed work that no change of the product touches.

Against another contender, the start of the product or the floor (an inference of ours is part of
it), a ratio also moves when the *other* side becomes faster, and reads as worse although nothing
is. Two computations stand still instead: `multiply_add`, numpy on arrays that stay in the cache,
for inference; and decoding the very same files in full with Pillow, for folders (`loops`). They
run interleaved with what is judged, so that the machine's clock and its other work meet both.
Another numpy, Pillow or Python may move them: the baseline names theirs.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.contenders import Contender
from benchmarks.machine import Machine, package_versions
from benchmarks.processes import WorkerError, run_worker
from edge_app.files.codec import encode
from edge_app.progress import progress

REFERENCE = "reference"
# Their versions decide how fast the references are.
PACKAGES = ("numpy", "pillow", "libjpeg-turbo")
_SIDE = 144
_CHANNELS = 8
_TAPS = 9
_BLOCKS = 5
_RUNS_PER_BLOCK = 20


@dataclass(frozen=True, slots=True)
class Paired:
    """One contender's inference beside the reference, medians in microseconds, by process."""

    name: str
    contender_us: tuple[float, ...]
    reference_us: tuple[float, ...]


def versions(machine: Machine) -> dict[str, str]:
    """Of what the references run on, such as {"numpy": "2.4.6", "python": "3.11.7"}."""
    found = package_versions()
    return {"python": machine.python} | {name: found[name] for name in PACKAGES if name in found}


def multiply_add() -> Callable[[], None]:
    """The fixed computation: nine float32 multiply-adds over (8, 144, 144), without BLAS.

    BLAS has as many threads as it likes, and another one comes with another numpy.
    """
    shape = (_CHANNELS, _SIDE, _SIDE)
    values = np.linspace(0.0, 1.0, _CHANNELS * _SIDE * _SIDE, dtype=np.float32).reshape(shape)
    total, product = np.zeros_like(values), np.empty_like(values)

    def run() -> None:
        total[:] = 0.0
        for tap in range(_TAPS):
            np.multiply(values, np.float32(tap / _TAPS), out=product)
            np.add(total, product, out=total)

    return run


def alternate(contender: Callable[[int], object]) -> tuple[float, float]:
    """Median microseconds of the contender and of the reference, in blocks that take turns."""
    reference = multiply_add()
    of_contender: list[float] = []
    of_reference: list[float] = []
    for number in range(_BLOCKS + 1):
        ours = [_microseconds(partial(contender, i)) for i in range(_RUNS_PER_BLOCK)]
        theirs = [_microseconds(reference) for _ in range(_RUNS_PER_BLOCK)]
        # The first block warms both up.
        if number:
            of_contender += ours
            of_reference += theirs
    return statistics.median(of_contender), statistics.median(of_reference)


def measure_inference(contenders: Sequence[Contender], rounds: int) -> list[Paired]:
    """Every contender that runs here, `rounds` times in a process of its own, taking turns.

    A new process each time: how memory happens to lie differs by process, and is noise too.
    """
    pairs: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in contenders}
    running = list(contenders)
    with progress("inference", rounds * len(contenders), "processes") as at:
        for number in range(rounds):
            for position, contender in enumerate(list(running)):
                try:
                    pairs[contender.name].append(_in_process(contender))
                except WorkerError:
                    # Its ratio is "not measured here".
                    running.remove(contender)
                    pairs[contender.name].clear()
                at(number * len(contenders) + position + 1)
    return [
        Paired(name, tuple(c for c, _ in found), tuple(r for _, r in found))
        for name, found in pairs.items()
        if found
    ]


def _in_process(contender: Contender) -> tuple[float, float]:
    request: Mapping[str, object] = {"task": "beside_reference", "contender": encode(contender)}
    messages: dict[str, dict[str, float]] = {}
    for message in run_worker(contender.interpreter, request):
        messages |= message
    return messages["done"]["contender_us"], messages["done"]["reference_us"]


def _microseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started) / 1000
