"""Does the score follow the file instead of the lungs?

A `Scorer` and held-out samples enter, a `Probe` leaves: within each class, the rank correlation of
the logit with what a file gives away, and what happens to the logit of the same picture when only
the file changes. Within a class, since between classes the quantity and the truth go together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.preprocess import PreprocessSpec
from edge_app.progress import track
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure, wilson
from train.cache import read_grey
from train.checkpoint import Scorer, read_file
from train.counterfactuals import CHANGES, Change, Picture
from train.decision import Floats
from train.evaluate import validate
from train.plots import figure
from train.quantities import measure
from train.samples import NAMES_OF_LABELS
from train.tables import markdown_table, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Files are decoded up to this size for a counterfactual; larger ones are shrunk first.
_MAX_SIDE = 1024
_QUANTITIES = ("bytes_per_pixel", "sharpness", "pixel_count", "aspect_ratio", "mean_grey")
_LEAST_PICTURES = 20


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation of the logit with a quantity, within one class.

    Attributes:
        files: which files were measured and scored.
        label: "normal" or "pneumonia".
        quantity: of the file; with `original_`, of the file that this copy was made from.
        rho: with its interval.
    """

    files: str
    label: str
    quantity: str
    rho: Figure


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """What a change of the file does to the logit of the same picture.

    Attributes:
        files: which files were changed.
        change: what was done.
        label: "normal", "pneumonia" or "all".
        n_images: pictures.
        mean_change, sd_change: of the logit.
        flips: share of the decisions that differ.
        to_pneumonia, to_normal: how many flipped which way.
    """

    files: str
    change: str
    label: str
    n_images: int
    mean_change: float
    sd_change: float
    flips: Figure
    to_pneumonia: int
    to_normal: int


@dataclass(frozen=True, slots=True)
class Probe:
    """All findings.

    Attributes:
        checkpoints: SHA-256 of each.
        threshold: on the logit, fitted on these validation pictures, clean and (where the
            checkpoint's configuration degrades) degraded.
        correlations, counterfactuals: the findings.
    """

    checkpoints: tuple[str, ...]
    threshold: float
    correlations: tuple[Correlation, ...]
    counterfactuals: tuple[Counterfactual, ...]


def probe(scorer: Scorer, samples: Sequence[LabelledPicture]) -> Probe:
    """Probe a network on held-out pictures, and on their larger copies where there are any."""
    threshold = validate(scorer, samples).point.threshold
    sources = {"pictures": {s.name: s.path for s in samples}}
    larger = {s.name: s.larger for s in samples if s.larger is not None}
    if len(larger) >= _LEAST_PICTURES:
        sources["larger copies"] = larger
    correlations: list[Correlation] = []
    counterfactuals: list[Counterfactual] = []
    for files, paths in sources.items():
        chosen = [sample for sample in samples if sample.name in paths]
        labels = np.array([sample.label for sample in chosen])
        logits = scorer.logits([paths[s.name] for s in chosen], read_file)
        correlations += _correlations(files, chosen, paths, logits)
        ordered = [paths[sample.name] for sample in chosen]
        before = scorer.logits(ordered, _unchanged)
        for name, change in track(CHANGES.items(), f"counterfactuals of {files}", len(CHANGES)):
            after = scorer.logits(ordered, partial(_changed, change))
            counterfactuals += _by_class(files, name, before, after, labels, threshold)
    return Probe(
        tuple(checkpoint.sha256 for checkpoint in scorer.checkpoints),
        threshold,
        tuple(correlations),
        tuple(counterfactuals),
    )


def in_words(findings: Probe) -> str:
    """The findings as text with Markdown tables."""
    correlations = markdown_table(
        ("files", "class", "quantity", "rank correlation", "n"),
        [(c.files, c.label, c.quantity, short(c.rho), str(c.rho.n)) for c in findings.correlations],
    )
    header = ("files", "change", "n", "mean change", "normal", "pneumonia", "SD", "flipped")
    by_class = {(c.files, c.change, c.label): c for c in findings.counterfactuals}
    rows = [
        (
            c.files,
            c.change,
            str(c.n_images),
            f"{c.mean_change:+.3f}",
            *(f"{by_class[c.files, c.change, name].mean_change:+.3f}" for name in NAMES_OF_LABELS),
            f"{c.sd_change:.3f}",
            f"{c.to_pneumonia}+{c.to_normal} = {short(c.flips)}",
        )
        for c in findings.counterfactuals
        if c.label == "all"
    ]
    note = "flipped: to pneumonia + to normal = share (95% CI)"
    head = f"decision: logit >= {findings.threshold:.3f}"
    return "\n\n".join([head, correlations, markdown_table(header, rows), note])


