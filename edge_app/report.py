"""Placeholder until the report is written."""

from pathlib import Path

from edge_app.bundle import Bundle
from edge_app.gallery import Gallery
from edge_app.run_folder import RunFolder


def write_report(folder: RunFolder, bundle: Bundle, root: Path, gallery: Gallery) -> None:
    """Write the report."""
