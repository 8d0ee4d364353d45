"""Which model file and runtime to use on this machine: what a measurement here has found.

`python -m benchmarks compare` measures and writes a recommendation; `pneumoscope info
--recommend` reads it. A recommendation holds for one machine and one model file: of another one
this module says so instead of passing it on.
"""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_app.bundle.manifest import Bundle
from edge_app.cores import usable_cores
from edge_app.errors import BundleError, NoInputError, RuntimeUnavailableError, UsageError
from edge_app.files.codec import CodecError, canonical_json, decode, parse_json
from edge_app.files.user_folders import state_folder
from edge_app.files.whole import make_folder, write_whole
from edge_app.runtimes import RUNTIMES, open_runtime
from edge_app.statistics.intervals import Figure

FORMAT_VERSION = 1
_FILE = "recommendation.json"
_COMMAND = "python -m benchmarks compare --data FOLDER"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to run here, and the figures that speak for it.

    Attributes:
        format_version: of this file.
        measured_at: ISO 8601, UTC.
        architecture, cores: the machine's, to tell whether this is still it.
        machine: in words.
        model_id, model_file, model_sha256: what to run.
        runtime, runtime_version: in what.
        threads: of one inference.
        p50_ms, p90_ms: latency of one inference.
        images_per_s: inference alone, all cores at work.
        peak_memory_mb: of one process.
        auroc: on `data`, null where no labelled pictures were given.
        flipped: share of decisions that float32 makes otherwise there.
        data: name of the labelled pictures.
        why: a sentence.
    """

    format_version: int
    measured_at: str
    architecture: str
    cores: int
    machine: str
    model_id: str
    model_file: str
    model_sha256: str
    runtime: str
    runtime_version: str
    threads: int
    p50_ms: float
    p90_ms: float
    images_per_s: float | None
    peak_memory_mb: float | None
    auroc: Figure | None
    flipped: Figure | None
    data: str
    why: str

    def __post_init__(self) -> None:
        """Raises ValueError for another format version."""
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format version {self.format_version} is not {FORMAT_VERSION}")


def default_recommendation_path() -> Path:
    """Where the last measurement on this machine leaves its result."""
    return state_folder() / _FILE


def read_recommendation(path: Path | None = None) -> Recommendation:
    """Read a recommendation; None reads the last one that was measured by this user.

    Raises:
        NoInputError: there is none.
        UsageError: it does not fit the format.
    """
    place = default_recommendation_path() if path is None else path
    try:
        return decode(Recommendation, parse_json(place.read_bytes()))
    except CodecError as error:
        raise UsageError(f"{place}: not a recommendation: {error}") from error
    except OSError as error:
        raise NoInputError(
            f"{place}: nothing was measured on this machine yet; from a checkout run: {_COMMAND}"
        ) from error


def write_recommendation(recommendation: Recommendation, path: Path | None = None) -> Path:
    """Write a recommendation, whole or not at all; returns where.

    Raises:
        StorageError: the place cannot be written.
    """
    place = default_recommendation_path() if path is None else path
    make_folder(place.parent)
    write_whole(place, canonical_json(recommendation))
    return place


def describe_recommendation(found: Recommendation, bundle: Bundle) -> Iterator[str]:
    """Lines for people, what no longer fits first.

    Args:
        found: the recommendation.
        bundle: the one in use.
    """
    for reason in _objections(found, bundle):
        yield f"Out of date: {reason}; measure again: {_COMMAND}"
    yield f"Recommended on {found.machine}: {found.model_file} with {found.runtime}"
    yield f"  {found.why}"
    rate = "" if found.images_per_s is None else f", {found.images_per_s:.0f} images/s"
    memory = "" if found.peak_memory_mb is None else f", {found.peak_memory_mb:.0f} MB"
    yield f"  inference {found.p50_ms:.2f} ms (p50), {found.p90_ms:.2f} ms (p90){rate}{memory}"
    if found.auroc is not None:
        yield f"  AUROC on {found.data}: {found.auroc}"
    if found.flipped is not None:
        yield f"  decisions that float32 makes otherwise: {100 * found.flipped.value:.2f}%"
    version = f"{found.runtime} {found.runtime_version}"
    yield f"  measured {found.measured_at} with {version}, {found.threads} thread(s)"
    yield (
        f"  use it: pneumoscope batch FOLDER -o OUT --runtime {found.runtime} "
        f"--threads {found.threads}"
    )


def _objections(found: Recommendation, bundle: Bundle) -> Iterator[str]:
    if (found.architecture, found.cores) != (platform.machine(), usable_cores()):
        yield f"it was measured on another machine ({found.machine})"
    if found.model_sha256 not in {model.sha256 for model in bundle.manifest.models}:
        yield f"it is about another model ({found.model_id}) than the bundle in use"
    elif found.runtime not in {engine.name for engine in RUNTIMES if engine.is_installed}:
        yield f"{found.runtime} is not installed where this command runs"
    else:
        yield from _wrong_scores(found, bundle)


def _wrong_scores(found: Recommendation, bundle: Bundle) -> Iterator[str]:
    """What the golden inputs say here: a kernel that is right on one processor is not on all."""
    from edge_app.screening.selftest import run_self_test

    try:
        run_self_test(bundle, open_runtime(bundle, found.runtime, found.threads))
    except (BundleError, RuntimeUnavailableError) as error:
        yield f"it cannot be used here: {error}"
