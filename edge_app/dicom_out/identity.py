"""UIDs of answers: the same film and the same model give the same ones, so a repeat is a duplicate.

Derived from UUIDs by names (RFC 4122, section 4.3) below the root 2.25 (PS3.5, B.2), which needs no
registration.
"""

import uuid
from dataclasses import dataclass

from edge_app.dicom_out.source import Source
from edge_app.results.rows import ResultRow

# Of names that begin so; changed where the content of answers changes its meaning.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://pneumoscope/dicom-answer/1")


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs of one object of an answer."""

    series_uid: str
    sop_instance_uid: str


def identity_of(kind: str, source: Source, row: ResultRow) -> Identity:
    """The UIDs of an answer.

    Args:
        kind: "sr", "sc", or "sc heat": another picture of the same answer is another object.
        source: the film.
        row: what was answered, of which content, by which model at which operating point.
    """
    by_what = (row.model_sha256, row.operating_point)
    of_what = (source.sop_instance_uid, row.sha256 or "")
    series = (kind, "series", source.study_uid, *of_what, *by_what)
    return Identity(_uid(*series), _uid(kind, "instance", *of_what, *by_what))


def device_uid(row: ResultRow) -> str:
    """Of the algorithm as an observer: the model and its cut-offs."""
    return _uid("device", row.model_sha256, row.operating_point)


def tracking_uid(source: Source, row: ResultRow) -> str:
    """Of what is followed in a film: the question that the model answers about it."""
    return _uid("tracking", source.sop_instance_uid, row.model_sha256)


def _uid(*names: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(names)).int}"
