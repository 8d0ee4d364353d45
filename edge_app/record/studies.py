"""What the record holds of one picture, and what may be asked for.

Plain values: nothing here knows a database.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge_app.decision import Decision, Reason, Status
from edge_app.results.rows import ResultRow


class Kind(StrEnum):
    """How the picture came to be."""

    FILM = "film"  # a radiograph's own file
    PHOTOGRAPH = "photograph"  # a camera's picture of a film


class Sex(StrEnum):
    """As DICOM's Patient's Sex (0010,0040) knows them."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"


class Label(StrEnum):
    """What turned out, or what a health worker reads in a picture."""

    PNEUMONIA = "pneumonia"
    NORMAL = "normal"
    UNCERTAIN = "uncertain"  # is no truth: never exported as one


class Basis(StrEnum):
    """What an outcome rests on."""

    RADIOLOGIST = "radiologist"
    CLINICAL_COURSE = "clinical_course"
    LABORATORY = "laboratory"
    OTHER = "other"


class Order(StrEnum):
    """Of a worklist."""

    WORST_FIRST = "worst_first"  # suspected, between the cut-offs, not assessable, nothing seen
    NEWEST_FIRST = "newest_first"


@dataclass(frozen=True, slots=True)
class Patient:
    """Who was X-rayed, in the clinic's own words.

    Attributes:
        code: the clinic's own number; "" unknown. Studies of one code are one patient's.
        age_years: None unknown.
        sex: None unknown.
    """

    code: str = ""
    age_years: float | None = None
    sex: Sex | None = None


@dataclass(frozen=True, slots=True)
class NewStudy:
    """What `Record.add_study` takes.

    Attributes:
        row: the answer, as a run would write it; its `sha256` is that of `picture`.
        picture: the bytes as they came, never changed.
        patient: whose picture.
        kind: a film, or a photograph of one.
        heat: a PNG to lay over the picture, where one was made.
    """

    row: ResultRow
    picture: bytes
    patient: Patient = Patient()
    kind: Kind = Kind.FILM
    heat: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a health worker saw.

    Attributes:
        worker: name of the account.
        at: ISO 8601, UTC.
        label: what was read.
        note: in the worker's words.
        is_blind: saved before this worker was shown the machine's answer to this study.
    """

    worker: str
    at: str
    label: Label
    note: str
    is_blind: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What turned out afterwards; of several, the last holds and the others stay readable."""

    worker: str
    at: str
    label: Label
    basis: Basis
    note: str


@dataclass(frozen=True, slots=True)
class Study:
    """One picture with everything that the record knows of it.

    Attributes:
        id: 10 letters and digits that cannot be mistaken for each other; on slips and in addresses.
        version: rises with every change of patient or outcome; give it back when changing.
        added_at, added_by: ISO 8601 in UTC, and an account's name.
        patient, kind: as of `NewStudy`.
        file: the name under which the picture came.
        picture_sha256: of its bytes; `Record.pictures.path` says where they lie.
        heat_sha256: of the PNG to lay over it, None where there is none.
        status, decision, reason, message, raw_score, probability, quality, measures,
        operating_point,
        model_id, model_sha256, scored_at: of the answer, as of `ResultRow`.
        row: the whole answer as a line of `results.jsonl` of that day's format.
        readings, outcomes: oldest first; empty in a list of studies (`Record.study` has them).
        n_readings: how many there are, in a list too.
        outcome: what holds, None where none was entered.
        exported_at: None where it changed since its last export, or was never exported.
    """

    id: str
    version: int
    added_at: str
    added_by: str
    patient: Patient
    kind: Kind
    file: str
    picture_sha256: str
    heat_sha256: str | None
    status: Status
    decision: Decision
    reason: Reason | None
    message: str | None
    raw_score: float | None
    probability: float | None
    quality: Mapping[str, bool]
    measures: Mapping[str, float]
    operating_point: str
    model_id: str
    model_sha256: str
    scored_at: str
    row: str
    n_readings: int
    outcome: Outcome | None
    exported_at: str | None
    readings: tuple[Reading, ...] = ()
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """Which studies; what is left at its default asks for nothing.

    Attributes:
        text: in the patient's code, the file's name or the identifier; case does not matter.
        decisions: one of these.
        since, until: of `added_at`, ISO 8601 in UTC; from, and before.
        patient_code: exactly this one.
        kind: a film or a photograph.
        has_outcome: True with one, False without.
        unread_by: a worker who has saved no reading of it.
    """

    text: str = ""
    decisions: frozenset[Decision] = frozenset()
    since: str | None = None
    until: str | None = None
    patient_code: str | None = None
    kind: Kind | None = None
    has_outcome: bool | None = None
    unread_by: str | None = None


@dataclass(frozen=True, slots=True)
class StudyPage:
    """A part of a worklist: these studies, of so many that fit the filter."""

    studies: tuple[Study, ...]
    total: int
    page: int
    page_size: int
