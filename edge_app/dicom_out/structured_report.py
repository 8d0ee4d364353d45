"""An answer as a DICOM structured report: TID 1500 with evaluations of the whole picture.

A film's `Source` and its row enter, a Comprehensive SR leaves (PS3.16 TID 1500, 1501 and 4019; the
IHE profile AI Results). A refusal is a report too: that the model ran and declined, and why.
"""

from typing import TYPE_CHECKING, Any

from edge_app.decision import Decision
from edge_app.dicom_out.identity import device_uid, identity_of, tracking_uid
from edge_app.dicom_out.source import OF_TYPE_2, Source
from edge_app.dicom_out.wording import CAUTION, decision_words, series_description
from edge_app.images.dicom_own import MANUFACTURER, MODEL_NAME
from edge_app.report.words import FLAGS, plain, reason_words
from edge_app.results.rows import ResultRow
from edge_app.version import __version__

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Ours (PS3.16, 8.2: private designators begin with 99): the words of `edge_app.decision`.
SCHEME = "99PNEUMOSCOPE"
SERIES_NUMBER = 9701


def structured_report(source: Source, row: ResultRow) -> "Dataset":
    """The report of a row."""
    from highdicom.sr import ComprehensiveSR, MeasurementReport
    from pydicom.sr.codedict import codes

    identity = identity_of("sr", source, row)
    film = _evidence(source)
    content = MeasurementReport(
        observation_context=_observer(row),
        procedure_reported=codes.cid100.XRUnspecifiedBodyRegion,
        imaging_measurements=[_evaluations(source, row)],
    )
    report = ComprehensiveSR(
        evidence=[film],
        content=content[0],
        series_instance_uid=identity.series_uid,
        series_number=SERIES_NUMBER,
        sop_instance_uid=identity.sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        series_description=series_description(row),
        content_qualification="RESEARCH",
        coding_schemes=[_scheme()],
        is_complete=True,
        is_final=False,
    )
    source.copy_into(report)
    source.refer_to_equipment(report)
    return report


def _observer(row: ResultRow) -> Any:
    """The algorithm, which is no person (TID 1004)."""
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes

    attributes = DeviceObserverIdentifyingAttributes(
        uid=device_uid(row),
        name=row.model_id,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
    )
    return ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, attributes))


def _evaluations(source: Source, row: ResultRow) -> Any:
    """The measurement group of the whole picture (TID 1501)."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    probability = row.probability
    measured = [
        sr.Measurement(name=codes.DCM.Probability, value=each, unit=codes.UCUM.NoUnits)
        for each in ([] if probability is None else [probability])
    ]
    # A model that saw nothing has not found that there is nothing: only a suspicion is a finding.
    is_suspected = row.decision is Decision.PNEUMONIA_SUSPECTED
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=tracking_uid(source, row), identifier="Signs of pneumonia"
        ),
        finding_type=_pneumonia() if is_suspected else None,
        algorithm_id=_algorithm(row),
        measurements=measured,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name, value) for name, value in _evaluated(row)
        ],
        source_images=[
            sr.SourceImageForMeasurementGroup(source.sop_class_uid, source.sop_instance_uid)
        ],
    )
    remarks = [CAUTION, f"Operating point: {row.operating_point}"]
    remarks += [row.message] if row.message else []
    for remark in remarks:
        group[0].ContentSequence.append(
            sr.TextContentItem(codes.DCM.Comment, remark, sr.RelationshipTypeValues.CONTAINS)
        )
    return group


def _evaluated(row: ResultRow) -> list[tuple[Any, Any]]:
    """Names and values of the decision, of why there is none, and of the flags that are set."""
    decision = _code(row.decision.value, decision_words(row))
    evaluated = [(_code("decision", "Decision of the screening model"), decision)]
    if row.reason is not None:
        reason = _code(row.reason.value, reason_words(row.reason))
        evaluated.append((_code("reason", "Why there is no decision"), reason))
    for name, is_set in sorted(row.quality.items()):
        if is_set:
            flag = _code(name, FLAGS.get(name, plain(name)))
            evaluated.append((_code("quality_flag", "Quality flag"), flag))
    return evaluated


def _algorithm(row: ResultRow) -> Any:
    """TID 4019: what answered, so that the very same can be asked again."""
    from highdicom.sr import AlgorithmIdentification
    from pydicom.sr.codedict import codes

    return AlgorithmIdentification(
        name=row.model_id,
        version=__version__,
        parameters=[
            f"model_sha256={row.model_sha256}",
            f"operating_point={row.operating_point}",
            f"runtime={row.runtime}",
        ],
        family=codes.cid7162.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )


def _evidence(source: Source) -> "Dataset":
    """The film as far as a report refers to it."""
    from pydicom.dataset import Dataset

    film = Dataset()
    for keyword in OF_TYPE_2:  # the report's own are set from the source afterwards
        setattr(film, keyword, "")
    film.SOPClassUID, film.SOPInstanceUID = source.sop_class_uid, source.sop_instance_uid
    film.StudyInstanceUID, film.SeriesInstanceUID = source.study_uid, source.series_uid
    film.Modality = source.modality
    return film


def _pneumonia() -> Any:
    from pydicom.sr.coding import Code

    return Code("233604007", "SCT", "Pneumonia")


def _code(code_value: str, meaning: str) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code_value, SCHEME, meaning)


def _scheme() -> Any:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        SCHEME,
        name="Decisions, reasons and flags of Pneumoscope",
        responsible_organization=MANUFACTURER,
    )
