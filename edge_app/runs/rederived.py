"""The table and the report once more, from the results alone: no picture is read, none is scored.

For a run that was interrupted, a table that was deleted, a report of an earlier version of this
program. The input may have gone meanwhile; the model that scored is needed, for what the report
says about it.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.errors import UsageError
from edge_app.files.codec import CodecError
from edge_app.files.whole import owner_only
from edge_app.images.formats import SUFFIXES
from edge_app.results.folder import RunFolder
from edge_app.results.rows import RunHeader, read_results
from edge_app.results.run_end import RunEnd, read_run_end
from edge_app.runs.derived import derive
from edge_app.runs.discovery import LIST_SUFFIX
from edge_app.runs.run_store import RunStore


def derive_again(
    folder: RunFolder,
    bundle: Path | None,
    formats: tuple[str, ...],
    on_note: Callable[[str], None],
    *,
    shared: bool = False,
) -> RunEnd:
    """Write table and report anew; gives how the run had ended.

    Args:
        folder: of the run.
        bundle: what scored, None for the default one.
        formats: which of `derived.FORMATS`.
        on_note: told what a user should know.
        shared: whether others may read what is written.

    Raises:
        NoInputError: there are no results.
        UsageError: they are not of the format, or of another model.
        StorageError: something cannot be written, or a run is writing there now.
    """
    try:
        header, _ = read_results(folder.results)
    except CodecError as error:
        raise UsageError(f"{folder.results}: no results of this version: {error}") from error
    loaded = load_bundle(bundle)
    _require_its_model(loaded, header, folder)
    rows: Counter[str] = Counter()
    with (
        owner_only(not shared),
        RunStore(
            folder,
            header,
            only_new=(),
            retry_failed=False,
            pictures="html" in formats,
            names=True,
            on_row=lambda row: rows.update(["rows"]),
            on_note=on_note,
        ) as store,
    ):
        end = _end(folder, header, rows["rows"])
        derive(folder, formats, loaded, Path(end.root), store.gallery, store.stale, end)
    return end


def _require_its_model(bundle: Bundle, header: RunHeader, folder: RunFolder) -> None:
    if header.model_sha256 not in {model.sha256 for model in bundle.manifest.models}:
        raise UsageError(
            f"{folder.results}: scored by {header.model_id} (SHA-256 {header.model_sha256[:12]}), "
            f"which is not in {bundle.folder}; name its bundle with --bundle"
        )


def _end(folder: RunFolder, header: RunHeader, rows: int) -> RunEnd:
    """What is known of the end; rows beyond it are of a run that was killed."""
    noted = read_run_end(folder)
    if noted is None:
        return RunEnd(complete=False, rows=rows, root=_root(header), left_out={})
    complete = noted.complete and noted.rows == rows
    return RunEnd(complete=complete, rows=rows, root=noted.root, left_out=noted.left_out)


def _root(header: RunHeader) -> str:
    """Where the rows' names begin, as far as the header tells: the input, which may have gone."""
    named = header.input
    if any(sign in named for sign in "*?["):
        return os.path.dirname(named[: min(named.find(s) % len(named) for s in "*?[")])
    is_file = os.path.splitext(named)[1].lower() in SUFFIXES | {LIST_SUFFIX}
    return os.path.dirname(named) if is_file and not os.path.isdir(named) else named
