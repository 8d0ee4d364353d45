"""One file to one row: read, decode, screen, and what is wrong becomes a row, never an exception.

A path and a `Screener` enter, a `ScoredFile` leaves. Nothing is written.
"""

import hashlib
import time
from binascii import b2a_base64
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_app.decision import Reason
from edge_app.errors import InputError, PneumoscopeError, UnreadableImageError
from edge_app.files.bucket import BucketFileError, is_in_bucket, read_from_bucket
from edge_app.images.dicom_own import is_own_answer
from edge_app.images.radiograph import Radiograph, hash_bytes
from edge_app.images.read import MAX_FILE_BYTES, decode_image, read_bytes
from edge_app.results.rows import Asked, LungPlace, ResultRow, failed_row, utc_now
from edge_app.screening.locator import Lungs
from edge_app.screening.screener import Screener, ScreeningResult


@dataclass(frozen=True, slots=True, eq=False)
class ScoredFile:
    """A row, and what it was made from as far as that went.

    Attributes:
        row: for the results.
        radiograph: None where the file could not be decoded.
        result: None where the file could not be decoded.
        read_ms: time until the file's bytes were in memory.
        unread: whether the file could not even be read.
    """

    row: ResultRow
    radiograph: Radiograph | None
    result: ScreeningResult | None
    read_ms: float
    unread: bool


def score_file(screener: Screener, path: Path, name: str) -> ResultRow:
    """Score one file; see `score_unknown_file`."""
    scored = score_unknown_file(screener, path, name, known=frozenset())
    assert scored is not None
    return scored.row


def score_unknown_file(
    screener: Screener, path: Path, name: str, *, known: Container[bytes]
) -> ScoredFile | None:
    """Score one file; None where it needs no row.

    It does not where the SHA-256 (32 bytes) of its content is among the known, or where it is an
    answer of ours that a PACS has sent back.

    Args:
        screener: what scores it.
        path: where it lies.
        name: how the row calls it.
        known: hashes of contents that need no row.

    Raises:
        PneumoscopeError: only what concerns the model or the machine, not this file.
    """
    started = time.perf_counter()
    data = b""
    read_ms = 0.0
    try:
        data = _read(path)
        read_ms = _milliseconds_since(started)
        if known and hashlib.sha256(data).digest() in known:
            return None
        if is_own_answer(data):
            return None
        radiograph = decode_image(data, path.name, spec=screener.bundle.manifest.preprocess)
        decode_ms = _milliseconds_since(started)
        result = screener.score(radiograph)
    except InputError as error:
        reason, text = Reason(error.reason), str(error)
    except PneumoscopeError:
        raise
    except Exception as error:  # a defect of ours must not cost the rest of the folder
        reason, text = Reason.INTERNAL_ERROR, f"{path.name}: {type(error).__name__}: {error}"
    else:
        row = _answered_row(name, radiograph, result, decode_ms, started)
        return ScoredFile(row, radiograph, result, read_ms, unread=False)
    asked = Asked(
        screener.operating_point.name,
        screener.bundle.manifest.model_id,
        screener.runtime.model.sha256,
        screener.runtime.name,
    )
    sha256 = hash_bytes(data) if data else None
    row = failed_row(name, reason, text, _milliseconds_since(started), asked, sha256=sha256)
    return ScoredFile(row, None, None, read_ms, unread=not data)


def _read(path: Path) -> bytes:
    if not is_in_bucket(path):
        return read_bytes(path)
    try:
        data = read_from_bucket(path, MAX_FILE_BYTES)
    except BucketFileError as error:
        raise UnreadableImageError(f"{path.name}: {error}") from error
    if not data:
        raise UnreadableImageError(f"{path.name}: the file is empty")
    return data


def _answered_row(
    name: str, radiograph: Radiograph, result: ScreeningResult, decode_ms: float, started: float
) -> ResultRow:
    return ResultRow(
        file=name,
        sha256=radiograph.sha256,
        sop_instance_uid=radiograph.sop_instance_uid,
        status=result.status,
        decision=result.decision,
        reason=result.reason,
        message=result.message or None,
        raw_score=result.raw_score,
        probability=result.probability,
        operating_point=result.operating_point,
        quality=result.quality,
        lungs=None if result.lungs is None else _place(result.lungs),
        model_id=result.model_id,
        model_sha256=result.model_sha256,
        runtime=result.runtime,
        decode_ms=decode_ms,
        infer_ms=None if result.infer_ms is None else round(result.infer_ms, 3),
        total_ms=_milliseconds_since(started),
        scored_at=utc_now(),
        measures={name: round(value, 4) for name, value in result.measures.items()},
    )


def _place(lungs: Lungs) -> LungPlace:
    box, mask = lungs.box, lungs.mask
    return LungPlace(
        left=round(box.left, 4),
        top=round(box.top, 4),
        right=round(box.right, 4),
        bottom=round(box.bottom, 4),
        certainty=round(box.certainty, 3),
        quarter_turns=lungs.quarter_turns,
        rows=mask.shape[0],
        columns=mask.shape[1],
        mask=b2a_base64(np.packbits(mask).tobytes(), newline=False).decode("ascii"),
        parts=box.parts,
    )


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
