"""A worker of a folder run: `python -m edge_app.runs.workers.process`, tasks in, replies out.

It holds one model and scores one file after another, so a decoder that crashes or hangs costs this
process and no other. It writes no file but answers as DICOM objects and heatmaps, where these are
asked for: each is whole and on the disk before its row is. Messages (see `messages`) come on
standard input; replies go to what was standard output, out of the reach of libraries that print.
"""

import hashlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edge_app.bundle.manifest import MANIFEST_FILE, Bundle, Manifest
from edge_app.errors import BundleIntegrityError, PneumoscopeError, StorageError
from edge_app.files.codec import compact_json
from edge_app.files.disk_table import PublishedKeys
from edge_app.report.thumbnail_maker import make_thumbnail
from edge_app.results.identifiers import FULL, Identifiers
from edge_app.runs.file_stamps import stamp_line, stamp_of
from edge_app.runs.heatmaps import Heatmaps
from edge_app.runs.workers.messages import (
    Answered,
    KnownContent,
    Message,
    Ready,
    Refused,
    Settings,
    Task,
    read_message,
)
from edge_app.runtimes import open_runtime
from edge_app.screening.score_file import ScoredFile, score_unknown_file
from edge_app.screening.screener import Screener
from edge_app.screening.stated import Stated
from edge_app.site.profile import SiteProfile, apply_profile

if TYPE_CHECKING:
    from edge_app.dicom_out.answers import Trouble

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Serve until standard input ends."""
    # Ctrl-C is for the parent, which ends us in its own way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    warnings.simplefilter("ignore")
    requests = sys.stdin.buffer
    replies = _private_output()
    try:
        settings = read_message(requests.readline())
        assert isinstance(settings, Settings)
        screener, ready = open_screener(settings)
    except PneumoscopeError as error:
        _send(replies, Refused(type(error).__name__, str(error)))
        return 0
    _send(replies, ready)
    known: Container[bytes] | None = None
    answers = None if settings.answers is None else Path(settings.answers)
    heatmaps = None if settings.heatmaps is None else Heatmaps(*settings.heatmaps)
    identifiers = Identifiers.from_settings(settings.identifiers)
    for line in requests:
        # It is written while we start, and complete when the first task comes.
        known = _known(settings) if known is None else known
        task = read_message(line)
        assert isinstance(task, Task)
        try:
            reply = answer(screener, task, known, answers, heatmaps, identifiers)
        except StorageError as error:  # of a heatmap: the run ends, and goes on later
            reply = Refused(type(error).__name__, str(error))
        _send(replies, reply)
    return 0


def open_screener(settings: Settings) -> tuple[Screener, Ready]:
    """Open the model and try it; only its file is hashed here, the parent checks the bundle.

    Raises:
        PneumoscopeError: as `load_bundle` and `Screener` raise them.
        StorageError: the bundle has gone since the parent checked it.
    """
    folder = Path(settings.bundle)
    try:
        return _open_checked(folder, settings)
    except OSError as error:
        raise StorageError(
            f"{folder}: the bundle cannot be read any more: {error.strerror or error}; once it "
            "can, the same command goes on"
        ) from error


def _open_checked(folder: Path, settings: Settings) -> tuple[Screener, Ready]:
    content = (folder / MANIFEST_FILE).read_bytes()
    bundle = Bundle(folder=folder, manifest=Manifest.from_json(content), signed_by=None)
    if settings.site is not None:
        bundle = apply_profile(bundle, SiteProfile.from_json(settings.site.encode("utf-8")))
    runtime = open_runtime(bundle, settings.runtime, settings.threads)
    model = runtime.model
    with bundle.path(model.file).open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != model.sha256:
        raise BundleIntegrityError(f"{stream.name}: changed since the bundle was written")
    stated = Stated(settings.age_years, settings.view, settings.accept_outside)
    screener = Screener(bundle, runtime, settings.operating_point, stated=stated)
    ready = Ready(
        model_sha256=model.sha256,
        runtime=runtime.name,
        runtime_version=runtime.version,
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        notes=list(runtime.notes),
    )
    return screener, ready


def _known(settings: Settings) -> Container[bytes]:
    return frozenset() if settings.known is None else PublishedKeys(Path(settings.known))


def answer(
    screener: Screener,
    task: Task,
    known: Container[bytes],
    answers: Path | None = None,
    heatmaps: Heatmaps | None = None,
    identifiers: Identifiers = FULL,
) -> Message:
    """Score a task's file, and write an answer and a heatmap about it where these are asked for.

    An answer lies in the film's own study and hides nothing; a row is what `identifiers` lets out.

    Raises:
        StorageError: its heatmap cannot be written.
    """
    path = Path(task.path)
    stamp = stamp_of(path)  # before it is read: a file that changes meanwhile is noticed later
    screener = screener.stating(task.age_years, task.view)
    scored = score_unknown_file(screener, path, task.name, known=known)
    if scored is None:
        return KnownContent(task.id)
    if heatmaps is not None:
        scored = heatmaps.add(screener, scored)
    scored_at = time.perf_counter()
    picture = _picture(scored, task)
    picture_ms = (time.perf_counter() - scored_at) * 1000
    trouble = None if answers is None else _write_answers(answers, path, scored)
    return Answered.of(
        task.id,
        identifiers.masked(scored.row, path),
        unread=scored.unread,
        stage_ms=[*_stages(scored), round(picture_ms, 3)],
        picture=picture,
        stamp=None if stamp is None else stamp_line(task.name, stamp),
        unanswered=None if trouble is None else trouble.message,
        disk_failed=trouble is not None and trouble.is_disk,
    )


def _write_answers(folder: Path, film: Path, scored: ScoredFile) -> "Trouble | None":
    """Before the row, so that what has a row has its answer."""
    from edge_app.dicom_out.answers import try_to_answer

    return try_to_answer(folder, film, scored.row, scored.radiograph, scored.result)


def _stages(scored: ScoredFile) -> list[float]:
    """Milliseconds of reading, decoding, preparing and the network; see `messages.STAGES`."""
    row = scored.row
    decoded_ms = row.total_ms if row.decode_ms is None else row.decode_ms
    infer_ms = row.infer_ms or 0.0
    prepare_ms = row.total_ms - decoded_ms - infer_ms
    return [scored.read_ms, decoded_ms - scored.read_ms, prepare_ms, infer_ms]


def _picture(scored: ScoredFile, task: Task) -> str | None:
    """The thumbnail's line where the report still takes one of this decision and score."""
    row, radiograph, result = scored.row, scored.radiograph, scored.result
    if radiograph is None or result is None or row.decision not in task.floors:
        return None
    floor = task.floors[row.decision]
    if floor is not None and row.raw_score is not None and row.raw_score <= floor:
        return None
    return compact_json(make_thumbnail(task.name, radiograph, result)) + "\n"


def _send(replies: BinaryIO, message: Message) -> None:
    replies.write(message.to_line())
    replies.flush()


def _private_output() -> BinaryIO:
    """Standard output for replies alone; what libraries print goes to standard error."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def _die_with_parent() -> None:
    """On Linux: when the parent is killed, so is a worker that hangs in a decoder.

    Any other worker sees its standard input end.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # All replies are flushed and no file is open for writing: taking the interpreter, numpy and the
    # runtime apart would only keep the parent waiting.
    os._exit(code)
