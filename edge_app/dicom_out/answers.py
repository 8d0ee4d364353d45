"""An answer on the disk: NAME.sr.dcm and NAME.sc.dcm below a folder, for a film NAME that is DICOM.

Each is there in full or not at all. A film that says not of which study it is gets none: there is
nothing that an answer could belong to.
"""

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edge_app.errors import RuntimeUnavailableError, StorageError, UnreadableImageError
from edge_app.files.whole import unwritable, write_whole
from edge_app.images.dicom_library import load_pydicom
from edge_app.images.formats import SNIFF_BYTES, sniff_format
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import read_bytes
from edge_app.results.rows import ResultRow
from edge_app.screening.screener import ScreeningResult

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

REPORT_SUFFIX, PICTURE_SUFFIX = ".sr.dcm", ".sc.dcm"


def answer_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Where the report and the picture of a row's file lie, whether they are there or not.

    Args:
        folder: of all answers.
        name: of the row; where it leads out of the run's input, the answer stays below `folder`.
    """
    parts = [part for part in PurePosixPath(name.replace("\\\\", "/")).parts if part != "/"]
    inside = ["_" if part == ".." else part.replace(":", "_") for part in parts]
    place = folder.joinpath(*inside)
    return place.with_name(place.name + REPORT_SUFFIX), place.with_name(place.name + PICTURE_SUFFIX)


def lacks_answer(folder: Path, film: Path, name: str) -> bool:
    """Whether a DICOM file has no answer there, or half of one; of a study or not is not looked at.

    Args:
        folder: of all answers.
        film: the file.
        name: of its row.
    """
    if all(path.is_file() for path in answer_paths(folder, name)):
        return False
    try:
        with film.open("rb") as stream:
            return sniff_format(stream.read(SNIFF_BYTES)) == "DICOM"
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer; `is_disk` where the disk is full or gone, and it is to be retried."""

    message: str
    is_disk: bool


def try_to_answer(
    folder: Path,
    film: Path,
    row: ResultRow,
    radiograph: Radiograph | None = None,
    result: ScreeningResult | None = None,
) -> Trouble | None:
    """As `write_answers`; what goes wrong is returned, since it must not cost other films."""
    try:
        write_answers(folder, film, row, radiograph, result)
    except StorageError as error:
        return Trouble(str(error), is_disk=True)
    except Exception as error:  # a header that no library thought of
        return Trouble(
            f"{PurePosixPath(row.file).name}: no DICOM answer: {type(error).__name__}",
            is_disk=False,
        )
    return None


def write_answers(
    folder: Path,
    film: Path,
    row: ResultRow,
    radiograph: Radiograph | None = None,
    result: ScreeningResult | None = None,
) -> bool:
    """Write the answer about a film; False where it is no DICOM file of a study.

    Args:
        folder: of all answers; made where it is missing.
        film: the file.
        row: what was answered.
        radiograph, result: from which the picture is drawn; None where it could not be decoded.

    Raises:
        StorageError: it cannot be written.
    """
    from edge_app.dicom_out.picture import draw_answer
    from edge_app.dicom_out.report_template import report_file
    from edge_app.dicom_out.secondary_capture import secondary_capture
    from edge_app.dicom_out.source import Source

    try:
        data = read_bytes(film)
    except UnreadableImageError:
        return False
    source = Source.from_bytes(data) if sniff_format(data) == "DICOM" else None
    if source is None:
        return False
    is_turned = result is not None and result.lungs is not None and result.lungs.quarter_turns > 0
    picture = draw_answer(row, radiograph, result)
    report_path, picture_path = answer_paths(folder, row.file)
    try:
        report_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(report_path.parent, error) from error
    has_heat = result is not None and result.heatmap is not None
    capture = secondary_capture(source, row, picture, is_turned=is_turned, has_heat=has_heat)
    write_whole(picture_path, _file_bytes(capture))
    write_whole(report_path, report_file(source, row))
    return True


def require_highdicom() -> None:
    """Raise RuntimeUnavailableError, with what to install, where it is missing."""
    try:
        load_pydicom()
        import highdicom  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailableError(
            "answers as DICOM need highdicom: pip install 'pneumoscope[dicom-net]'"
        ) from error


def _file_bytes(dataset: "Dataset") -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
