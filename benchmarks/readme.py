"""The tables of docs/ come from the committed `benchmarks/results.json`.

A document holds `<!-- benchmarks:NAME -->` and `<!-- /benchmarks:NAME -->`; what stands between
them is the table of that name. `fill` replaces it; a document is stale where that changes
anything, or where the figures belong to a model that the shipped bundle no longer holds.
"""

import re
from pathlib import Path

from benchmarks.processes import REPOSITORY
from benchmarks.record import SECTIONS, Accuracy, Compare, Latency, Results, Section
from benchmarks.tables import KINDS, make_tables
from edge_app.bundle.manifest import Manifest
from edge_app.errors import UsageError
from edge_app.files.whole import write_whole

RESULTS = REPOSITORY / "benchmarks" / "results.json"
_NOT_MEASURED = "Not measured on a quiet machine yet: `make benchmarks` does.\n"
_BLOCK = re.compile(
    r"(<!-- benchmarks:(?P<name>[a-z_]+) -->\n)(?P<body>.*?)(<!-- /benchmarks:(?P=name) -->)",
    re.DOTALL,
)


def fill(text: str, results: Results) -> str:
    """The document with every marked table replaced; one that is not measured yet says so.

    Raises:
        UsageError: a marker names a table that does not exist.
    """
    tables = {table.name: table.markdown for table in make_tables(results)}
    names = {kind.name for kind in KINDS}

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in names:
            raise UsageError(f"benchmarks:{name}: no such table; there are: {', '.join(names)}")
        return f"{match[1]}{tables.get(name, _NOT_MEASURED)}{match[4]}"

    return _BLOCK.sub(block, text)


def stale_documents(results: Results, root: Path = REPOSITORY) -> dict[str, str]:
    """Documents whose tables are not those of the results, by name, as they should read."""
    paths = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(paths)}
    filled = {path: fill(text, results) for path, text in texts.items() if _BLOCK.search(text)}
    return {
        path.relative_to(root).as_posix(): text
        for path, text in filled.items()
        if text != texts[path]
    }


def write_documents(results: Results, root: Path = REPOSITORY) -> list[str]:
    """Fill in every document; returns the names of those that changed."""
    stale = stale_documents(results, root)
    for name, text in stale.items():
        write_whole(root / name, [text])
    return list(stale)


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
    # Rows of the other sections name no model file.
    rows = section.rows if isinstance(section, Accuracy | Latency | Compare) else ()
    hashes = {model.sha256 for model in manifest.models}
    contenders = [row.contender for row in rows]
    return all(c.missing or c.foreign or c.model_sha256 in hashes for c in contenders)
