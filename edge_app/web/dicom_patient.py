"""Whose picture a DICOM file says that it is: its path enters, a `Patient` leaves.

Patient ID (0010,0020), Patient's Sex (0010,0040) and Patient's Age (0010,1010), never a name.
"""

import re
from contextlib import suppress
from pathlib import Path

from edge_app.images.dicom_library import load_pydicom
from edge_app.record.studies import Patient, Sex

_AGE = re.compile(r"(\d{3})([DWMY])")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_LONGEST_CODE = 64  # of the value representation LO


def patient_of(path: Path) -> Patient:
    """The patient of a DICOM file; unknown where the header cannot be read or is silent."""
    load_pydicom()
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        code, age, sex = (
            str(header.get(keyword) or "").strip()
            for keyword in ("PatientID", "PatientAge", "PatientSex")
        )
    except Exception:  # a header that no parser expects must not cost the answer
        return Patient()
    known: Sex | None = None
    with suppress(ValueError):
        known = Sex(sex)
    printable = "".join(c for c in code if c.isprintable())
    return Patient(printable[:_LONGEST_CODE], age_years(age), known)


def age_years(text: str) -> float | None:
    """An age string (PS3.5, AS) in years, None where it is none: `018M` is 1.5."""
    found = _AGE.fullmatch(text)
    return None if found is None else round(int(found[1]) * _YEARS[found[2]], 3)
