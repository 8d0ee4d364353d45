"""Reports of one form, built once by highdicom and then filled in, at a twentieth of the cost.

A film's `Source` and its row enter, the bytes of the report's file leave: of the very report that
`structured_report` gives. Reports differ in few places: of whom and of which film they are, the
probability, the message and the time. A template is a report of made-up values, written with
sequences of undefined length (PS3.5, 7.5.1), so that no length depends on what is filled in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edge_app.dicom_out.identity import identity_of, tracking_uid
from edge_app.dicom_out.source import COPIED, Source
from edge_app.dicom_out.structured_report import structured_report
from edge_app.images.dicom_own import COMPREHENSIVE_SR
from edge_app.results.rows import ResultRow, decode_row, encode_row

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Decisions, reasons and sets of flags that one run meets; a template takes some 10 kB.
_MOST_TEMPLATES = 64
_ENCODINGS = ["utf-8"]
# Below 2.999, which is for examples (ITU-T X.660); in no film, and in no two places.
_FILM, _SERIES, _STUDY, _HASH = "2.999.1", "2.999.2", "2.999.3", "0" * 64
_MESSAGE, _PROBABILITY = "the message of a template", 0.4827415
_FORMS = {"DA": "20000101", "TM": "000000", "AS": "001Y", "CS": "O"}
_DATES = ("ContentDate", "InstanceCreationDate", "SeriesDate")
_TIMES = ("ContentTime", "InstanceCreationTime", "SeriesTime")
_PROBABILITIES = ("NumericValue", "FloatingPointValue")
# In the place of a length that the end of the sequence tells (PS3.5, table 7.5-2).
_UNDEFINED = b"\xff\xff\xff\xff"
_ITEM, _END_OF_ITEM = b"\xfe\xff\x00\xe0" + _UNDEFINED, b"\xfe\xff\x0d\xe0" + bytes(4)
_END_OF_SEQUENCE = b"\xfe\xff\xdd\xe0" + bytes(4)


@dataclass(frozen=True, slots=True)
class _Filling:
    """What is filled into one report."""

    source: Source
    row: ResultRow
    now: datetime


Value = Callable[[_Filling], Any]


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place of a template: the element, and what it holds."""

    tag: int
    kind: str
    value: Value


def report_file(source: Source, row: ResultRow) -> bytes:
    """A report as the bytes of a file (PS3.10).

    Args:
        source: the film.
        row: what was answered about it.
    """
    filling = _Filling(source, row, datetime.now())
    has = frozenset(keyword for keyword in COPIED if source.texts.get(keyword))
    form = _Form(encode_row(_made_up_row(row)), source.sop_class_uid, source.modality, has)
    stream = _explicit_stream()
    stream.write(b"\0" * 128 + b"DICM")
    _write_meta(stream, identity_of("sr", source, row).sop_instance_uid)
    for part in _template(form):
        if isinstance(part, bytes):
            stream.write(part)
        else:
            _write(stream, part.tag, part.kind, part.value(filling))
    return bytes(stream.getvalue())


@dataclass(frozen=True, slots=True)
class _Form:
    """What a template depends on: a made-up row as its line, and of the film which texts it has."""

    row: bytes
    sop_class_uid: str
    modality: str
    texts: frozenset[str]


def _made_up_row(row: ResultRow) -> ResultRow:
    """The row without what is filled in, and without what no report says."""
    return replace(
        row,
        file="",
        sha256=_HASH,
        sop_instance_uid=None,
        message=None if row.message is None else _MESSAGE,
        raw_score=None if row.raw_score is None else 0.0,
        probability=None if row.probability is None else _PROBABILITY,
        lungs=None,
        decode_ms=None,
        infer_ms=None,
        total_ms=0.0,
        scored_at="2000-01-01T00:00:00Z",
    )


@lru_cache(maxsize=_MOST_TEMPLATES)
def _template(form: _Form) -> tuple[bytes | _Slot, ...]:
    """The pieces of a report between what is filled in, and the places of that."""
    texts = {keyword: _made_up_text(keyword) for keyword in form.texts}
    source = Source(form.sop_class_uid, _FILM, _SERIES, _STUDY, form.modality, (), texts)
    row = decode_row(form.row)
    report = structured_report(source, row)
    return tuple(_joined(_pieces(report, _slots(source, row), is_top=True)))


