"""Thousands of damaged DICOM files: an answer or an input error, and nobody's data in either.

All 10,000: `python -m pytest -m slow tests/test_dicom_fuzz.py`.
"""

import random
import re
import struct
import time

import numpy as np
import pytest
from PIL import features

from edge_app.bundle.manifest import Population
from edge_app.errors import InputError
from edge_app.images import dicom_elements
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import decode_image
from edge_app.screening.population import find_population_refusal
from edge_app.screening.refusals import Refusal, find_refusal
from edge_app.screening.stated import Stated
from tests.pictures import dicom_bytes, encoded
from tests.test_dicom_damage import JPEG, JPEG_2000, PYTHON, encapsulated, lut
from tests.test_jpeg import film

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")

CHILDREN = Population(age_years=(1, 5), views=("AP",), sites=("one",), description="")


def refused(radiograph: Radiograph) -> Refusal | None:
    """What a header alone says against a picture."""
    return find_refusal(radiograph) or find_population_refusal(radiograph.dicom, Stated(), CHILDREN)


PATIENT = {
    "PatientName": "ZZCANARY^JOHN",
    "PatientID": "ZZ9988776",
    "PatientBirthDate": "20190607",
    "PatientAddress": "ZZCANARY STREET 5",
    "InstitutionName": "ZZCANARY HOSPITAL",
    "ReferringPhysicianName": "ZZCANARY^DOC",
    "AccessionNumber": "ZZCANARYACC",
    "StudyDescription": "ZZCANARY STUDY",
    "StudyDate": "20230405",
    "PatientAge": "003Y",
    "PatientComments": "ZZCANARY COMMENT",
}
PRIVATE = re.compile(r"CANAR|ANARY|JOHN|9988776|20190607|STREET|HOSPITAL", re.IGNORECASE)
SLOWEST_SECONDS = 10


def seeds() -> list[bytes]:
    """Intact files of every way in: plain, with tables, encapsulated."""
    stored = (np.asarray(film(60, 50)).astype(np.uint16) * 16)[:, :50]
    plain = {**PATIENT, "BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    tables = {
        **PATIENT,
        "ModalityLUTSequence": lut([4, 0, 12], [0, 1000, 2000, 4000]),
        "VOILUTSequence": lut([4, 0, 8], b"\0\x33\xff\xff", "OW"),
        "RescaleSlope": "1",
        "RescaleIntercept": "0",
    }
    syntaxes = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
    found = [dicom_bytes(stored, transfer_syntax=syntax, **plain) for syntax in syntaxes]
    found += [dicom_bytes(stored, **tables), dicom_bytes(stored, with_meta=False, **plain)]
    shape = {"shape": (60, 50)}
    found.append(encapsulated(encoded(film(60, 50), "JPEG"), JPEG, **shape, **PATIENT))
    if features.check("jpg_2000"):
        codestream = encoded(film(60, 50), "JPEG2000", no_jp2=True)
        found.append(encapsulated(codestream, JPEG_2000, **shape, **PATIENT))
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A copy with one to three things wrong, in the header more often than in the pixels."""
    copy = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        end = len(copy) if chance.random() < 0.2 else min(len(copy), 1400)
        place = chance.randrange(min(128, end - 1), end)
        kind = chance.randrange(7)
        # Where two capital letters stand, a value representation may, and its length behind it.
        pairs = [match.start() for match in re.finditer(rb"[A-Z]{2}", bytes(copy[:end]))]
        if kind == 0:
            copy[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            copy[place] = chance.choice((0, 1, 8, 0x20, 0x5C, 0x7F, 0x80, 0xFE, 0xFF))
        elif kind == 2:
            at = chance.choice(pairs) + 2 if pairs else place
            wrong = chance.choice((0, 1, 2, 64, 100, 300, 700, 0xFFFF))
            copy[at : at + 2] = struct.pack("<H", wrong)
        elif kind == 3:
            del copy[place : place + chance.randrange(1, 40)]
        elif kind == 4:
            copy[place:place] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 20)))
        elif kind == 5:
            del copy[place:]
        elif pairs:
            at = chance.choice(pairs)
            copy[at : at + 2] = chance.choice((b"UN", b"SQ", b"OB", b"US", b"DS", b"UI", b"PN"))
    return bytes(copy)


def said_of(data: bytes) -> str:
    """Everything that an output could show of a file."""
    try:
        radiograph = decode_image(data, "x.dcm")
    except InputError as error:
        return str(error)
    refusal = refused(radiograph)
    return f"{radiograph.sop_instance_uid} {radiograph.dicom} {refusal}"


def fuzz(rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    files = seeds()
    for number in range(rounds):
        data = mutated(chance.choice(files), chance)
        started = time.perf_counter()
        said = said_of(data)
        assert time.perf_counter() - started < SLOWEST_SECONDS, number
        assert not PRIVATE.search(said), (number, said)
        assert not PYTHON.search(said), (number, said)


def test_the_seeds_are_read() -> None:
    for data in seeds():
        assert "DicomFacts" in said_of(data)
        assert not PRIVATE.search(said_of(data))


def test_hundreds_of_damaged_files(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gdcm", reason="needs GDCM's decoders")
    fuzz(400, seed=1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_ten_thousand_damaged_files(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gdcm", reason="needs GDCM's decoders")
    fuzz(10_000, seed=2026)
    assert capfd.readouterr() == ("", "")


def test_the_fuzzer_finds_what_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that passes texts on as they are would be found out."""
    from edge_app.images import dicom, dicom_facts

    for module in (dicom, dicom_facts):
        monkeypatch.setattr(module, "text", dicom_elements.free_text)
    with pytest.raises(AssertionError, match="CANARY"):
        fuzz(3000, seed=3)
