"""Between `NewStudy`, `Study` and a row of the table `studies`."""

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_app.decision import Decision, Reason, Status
from edge_app.errors import UsageError
from edge_app.files.codec import parse_json
from edge_app.record.facts import patient_digest, study_digest
from edge_app.record.identifiers import new_identifier
from edge_app.record.studies import Basis, Kind, Label, NewStudy, Outcome, Patient, Sex, Study
from edge_app.results.rows import ResultRow, encode_row, printable, utc_now

_MOST_CODE = 64
_OLDEST_YEARS = 130
# Tab and newline may stand in a note; PostgreSQL keeps no NUL.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class StudyRow:
    """Values of a new row, without the counters of the audit log."""

    id: str
    values: Mapping[str, Any]
    digest: str
    patient_digest: str


def new_row(new: NewStudy, picture: str, heat: str | None, actor: str) -> StudyRow:
    """The row of a new study.

    Args:
        new: what is added.
        picture, heat: SHA-256 under which the bytes are kept.
        actor: who adds it.

    Raises:
        UsageError: the patient's code or age is none.
    """
    salt = secrets.token_hex(16)
    patient, patients_digest = patient_values(new.patient, salt)
    values = {
        "id": new_identifier(),
        "salt": salt,
        "version": 1,
        "added_at": utc_now(),
        "added_by": actor,
        **patient,
        "kind": new.kind.value,
        "file": _CONTROL.sub(" ", printable(new.row.file)),
        "picture_sha256": picture,
        "heat_sha256": heat,
        "decision": new.row.decision.value,
        "urgency": urgency(new.row),
        "row": encode_row(new.row).decode("utf-8").rstrip("\n"),
    }
    return StudyRow(str(values["id"]), values, study_digest(values), patients_digest)


def patient_values(patient: Patient, salt: str) -> tuple[dict[str, Any], str]:
    """A patient's columns and their digest; raises UsageError for a code or an age that is none."""
    age = patient.age_years
    if age is not None and not (math.isfinite(age) and 0 <= age <= _OLDEST_YEARS):
        raise UsageError(f"an age of {age:g} years is none: 0 to {_OLDEST_YEARS}")
    values = {
        "patient_code": plain_text(patient.code, _MOST_CODE, "a patient's code").strip(),
        "age_years": None if age is None else float(age),
        "sex": None if patient.sex is None else patient.sex.value,
    }
    return values, patient_digest({**values, "salt": salt})


def plain_text(text: str, most: int, what: str) -> str:
    """A worker's text as it is kept: without control characters.

    Raises:
        UsageError: it is longer than `most`.
    """
    if len(text) > most:
        raise UsageError(f"{what} of {len(text)} characters is too long: at most {most}")
    return _CONTROL.sub(" ", printable(text))


def urgency(row: ResultRow) -> float:
    """By which a worklist is sorted, the highest first; within a decision by probability."""
    return _URGENCY[row.decision] + (row.probability or 0.0)


_URGENCY = {
    Decision.PNEUMONIA_SUSPECTED: 6.0,
    Decision.INDETERMINATE: 4.0,
    Decision.NOT_ASSESSABLE: 2.0,
    Decision.NO_PNEUMONIA_SEEN: 0.0,
}


def to_study(row: Mapping[str, Any]) -> Study:
    """A study from its row joined with the outcome that holds, as `worklist` selects them."""
    answer: Any = parse_json(row["row"].encode("utf-8"))
    return Study(
        id=row["id"],
        version=row["version"],
        added_at=row["added_at"],
        added_by=row["added_by"],
        patient=Patient(row["patient_code"], row["age_years"], _sex(row["sex"])),
        kind=Kind(row["kind"]),
        file=row["file"],
        picture_sha256=row["picture_sha256"],
        heat_sha256=row["heat_sha256"],
        status=Status(answer["status"]),
        decision=Decision(answer["decision"]),
        reason=None if answer["reason"] is None else Reason(answer["reason"]),
        message=answer["message"],
        raw_score=answer["raw_score"],
        probability=answer["probability"],
        quality=answer["quality"],
        measures=answer.get("measures", {}),  # rows of format 2 had none
        operating_point=answer["operating_point"],
        model_id=answer["model_id"],
        model_sha256=answer["model_sha256"],
        scored_at=answer["scored_at"],
        row=row["row"],
        n_readings=row["n_readings"],
        outcome=None if row["outcome_label"] is None else _outcome(row),
        exported_at=row["exported_at"],
    )


def _sex(value: str | None) -> Sex | None:
    return None if value is None else Sex(value)


def _outcome(row: Mapping[str, Any]) -> Outcome:
    return Outcome(
        worker=row["outcome_worker"],
        at=row["outcome_at"],
        label=Label(row["outcome_label"]),
        basis=Basis(row["outcome_basis"]),
        note=row["outcome_note"],
    )
