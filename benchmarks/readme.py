"""The tables of README.md and docs/ come from the committed `benchmarks/results.json`.

A document holds `<!-- benchmarks:NAME -->` and `<!-- /benchmarks:NAME -->`; what stands between
them is the table of that name. `fill` replaces it; a document is stale where that changes
anything, or where the figures belong to a model that the shipped bundle no longer holds.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.processes import REPOSITORY
from benchmarks.record import SECTIONS, Accuracy, Compare, Entrant, Latency, Results, Section
from benchmarks.tables import Table, all_tables, markdown
from edge_app.bundle.manifest import Manifest
from edge_app.errors import UsageError

RESULTS = REPOSITORY / "benchmarks" / "results.json"
_TABLES = (
    *("compare", "accuracy", "operating_points", "subgroups", "latency", "throughput"),
    *("scale_files", "scale_workers", "scale_megapixels", "startup", "article"),
)
_NOT_MEASURED = "Not measured on a quiet machine yet: `make benchmarks` does.\n"
DOCUMENTS = ("README.md", "docs/benchmarks.md")
_BLOCK = re.compile(
    r"(<!-- benchmarks:(?P<name>[a-z_]+) -->\n)(?P<body>.*?)(<!-- /benchmarks:(?P=name) -->)",
    re.DOTALL,
)


def fill(text: str, results: Results) -> str:
    """The document with every marked table replaced; one that is not measured yet says so.

    Raises:
        UsageError: a marker names a table that does not exist.
    """
    tables = {table.name: table for table in all_tables(results)}
    return _BLOCK.sub(lambda match: _block(match, tables), text)


def stale_documents(results: Results, root: Path = REPOSITORY) -> list[str]:
    """Documents whose tables are not those of the results."""
    return [
        name
        for name in DOCUMENTS
        if (root / name).is_file() and fill(_read(root / name), results) != _read(root / name)
    ]


def other_models(results: Results, manifest: Manifest) -> list[str]:
    """Sections whose figures belong to another model than this one's files.

    A foreign model's rows stand beside the bundle's own and belong to no bundle.
    """
    sections = {name: getattr(results, name) for name in SECTIONS}
    return [
        name
        for name, section in sections.items()
        if section is not None and not _is_about(section, manifest)
    ]


def _is_about(section: Section, manifest: Manifest) -> bool:
    if section.taken.model_id != manifest.model_id:
        return False
    hashes = {model.sha256 for model in manifest.models}
    return all(e.missing or e.foreign or e.model_sha256 in hashes for e in _entrants(section))


def _entrants(section: Section) -> list[Entrant]:
    """Model files that the rows name; the other sections' rows name none."""
    if isinstance(section, Accuracy | Latency | Compare):
        return [row.entrant for row in section.rows]
    return []


def write_documents(results: Results, root: Path = REPOSITORY) -> list[str]:
    """Fill in every document; returns the names of those that changed."""
    changed = stale_documents(results, root)
    for name in changed:
        path = root / name
        path.write_text(fill(_read(path), results), encoding="utf-8")
    return changed


def _block(match: "re.Match[str]", tables: Mapping[str, Table]) -> str:
    name = match["name"]
    if name not in _TABLES:
        raise UsageError(f"benchmarks:{name}: no such table; there are: {', '.join(_TABLES)}")
    body = markdown(tables[name]) if name in tables else _NOT_MEASURED
    return f"{match[1]}{body}{match[4]}"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
