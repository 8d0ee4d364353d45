"""Accounts in the browser: logging in and out, the first start, the PIN, who may do what."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from edge_app.errors import NotAllowedError, UsageError
from edge_app.record.accounts import Role, Session
from edge_app.web.templates import Pages
from edge_app.web.visitors import (
    SESSION_COOKIE,
    Filled,
    Reception,
    Visitor,
    language_of,
    require_token,
    source_of,
    text_of,
)
from edge_app.web.workstation import Workstation

_LONGEST_PASSWORD = 1000


def people_routes(station: Workstation, reception: Reception, pages: Pages) -> APIRouter:
    """The routes of accounts; none where there are no accounts."""
    routes = APIRouter(include_in_schema=False)
    if not station.needs_accounts:
        return routes
    accounts = station.record.accounts
    Guest = Annotated[Visitor, Depends(reception.visitor)]  # noqa: N806
    Sent = Annotated[Filled, Depends(reception.form)]  # noqa: N806

    def welcome(session: Session) -> Response:
        response = RedirectResponse("/", 303)
        response.set_cookie(
            SESSION_COOKIE, session.token, httponly=True, samesite="strict",
            secure=station.is_secure, path="/",
        )  # fmt: skip
        return response

    @routes.get("/login")
    def login_page(request: Request) -> Response:
        return pages.entrance("login.html", language_of(request), problem="")

    @routes.get("/first")
    def first_page(request: Request) -> Response:
        return pages.entrance("first.html", language_of(request), problem="")

    # Forms of people who have no session yet need no token of one: another site's page is kept out
    # by the guard, and the cookie is SameSite.
    @routes.post("/login")
    async def log_in(request: Request) -> Response:
        form = await request.form()
        name, password = text_of(form, "name"), _password(form.get("password"))
        try:
            session = await run_in_threadpool(accounts.log_in, name, password, source_of(request))
        except NotAllowedError as error:
            t = language_of(request)
            return pages.entrance("login.html", t, status=403, problem=str(error))
        return welcome(session)

    @routes.post("/first")
    async def redeem(request: Request) -> Response:
        form = await request.form()
        code, name = text_of(form, "code"), text_of(form, "name")
        password, source = _password(form.get("password")), source_of(request)
        try:
            session = await run_in_threadpool(accounts.redeem, code, name, password, source)
        except (NotAllowedError, UsageError) as error:
            t = language_of(request)
            return pages.entrance("first.html", t, status=403, problem=str(error))
        return welcome(session)

    @routes.post("/logout")
    def log_out(sent: Sent) -> Response:
        accounts.log_out(_token(sent.visitor))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION_COOKIE, path="/")
        return response

    @routes.post("/lock")
    def lock(sent: Sent) -> Response:
        accounts.lock(_token(sent.visitor))
        return RedirectResponse("/unlock", 303)

    @routes.get("/unlock")
    def unlock_page(request: Request) -> Response:
        visitor = reception.recognise(request)
        return pages.page("unlock.html", visitor, problem="")

    @routes.post("/unlock")
    async def unlock(request: Request) -> Response:
        visitor = await run_in_threadpool(reception.recognise, request)
        form = await request.form()
        require_token(form.get("csrf"), visitor)
        try:
            await run_in_threadpool(accounts.unlock, _token(visitor), text_of(form, "pin", 12))
        except NotAllowedError as error:
            return pages.page("unlock.html", visitor, status=403, problem=str(error))
        return RedirectResponse("/", 303)

    @routes.get("/people")
    def people(visitor: Guest) -> Response:
        may_change = visitor.role.may(Role.ADMIN)
        everybody = accounts.all() if may_change else ()
        return pages.page("people.html", visitor, everybody=everybody, roles=list(Role), code=None)

    @routes.post("/people")
    def add_account(sent: Sent) -> Response:
        _require_admin(sent.visitor)
        code = accounts.add(sent.text("name"), _role(sent.text("role")), sent.visitor.name)
        return _with_code(sent, code)

    @routes.post("/people/reset")
    def reset(sent: Sent) -> Response:
        _require_admin(sent.visitor)
        return _with_code(sent, accounts.reset(sent.text("name"), sent.visitor.name))

    @routes.post("/people/change")
    def change(sent: Sent) -> Response:
        _require_admin(sent.visitor)
        is_disabled = sent.text("disabled") == "yes"
        accounts.change(sent.text("name"), sent.visitor.name, is_disabled=is_disabled)
        return RedirectResponse("/people", 303)

    @routes.post("/pin")
    def set_pin(sent: Sent) -> Response:
        accounts.set_pin(_token(sent.visitor), sent.text("pin", 12))
        return RedirectResponse("/people", 303)

    @routes.post("/password")
    def change_password(sent: Sent) -> Response:
        old, new = (_password(sent.fields.get(key)) for key in ("old", "new"))
        accounts.change_password(_token(sent.visitor), old, new)
        return RedirectResponse("/people", 303)

    def _with_code(sent: Filled, code: str) -> Response:
        return pages.page(
            "people.html",
            sent.visitor,
            everybody=accounts.all(),
            roles=list(Role),
            code=(sent.text("name"), code),
        )

    return routes


def _token(visitor: Visitor) -> str:
    assert visitor.session is not None  # there is none only where there are no accounts
    return visitor.session.token


def _password(value: object) -> str:
    return value[:_LONGEST_PASSWORD] if isinstance(value, str) else ""


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise UsageError("choose a role") from None


def _require_admin(visitor: Visitor) -> None:
    if not visitor.role.may(Role.ADMIN):
        raise NotAllowedError("only an administrator may do that")
