"""Who asks: a request enters, a `Visitor` leaves, or the reason why nobody is let in."""

import hmac
import secrets
from dataclasses import dataclass

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from edge_app.errors import NotAllowedError, PneumoscopeError
from edge_app.record.accounts import Role, Session
from edge_app.web.languages import Language, choose
from edge_app.web.workstation import Workstation

SESSION_COOKIE = "pneumoscope_session"
LANGUAGE_COOKIE = "pneumoscope_language"
# Whoever sits at the machine itself where there are no accounts.
LOCAL = "local"
_SAFE = ("GET", "HEAD")


class LoginNeededError(PneumoscopeError):
    """Nobody is logged in."""


class LockedError(PneumoscopeError):
    """The session waits for its PIN."""


class ForgedFormError(PneumoscopeError):
    """A form came without the token of the page that it stands on."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks.

    Attributes:
        name: of the account, `local` where there are none.
        role: what they may do.
        csrf: what their forms must send back.
        session: None where there are no accounts.
        language: of the pages.
    """

    name: str
    role: Role
    csrf: str
    session: Session | None
    language: Language


@dataclass(frozen=True, slots=True)
class Filled:
    """A form that came with its page's token."""

    visitor: Visitor
    fields: FormData

    def text(self, key: str, longest: int = 200) -> str:
        """A field, "" where it is missing."""
        return text_of(self.fields, key, longest)


class Reception:
    """Finds out who asks."""

    def __init__(self, station: Workstation) -> None:
        self._station = station
        # Without accounts there is no session to take it from; another at each start.
        self._local_csrf = secrets.token_urlsafe(24)

    def visitor(self, request: Request) -> Visitor:
        """Who asks; an API's caller may name a session by `Authorization: Bearer`.

        Raises:
            LoginNeededError, LockedError: they have to say who they are first.
            ForgedFormError: a change without the session's token in `X-CSRF-Token`.
        """
        visitor = self._unlocked(request)
        if request.method not in _SAFE and not self._is_program(request):
            require_token(request.headers.get("x-csrf-token", ""), visitor)
        return visitor

    async def form(self, request: Request) -> "Filled":
        """Who sends a form, and what stands in it; raises as `visitor` does."""
        visitor = await run_in_threadpool(self._unlocked, request)
        fields = await request.form()
        require_token(fields.get("csrf"), visitor)
        return Filled(visitor, fields)

    def _unlocked(self, request: Request) -> Visitor:
        visitor = self.recognise(request)
        if visitor.session is not None and visitor.session.is_locked:
            raise LockedError("the session is locked")
        return visitor

    def recognise(self, request: Request) -> Visitor:
        """Who asks, whether or not their session is locked; looks at no token of a form."""
        language = language_of(request)
        if not self._station.needs_accounts:
            return Visitor(LOCAL, Role.ADMIN, self._local_csrf, None, language)
        token = _bearer(request) or request.cookies.get(SESSION_COOKIE, "")
        try:
            session = self._station.record.accounts.session(token)
        except NotAllowedError as error:
            raise LoginNeededError(str(error)) from error
        account = session.account
        return Visitor(account.name, account.role, session.csrf, session, language)

    def _is_program(self, request: Request) -> bool:
        """No browser: it names its session itself, or there are none and no page is behind it."""
        if self._station.needs_accounts:
            return bool(_bearer(request))
        return "origin" not in request.headers and "sec-fetch-site" not in request.headers


def require_token(given: object, visitor: Visitor) -> None:
    """Raise ForgedFormError unless a form has the visitor's token."""
    text = given if isinstance(given, str) else ""
    if not hmac.compare_digest(text.encode(), visitor.csrf.encode()):
        raise ForgedFormError("the form is not from this page, or too old: load the page again")


def text_of(form: FormData, key: str, longest: int = 200) -> str:
    """A form's field, "" where it is missing."""
    value = form.get(key, "")
    return value.strip()[:longest] if isinstance(value, str) else ""


def language_of(request: Request) -> Language:
    """The language that was chosen, or that the browser asks for."""
    accepted = request.headers.get("accept-language", "")
    return choose(request.cookies.get(LANGUAGE_COOKIE), accepted)


def source_of(request: Request) -> str:
    """The address that asks."""
    return request.client.host if request.client is not None else "unknown"


def _bearer(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
