"""The pages: worklist, one study, its pictures, the model's limits.

Each handler asks the record, and gives values to a template.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from edge_app.errors import NotInRecordError, UsageError
from edge_app.record.studies import Basis, Label, Order, Patient, Sex, Study, StudyFilter
from edge_app.results.rows import decode_row
from edge_app.screening.heat_scale import FULL
from edge_app.web.answers import CLASSES, ShownAnswer, shown_answer
from edge_app.web.languages import CODES, DEFAULT
from edge_app.web.slip import slip_qr
from edge_app.web.templates import Pages
from edge_app.web.visitors import LANGUAGE_COOKIE, Filled, Reception, Visitor
from edge_app.web.workstation import Workstation

PAGE_SIZE = 30
_MOST_EARLIER = 6
_A_YEAR = 365 * 24 * 3600
_LONGEST_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the worklist; `answer` is None where the worker's own reading comes first."""

    study: Study
    answer: ShownAnswer | None


def page_routes(
    station: Workstation,
    reception: Reception,
    pages: Pages,
    describe_api: Callable[[], dict[str, Any]],
) -> APIRouter:
    """The routes of all pages but those of accounts."""
    routes = APIRouter(include_in_schema=False)
    record, header, bundle = station.record, station.desk.header, station.desk.bundle
    Guest = Annotated[Visitor, Depends(reception.visitor)]  # noqa: N806
    Sent = Annotated[Filled, Depends(reception.form)]  # noqa: N806

    def answer_of(study: Study, visitor: Visitor) -> ShownAnswer | None:
        if not station.may_see_answer(study, visitor.name):
            return None
        return shown_answer(study, visitor.language, bundle, header)

    def listed(study: Study, visitor: Visitor) -> Listed:
        # A list holds no readings; only where they matter they are asked for.
        whole = record.study(study.id) if station.read_first else study
        return Listed(study, answer_of(whole, visitor))

    @routes.get("/")
    def worklist(visitor: Guest, q: str = "", answer: str = "", page: int = 1) -> Response:
        decisions = frozenset(d for d, kind in CLASSES.items() if kind == answer)
        which = StudyFilter(text=q.strip(), decisions=decisions)
        order = Order.WORST_FIRST
        if station.read_first:  # the order and the filter would tell the answers
            which, order = StudyFilter(text=q.strip()), Order.NEWEST_FIRST
        counter = record.audit.head().counter
        found = record.studies(which, order, max(1, min(page, 10_000)), PAGE_SIZE)
        return pages.page(
            "worklist.html",
            visitor,
            rows=[listed(study, visitor) for study in found.studies],
            found=found,
            last_page=max(1, -(-found.total // PAGE_SIZE)),
            q=q,
            answer=answer,
            kinds=list(CLASSES.values()),
            counter=counter,
            megabytes=station.uploads.most_bytes // 1_000_000,
        )

    @routes.get("/changes")
    def changes(visitor: Guest, since: int = 0) -> dict[str, bool]:
        return {"changed": record.changed_since(since)}

    @routes.get("/studies/{study_id}")
    def one_study(visitor: Guest, study_id: str) -> Response:
        study = record.study(study_id)
        answer = answer_of(study, visitor)
        if answer is not None:
            record.mark_shown([study.id], visitor.name)
        earlier = record.earlier_of_patient(study)[:_MOST_EARLIER]
        return pages.page(
            "study.html",
            visitor,
            study=study,
            answer=answer,
            earlier=[listed(other, visitor) for other in earlier],
            layers=_layers(station, study) if answer is not None else None,
            has_picture=station.views.thumbnail(study) is not None,
            labels=list(Label),
            bases=list(Basis),
            sexes=list(Sex),
        )

    @routes.get("/studies/{study_id}/small.jpg")
    def small(visitor: Guest, study_id: str) -> Response:
        content = station.views.small_jpeg(record.study(study_id))
        if content is None:
            raise NotInRecordError("there is no picture of it")
        return Response(content, media_type="image/jpeg", headers=_kept())

    @routes.get("/studies/{study_id}/picture.jpg")
    def picture(visitor: Guest, study_id: str) -> Response:
        path = station.views.drawing(record.study(study_id))
        return FileResponse(path, media_type="image/jpeg", headers=_kept())

    @routes.get("/studies/{study_id}/slip")
    def slip(visitor: Guest, study_id: str) -> Response:
        study = record.study(study_id)
        answer = answer_of(study, visitor)
        if answer is None:
            return RedirectResponse(f"/studies/{study.id}", 303)
        # Its own entry, so that what is on paper is known to have been made.
        head = record.audit.append(visitor.name, "slip_made", study.id)
        return pages.page(
            "slip.html",
            visitor,
            study=study,
            answer=answer,
            head=head,
            qr=slip_qr(study.id, head),
            layers=_layers(station, study),
            has_picture=station.views.thumbnail(study) is not None,
        )

    @routes.post("/studies/{study_id}/readings")
    def save_reading(sent: Sent, study_id: str) -> Response:
        label = _one_of(Label, sent.text("label"))
        study = record.study(study_id)
        if station.may_see_answer(study, sent.visitor.name):  # in the worklist at the latest
            record.mark_shown([study.id], sent.visitor.name)
        record.save_reading(study.id, label, sent.visitor.name, sent.text("note", _LONGEST_NOTE))
        return RedirectResponse(f"/studies/{study.id}", 303)

    @routes.post("/studies/{study_id}/outcomes")
    def save_outcome(sent: Sent, study_id: str) -> Response:
        study = record.save_outcome(
            study_id,
            _one_of(Label, sent.text("label")),
            _one_of(Basis, sent.text("basis")),
            sent.visitor.name,
            version=_whole(sent.text("version")),
            note=sent.text("note", _LONGEST_NOTE),
        )
        return RedirectResponse(f"/studies/{study.id}", 303)

    @routes.post("/studies/{study_id}/patient")
    def change_patient(sent: Sent, study_id: str) -> Response:
        sex, age = sent.text("sex"), sent.text("age")
        patient = Patient(
            sent.text("code", 64), _years(age) if age else None, _one_of(Sex, sex) if sex else None
        )
        study = record.change_patient(
            study_id, patient, sent.visitor.name, version=_whole(sent.text("version"))
        )
        return RedirectResponse(f"/studies/{study.id}", 303)

    @routes.get("/about")
    def about(visitor: Guest) -> Response:
        points = bundle.manifest.operating_points
        wanted = (header.operating_point.name, header.model_sha256)
        point = next(p for p in points if (p.name, p.model_sha256) == wanted)
        return pages.page(
            "about.html", visitor, header=header, manifest=bundle.manifest, point=point
        )

    @routes.get("/api")
    def api_help(visitor: Guest) -> Response:
        return pages.page("api.html", visitor, document=describe_api())

    @routes.get("/language")
    def choose_language(request: Request, code: str = DEFAULT, back: str = "/") -> Response:
        # Only a path of ours: `//elsewhere` would lead to another site.
        is_ours = back.startswith("/") and not back.startswith(("//", "/\\"))
        response = RedirectResponse(back if is_ours else "/", 303)
        if code in CODES:
            response.set_cookie(
                LANGUAGE_COOKIE, code, max_age=_A_YEAR, samesite="strict", httponly=True,
                secure=station.is_secure,
            )  # fmt: skip
        return response

    return routes


def _layers(station: Workstation, study: Study) -> dict[str, Any]:
    """What the script draws over a picture: the lungs' mask, and the map of the score."""
    lungs = decode_row(study.row.encode("utf-8")).lungs
    thumbnail = station.views.thumbnail(study)
    is_todays = study.model_sha256 == station.desk.header.model_sha256
    return {
        "lungs": None
        if lungs is None
        else {"rows": lungs.rows, "columns": lungs.columns, "mask": lungs.mask},
        "map": [] if thumbnail is None or not is_todays else thumbnail.activation_map,
        "frame": None if thumbnail is None else thumbnail.frame,
        # One absolute scale for every picture: nothing below the upper cut-off is coloured.
        "low": station.desk.header.operating_point.refer_high,
        "high": station.desk.header.operating_point.refer_high + FULL,
    }


def _kept() -> dict[str, str]:
    """A study's picture never changes; only this browser may keep it, and for an hour."""
    return {"cache-control": "private, max-age=3600"}


def _one_of(kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise UsageError("choose one of the answers") from None


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise UsageError("the form is damaged: load the page again")
    return int(text)


def _years(text: str) -> float:
    try:
        years = float(text.replace(",", "."))
    except ValueError:
        years = -1.0
    if not 0 <= years <= 130:
        raise UsageError("the age is a number of years, such as 2.5")
    return years