def _made_up_text(keyword: str) -> str:
    """A value of the right form (PS3.5, section 6.2)."""
    from pydicom.datadict import dictionary_VR

    return _FORMS.get(dictionary_VR(keyword), "x")


def _slots(source: Source, row: ResultRow) -> dict[Any, Value]:
    """What stands for what in a template, by its value."""
    ours = identity_of("sr", source, row)
    return {
        _FILM: lambda of: of.source.sop_instance_uid,
        _SERIES: lambda of: of.source.series_uid,
        _STUDY: lambda of: of.source.study_uid,
        ours.series_uid: lambda of: identity_of("sr", of.source, of.row).series_uid,
        ours.sop_instance_uid: lambda of: identity_of("sr", of.source, of.row).sop_instance_uid,
        tracking_uid(source, row): lambda of: tracking_uid(of.source, of.row),
        _MESSAGE: lambda of: of.row.message,
    }


def _pieces(
    dataset: "Dataset", slots: dict[Any, Value], *, is_top: bool
) -> Iterator[bytes | _Slot]:
    for element in dataset:
        keyword = element.keyword
        if element.VR == "SQ":
            yield _sequence_header(element.tag)
            for item in element.value:
                yield _ITEM
                # The equipment that took the film is the only item with texts of it.
                is_of_film = keyword == "ContributingEquipmentSequence"
                yield from _pieces(item, slots, is_top=is_of_film)
                yield _END_OF_ITEM
            yield _END_OF_SEQUENCE
            continue
        value = _value_of(keyword, element.value, slots, is_top=is_top)
        if value is None:
            yield _encoded(element.tag, element.VR, element.value)
        else:
            yield _Slot(element.tag, element.VR, value)


def _value_of(keyword: str, value: Any, slots: dict[Any, Value], *, is_top: bool) -> Value | None:
    """What gives an element its value; None where each report of the form has the same."""
    if keyword in _DATES:
        return lambda of: f"{of.now:%Y%m%d}"
    if keyword in _TIMES:
        return lambda of: f"{of.now:%H%M%S}"
    if keyword == "ContributionDateTime":
        return lambda of: f"{of.now:%Y%m%d%H%M%S}"
    if keyword in _PROBABILITIES:
        return _probability if keyword == "NumericValue" else lambda of: of.row.probability
    if isinstance(value, str) and value in slots:
        return slots[value]
    if is_top and keyword in COPIED and str(value) == _made_up_text(keyword):
        return lambda of: of.source.texts[keyword]
    return None


def _probability(of: _Filling) -> Any:
    """In at most 16 characters, as highdicom writes it."""
    from pydicom.valuerep import DS

    return DS(of.row.probability, auto_format=True)


def _joined(pieces: Iterator[bytes | _Slot]) -> Iterator[bytes | _Slot]:
    """The same with as few pieces as can be."""
    constant = b""
    for piece in pieces:
        if isinstance(piece, bytes):
            constant += piece
            continue
        yield constant
        yield piece
        constant = b""
    yield constant


def _sequence_header(tag: int) -> bytes:
    group, element = (number.to_bytes(2, "little") for number in (tag >> 16, tag & 0xFFFF))
    return group + element + b"SQ\0\0" + _UNDEFINED


def _encoded(tag: int, kind: str, value: Any) -> bytes:
    stream = _explicit_stream()
    _write(stream, tag, kind, value)
    return bytes(stream.getvalue())


def _write(stream: Any, tag: int, kind: str, value: Any) -> None:
    from pydicom.dataelem import DataElement
    from pydicom.filewriter import write_data_element

    write_data_element(stream, DataElement(tag, kind, value), _ENCODINGS)


def _write_meta(stream: Any, sop_instance_uid: str) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(COMPREHENSIVE_SR)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    write_file_meta_info(stream, meta)


def _explicit_stream() -> Any:
    from pydicom.filebase import DicomBytesIO

    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    return stream
