"""`docs/formats.md`: a bundle's figures, written into a document between two markers."""

import re
from pathlib import Path

from edge_app.bundle.manifest import Bundle
from edge_app.files.codec import CodecError, decode, parse_json
from export.card import promises, show
from export.errors import ExportError
from export.fitting import PointSpecs
from export.parity import Report, Row, table

BEGIN, END = "<!-- export:formats -->", "<!-- /export:formats -->"


def read_report(path: Path) -> Report:
    """Read a report that `--report` or a bundle's `parity.json` holds.

    Raises:
        ExportError: it cannot be read or is no report.
    """
    try:
        return decode(Report, parse_json(path.read_bytes()))
    except (OSError, CodecError) as error:
        raise ExportError(f"{path}: no parity report: {error}") from error


def formats_section(bundle: Bundle, report: Report, points: PointSpecs) -> str:
    """What stands between the markers: sizes, calibration, cut-offs, the parity table.

    Raises:
        ExportError: the report is of another checkpoint or of other files, or the bundle has
            other operating points than `points`.
    """
    manifest = bundle.manifest
    made = {row.sha256 for row in report.rows}
    if report.checkpoint_sha256 != manifest.provenance.checkpoint_sha256 or any(
        model.sha256 not in made for model in manifest.models
    ):
        raise ExportError("the report is not of the export that wrote this bundle")
    if {point.name for point in points.point} != set(manifest.operating_point_names()):
        raise ExportError("the bundle has other operating points than export/operating_points.toml")
    runtimes = ", ".join(dict.fromkeys(row.runtime for row in report.rows))
    parts = [
        f"Figures of `{manifest.model_id}`, written by `python -m export readme`. Shipped: "
        + ", ".join(f"`{model.file}`" for model in manifest.models)
        + ".",
        "",
        "| recipe | size | weights | computed in |",
        "|---|---|---|---|",
        *_size_rows(report),
        "",
        f"Every file against Keras float32 on the same held-out pictures, in {runtimes}. A "
        "decision is flipped where the file lies on the other side of Keras's own threshold; "
        '"all forms" adds the same pictures larger, recompressed, resampled and exposed '
        "otherwise. A file beyond its recipe's limits (`export/recipes`) stops the export.",
        "",
        table(report).rstrip(),
        "",
        "Calibration and cut-offs are fitted on each shipped file's own scores:",
        "",
        "| file | calibration error (ECE) | operating point | below, threshold, from "
        "| sensitivity | specificity |",
        "|---|---|---|---|---|---|",
        *_point_rows(bundle),
        "",
        "What the band between the cut-offs promises:",
        "",
        promises(points),
        "",
        "Each patient counts once; intervals are 95%. The full figures, other sites included, "
        "stand in the bundle's `model_card.md`.",
    ]
    return "\n".join(parts) + "\n"


_MADE_OF = {
    "float32": ("float32", "float32"),
    "float16": ("float16", "float32"),
    "dynamic_int8": ("int8 per channel", "int8, ranges per picture"),
    "static_int8": ("int8 per channel", "int8, fixed ranges; map and logit in float32"),
}


def _size_rows(report: Report) -> list[str]:
    sizes = {row.recipe: row for row in report.rows}
    return [_size_row(row) for row in sizes.values()]


def _size_row(row: Row) -> str:
    weights, computed = _MADE_OF[row.recipe.partition("_")[2]]
    return f"| {row.recipe} | {row.bytes / 1e6:.2f} MB | {weights} | {computed} |"


def _point_rows(bundle: Bundle) -> list[str]:
    rows = []
    for model in bundle.manifest.models:
        error = show(bundle.calibration(model).ece)
        for name in bundle.manifest.operating_point_names():
            point = bundle.operating_point(model, name)
            cuts = f"{point.refer_low:.3f}, {point.threshold:.3f}, {point.refer_high:.3f}"
            rows.append(
                f"| `{model.file}` | {error} | {name} | {cuts} "
                f"| {show(point.sensitivity)} | {show(point.specificity)} |"
            )
    return rows


def replace_section(text: str, section: str) -> str:
    """A document with another section between the markers.

    Raises:
        ExportError: the markers do not stand there once each, in their order.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or not pattern.search(text):
        raise ExportError(f"the document lacks the markers {BEGIN} and {END}, once each")
    # A function, since a backslash in the section would mean something in a template.
    return pattern.sub(lambda _: f"{BEGIN}\n{section}{END}", text)
