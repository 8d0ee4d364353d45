"""What a DICOM header says of patient, view and region, in whatever way it says it.

A data set enters, `DicomFacts` leave; what follows from them is the question of
`screening.refusals`. Texts that may hold anything are compared, never passed on.
"""

import re
from datetime import date
from typing import TYPE_CHECKING

from edge_app.images.dicom_elements import first_item, free_text, items, text, values
from edge_app.images.radiograph import DicomFacts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DAYS_PER_YEAR = 365.25
# De-identification leaves 1 January 1900 behind as a date of birth: that is no age.
_MAX_AGE_YEARS = 115.0
_AGE = re.compile(
    r"0*(\d{1,3}(?:[.,]\d+)?)\s*"
    r"(?:(?P<days>D|DAYS?)|(?P<weeks>W|WKS?|WEEKS?)|(?P<months>M|MOS?|MONTHS?)|"
    r"(?P<years>|Y|YRS?|YEARS?))\.?(?:\s*OLD)?"
)
_PER_YEAR = {"days": _DAYS_PER_YEAR, "weeks": _DAYS_PER_YEAR / 7, "months": 12.0, "years": 1.0}

# Classes "... For Processing" of PS3.4, B.5: digital X-ray, mammography, intra-oral.
_FOR_PROCESSING_CLASSES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.1.{kind}.1" for kind in ("1", "2", "3")
)

# PS3.16, CID 4010 (DX view), as SNOMED CT and as the older SRT: all others are not frontal.
_VIEW_CODES = {
    "399348003": "AP",
    "R-10206": "AP",
    "272479007": "PA",
    "R-40888": "PA",
    "R-10214": "PA",
    "399033003": "FRONTAL",
    "R-10202": "FRONTAL",
    **dict.fromkeys(
        """399067008 R-102CD 399198007 R-10232 399173006 R-10236 30730003 G-A145 399352003 R-10228
        399260004 R-10224""".split(),
        "LATERAL",
    ),
    **dict.fromkeys(
        """399312000 R-10208 399160007 R-10204 399132005 R-10252 260427002 R-40783 399099002
        R-10230 399135007 R-10220 399184004 R-10238 399006002 R-10212 260426006 R-40782 399368009
        R-10226 399004004 R-10246 399225005 R-10250 399288005 R-10248 399182000 R-102C1 399059000
        R-10216 399356000 R-40985 399236003 R-10234 399038007 R-10210 399325008 R-10254""".split(),
        "OBLIQUE",
    ),
}
# PS3.16, CID 4009 (DX anatomy): what is not, and does not contain, the chest; SNOMED CT and SRT.
_REGION_CODES = {
    code: name
    for name, codes in {
        "ABDOMEN": "818981001 113345001 T-D4000 818982008 T-D6000",
        "ANKLE": "70258002 T-15750",
        "BREAST": "76752008 T-04000",
        "CALCANEUS": "80144004 T-12770",
        "CLAVICLE": "51299004 T-12310",
        "COCCYX": "64688005 T-11BF0",
        "CSPINE": "122494005 T-11501",
        "ELBOW": "16953009 T-15430",
        "EXTREMITY": "66019005 T-D0300 61685007 T-D9000 53120007 T-D8000",
        "FACE": "91397008 T-11196",
        "FEMUR": "71341001 T-12710 68367000 T-D9100",
        "FINGER": "7569003 T-D8800 76505004 T-D8810",
        "FOOT": "56459004 T-D9700 29707007 T-D9800",
        "FOREARM": "14975008 T-D8500",
        "HAND": "85562004 T-D8700",
        "HEAD": "69536005 T-D1100 89546000 T-11100",
        "HIP": "29836001 T-D2500 24136001 T-15710",
        "HUMERUS": "85050009 T-12410 40983000 T-D8200",
        "JAW": "661005 T-D1213 91609006 T-11180 70925003 T-11170",
        "KNEE": "72696002 T-D9200 64234005 T-12730",
        "LEG": "30021000 T-D9400 87342007 T-12750",
        "LSPINE": "122496007 T-11503 1217253001",
        "NECK": "45048000 T-D1600",
        "PELVIS": "816092008 12921003 T-D6000 1231522001 39723000 T-15680",
        "SCAPULA": "79601000 T-12280",
        "SHOULDER": "16982005 T-D2220 85856004 T-15420",
        "SINUS": "2095001 T-22000",
        "SPINE": "421060004 T-D04FF 1217254007 1217256009 1217257000",
        "SSPINE": "54735007 T-11AD0",
        "TSPINE": "122495006 T-11502",
        "WRIST": "74670003 T-15460",
    }.items()
    for code in codes.split()
}
# Free texts that name the view in practice: processing, series, protocol.
_DESCRIPTIONS = (
    "AcquisitionDeviceProcessingDescription",  # (0018,1400)
    "SeriesDescription",
    "ProtocolName",
)
_FRONTAL_WORDS = frozenset({"AP", "PA", "FRONTAL", "ANTEROPOSTERIOR", "POSTEROANTERIOR"})
_LATERAL_WORDS = frozenset({"LAT", "LATERAL", "LL", "RL", "LLAT", "RLAT", "LATL", "LATR"}) | {
    "LEFTLATERAL",
    "RIGHTLATERAL",
}
_OBLIQUE_WORDS = frozenset(
    "OBLIQUE OBL OBLIQ LAO RAO LPO RPO LLO RLO LEFTOBLIQUE RIGHTOBLIQUE".split()
)


