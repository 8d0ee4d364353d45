"""The API for programs: score a picture, list studies, fetch one. OpenAPI at /api/openapi.json.

A refusal is an answer: it has a decision, `not_assessable`, and a reason.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from edge_app.decision import Decision, Reason, Status
from edge_app.record.studies import Kind, Order, Patient, Sex, Study, StudyFilter
from edge_app.web.fhir import fhir_bundle
from edge_app.web.uploads import plain_name
from edge_app.web.visitors import Reception, Visitor, source_of
from edge_app.web.workstation import Workstation

_ANY_BYTES = {
    "requestBody": {
        "required": True,
        "description": "The file's bytes: PNG, JPEG, TIFF, BMP, WebP or DICOM.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

_FHIR_CONTENT = {"application/fhir+json": {"schema": {"type": "object"}}}


class Problem(BaseModel):
    """Why nothing was done; `code` tells a photographer what to do otherwise."""

    detail: str
    code: str | None = None


class StudyOut(BaseModel):
    """One picture and its answer.

    `answer_withheld` says that this clinic has set the worker's own reading first: then decision
    and scores are null until it is saved.
    """

    id: str
    version: int
    added_at: str
    patient_code: str
    age_years: float | None
    sex: Sex | None
    kind: Kind
    file: str
    picture_sha256: str
    answer_withheld: bool
    status: Status | None
    decision: Decision | None
    reason: Reason | None
    message: str | None
    raw_score: float | None
    probability: float | None
    operating_point: str
    quality: dict[str, bool]
    measures: dict[str, float]
    model_id: str
    model_sha256: str
    scored_at: str
    outcome: str | None


class StudyList(BaseModel):
    """A page of the worklist."""

    studies: list[StudyOut]
    total: int
    page: int
    page_size: int


class LogIn(BaseModel):
    """Who logs in."""

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=1000)]


class SessionOut(BaseModel):
    """A log-in."""

    token: str
    expires_at: str


class FhirResponse(JSONResponse):
    """JSON by FHIR's own media type."""

    media_type = "application/fhir+json"


def api_routes(station: Workstation, reception: Reception) -> APIRouter:
    """The routes of the API."""
    problems = (400, 401, 403, 404, 413, 422, 423, 503, 507)
    routes = APIRouter(prefix="/api/v1", responses={code: {"model": Problem} for code in problems})
    record = station.record
    Caller = Annotated[Visitor, Depends(reception.visitor)]  # noqa: N806

    @routes.post("/studies", status_code=201, openapi_extra=_ANY_BYTES)
    async def add_study(
        request: Request,
        caller: Caller,
        name: Annotated[str, Query(description="of the file", max_length=1000)] = "picture",
        patient: Annotated[str, Query(description="the clinic's number", max_length=64)] = "",
        kind: Annotated[
            Kind, Query(description="a photograph is straightened first, and never called clear")
        ] = Kind.FILM,
        age: Annotated[
            float | None, Query(ge=0, le=130, description="in years, where no header says it")
        ] = None,
        view: Annotated[Literal["", "AP", "PA"], Query(description="where no header says it")] = "",
    ) -> StudyOut:
        """Score a picture and keep it with its answer; the body is the file."""
        code = "".join(c for c in patient if c.isprintable()).strip()
        announced = int(request.headers.get("content-length", 0))
        async with station.uploads.take(request.stream(), announced) as path:
            study = await run_in_threadpool(
                station.add, path, plain_name(name), Patient(code, age), kind, caller.name, view
            )
        return study_out(study, station.may_see_answer(study, caller.name))

    @routes.get("/studies")
    def list_studies(
        caller: Caller,
        text: Annotated[str, Query(max_length=200)] = "",
        decision: Annotated[list[Decision], Query()] = [],  # noqa: B006 (FastAPI copies it)
        order: Order = Order.WORST_FIRST,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        page_size: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> StudyList:
        """A page of the worklist."""
        if station.read_first:
            decision, order = [], Order.NEWEST_FIRST
        which = StudyFilter(text=text, decisions=frozenset(decision))
        found = record.studies(which, order, page, page_size)
        record.mark_shown([s.id for s in found.studies if not withheld(s, caller)], caller.name)
        return StudyList(
            studies=[_out(study, caller) for study in found.studies],
            total=found.total,
            page=found.page,
            page_size=found.page_size,
        )

    @routes.get("/studies/{study_id}")
    def fetch_study(caller: Caller, study_id: str) -> StudyOut:
        """One study."""
        study = record.study(study_id)
        if not withheld(study, caller):
            record.mark_shown([study.id], caller.name)
        return _out(study, caller)

    @routes.get("/studies/{study_id}/fhir", responses={200: {"content": _FHIR_CONTENT}})
    def fetch_fhir(caller: Caller, study_id: str) -> FhirResponse:
        """One study as FHIR R4: ImagingStudy, Observation and DiagnosticReport in a Bundle."""
        study = record.study(study_id)
        is_shown = not withheld(study, caller)
        if is_shown:
            record.mark_shown([study.id], caller.name)
        return FhirResponse(fhir_bundle(study, is_shown=is_shown))

    if station.needs_accounts:

        @routes.post("/sessions", status_code=201)
        def open_session(request: Request, wanted: LogIn) -> SessionOut:
            """Log in; the token goes into `Authorization: Bearer TOKEN`."""
            session = record.accounts.log_in(wanted.name, wanted.password, source_of(request))
            return SessionOut(token=session.token, expires_at=session.expires_at)

    def withheld(study: Study, caller: Visitor) -> bool:
        # A list holds no readings; only where they matter they are asked for.
        whole = record.study(study.id) if station.read_first else study
        return not station.may_see_answer(whole, caller.name)

    def _out(study: Study, caller: Visitor) -> StudyOut:
        return study_out(study, not withheld(study, caller))

    return routes


def study_out(study: Study, is_shown: bool) -> StudyOut:
    """A study for programs; without its answer where that is not shown yet."""
    return StudyOut(
        id=study.id,
        version=study.version,
        added_at=study.added_at,
        patient_code=study.patient.code,
        age_years=study.patient.age_years,
        sex=study.patient.sex,
        kind=study.kind,
        file=study.file,
        picture_sha256=study.picture_sha256,
        answer_withheld=not is_shown,
        status=study.status if is_shown else None,
        decision=study.decision if is_shown else None,
        reason=study.reason if is_shown else None,
        message=study.message if is_shown else None,
        raw_score=study.raw_score if is_shown else None,
        probability=study.probability if is_shown else None,
        operating_point=study.operating_point,
        quality=dict(study.quality),
        measures=dict(study.measures),
        model_id=study.model_id,
        model_sha256=study.model_sha256,
        scored_at=study.scored_at,
        outcome=None if study.outcome is None else study.outcome.label.value,
    )
