"""A study as FHIR R4, for OpenMRS, DHIS2 and the like: a `Study` enters, JSON's values leave.

A collection Bundle of an ImagingStudy, an Observation with the answer, and a preliminary
DiagnosticReport. An answer that is missing is a `dataAbsentReason`, never a negative. Codes: SNOMED
CT 233604007 (pneumonia) and LOINC 30745-4 (chest X-ray, whatever the view); what no standard has a
code for is named by our own system, which is a name and no address to fetch.
"""

from typing import Any

from edge_app.decision import Decision
from edge_app.record.studies import Study
from edge_app.report.words import reason_words
from edge_app.version import __version__

_OURS = "urn:pneumoscope"
_LOINC, _SNOMED = "http://loinc.org", "http://snomed.info/sct"
_DECISIONS = {
    Decision.PNEUMONIA_SUSPECTED: "Pneumonia suspected",
    Decision.INDETERMINATE: "Indeterminate: refer",
    Decision.NO_PNEUMONIA_SEEN: "No pneumonia seen; pneumonia is not excluded",
}
_LIMITS = (
    "A screening aid, no medical device, not confirmed by a person. A negative answer does not "
    "rule pneumonia out."
)

Resource = dict[str, Any]


def fhir_bundle(study: Study, *, is_shown: bool) -> Resource:
    """The three resources of a study.

    Args:
        study: of the record.
        is_shown: False where a worker's own reading comes first: the answer is then `masked`.
    """
    resources = (
        _imaging_study(study),
        _observation(study, is_shown=is_shown),
        _report(study, is_shown=is_shown),
    )
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": study.added_at,
        "identifier": {"system": f"{_OURS}:study", "value": study.id},
        "entry": [{"fullUrl": _url(r["resourceType"], study), "resource": r} for r in resources],
    }


def _imaging_study(study: Study) -> Resource:
    return {
        "resourceType": "ImagingStudy",
        "id": _id("imaging", study),
        "identifier": [{"system": f"{_OURS}:study", "value": study.id}],
        "status": "available",
        "subject": _subject(study),
        "started": study.added_at,
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "DX"}],
        "numberOfSeries": 1,
        "numberOfInstances": 1,
    }


def _observation(study: Study, *, is_shown: bool) -> Resource:
    observation: Resource = {
        "resourceType": "Observation",
        "id": _id("answer", study),
        "status": "preliminary",
        "code": {
            "coding": [
                {"system": _OURS, "code": "pneumonia-screening"},
                {"system": _SNOMED, "code": "233604007", "display": "Pneumonia"},
            ],
            "text": "Screening of a chest X-ray for signs of pneumonia",
        },
        "subject": _subject(study),
        "effectiveDateTime": study.added_at,
        "issued": study.scored_at,
        "device": {
            "display": f"Pneumoscope {__version__}, {study.model_id}",
            "identifier": {"system": f"{_OURS}:model-sha256", "value": study.model_sha256},
        },
        "method": {"text": f"operating point {study.operating_point}"},
        "note": [{"text": _LIMITS}],
    }
    if not is_shown:
        return observation | {"dataAbsentReason": _absent("masked", "a worker reads first")}
    if study.decision is Decision.NOT_ASSESSABLE:
        words = "" if study.reason is None else reason_words(study.reason)
        return observation | {"dataAbsentReason": _absent("not-performed", words, study.reason)}
    return observation | {
        "valueCodeableConcept": _concept(study.decision.value, _DECISIONS[study.decision]),
        "component": [
            {
                "code": _concept("probability", "Probability by the bundle's calibration"),
                "valueQuantity": {
                    "value": study.probability,
                    "system": "http://unitsofmeasure.org",
                    "code": "1",
                },
            }
        ],
    }


def _report(study: Study, *, is_shown: bool) -> Resource:
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "id": _id("report", study),
        "identifier": [{"system": f"{_OURS}:study", "value": study.id}],
        "status": "preliminary",
        "code": {"coding": [{"system": _LOINC, "code": "30745-4"}], "text": "Chest X-ray"},
        "subject": _subject(study),
        "effectiveDateTime": study.added_at,
        "issued": study.scored_at,
        "imagingStudy": [{"reference": _url("ImagingStudy", study)}],
        "result": [{"reference": _url("Observation", study)}],
    }
    if is_shown:
        said = _DECISIONS.get(study.decision, "Not assessed: a person must read the film")
        report["conclusion"] = f"{said}. {_LIMITS}"
    return report


def _subject(study: Study) -> Resource:
    if not study.patient.code:
        return {"display": "patient not named"}
    return {"identifier": {"system": f"{_OURS}:patient", "value": study.patient.code}}


def _absent(code: str, text: str, reason: str | None = None) -> Resource:
    """Of the value set data-absent-reason, and our own reason beside it."""
    system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    codings = [{"system": system, "code": code}]
    if reason is not None:
        codings.append({"system": f"{_OURS}:reason", "code": str(reason)})
    return {"coding": codings, "text": text}


def _concept(code: str, text: str) -> Resource:
    return {"coding": [{"system": _OURS, "code": code, "display": text}], "text": text}


def _id(kind: str, study: Study) -> str:
    return f"{kind}-{study.id}"


def _url(resource_type: str, study: Study) -> str:
    kinds = {"ImagingStudy": "imaging", "Observation": "answer", "DiagnosticReport": "report"}
    return f"urn:pneumoscope:{_id(kinds[resource_type], study)}"
