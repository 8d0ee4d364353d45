"""Answers as a device hands them on: pseudonyms in place of names, a day in place of a time.

Rows of runs and studies of the clinic's record enter, `PackedAnswer`s leave. No name of a file, no
code of a patient, no identifier and no message is among them. Writes no file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from edge_app.decision import Decision, Reason, Status
from edge_app.files.pseudonyms import Pseudonyms
from edge_app.record.studies import Basis, Kind, Label, Order, Outcome, Study
from edge_app.results.rows import ResultRow, decode_row
from edge_app.site.cases import Cases

if TYPE_CHECKING:
    from edge_app.record.record import Record

_STUDIES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class PackedAnswer:
    """One line of a pack, format version 1; keys that a results file has mean the same here.

    Attributes:
        answer: pseudonym of the answer. Of several lines with one, the last pack's holds.
        picture: pseudonym of the picture's bytes; null where they could not be read.
        patient: pseudonym of the patient's code; null where nobody told it.
        answered_on: day of the answer, UTC, by the device's clock.
        status, decision, reason: the answer.
        raw_score, probability: null unless scored.
        operating_point: name of the cut-offs; those of a site have the site's.
        flags: of the picture's quality, those that are set.
        model_id, model_sha256, runtime: what answered.
        total_ms: that it took.
        label: what turned out; null where that is not known, or the picture is a photograph.
        basis: what that rests on; null where it was not said.
    """

    answer: str
    picture: str | None
    patient: str | None
    answered_on: str
    status: Status
    decision: Decision
    reason: Reason | None
    raw_score: float | None
    probability: float | None
    operating_point: str
    flags: tuple[str, ...]
    model_id: str
    model_sha256: str
    runtime: str
    total_ms: float
    label: Label | None
    basis: Basis | None

    def __post_init__(self) -> None:
        """Raises ValueError where the day is none."""
        date.fromisoformat(self.answered_on)


def answers_of_run(
    rows: Mapping[str, ResultRow], cases: Cases | None, pseudonyms: Pseudonyms
) -> Iterator[PackedAnswer]:
    """The answers of a run.

    Args:
        rows: by file.
        cases: those whose truth is known, None for none.
        pseudonyms: of the device.
    """
    known = {} if cases is None else {case.row.file: case for case in cases.all}
    for file, row in rows.items():
        case = known.get(file)
        if case is None:
            yield _packed(row, None, None, None, pseudonyms)
            continue
        label = Label.PNEUMONIA if case.label else Label.NORMAL
        # A file that names no patient counts as one of its own.
        patient = None if case.patient == file else case.patient
        yield _packed(row, patient, label, None, pseudonyms)


def answers_of_record(record: "Record", pseudonyms: Pseudonyms) -> Iterator[PackedAnswer]:
    """The answers of a clinic's record, with the outcomes that are known."""
    for study in _studies(record):
        outcome = _outcome(study)
        row = decode_row(study.row.encode("utf-8"))
        yield _packed(
            row,
            study.patient.code or None,
            outcome.label if outcome else None,
            outcome.basis if outcome else None,
            pseudonyms,
        )


def _studies(record: "Record") -> Iterator[Study]:
    """All of them; one that is added meanwhile moves others onto the next page, and none away."""
    page = 1
    while found := record.studies(None, Order.NEWEST_FIRST, page, _STUDIES_AT_ONCE).studies:
        yield from found
        page += 1


def _outcome(study: Study) -> Outcome | None:
    """What is a truth: photographs' scores are not those of films, and uncertain is none."""
    outcome = study.outcome
    if study.kind is not Kind.FILM or outcome is None or outcome.label is Label.UNCERTAIN:
        return None
    return outcome


def _packed(
    row: ResultRow,
    patient: str | None,
    label: Label | None,
    basis: Basis | None,
    pseudonyms: Pseudonyms,
) -> PackedAnswer:
    what = "\0".join((row.file, row.scored_at, row.model_sha256, row.operating_point))
    return PackedAnswer(
        answer=pseudonyms.of("answer", what),
        picture=None if row.sha256 is None else pseudonyms.of("picture", row.sha256),
        patient=None if patient is None else pseudonyms.of("patient", patient),
        answered_on=row.scored_at[:10],
        status=row.status,
        decision=row.decision,
        reason=row.reason,
        raw_score=row.raw_score,
        probability=row.probability,
        operating_point=row.operating_point,
        flags=tuple(sorted(flag for flag, is_set in row.quality.items() if is_set)),
        model_id=row.model_id,
        model_sha256=row.model_sha256,
        runtime=row.runtime,
        total_ms=row.total_ms,
        label=label,
        basis=basis,
    )