def draw(findings: Probe, path: Path) -> None:
    """Both tables as a picture."""
    sources = list(dict.fromkeys(c.files for c in findings.counterfactuals))
    with figure(path, len(sources), 2, height=4.6) as axes:
        for row, files in enumerate(sources):
            _draw_correlations(axes[2 * row], findings, files)
            _draw_counterfactuals(axes[2 * row + 1], findings, files)


def _correlations(
    files: str, samples: Sequence[LabelledPicture], paths: Mapping[str, Path], logits: Floats
) -> list[Correlation]:
    measured = [measure(paths[sample.name])[0] for sample in samples]
    values: dict[str, list[float | None]] = {
        name: [getattr(quantities, name) for quantities in measured] for name in _QUANTITIES
    }
    sizes = [sample.original_size for sample in samples]
    values["original_pixel_count"] = [float(s[0] * s[1]) if s else None for s in sizes]
    values["original_aspect_ratio"] = [s[0] / s[1] if s else None for s in sizes]
    found = []
    for label, label_name in enumerate(NAMES_OF_LABELS):
        for quantity, column in values.items():
            pairs = [
                (value, float(logit))
                for sample, value, logit in zip(samples, column, logits, strict=True)
                if sample.label == label and value is not None
            ]
            # Where nearly all files are alike, as squashed copies in size, ranks mean nothing.
            usual = max(np.unique([v for v, _ in pairs], return_counts=True)[1], default=0)
            if len(pairs) >= _LEAST_PICTURES and usual < 0.9 * len(pairs):
                rho = metrics.spearman([v for v, _ in pairs], [logit for _, logit in pairs])
                found.append(Correlation(files, label_name, quantity, rho))
    return found


def _by_class(
    files: str,
    change: str,
    before: Floats,
    after: Floats,
    labels: npt.NDArray[np.intp],
    threshold: float,
) -> list[Counterfactual]:
    difference = (after - before).astype(np.float64)
    up = (before < threshold) & (after >= threshold)
    down = (before >= threshold) & (after < threshold)
    members = {"all": labels >= 0} | {
        label_name: labels == label for label, label_name in enumerate(NAMES_OF_LABELS)
    }
    return [
        Counterfactual(
            files=files,
            change=change,
            label=label_name,
            n_images=int(chosen.sum()),
            mean_change=float(difference[chosen].mean()),
            sd_change=float(difference[chosen].std()),
            flips=wilson(int((up | down)[chosen].sum()), int(chosen.sum())),
            to_pneumonia=int(up[chosen].sum()),
            to_normal=int(down[chosen].sum()),
        )
        for label_name, chosen in members.items()
    ]


def _unchanged(path: Path, _: PreprocessSpec) -> Picture:
    return read_grey(path, _MAX_SIDE)


def _changed(change: Change, path: Path, _: PreprocessSpec) -> Picture:
    return change(read_grey(path, _MAX_SIDE))


def _draw_correlations(axes: "Axes", findings: Probe, files: str) -> None:
    """Rank correlations with their intervals; the grey band is what issue 3 asks for."""
    chosen = [c for c in findings.correlations if c.files == files]
    names = list(dict.fromkeys(c.quantity for c in chosen))
    for offset, label, color in ((-0.15, "normal", "tab:blue"), (0.15, "pneumonia", "tab:red")):
        found = [c for c in chosen if c.label == label]
        axes.errorbar(
            [c.rho.value for c in found],
            [names.index(c.quantity) + offset for c in found],
            xerr=[
                [c.rho.value - c.rho.low for c in found],
                [c.rho.high - c.rho.value for c in found],
            ],
            fmt="o",
            color=color,
            label=label,
        )
    axes.axvspan(-0.1, 0.1, color="0.9", zorder=0)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("rank correlation with the logit, within the class")
    axes.set_title(files)
    axes.legend()


def _draw_counterfactuals(axes: "Axes", findings: Probe, files: str) -> None:
    """Mean change of the logit with one standard deviation, and the share that flips."""
    names = list(CHANGES)
    for offset, label, color in ((-0.15, "normal", "tab:blue"), (0.15, "pneumonia", "tab:red")):
        found = [c for c in findings.counterfactuals if (c.files, c.label) == (files, label)]
        axes.errorbar(
            [c.mean_change for c in found],
            [names.index(c.change) + offset for c in found],
            xerr=[c.sd_change for c in found],
            fmt="o",
            color=color,
            label=label,
        )
    every = [c for c in findings.counterfactuals if (c.files, c.label) == (files, "all")]
    rates = {c.change: f"{c.change} ({100 * c.flips.value:.1f}%)" for c in every}
    axes.axvline(0, color="0.6", zorder=0)
    axes.set_yticks(range(len(names)), [rates[name] for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("mean change of the logit and SD (decisions flipped)")
    n = every[0].n_images if every else 0
    axes.set_title(f"{files}, n={n}")
