"""The parity gate: is every exported file as good as the network that was trained?

Raw scores of Keras float32 and of an exported file on the same validation pictures enter; a row
of figures leaves, and `check` raises where a recipe's limit is passed. Figures are taken on the
stored pictures alone and on all forms together; both have to hold. A decision counts as flipped
when the file's raw score lies on the other side of Keras's own threshold of an operating point,
and each point's share has to hold, since a clinic may choose any: the file's refitted threshold,
which would hide a common shift, does not enter.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure
from export.errors import ExportError, GateError
from export.fitting import PointSpec, fit_threshold, rounded
from export.looks import View, edge_error
from export.pictures import STORED, Pictures
from export.recipe import Limits
from export.scores import Logits
from export.shortfalls import Shortfalls

LEAST_PICTURES = 500
LEAST_OF_A_CLASS = 100
# Below it not even a research bundle has a figure to show.
LEAST_FOR_RESEARCH = 10


@dataclass(frozen=True, slots=True)
class Comparison:
    """One file in one runtime against Keras float32, on one set of pictures.

    Attributes:
        pictures: "stored" or "all forms".
        n: number of pictures.
        mean_change, max_change, bias: of the logit; bias is the signed mean.
        flipped: decisions that differ by operating point, at Keras's thresholds.
        auroc: of the file; None of Keras's.
        auroc_change: the file's AUROC minus Keras's.
    """

    pictures: str
    n: int
    mean_change: float
    max_change: float
    bias: float
    flipped: Mapping[str, int]
    auroc: Figure
    auroc_change: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the parity table: recipe, runtime, size, and both comparisons."""

    recipe: str
    runtime: str
    bytes: int
    sha256: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class LocatorRow:
    """One locator file against the trained locator, on all forms of the validation pictures.

    Attributes:
        recipe, runtime, bytes, sha256: of the file.
        n: pictures that both turned alike.
        turned_otherwise: pictures that the file turns by another angle.
        refused_otherwise: pictures that one refuses and the other does not.
        mean_edge_change, max_edge_change: of an edge of the lungs' frame, in shares of a picture.
    """

    recipe: str
    runtime: str
    bytes: int
    sha256: str
    n: int
    turned_otherwise: int
    refused_otherwise: int
    mean_edge_change: float
    max_edge_change: float


@dataclass(frozen=True, slots=True)
class Report:
    """`parity.json`: Keras's own figures, its thresholds, and every row.

    With a locator the rows are end to end: each reader file on the frames that the locator file
    of its recipe finds, against both trained networks.
    """

    checkpoint_sha256: str
    keras_auroc: Mapping[str, Figure]
    keras_thresholds: Mapping[str, float]
    rows: tuple[Row, ...]
    locator_rows: tuple[LocatorRow, ...]


def require_enough(pictures: Pictures, shortfalls: Shortfalls) -> None:
    """Refuse to judge on too few pictures.

    Raises:
        ExportError: fewer than 500 different validation pictures, or 100 of a class; for a
            research bundle, fewer than 10 of a class.
    """
    stored = pictures.of_form(STORED)
    counts = [int(np.sum(stored.labels == label)) for label in (0, 1)]
    found = f"{len(stored)} ({counts[1]} of pneumonia, {counts[0]} others)"
    if min(counts) < LEAST_FOR_RESEARCH:
        raise ExportError(
            f"too few validation pictures: {found}; at least {LEAST_FOR_RESEARCH} of each class "
            "are needed for a research bundle"
        )
    if len(stored) < LEAST_PICTURES or min(counts) < LEAST_OF_A_CLASS:
        shortfalls.note(
            ExportError(
                f"too few validation pictures: {found}; at least {LEAST_PICTURES}, "
                f"{LEAST_OF_A_CLASS} of each class, are needed for the parity gate "
                "and the operating points"
            )
        )


def require_logits(logits: Logits) -> None:
    """Refuse a trained network whose raw scores cannot be logits.

    Raises:
        GateError: one is no finite number, or all lie in 0..1 as probabilities do.
    """
    if not np.isfinite(logits).all():
        raise GateError(f"the trained network: {_not_finite(logits)}")
    if ((logits >= 0) & (logits <= 1)).all():
        raise GateError(
            f"the trained network: all {len(logits)} raw scores lie in 0..1, as probabilities do; "
            "a bundle's raw score is a logit"
        )


def _not_finite(logits: Logits) -> str:
    count = int(np.sum(~np.isfinite(logits)))
    return f"{count} of {len(logits)} raw scores are no finite numbers"


def keras_thresholds(
    specs: Sequence[PointSpec], pictures: Pictures, logits: Logits, shortfalls: Shortfalls
) -> dict[str, float]:
    """Keras's own threshold of every operating point, on all forms.

    A point whose aim cannot be shown is left out of a research bundle.

    Raises:
        ExportError: a point's aim cannot be shown on these pictures.
    """
    found = {}
    for spec in specs:
        try:
            found[spec.name] = round(fit_threshold(spec, pictures, logits), 4)
        except ValueError as error:
            shortfalls.note(
                ExportError(
                    "the trained network itself is not good enough for the operating point "
                    f"{spec.name!r}: {error}"
                )
            )
    return found


def compare(
    pictures: Pictures, reference: Logits, logits: Logits, thresholds: Mapping[str, float]
) -> tuple[Comparison, ...]:
    """Compare on the stored pictures and, where there are other forms, on all together.

    Raises:
        GateError: a raw score is no finite number.
    """
    if not np.isfinite(logits).all():
        raise GateError(f"{_not_finite(logits)}. No bundle was written")
    stored = pictures.forms == STORED
    sets = [(STORED, stored)]
    if not stored.all():
        sets.append(("all forms", np.ones(len(pictures), np.bool_)))
    return tuple(
        _compare(name, pictures.select(members), reference[members], logits[members], thresholds)
        for name, members in sets
    )


