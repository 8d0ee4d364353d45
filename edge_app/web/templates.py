"""The pages from their templates: values enter, HTML leaves, all of it escaped.

A name or a note is text wherever it stands; nothing but this module makes HTML.
"""

import hashlib
from importlib.resources import files

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from edge_app.version import __version__
from edge_app.web.languages import CODES, Language, language
from edge_app.web.visitors import Visitor
from edge_app.web.workstation import Workstation


class Pages:
    """The templates, with what every page shows."""

    def __init__(self, station: Workstation, *, has_phone: bool) -> None:
        self._environment = Environment(
            loader=PackageLoader("edge_app.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "version": __version__,
            "model_id": station.desk.header.model_id,
            "needs_accounts": station.needs_accounts,
            "read_first": station.read_first,
            "has_phone": has_phone,
            "languages": [language(code) for code in CODES],
            "assets": _assets_mark(),
        }

    def page(
        self, name: str, visitor: Visitor, *, status: int = 200, **values: object
    ) -> HTMLResponse:
        """A page for somebody who is let in."""
        values |= {"visitor": visitor, "t": visitor.language}
        return self._render(name, status, values)

    def entrance(
        self, name: str, t: Language, *, status: int = 200, **values: object
    ) -> HTMLResponse:
        """A page for somebody who is not, or not yet."""
        return self._render(name, status, values | {"visitor": None, "t": t})

    def error(self, status: int, message: str, t: Language) -> HTMLResponse:
        """What went wrong, and the way back."""
        return self.entrance("error.html", t, status=status, code=status, message=message)

    def _render(self, name: str, status: int, values: dict[str, object]) -> HTMLResponse:
        return HTMLResponse(self._environment.get_template(name).render(values), status)


def _assets_mark() -> str:
    """Changes with style and script, so that no browser keeps old ones."""
    folder, shared = files("edge_app") / "web" / "static", files("edge_app") / "report" / "assets"
    paths = sorted([*folder.iterdir(), shared / "map.js"], key=lambda p: p.name)
    contents = (path.read_bytes() for path in paths)
    return hashlib.sha256(b"".join(contents)).hexdigest()[:12]
