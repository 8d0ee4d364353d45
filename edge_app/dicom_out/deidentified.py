"""A film without whom it is of: the Basic Application Level Confidentiality Profile of PS3.15.

A DICOM film and this device's pseudonyms enter, a copy leaves: each attribute of table E.1-1 is
removed, emptied or replaced, at any depth; private ones are removed; UIDs get pseudonyms, so copies
of one study stay together. The table is that of the package dicom-anonymizer (edition 2026c); its
code is not used: it looks at the top level only and keeps dates that are to go. What is burnt into
the pixels is not looked at, and the copy says so.
"""

import io
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from edge_app.errors import (
    InputError,
    RuntimeUnavailableError,
    UnreadableImageError,
    UnsupportedDicomError,
)
from edge_app.files.pseudonyms import Pseudonyms
from edge_app.images.dicom_elements import parse, quiet
from edge_app.images.dicom_library import load_pydicom
from edge_app.images.formats import sniff_format

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

EDITION = "2026c"
# PS3.3 table C.7-1 and PS3.16 CID 7050: what was done, in words and as a code.
METHOD = "PS3.15 E.1-1 2026c Basic Profile; pixels not checked"
_PROFILE = ("113100", "DCM", "Basic Application Confidentiality Profile")

# A radiograph's objects; in a report the patient may stand in any sentence.
_FILM_CLASSES = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.7")

# Where it depends on the kind of object, what keeps any of the standard's form.
_DUMMY = ("D_TAGS", "Z_D_TAGS", "X_D_TAGS", "X_Z_D_TAGS")
_EMPTY = ("Z_TAGS", "X_Z_TAGS")
_DUMMIES: Mapping[str, Any] = {
    "AS": "000Y",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "DS": "0",
    "IS": "0",
    "UR": "http://removed.invalid",
    "OB": b"\0\0",
    "OW": b"\0\0",
    "UN": b"\0\0",
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), "REMOVED"),
    **dict.fromkeys(("FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"), 0),
}

Action = Callable[["Dataset", "DataElement", Pseudonyms], None]


def deidentify(data: bytes, name: str, pseudonyms: Pseudonyms) -> tuple[str, bytes]:
    """The pseudonym of a film's SOP Instance UID, and its copy as the bytes of a file.

    Args:
        data: of the film's file.
        name: for messages.
        pseudonyms: of this device.

    Raises:
        UnreadableImageError: it is damaged, or no DICOM file.
        UnsupportedDicomError: it is no radiograph, such as a report.
        RuntimeUnavailableError: the package with the table is missing.
    """
    _table()
    if sniff_format(data) != "DICOM":
        raise UnreadableImageError(f"{name}: not a DICOM file")
    with quiet():
        try:
            return _copy(data, pseudonyms)
        except InputError as error:
            raise type(error)(f"{name}: {error}") from error
        except Exception as error:  # a header that no library thought of
            raise UnreadableImageError(
                f"{name}: damaged DICOM file: {type(error).__name__}"
            ) from error


def _copy(data: bytes, pseudonyms: Pseudonyms) -> tuple[str, bytes]:
    from pydicom.dataset import FileMetaDataset

    film = parse(data)
    sop_class = str(film.get("SOPClassUID", ""))
    if not sop_class.startswith(_FILM_CLASSES) or "PixelData" not in film:
        raise UnsupportedDicomError(f"SOP class {sop_class or 'unknown'} is no radiograph's")
    syntax = film.file_meta.TransferSyntaxUID
    clean(film, pseudonyms)
    _say_what_was_done(film)
    # A new one: who wrote the film, and from where, stands in the old one.
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = syntax
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.preamble = None
    stream = io.BytesIO()
    film.save_as(stream, enforce_file_format=True)
    return str(film.SOPInstanceUID), stream.getvalue()


def clean(dataset: "Dataset", pseudonyms: Pseudonyms) -> None:
    """Apply the table to a data set, and to those within it."""
    for tag in list(dataset.keys()):
        if tag.is_private:
            del dataset[tag]
            continue
        action = _table().get((tag.group, tag.element)) or _repeating(tag.group, tag.element)
        element = dataset[tag]
        if action is not None:
            action(dataset, element, pseudonyms)
        elif element.VR == "SQ":
            for item in element.value:
                clean(item, pseudonyms)


def require_table() -> None:
    """Raise RuntimeUnavailableError, with what to install, where the table is missing."""
    _table()


@cache
def _table() -> dict[tuple[int, int], Action]:
    try:
        load_pydicom()
        from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
    except ImportError as error:
        raise RuntimeUnavailableError(
            "copies without identities need the table of PS3.15: "
            "pip install 'pneumoscope[deidentify]'"
        ) from error
    named = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")
    actions: dict[tuple[int, int], Action] = {}
    for kinds, action in (
        (("X_TAGS",), _remove),
        (_EMPTY, _empty),
        (_DUMMY, _replace),
        (("U_TAGS", "X_Z_U_STAR_TAGS"), _replace_uids),
    ):
        for kind in kinds:
            actions |= {tag: action for tag in named[kind] if len(tag) == 2}
    return actions


def _repeating(group: int, element: int) -> Action | None:
    """Curves (50xx,eeee), overlay data (60xx,3000) and comments (60xx,4000): removed."""
    is_overlay = group & 0xFF00 == 0x6000 and element in (0x3000, 0x4000)
    return _remove if group & 0xFF00 == 0x5000 or is_overlay else None


def _remove(dataset: "Dataset", element: "DataElement", pseudonyms: Pseudonyms) -> None:
    del dataset[element.tag]


def _empty(dataset: "Dataset", element: "DataElement", pseudonyms: Pseudonyms) -> None:
    element.value = [] if element.VR == "SQ" else None


def _replace(dataset: "Dataset", element: "DataElement", pseudonyms: Pseudonyms) -> None:
    from pydicom.dataset import Dataset

    if element.VR == "UI":
        _replace_uids(dataset, element, pseudonyms)
    elif element.VR == "SQ":
        element.value = [Dataset()]
    elif element.VR in _DUMMIES:
        element.value = _DUMMIES[element.VR]
    else:
        del dataset[element.tag]


def _replace_uids(dataset: "Dataset", element: "DataElement", pseudonyms: Pseudonyms) -> None:
    """Of a sequence that refers to objects: within it."""
    from pydicom.multival import MultiValue

    if element.VR == "SQ":
        for item in element.value:
            clean(item, pseudonyms)
    elif isinstance(element.value, MultiValue):
        element.value = [pseudonyms.uid_of(str(uid)) for uid in element.value]
    elif element.value:
        element.value = pseudonyms.uid_of(str(element.value))


def _say_what_was_done(film: "Dataset") -> None:
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = _PROFILE
    film.PatientIdentityRemoved = "YES"
    film.DeidentificationMethod = METHOD
    film.DeidentificationMethodCodeSequence = [code]
    film.LongitudinalTemporalInformationModified = "REMOVED"
