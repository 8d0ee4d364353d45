"""What is made from the results when a run has ended: table, report, columns, failures."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_app.bundle.manifest import Bundle
from edge_app.decision import Status
from edge_app.errors import StorageError
from edge_app.files.codec import compact_json
from edge_app.files.whole import write_whole
from edge_app.report.gallery import Gallery
from edge_app.report.page import write_report
from edge_app.results.folder import RunFolder
from edge_app.results.parquet import write_shards
from edge_app.results.rows import LACKS, SIGNED_BY, encode_row, read_results
from edge_app.results.run_end import RunEnd
from edge_app.results.table import csv_table

# `jsonl`, the results themselves, is always written.
FORMATS = ("jsonl", "csv", "html", "parquet", "failed")


def derive(
    folder: RunFolder,
    formats: tuple[str, ...],
    bundle: Bundle,
    pictures_root: Path,
    gallery: Gallery | None,
    stale: Mapping[str, int],
    end: RunEnd | None = None,
) -> None:
    """Write what is asked for anew, each in full or not at all, and one without the other.

    Args:
        folder: of the run.
        formats: which of `FORMATS`.
        bundle: what scored.
        pictures_root: what the rows' names are relative to, for the report's links.
        gallery: the report's pictures.
        stale: by file, how many of its rows are of content that was overwritten since.
        end: how the run ended, None where that is not known.

    Raises:
        StorageError: one of them cannot be written.
        RuntimeUnavailableError: Parquet is asked for and pyarrow is missing.
    """
    unwritten: StorageError | None = None
    if "csv" in formats:
        try:
            header, rows = read_results(folder.results)
            signed_by, lacks = (str(header.parameters.get(key, "")) for key in (SIGNED_BY, LACKS))
            write_whole(folder.table, csv_table(rows, stale, signed_by, lacks))
        except StorageError as error:  # open in Excel on Windows: no reason to have no report
            unwritten = error
    if "html" in formats and gallery is not None:
        write_report(folder, bundle, pictures_root, gallery, stale, end)
    if "parquet" in formats:
        write_shards(folder.columns, *read_results(folder.results))
    if "failed" in formats:
        write_whole(folder.failures, _failures(folder.results))
    if unwritten is not None:
        raise unwritten


def _failures(results: Path) -> Iterator[str]:
    """The results again, with the rows of files that failed alone."""
    header, rows = read_results(results)
    yield compact_json(header) + "\n"
    for row in rows:
        if row.status is Status.FAILED:
            yield encode_row(row).decode("utf-8")
