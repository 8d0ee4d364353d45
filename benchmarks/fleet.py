"""How long a merge of many devices takes, and what memory: made-up packs, real command.

Packs of made-up answers are written into a temporary folder, signed each by a device of its own;
`pneumoscope fleet merge` runs in a process of its own and is watched. Nothing is kept.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from benchmarks.memory import TreeMemory
from edge_app.bundle.private_key import generate_keys, open_signer
from edge_app.decision import Decision, Reason, Status
from edge_app.device.clock import EARLIEST
from edge_app.errors import UsageError
from edge_app.files.codec import compact_json
from edge_app.fleet.answers import PackedAnswer
from edge_app.fleet.pack_file import FORMAT_VERSION, Pack, encode_pack
from edge_app.record.studies import Label
from edge_app.statistics.logistic import sigmoid

_DAYS = 90
_FIRST = date.fromisoformat(EARLIEST[:10])
_LABELLED, _REFUSED = 0.1, 0.05


@dataclass(frozen=True, slots=True)
class MergeCost:
    """What a merge cost.

    Attributes:
        packs, answers: merged.
        pack_bytes, parquet_bytes: of all packs, and of `answers.parquet`.
        seconds: of the command, its start included.
        cpu_s: that its processes computed; on a busy machine `seconds` says how busy it was.
        peak_mb: of its processes together, in 10^6 bytes; null where that is not known.
    """

    packs: int
    answers: int
    pack_bytes: int
    parquet_bytes: int
    seconds: float
    cpu_s: float
    peak_mb: float | None


def measure_merge(packs: int, answers: int) -> MergeCost:
    """Make packs of so many answers each, one a device and site, and merge them."""
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        rng = np.random.default_rng(0)
        registry = _registry(folder, packs)
        for number in range(packs):
            _write(folder, number, answers, rng)
        began = os.times()
        seconds, peak_mb = _merge(folder, registry)
        ended = os.times()
        return MergeCost(
            packs=packs,
            answers=packs * answers,
            pack_bytes=sum(path.stat().st_size for path in folder.glob("*.pack")),
            parquet_bytes=(folder / "campaign" / "answers.parquet").stat().st_size,
            seconds=seconds,
            cpu_s=(ended.children_user - began.children_user)
            + (ended.children_system - began.children_system),
            peak_mb=peak_mb,
        )


def describe(cost: MergeCost) -> str:
    """A line for people."""
    peak = "unknown" if cost.peak_mb is None else f"{cost.peak_mb:.0f} MB"
    return (
        f"{cost.packs:,} packs, {cost.answers:,} answers: {cost.seconds:.1f} s, {cost.cpu_s:.1f} s "
        f"of a core, peak memory {peak}; an answer has {cost.pack_bytes / cost.answers:.0f} bytes "
        f"in a pack and {cost.parquet_bytes / cost.answers:.0f} in the campaign"
    )


def _registry(folder: Path, devices: int) -> Path:
    """Devices with a key each; written at once, since to enrol one reads all."""
    lines = ["public_key,device,site"]
    for number in range(devices):
        _, public = generate_keys(folder / f"d{number}")
        lines.append(f"{public.read_text().strip()},device {number:05d},site {number:05d}")
    path = folder / "devices.csv"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def _write(folder: Path, number: int, answers: int, rng: np.random.Generator) -> None:
    lines = sorted(map(compact_json, _answers(answers, rng)))
    pack = Pack(
        format_version=FORMAT_VERSION,
        pneumoscope_version="0",
        sequence=1,
        packed_at=f"{_FIRST + timedelta(days=_DAYS)}T08:00:00.000Z",
        clock_is_trusted=True,
        clock="made up",
        model_id="made-up",
        model_created=_FIRST.isoformat(),
        profile=None,
        answers=0,
        body_bytes=0,
        body_sha256="",
        lines_bytes=0,
    )
    content = encode_pack(pack, lines, open_signer(folder / f"d{number}.key"))
    (folder / f"{number:05d}.pack").write_bytes(content)


def _answers(n: int, rng: np.random.Generator) -> Iterator[PackedAnswer]:
    scores, days = rng.normal(0, 2, n), rng.integers(0, _DAYS, n)
    is_refused, is_labelled = rng.random(n) < _REFUSED, rng.random(n) < _LABELLED
    is_sick, times = rng.random(n) < 1 / (1 + np.exp(-scores)), rng.gamma(9, 50, n)
    names = rng.bytes(48 * n).hex()
    for i in range(n):
        answer, picture, patient = (names[96 * i + 32 * j :][:32] for j in range(3))
        refused, score = bool(is_refused[i]), float(scores[i])
        label = Label.PNEUMONIA if is_sick[i] else Label.NORMAL
        yield PackedAnswer(
            answer=answer,
            picture=picture,
            patient=patient,
            answered_on=(_FIRST + timedelta(days=int(days[i]))).isoformat(),
            status=Status.REFUSED if refused else Status.SCORED,
            decision=Decision.NOT_ASSESSABLE if refused else _decision(score),
            reason=Reason.LUNGS_NOT_FOUND if refused else None,
            raw_score=None if refused else score,
            probability=None if refused else sigmoid(score),
            operating_point="balanced",
            flags=("age_unknown",),
            model_id="made-up",
            model_sha256="a" * 64,
            runtime="litert",
            total_ms=round(float(times[i]), 3),
            label=label if is_labelled[i] else None,
            basis=None,
        )


def _decision(score: float) -> Decision:
    if score < -1:
        return Decision.NO_PNEUMONIA_SEEN
    return Decision.PNEUMONIA_SUSPECTED if score >= 1 else Decision.INDETERMINATE


def _merge(folder: Path, registry: Path) -> tuple[float, float | None]:
    command = [sys.executable, "-m", "edge_app", "fleet", "merge", str(folder)]
    command += ["--registry", str(registry), "-o", str(folder / "campaign")]
    command += ["--as-of", (_FIRST + timedelta(days=_DAYS)).isoformat()]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    with TreeMemory(process.pid) as memory:
        said, _ = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise UsageError(f"the merge ended with {process.returncode}: {said.strip()}")
    return seconds, memory.peak_mb