def read_facts(dataset: "Dataset") -> DicomFacts:
    """What screening asks of a header."""
    intent = text(dataset, "PresentationIntentType")
    if text(dataset, "SOPClassUID") in _FOR_PROCESSING_CLASSES:
        intent = "FOR PROCESSING"
    by_birth = _age_by_birth(dataset)
    stated = parse_age(free_text(dataset, "PatientAge"))
    return DicomFacts(
        modality=text(dataset, "Modality"),
        body_part=_region(dataset),
        view_position=_view(dataset),
        patient_age_years=by_birth if stated is None else stated,
        photometric_interpretation=text(dataset, "PhotometricInterpretation"),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        presentation_intent=intent,
        age_by_birth_years=by_birth,
    )


def parse_age(written: str) -> float | None:
    """Years from an Age String (PS3.5, section 6.2: 018M, 003Y) or as people write it.

    "45 Y", "3 years" and "18 MONTHS" are understood too; bare digits are years.
    """
    match = _AGE.fullmatch(written.strip().upper())
    if match is None or match.lastgroup is None:
        return None
    years = float(match[1].replace(",", ".")) / _PER_YEAR[match.lastgroup]
    return years if years <= _MAX_AGE_YEARS else None


def _age_by_birth(dataset: "Dataset") -> float | None:
    """Age at the examination from the date of birth; None where one of the dates is unknown."""
    birth = _date(dataset, "PatientBirthDate")
    dates = (_date(dataset, key) for key in ("StudyDate", "SeriesDate", "AcquisitionDate"))
    examined = next((day for day in dates if day is not None), None)
    if birth is None or examined is None:
        return None
    years = (examined - birth).days / _DAYS_PER_YEAR
    return years if 0 <= years <= _MAX_AGE_YEARS else None


def _date(dataset: "Dataset", keyword: str) -> date | None:
    """A date as DICOM has it (19790101), as ACR-NEMA had it (1979.01.01), or as people do."""
    match = re.fullmatch(r"(\d{4})([.\-/]?)(\d\d)\2(\d\d)", free_text(dataset, keyword))
    try:
        return None if match is None else date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None


def _view(dataset: "Dataset") -> str:
    """The view, LATERAL or OBLIQUE as soon as any element says so; empty where none says any."""
    position = text(dataset, "ViewPosition")
    said = [_view_of_words(free_text(dataset, "ViewPosition"))]
    said += [_view_of_code(item) for item in items(dataset, "ViewCodeSequence")]
    said += [_view_of_orientation(dataset)]
    said += [_view_of_words(free_text(dataset, keyword)) for keyword in _DESCRIPTIONS]
    not_frontal = next((view for view in said if view in ("LATERAL", "OBLIQUE")), None)
    return not_frontal or position or next(filter(None, said), "")


def _view_of_code(item: "Dataset") -> str:
    code = free_text(item, "CodeValue")
    return _VIEW_CODES.get(code) or _view_of_words(free_text(item, "CodeMeaning"))


def _view_of_orientation(dataset: "Dataset") -> str:
    """(0020,0020): where a row and a column of the picture lead to (PS3.3 C.7.6.1.1.1)."""
    row = "".join(str(first) for first in values(dataset, "PatientOrientation")[:1])
    return "LATERAL" if row.strip().upper()[:1] in ("A", "P") else ""


def _view_of_words(written: str) -> str:
    """A view that a text names; none where it names several, as that of a whole study does."""
    words = re.findall(r"[A-Z]+", written)
    found = {*words, "".join(words)}
    if found & _FRONTAL_WORDS and not found & _OBLIQUE_WORDS:
        return "" if found & _LATERAL_WORDS else next(iter(found & _FRONTAL_WORDS))
    if found & _LATERAL_WORDS:
        return "LATERAL"
    return "OBLIQUE" if found & _OBLIQUE_WORDS else ""


def _region(dataset: "Dataset") -> str:
    """The region of the body by its text, else by its code."""
    region = text(dataset, "BodyPartExamined")
    if region:
        return region
    item = first_item(dataset, "AnatomicRegionSequence")
    return "" if item is None else _REGION_CODES.get(free_text(item, "CodeValue"), "")
