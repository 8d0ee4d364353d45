"""Digests by which the audit log knows what the record must hold, without telling it.

Each is salted with a random text of its study, so that a patient's code cannot be guessed from the
log, and once the study is deleted nothing can be.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def study_digest(row: Mapping[str, Any]) -> str:
    """Of what never changes in a row of `studies`."""
    names = ("id", "added_at", "added_by", "kind", "file", "picture_sha256", "heat_sha256", "row")
    return _digest(row["salt"], *(row[name] for name in names))


def patient_digest(row: Mapping[str, Any]) -> str:
    """Of the patient in a row of `studies`."""
    return _digest(row["salt"], row["patient_code"], row["age_years"], row["sex"])


def reading_digest(row: Mapping[str, Any], salt: str) -> str:
    """Of a row of `readings`."""
    names = ("study_id", "worker", "at", "label", "note")
    return _digest(salt, *(row[name] for name in names), bool(row["is_blind"]))


def outcome_digest(row: Mapping[str, Any], salt: str) -> str:
    """Of a row of `outcomes`."""
    names = ("study_id", "worker", "at", "label", "basis", "note")
    return _digest(salt, *(row[name] for name in names))


def _digest(*values: str | float | bool | None) -> str:
    return hashlib.sha256(json.dumps(values).encode("ascii")).hexdigest()
