"""Studies out of the record into a folder: for a USB stick, a registry, the site's calibration.

```
EXPORT/
  studies.jsonl          each study with its readings and outcomes, one a line
  pictures/ID.png        the bytes as they came
  pictures/truth.csv     file, label, patient_id: films whose outcome is known
  export.json            when, how many, and the audit log's head: a witness of its end
```

The folder is there in full or not at all. What was exported, and was not changed since, may be
deleted by `retention`.
"""

import csv
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sqlalchemy import Connection, update

from edge_app.errors import UsageError
from edge_app.files.codec import canonical_json, compact_json
from edge_app.files.whole import make_private_folder, put_in_place, unwritable, write_files
from edge_app.images.formats import SUFFIXES
from edge_app.images.radiograph import hash_bytes
from edge_app.record.audit_entries import Detail, head_in
from edge_app.record.record import Record
from edge_app.record.studies import Kind, Label, Study
from edge_app.record.study_rows import to_study
from edge_app.record.tables import STUDIES
from edge_app.record.worklist import select_studies, with_history
from edge_app.results.rows import utc_now
from edge_app.version import __version__

STUDIES_FILE = "studies.jsonl"
PICTURES_FOLDER = "pictures"
TRUTH_FILE = "truth.csv"
EXPORT_FILE = "export.json"
_TRUTHS = frozenset({Label.PNEUMONIA, Label.NORMAL})


@dataclass(frozen=True, slots=True)
class Export:
    """What an export says of itself.

    Attributes:
        pneumoscope_version: the program that wrote it.
        exported_at: ISO 8601, UTC.
        studies: how many.
        labelled: of them, how many stand in `truth.csv`.
        audit_head: where the audit log ended: give it to `pneumoscope audit verify --witness`.
        studies_sha256: of `studies.jsonl`.
    """

    pneumoscope_version: str
    exported_at: str
    studies: int
    labelled: int
    audit_head: str
    studies_sha256: str


def export_studies(record: Record, folder: Path, actor: str, *, only_new: bool = False) -> Export:
    """Write studies into a new folder, and note that they were exported.

    Args:
        record: of which all studies are taken.
        folder: must not be there yet.
        actor: who exports.
        only_new: leave out what was exported before and has not changed since.

    Raises:
        UsageError: the folder is there.
        StorageError: it cannot be written; nothing half-written stays, nothing is noted.
        NotInRecordError: a picture is gone or damaged.
    """
    if folder.exists():
        raise UsageError(f"{folder}: is there already; an export is written into a new folder")
    with record.database.reading() as connection:
        chosen = list(_chosen(connection, only_new))
        head = head_in(connection)
    lines = "".join(f"{compact_json(study)}\n" for study, _ in chosen).encode("utf-8")
    truth, labelled = _truth([study for study, _ in chosen])
    export = Export(__version__, utc_now(), len(chosen), labelled, str(head), hash_bytes(lines))
    documents = [
        (STUDIES_FILE, lines),
        (f"{PICTURES_FOLDER}/{TRUTH_FILE}", truth),
        (EXPORT_FILE, canonical_json(export)),
    ]
    pictures = (
        (f"{PICTURES_FOLDER}/{picture_name(study)}", record.pictures.read(study.picture_sha256))
        for study, _ in chosen
    )
    partial = folder.with_name(f".part-{folder.name}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        make_private_folder(partial)
        write_files(partial, documents)
        write_files(partial, pictures)
        put_in_place(partial, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _note(record, chosen, export, actor)
    return export


def picture_name(study: Study) -> str:
    """How an export calls a study's picture: its identifier, with the ending that it came with."""
    suffix = PurePosixPath(study.file).suffix.casefold()
    return study.id + (suffix if suffix in SUFFIXES else "")


def _chosen(connection: Connection, only_new: bool) -> Iterator[tuple[Study, int]]:
    """Studies with their history, and the entry of the last change of each."""
    wanted = select_studies().order_by(STUDIES.c.entry)
    if only_new:
        wanted = wanted.where(STUDIES.c.exported_at.is_(None))
    for row in connection.execute(wanted).mappings().all():
        yield with_history(connection, to_study(dict(row))), row["last_entry"]


def _truth(studies: list[Study]) -> tuple[bytes, int]:
    """The CSV of known outcomes, and how many it lists.

    Patients are numbered anew: for keeping one patient's pictures together a code is not needed.
    A photograph's scores are not those of films, so that it may not tune their cut-offs.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "label", "patient_id"])
    patients: dict[str, str] = {}
    labelled = 0
    for study in studies:
        outcome = study.outcome
        if study.kind is not Kind.FILM or outcome is None or outcome.label not in _TRUTHS:
            continue
        code = study.patient.code or study.id
        number = patients.setdefault(code, f"P{len(patients) + 1}")
        writer.writerow([picture_name(study), outcome.label.value.upper(), number])
        labelled += 1
    return stream.getvalue().encode("utf-8"), labelled


def _note(record: Record, chosen: list[tuple[Study, int]], export: Export, actor: str) -> None:
    with record.database.writing() as connection:
        for study, last_entry in chosen:
            # Of one that changed while it was written, the change is not exported.
            same = (STUDIES.c.id == study.id) & (STUDIES.c.last_entry == last_entry)
            noted = update(STUDIES).where(same).values(exported_at=export.exported_at)
            connection.execute(noted)
        detail: Detail = {"studies": export.studies, "studies_sha256": export.studies_sha256}
        record.audit.append_in(connection, actor, "exported", "", detail)
