"""What a DICOM header says of patient, view and region, however it says it, and what follows."""

from typing import Any

import numpy as np
import pytest

from edge_app.bundle.manifest import Population
from edge_app.decision import Reason
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import decode_image
from edge_app.screening.population import find_population_refusal
from edge_app.screening.refusals import Refusal, find_refusal
from edge_app.screening.stated import Stated
from tests.pictures import dicom_bytes

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")

CHILDREN = Population(age_years=(1, 5), views=("AP",), sites=("one",), description="")


def refused(radiograph: Radiograph) -> Refusal | None:
    """What a header alone says against a picture."""
    return find_refusal(radiograph) or find_population_refusal(radiograph.dicom, Stated(), CHILDREN)


FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"


def code(value: str, meaning: str = "") -> Any:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return pydicom.Sequence([item])


def refusal_of(**elements: Any) -> tuple[Reason | None, str]:
    data = dicom_bytes(np.zeros((200, 200), np.uint8), **elements)
    refusal = refused(decode_image(data, "x"))
    return (None, "") if refusal is None else (refusal.reason, refusal.message)


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientAge": "045Y"},
        {"PatientAge": "45 Y"},
        {"PatientBirthDate": "19790101", "StudyDate": "20240101"},
        {"PatientBirthDate": "1979-01-01", "StudyDate": "20240101"},
        {"PatientBirthDate": "1979.01.01", "StudyDate": "2024.01.01"},
        {"PatientBirthDate": "19790101", "StudyDate": "20240101", "PatientAge": "005Y"},
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_adult_is_one_however_the_age_is_written(elements: Any) -> None:
    assert refusal_of(**elements)[0] is Reason.OUTSIDE_VALIDATED_POPULATION


def test_two_ages_that_agree_within_a_birthday_are_one() -> None:
    birth = {"PatientBirthDate": "20180601", "StudyDate": "20240101"}
    assert refusal_of(**birth, PatientAge="005Y") == (None, "")
    message = refusal_of(PatientBirthDate="19790101", StudyDate="20240101", PatientAge="005Y")[1]
    assert message.startswith("by the date of birth a patient of 45.0 years")
    assert message.endswith("PatientAge says 5.0 years")


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "LL"},
        {"ViewPosition": "LAT L"},
        {"ViewPosition": "LATERAL"},
        {"ViewPosition": "RAO"},
        {"ViewPosition": "OBLIQUE"},
        {"ViewPosition": None, "ViewCodeSequence": code("399067008")},
        {"ViewPosition": None, "ViewCodeSequence": code("R-10236", "left lateral")},
        {"ViewPosition": None, "ViewCodeSequence": code("399182000", "oblique")},
        {"ViewPosition": None, "ViewCodeSequence": code("X1", "Chest lateral")},
        {"ViewPosition": "AP", "PatientOrientation": ["A", "F"]},
        {"ViewPosition": None, "PatientOrientation": ["PF", "F"]},
        {"AcquisitionDeviceProcessingDescription": "CHEST LATERAL", "ViewPosition": None},
        {"AcquisitionDeviceProcessingDescription": "CANINE LATERAL THORAX 0-15cm"},
        {"SeriesDescription": "Thorax lat.", "ViewPosition": None},
    ],
)
def test_a_view_that_is_not_frontal_is_refused(elements: Any) -> None:
    assert refusal_of(**elements)[0] is Reason.VIEW_NOT_VALIDATED


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "AP", "PatientOrientation": ["L", "F"]},
        # The text of a study of two views names no single one.
        {"SeriesDescription": "CHEST PA + LAT"},
        {"ProtocolName": "THORAX AP", "ViewPosition": None},
        {"BodyPartExamined": "PORT CHEST"},
        {"BodyPartExamined": "CHEST ABDOMEN"},
        {"BodyPartExamined": None, "AnatomicRegionSequence": code("51185008", "Chest")},
    ],
)
def test_a_frontal_chest_is_not_refused(elements: Any) -> None:
    assert refusal_of(**elements) == (None, "")


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "PA"},
        {"ViewPosition": None, "ViewCodeSequence": code("272479007", "postero-anterior")},
    ],
)
def test_a_frontal_view_that_was_not_validated_is_outside(elements: Any) -> None:
    reason, message = refusal_of(**elements)
    assert reason is Reason.OUTSIDE_VALIDATED_POPULATION
    assert message.startswith("view PA; validated on AP views")


def test_the_view_of_a_code_is_known() -> None:
    data = dicom_bytes(
        np.zeros((9, 9), np.uint8), ViewPosition=None, ViewCodeSequence=code("399348003")
    )
    facts = decode_image(data, "x").dicom
    assert facts is not None
    assert facts.view_position == "AP"


@pytest.mark.parametrize(
    ("elements", "part"),
    [
        ({"BodyPartExamined": "HANDS"}, "HAND"),
        ({"BodyPartExamined": "FEET"}, "FOOT"),
        ({"BodyPartExamined": "PELVIS AP"}, "PELVIS"),
        ({"BodyPartExamined": "L SPINE"}, "LSPINE"),
        ({"BodyPartExamined": "LUMBAR SPINE AP"}, "LUMBARSPINE"),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": code("85562004")}, "HAND"),
        ({"BodyPartExamined": "", "AnatomicRegionSequence": code("T-D9700", "Foot")}, "FOOT"),
    ],
)
def test_another_part_of_the_body_is_refused(elements: Any, part: str) -> None:
    reason, message = refusal_of(**elements)
    assert reason is Reason.NOT_CHEST_RADIOGRAPH
    assert message == f"the header says {part}, not the chest"


def test_detector_values_are_told_by_their_class() -> None:
    assert refusal_of(SOPClassUID=FOR_PROCESSING)[0] is Reason.NOT_FOR_PRESENTATION


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_message_quotes_what_is_no_code() -> None:
    for elements in (
        {"Modality": "DOE^JOHN"},
        {"Modality": "JOHN DOE"},
        {"BodyPartExamined": "HAND OF JOHN DOE"},
        {"ViewPosition": "LAT DOE"},
    ):
        assert "DOE" not in refusal_of(**elements)[1]


def test_reported_headers_are_refused(shared_cases: Any) -> None:
    for file, reason in (
        ("age_45_Y.dcm", Reason.OUTSIDE_VALIDATED_POPULATION),
        ("view_code_lateral.dcm", Reason.VIEW_NOT_VALIDATED),
        ("highdicom_dx_canine_lateral.dcm", Reason.VIEW_NOT_VALIDATED),
    ):
        refusal = refused(decode_image((shared_cases / file).read_bytes(), file))
        assert refusal is not None
        assert refusal.reason is reason
