"""Pneumoscope's edge core: a chest X-ray file in, a screening answer out, with no network.

The main path is three lines::

    bundle = load_bundle()
    screener = Screener(bundle)
    result = screener.score("chest.dcm")

The names below are imported when they are first used, so that `pneumoscope --version` loads
neither numpy nor a runtime.
"""

import os

from edge_app.version import __version__ as __version__

# onnxruntime 1.32 reads this once, at its import: without it identifiers of the machine are
# kept in the user's cache folder and sent. Here, since whatever imports it imports this package.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# A type checker takes this name for true; importing it from typing would double the start-up.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge_app.bundle.load import load_bundle
    from edge_app.bundle.manifest import Bundle
    from edge_app.decision import Decision, Reason, Status
    from edge_app.errors import (
        BundleError,
        BundleFormatError,
        BundleIntegrityError,
        ConfigError,
        DataError,
        InputError,
        NoInputError,
        PneumoscopeError,
        RuntimeUnavailableError,
        SelfTestError,
        SiteProfileError,
        StorageError,
        UnreadableImageError,
        UnsupportedDicomError,
        UsageError,
    )
    from edge_app.images.radiograph import Radiograph
    from edge_app.images.read import read_image
    from edge_app.screening.screener import Screener, ScreeningResult

_HOME = {
    "Bundle": "edge_app.bundle.manifest",
    "BundleError": "edge_app.errors",
    "BundleFormatError": "edge_app.errors",
    "BundleIntegrityError": "edge_app.errors",
    "ConfigError": "edge_app.errors",
    "DataError": "edge_app.errors",
    "Decision": "edge_app.decision",
    "InputError": "edge_app.errors",
    "NoInputError": "edge_app.errors",
    "PneumoscopeError": "edge_app.errors",
    "Radiograph": "edge_app.images.radiograph",
    "Reason": "edge_app.decision",
    "RuntimeUnavailableError": "edge_app.errors",
    "Screener": "edge_app.screening.screener",
    "ScreeningResult": "edge_app.screening.screener",
    "SelfTestError": "edge_app.errors",
    "SiteProfileError": "edge_app.errors",
    "Status": "edge_app.decision",
    "StorageError": "edge_app.errors",
    "UnreadableImageError": "edge_app.errors",
    "UnsupportedDicomError": "edge_app.errors",
    "UsageError": "edge_app.errors",
    "load_bundle": "edge_app.bundle.load",
    "read_image": "edge_app.images.read",
}

__all__ = [
    "Bundle",
    "BundleError",
    "BundleFormatError",
    "BundleIntegrityError",
    "ConfigError",
    "DataError",
    "Decision",
    "InputError",
    "NoInputError",
    "PneumoscopeError",
    "Radiograph",
    "Reason",
    "RuntimeUnavailableError",
    "Screener",
    "ScreeningResult",
    "SelfTestError",
    "SiteProfileError",
    "Status",
    "StorageError",
    "UnreadableImageError",
    "UnsupportedDicomError",
    "UsageError",
    "__version__",
    "load_bundle",
    "read_image",
]


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'edge_app' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
