"""What the pages and the API do: add a picture, show a study, keep what people say of it.

Files and names enter, studies leave. It knows no HTTP; the record writes, the desk scores.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from edge_app.decision import Decision, Reason
from edge_app.errors import PneumoscopeError
from edge_app.images.read import read_bytes
from edge_app.record.record import Record
from edge_app.record.studies import Kind, NewStudy, Patient, Study
from edge_app.results.rows import CutOffs, ResultRow, half_refused
from edge_app.screening.stated import Stated
from edge_app.web.dicom_patient import patient_of
from edge_app.web.scoring_desk import Read, ScoringDesk
from edge_app.web.straightening import straighten_apart
from edge_app.web.uploads import Uploads
from edge_app.web.views import Views


@dataclass(frozen=True, slots=True)
class Workstation:
    """Everything behind the pages.

    Attributes:
        record: what is kept.
        desk: what scores.
        views: what is shown of pictures.
        uploads: what is on its way.
        needs_accounts: whether people have to log in.
        is_secure: whether it is reached by TLS.
        read_first: whether a worker's own reading comes before the machine's answer.
    """

    record: Record
    desk: ScoringDesk
    views: Views
    uploads: Uploads
    needs_accounts: bool = False
    is_secure: bool = False
    read_first: bool = False

    def add(
        self, path: Path, name: str, patient: Patient, kind: Kind, actor: str, view: str = ""
    ) -> Study:
        """Score a file and keep it with its answer; of a photograph the straightened film is kept.

        The patient's age and the view (AP, PA) are held against the validated population.

        Raises:
            PhotographError: no film was found in a photograph.
            UnreadUploadError: there was nothing in it.
            DeskBusyError, StorageError: it was not kept.
        """
        if kind is Kind.FILM:
            return self._add(path, name, patient, kind, actor, view)
        film = path.with_name(f"{path.name}.png")
        try:
            straighten_apart(path, film)
            return self._add(film, name, patient, kind, actor, view)
        finally:
            film.unlink(missing_ok=True)

    def _add(
        self, path: Path, name: str, patient: Patient, kind: Kind, actor: str, view: str
    ) -> Study:
        order = self.desk.score(path, name, Stated(patient.age_years, view))
        read = _named(order.result(), path.name, name)
        if kind is Kind.PHOTOGRAPH:
            read = replace(read, row=row_of_photograph(read.row, self.desk.header.operating_point))
        if read.row.sha256 is None:  # it could not even be read: there is nothing to keep
            raise UnreadUploadError(read.row.message or str(Reason.UNREADABLE))
        if not patient.code and read.row.sop_instance_uid is not None:
            header = patient_of(path)
            patient = replace(header, age_years=header.age_years or patient.age_years)
        return self._keep(path, read, patient, kind, actor)

    def may_see_answer(self, study: Study, actor: str) -> bool:
        """Whether the machine's answer is shown to a worker: not before their own reading."""
        return not self.read_first or any(r.worker == actor for r in study.readings)

    def _keep(self, path: Path, read: Read, patient: Patient, kind: Kind, actor: str) -> Study:
        new = NewStudy(read.row, read_bytes(path), patient, kind)
        study = self.record.add_study(new, actor)
        if read.thumbnail is not None:
            self.views.keep_thumbnail(study, read.thumbnail)
        return study


def row_of_photograph(row: ResultRow, cut_offs: CutOffs) -> ResultRow:
    """The row of a photograph's film: never clear, and suspected only beyond a wider band.

    No photograph was validated yet. So the band of doubt has no lower end, and its upper end lies
    half of the band's width further up.
    """
    if row.raw_score is None:
        return row
    upper = cut_offs.refer_high + (cut_offs.refer_high - cut_offs.refer_low) / 2
    is_suspected = row.raw_score >= upper
    decision = Decision.PNEUMONIA_SUSPECTED if is_suspected else Decision.INDETERMINATE
    if row.is_half and not is_suspected:
        row = half_refused(row)
    else:
        row = replace(row, decision=decision)
    return replace(row, quality={**row.quality, "photograph": True})


def _named(read: Read, on_disk: str, name: str) -> Read:
    """What was read, its message with the name that a person knows the file by."""
    if read.row.message is None:
        return read
    return replace(read, row=replace(read.row, message=read.row.message.replace(on_disk, name)))


class UnreadUploadError(PneumoscopeError):
    """Nothing was in the upload."""
