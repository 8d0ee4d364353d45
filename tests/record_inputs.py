"""Answers and pictures for tests of the record."""

from edge_app.decision import Decision, Reason, Status
from edge_app.images.radiograph import hash_bytes
from edge_app.record.studies import Kind, NewStudy, Patient
from edge_app.results.rows import ResultRow, utc_now


def answer(
    picture: bytes,
    decision: Decision = Decision.PNEUMONIA_SUSPECTED,
    probability: float = 0.9,
    file: str = "a.png",
) -> ResultRow:
    """The answer for a picture; a refusal has no score."""
    is_scored = decision is not Decision.NOT_ASSESSABLE
    return ResultRow(
        file=file,
        sha256=hash_bytes(picture),
        sop_instance_uid=None,
        status=Status.SCORED if is_scored else Status.REFUSED,
        decision=decision,
        reason=None if is_scored else Reason.LUNGS_NOT_FOUND,
        message=None if is_scored else "no lungs were found",
        raw_score=2.0 if is_scored else None,
        probability=probability if is_scored else None,
        operating_point="balanced",
        quality={"upright": True},
        lungs=None,
        model_id="tiny",
        model_sha256="0" * 64,
        runtime="litert",
        decode_ms=1.0,
        infer_ms=2.0,
        total_ms=3.0,
        scored_at=utc_now(),
    )


def new_study(
    picture: bytes = b"a picture",
    decision: Decision = Decision.PNEUMONIA_SUSPECTED,
    probability: float = 0.9,
    *,
    file: str = "a.png",
    code: str = "",
    kind: Kind = Kind.FILM,
) -> NewStudy:
    """A study to add."""
    return NewStudy(answer(picture, decision, probability, file), picture, Patient(code), kind)
