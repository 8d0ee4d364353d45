"""Screening in a phone's own browser: what it needs, under one address, kept by a service worker.

A bundle and the cut-offs that hold enter; the routes of `/phone/` leave. The program is
`phone/*.js`, ONNX Runtime Web lies in `phone/ort` (docs/decisions/0100). No patient's data is here,
so nobody has to log in; nothing is recorded.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from edge_app.bundle.manifest import MANIFEST_FILE, Bundle, ModelFile
from edge_app.errors import NotInRecordError
from edge_app.files.codec import compact_json
from edge_app.results.rows import RunHeader
from edge_app.web.templates import Pages
from edge_app.web.visitors import language_of

_PROGRAM = Path(str(files("edge_app"))) / "web" / "phone"
_MEDIA = {".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json"}
_PACKED = {".wasm": "application/wasm"}  # stored by gzip, which every browser unpacks
_SETTINGS = "settings.json"
_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class PhoneSettings:
    """What the bundle in the browser is used with: the same as on this machine.

    Attributes:
        model_sha256: of the ONNX model.
        refer_low, refer_high: the cut-offs of the operating point.
        scale, offset: the calibration.
    """

    model_sha256: str
    refer_low: float
    refer_high: float
    scale: float
    offset: float


@dataclass(frozen=True, slots=True)
class PhoneFiles:
    """What a browser loads.

    Attributes:
        settings: of this machine.
        paths: of files, by the name that a browser asks for.
        mark: changes with any of it.
    """

    settings: PhoneSettings
    paths: Mapping[str, Path]
    mark: str


def phone_files(bundle: Bundle, header: RunHeader) -> PhoneFiles | None:
    """What a browser needs to screen as this machine does; None where this bundle cannot there.

    It needs an ONNX model with a locator, an input gate and golden inputs, whose cut-offs have the
    name that the machine applies. A site's profile is for one model file only.
    """
    manifest, model = bundle.manifest, bundle.model("onnx")
    if model is None or None in (manifest.locator, manifest.input_gate):
        return None
    name = header.operating_point.name
    points = [
        p for p in manifest.operating_points if (p.name, p.model_sha256) == (name, model.sha256)
    ]
    if not points or not manifest.golden.cases:
        return None
    calibration = bundle.calibration(model)
    settings = PhoneSettings(
        model.sha256, points[0].refer_low, points[0].refer_high, calibration.scale,
        calibration.offset,
    )  # fmt: skip
    paths = _program() | {f"bundle/{file}": bundle.path(file) for file in _wanted(bundle, model)}
    return PhoneFiles(settings, paths, _mark(settings, paths))


def _program() -> dict[str, Path]:
    kinds = (".js", ".mjs", ".gz")
    found = [path for path in sorted(_PROGRAM.rglob("*")) if path.suffix in kinds]
    names = {path: path.relative_to(_PROGRAM).as_posix().removesuffix(".gz") for path in found}
    return {name: path for path, name in names.items() if Path(name).suffix in _MEDIA | _PACKED}


def _wanted(bundle: Bundle, model: ModelFile) -> list[str]:
    manifest = bundle.manifest
    assert manifest.locator is not None
    assert manifest.input_gate is not None
    golden = [case.file for case in manifest.golden.cases]
    gate = manifest.input_gate.fit_of(model).file
    return [MANIFEST_FILE, model.file, manifest.locator.model_for(model).file, gate, *golden]


def _mark(settings: PhoneSettings, paths: Mapping[str, Path]) -> str:
    hashed = hashlib.sha256(compact_json(settings).encode())
    for name, path in paths.items():
        hashed.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()[:16]


def phone_routes(offered: PhoneFiles, pages: Pages) -> APIRouter:
    """The routes of `/phone/`."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/phone/")
    def phone_page(request: Request) -> Response:
        return pages.entrance("phone.html", language_of(request), mark=offered.mark)

    @routes.get("/phone/worker.js")
    def worker() -> Response:
        return FileResponse(_PROGRAM / "worker.js", media_type=_MEDIA[".js"])

    @routes.get("/phone/files.json")
    def list_files() -> Response:
        names = [_SETTINGS, *offered.paths]
        return JSONResponse([f"/phone/{offered.mark}/{name}" for name in names])

    @routes.get("/phone/{mark}/{name:path}")
    def one_file(mark: str, name: str) -> Response:
        if mark == offered.mark and name == _SETTINGS:
            content = compact_json(offered.settings)
            return Response(content, media_type=_MEDIA[".json"], headers=_FOREVER)
        path = offered.paths.get(name)
        if mark != offered.mark or path is None:
            raise NotInRecordError("there is no such file: load the page again")
        kind = Path(name).suffix
        if kind in _PACKED:
            packed = _FOREVER | {"content-encoding": "gzip"}
            return FileResponse(path, media_type=_PACKED[kind], headers=packed)
        media = _MEDIA.get(kind, "application/octet-stream")
        return FileResponse(path, media_type=media, headers=_FOREVER)

    return routes
