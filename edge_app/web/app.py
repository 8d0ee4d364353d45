"""The web application: pages, pictures and API around a `Workstation`, behind the `Guard`."""

from collections.abc import Collection
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from edge_app.errors import (
    ChangedMeanwhileError,
    InputError,
    NotAllowedError,
    NotInRecordError,
    PneumoscopeError,
    StorageError,
    UsageError,
)
from edge_app.images.light_box import PhotographError
from edge_app.version import __version__
from edge_app.web.api import api_routes
from edge_app.web.guard import Guard
from edge_app.web.pages import page_routes
from edge_app.web.people import people_routes
from edge_app.web.phone import phone_files, phone_routes
from edge_app.web.scoring_desk import DeskBusyError
from edge_app.web.templates import Pages
from edge_app.web.uploads import TooLargeError
from edge_app.web.visitors import (
    ForgedFormError,
    LockedError,
    LoginNeededError,
    Reception,
    language_of,
)
from edge_app.web.workstation import UnreadUploadError, Workstation

UPLOAD_PATHS = ("/api/v1/studies",)
# HTTP status by error, the first that fits.
_STATUS: tuple[tuple[type[PneumoscopeError], int], ...] = (
    (LoginNeededError, 401),
    (LockedError, 423),
    (ForgedFormError, 403),
    (NotAllowedError, 403),
    (NotInRecordError, 404),
    (ChangedMeanwhileError, 409),
    (TooLargeError, 413),
    (UnreadUploadError, 400),
    (InputError, 422),
    (UsageError, 400),
    (DeskBusyError, 503),
    (StorageError, 507),
    (PneumoscopeError, 500),
)


def make_app(station: Workstation, hosts: Collection[str]) -> ASGIApp:
    """The application that answers for a workstation under these host names."""
    app = FastAPI(
        title="Pneumoscope",
        version=__version__,
        summary="Screening of chest X-rays for signs of pneumonia, offline. Not a medical device.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    # Where a reading of one's own comes first, a browser's answer would come before it.
    offered = None if station.read_first else phone_files(station.desk.bundle, station.desk.header)
    pages, reception = Pages(station, has_phone=offered is not None), Reception(station)
    # Beside our own, the script that the reports' pages share.
    own, shared = files("edge_app") / "web" / "static", ("edge_app.report", "assets")
    app.mount("/static", GZipMiddleware(_Static(directory=str(own), packages=[shared])))
    app.include_router(api_routes(station, reception))
    app.include_router(page_routes(station, reception, pages, app.openapi))
    app.include_router(people_routes(station, reception, pages))
    if offered is not None:
        app.include_router(phone_routes(offered, pages))

    @app.exception_handler(PneumoscopeError)
    def explain(request: Request, error: PneumoscopeError) -> Response:
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        if request.url.path.startswith("/api/"):
            code = error.code if isinstance(error, PhotographError) else None
            body = {"detail": str(error), "code": code}
            return JSONResponse(body, status, headers=_retry(status))
        if status == 401:
            return RedirectResponse("/login", 303)
        if status == 423:
            return RedirectResponse("/unlock", 303)
        return pages.error(status, str(error), language_of(request))

    @app.exception_handler(RequestValidationError)
    def explain_request(request: Request, error: RequestValidationError) -> Response:
        places = (".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors())
        message = "; ".join(places)
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": message, "code": None}, 422)
        return pages.error(400, message, language_of(request))

    @app.exception_handler(HTTPException)
    def explain_http(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)
        return pages.error(error.status_code, error.detail, language_of(request))

    return Guard(app, hosts, UPLOAD_PATHS)


class _Static(StaticFiles):
    """Style and script, which browsers keep: their addresses carry a mark of the contents.

    Only these are compressed. A page's length would tell what stands beside a secret in it.
    """

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def _retry(status: int) -> dict[str, str] | None:
    return {"retry-after": "2"} if status == 503 else None