def _compare(
    name: str,
    pictures: Pictures,
    reference: Logits,
    logits: Logits,
    thresholds: Mapping[str, float],
) -> Comparison:
    change = logits - reference
    labels = pictures.labels
    return Comparison(
        pictures=name,
        n=len(pictures),
        mean_change=round(float(np.abs(change).mean()), 5),
        max_change=round(float(np.abs(change).max()), 5),
        bias=round(float(change.mean()), 5),
        flipped={
            point: int(np.sum((logits >= cut) != (reference >= cut)))
            for point, cut in thresholds.items()
        },
        auroc=rounded(metrics.auroc_delong(labels, logits, groups=pictures.patients)),
        auroc_change=round(metrics.auroc(labels, logits) - metrics.auroc(labels, reference), 5),
    )


def check(row: Row, limits: Limits) -> None:
    """Hold a row against its recipe's limits; flips at every operating point.

    Raises:
        GateError: names the recipe, the runtime, the pictures, the figure and its limit.
    """
    for found in row.comparisons:
        flips = (
            (f"share of flipped decisions at {name!r}", count / found.n, limits.flipped_share)
            for name, count in found.flipped.items()
        )
        figures = (
            ("mean |change of logit|", found.mean_change, limits.mean_logit_change),
            ("largest |change of logit|", found.max_change, limits.max_logit_change),
            *flips,
            ("|change of AUROC|", abs(found.auroc_change), limits.auroc_change),
        )
        for name, value, limit in figures:
            if not value <= limit:
                raise GateError(
                    f"{row.recipe} in {row.runtime} is not as good as what was trained: {name} is "
                    f"{value:.4f} on {found.n} pictures ({found.pictures}), the recipe allows "
                    f"{limit:g}. No bundle was written"
                )


def compare_views(
    recipe: str, runtime: str, content: bytes, reference: Sequence[View], mine: Sequence[View]
) -> LocatorRow:
    """What a locator file makes of the pictures, against the trained locator."""
    alike = sum(a.turns == b.turns for a, b in zip(mine, reference, strict=True))
    mean, largest = edge_error(mine, reference)
    return LocatorRow(
        recipe=recipe,
        runtime=runtime,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        n=alike,
        turned_otherwise=len(mine) - alike,
        refused_otherwise=sum(
            (a.reason is None) != (b.reason is None) for a, b in zip(mine, reference, strict=True)
        ),
        mean_edge_change=round(mean, 6),
        max_edge_change=round(largest, 5),
    )


def check_locator(row: LocatorRow, limits: Limits) -> None:
    """Hold a locator's row against its recipe's limits.

    Raises:
        GateError: the frames lie elsewhere, or other pictures are refused.
    """
    if not row.mean_edge_change <= limits.mean_edge_change:
        raise GateError(
            f"{row.recipe} in {row.runtime}: the locator's frames are not those of the trained "
            f"one: an edge moves by {row.mean_edge_change:.5f} of a picture on average, the recipe "
            f"allows {limits.mean_edge_change:g}. No bundle was written"
        )
    share = row.refused_otherwise / max(1, row.n + row.turned_otherwise)
    if not share <= limits.flipped_share:
        raise GateError(
            f"{row.recipe} in {row.runtime}: the locator refuses other pictures than the trained "
            f"one: {share:.4f} of them, the recipe allows {limits.flipped_share:g}. No bundle was "
            "written"
        )


def table(report: Report) -> str:
    """The parity table in Markdown."""
    # By name: a report that was written and read again has its mappings in that order.
    points = sorted(report.keras_thresholds)
    lines = [
        "| recipe | runtime | MB | pictures | mean / max change of logit "
        f"| flipped: {' / '.join(points)} | AUROC (95% CI) | change |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, figure in sorted(report.keras_auroc.items(), key=lambda item: item[1].n):
        shown = f"{figure.value:.4f} ({figure.low:.4f}-{figure.high:.4f})"
        lines.append(f"| Keras float32 | TensorFlow | | {figure.n} {name} | | | {shown} | |")
    for row in report.rows:
        for found in row.comparisons:
            flipped = " / ".join(str(found.flipped[name]) for name in points)
            auroc = f"{found.auroc.value:.4f} ({found.auroc.low:.4f}-{found.auroc.high:.4f})"
            lines.append(
                f"| {row.recipe} | {row.runtime} | {row.bytes / 1e6:.2f} "
                f"| {found.n} {found.pictures} "
                f"| {found.mean_change:.4f} / {found.max_change:.3f} | {flipped} "
                f"| {auroc} | {found.auroc_change:+.5f} |"
            )
    if report.locator_rows:
        lines += [
            "",
            "| locator | runtime | MB | pictures | mean / max change of a frame's edge "
            "| turned / refused otherwise |",
            "|---|---|---|---|---|---|",
        ]
    for finder in report.locator_rows:
        lines.append(
            f"| {finder.recipe} | {finder.runtime} | {finder.bytes / 1e6:.2f} | {finder.n} "
            f"| {finder.mean_edge_change:.5f} / {finder.max_edge_change:.4f} "
            f"| {finder.turned_otherwise} / {finder.refused_otherwise} |"
        )
    return "\n".join(lines) + "\n"
