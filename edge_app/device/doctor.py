"""Examine the machine: is it fit to screen with, and what is to be done where it is not?"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_app.bundle.load import load_bundle
from edge_app.device.accelerators import find_accelerators
from edge_app.device.clock import clock_trust
from edge_app.device.finding import Finding, Verdict
from edge_app.device.sensors import (
    examine_camera,
    examine_disk,
    examine_power,
    examine_temperature,
    examine_throttling,
)
from edge_app.errors import PneumoscopeError
from edge_app.results.rows import utc_now
from edge_app.runtimes import open_runtime
from edge_app.screening.selftest import run_self_test


def examine(folder: Path, bundle: Path | None, threads: int) -> Iterator[Finding]:
    """Examine part after part.

    Args:
        folder: where the record lies.
        bundle: the model's folder, None for the one that ships.
        threads: for the self-test.
    """
    yield examine_disk(folder)
    yield _examine_clock()
    yield examine_temperature()
    yield examine_throttling()
    yield examine_power()
    yield examine_camera()
    answers, per_input_ms = _self_test(bundle, threads)
    yield answers
    yield examine_accelerators(find_accelerators(), per_input_ms)


def examine_accelerators(names: tuple[str, ...], per_input_ms: float | None) -> Finding:
    """What is there and not used, and the most that it could bring.

    Args:
        names: of the accelerators.
        per_input_ms: that a golden input takes on the processor; None where none was scored.
    """
    if not names:
        return Finding("accelerator", Verdict.OK, "none; the processor does all the work")
    found = f"{', '.join(names)}: there and not used, the processor does all the work"
    if per_input_ms is None:
        return Finding("accelerator", Verdict.OK, found)
    most = f"at most the {per_input_ms:.0f} ms that the networks take here, of each picture"
    return Finding("accelerator", Verdict.OK, found, f"nothing: it could save {most}")


def _examine_clock() -> Finding:
    now = utc_now()
    trust = clock_trust(now)
    if trust.is_trusted:
        return Finding("clock", Verdict.OK, f"{now}, {trust.reason}")
    advice = "connect it to a network once, set it by hand, or fit a battery-backed clock"
    return Finding("clock", Verdict.ATTENTION, f"{now}: {trust.reason}", advice)


def _self_test(folder: Path | None, threads: int) -> tuple[Finding, float | None]:
    try:
        bundle = load_bundle(folder)
        runtime = open_runtime(bundle, None, threads)
        run: Callable[[], int] = lambda: len(run_self_test(bundle, runtime))  # noqa: E731
        run()  # the first one also loads
        began = time.perf_counter()
        n_inputs = run()
    except PneumoscopeError as error:
        advice = "do not screen with this machine; install another bundle or runtime"
        return Finding("self-test", Verdict.PROBLEM, str(error), advice), None
    per_input_ms = (time.perf_counter() - began) * 1000 / n_inputs
    found = (
        f"{n_inputs} golden inputs of {bundle.manifest.model_id} give the promised scores with "
        f"{runtime.name} {runtime.version}"
    )
    return Finding("self-test", Verdict.OK, found), per_input_ms
