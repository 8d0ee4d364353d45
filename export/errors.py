"""What can stop an export. All are `BundleError`s: exit code 3, and nothing was written."""

from edge_app.errors import BundleError


class ExportError(BundleError):
    """The export cannot go on; the message says what, where and what to do."""


class CheckpointError(ExportError):
    """The checkpoint, its record or its split is not of a layout that can be exported."""


class GateError(ExportError):
    """An exported file is not as good as the network that was trained."""
