"""What every request passes: is it meant for us, does it come from our own page, is it short?

An ASGI application around another: refuses foreign names of this host (DNS rebinding) and requests
that another site's page makes, bounds bodies, and adds the headers that keep a page to itself.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM_BYTES = 64_000
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# In a phone's browser a model is compiled from WebAssembly, and a service worker keeps the page.
PHONE_PATH = "/phone/"
_PHONE_POLICY = _POLICY.replace(
    "script-src 'self'", "worker-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
)
# No Strict-Transport-Security: behind it a browser lets nobody accept our own certificate.
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: under it a browser sends `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=(), usb=()",
}


class Guard:
    """The outermost application."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], upload_paths: Collection[str]) -> None:
        """Put it around an application.

        Args:
            app: what is guarded.
            hosts: names and addresses by which this machine is meant, without ports.
            upload_paths: where bodies may be long; they are bounded there.
        """
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._upload_paths = frozenset(upload_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send, scope["path"]))
            return
        if scope["path"] not in self._upload_paths:
            receive = _bounded(receive)
        await self._app(scope, receive, _with_headers(send, scope["path"]))

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        if host_name(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("This is not the name of this machine.\n", 421)
        if scope["method"] not in _SAFE and not _is_own(headers):
            return PlainTextResponse("Another site's page must not do this.\n", 403)
        length = headers.get("content-length", "0")
        is_long = not length.isdecimal() or int(length) > _FORM_BYTES
        if is_long and scope["path"] not in self._upload_paths:
            return PlainTextResponse("Too much was sent.\n", 413)
        return None


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, in small letters."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_own(headers: Headers) -> bool:
    """Whether no browser says that another site's page made the request (Fetch Metadata)."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False


def _bounded(receive: Receive) -> Receive:
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > _FORM_BYTES:
            return {"type": "http.disconnect"}
        return message

    return bounded


def _with_headers(send: Send, path: str) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if path.startswith(PHONE_PATH):
                headers["content-security-policy"] = _PHONE_POLICY
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return guarded
