"""What an answer takes over from the film that it is about: the patient, the study, the reference.

The bytes of a DICOM file enter, a `Source` leaves. A value that is not of the form that the
standard gives its value representation (PS3.5, section 6.2) is left out, and texts leave as
Unicode, whatever character set they came in.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_app.errors import InputError
from edge_app.images.dicom_elements import parse_header, quiet, text, value, values

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# PS3.3 C.7.1.1 (Patient) and C.7.2.1 (General Study), C.7.2.2: of the types 2, and of type 3 what a
# worklist sorts by. An answer in the same study must say the same of them.
OF_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_OF_TYPE_3 = ("IssuerOfPatientID", "StudyDescription", "PatientAge", "InstitutionName")
_OF_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
COPIED = (*OF_TYPE_2, *_OF_TYPE_3, *_OF_EQUIPMENT)

_TEXT = r"[^\x00-\x1f\x7f\\]"
_FORMS = {
    "PN": re.compile(rf"{_TEXT}{{0,64}}(={_TEXT}{{0,64}}){{0,2}}"),
    "LO": re.compile(rf"{_TEXT}{{0,64}}"),
    "SH": re.compile(rf"{_TEXT}{{0,16}}"),
    "DA": re.compile(r"\d{8}"),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9 _]{0,16}"),
}
_SEXES = ("M", "F", "O")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A film as its answer refers to it.

    Attributes:
        sop_class_uid, sop_instance_uid, series_uid, study_uid: of the film.
        modality: (0008,0060), upper case; "OT" where it says none.
        orientation: (0020,0020) of its rows and columns, empty where it does not say.
        texts: by keyword what is copied; of equipment what stands there.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    modality: str
    orientation: tuple[str, ...]
    texts: dict[str, str]

    @classmethod
    def from_bytes(cls, data: bytes) -> "Source | None":
        """Read a film's header; None where it says not which object of which study it is."""
        with quiet():
            try:
                dataset = parse_header(data)
            except InputError:
                return None
            return _read(dataset)

    def copy_into(self, answer: "Dataset") -> None:
        """Set the patient and the study of an answer."""
        answer.SpecificCharacterSet = "ISO_IR 192"
        answer.StudyInstanceUID = self.study_uid
        for keyword in OF_TYPE_2:
            setattr(answer, keyword, self.texts.get(keyword, ""))
        for keyword in _OF_TYPE_3:
            if keyword in self.texts:
                setattr(answer, keyword, self.texts[keyword])

    def reference(self) -> "Dataset":
        """An item that refers to the film (PS3.3 table 10-11)."""
        from pydicom.dataset import Dataset

        item = Dataset()
        item.ReferencedSOPClassUID = self.sop_class_uid
        item.ReferencedSOPInstanceUID = self.sop_instance_uid
        return item

    def refer_to_equipment(self, answer: "Dataset") -> None:
        """Name what took the film as contributing equipment (PS3.3 C.12.1), where it says that."""
        from pydicom.dataset import Dataset

        if not self.texts.get("Manufacturer"):
            return
        item = Dataset()
        item.PurposeOfReferenceCodeSequence = [_code("109101", "DCM", "Acquisition Equipment")]
        for keyword in _OF_EQUIPMENT:
            if keyword in self.texts:
                setattr(item, keyword, self.texts[keyword])
        answer.add_new("ContributingEquipmentSequence", "SQ", [item])


def _read(dataset: "Dataset") -> Source | None:
    sop_class, instance = text(dataset, "SOPClassUID"), text(dataset, "SOPInstanceUID")
    series, study = text(dataset, "SeriesInstanceUID"), text(dataset, "StudyInstanceUID")
    if not (sop_class and instance and series and study):
        return None
    orientation = tuple(str(each) for each in values(dataset, "PatientOrientation"))
    is_known = all(re.fullmatch("[LRAPHF]{1,3}", each) for each in orientation)
    copied = {keyword: _clean(dataset, keyword) for keyword in COPIED}
    return Source(
        sop_class_uid=sop_class,
        sop_instance_uid=instance,
        series_uid=series,
        study_uid=study,
        modality=text(dataset, "Modality") or "OT",
        orientation=orientation if len(orientation) == 2 and is_known else (),
        texts={keyword: found for keyword, found in copied.items() if found},
    )


def _clean(dataset: "Dataset", keyword: str) -> str:
    """A value in its form; empty where it is missing, several, or of another form."""
    from pydicom.datadict import dictionary_VR
    from pydicom.multival import MultiValue

    kind = dictionary_VR(keyword)
    given = value(dataset, keyword)
    found = "" if given is None or isinstance(given, MultiValue) else str(given).strip()
    if keyword == "PatientSex" and found not in _SEXES:
        return ""
    return found if _FORMS[kind].fullmatch(found) else ""


def _code(code_value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code_value, scheme, meaning
    return item
