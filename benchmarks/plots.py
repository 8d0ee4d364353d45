"""Pictures of the figures as PNG files, where matplotlib is installed; elsewhere a message.

On a Raspberry Pi with the edge app's dependencies alone there are tables and no plots. Draws
without a display.
"""

import math
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.record import (
    Accuracy,
    AccuracyRow,
    Compare,
    CompareRow,
    Latency,
    Results,
    Scale,
    Throughput,
)
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure

_DPI = 130


def draw_plots(results: Results, folder: Path) -> list[Path]:
    """Draw whatever the results allow; returns the files, none without matplotlib."""
    if find_spec("matplotlib") is None:
        print(
            "plots are left out: matplotlib is not installed (it is in the extra benchmarks)",
            file=sys.stderr,
        )
        return []
    import matplotlib as mpl

    mpl.use("agg")
    drawn = []
    for name, (section, draw) in _PLOTS.items():
        value = getattr(results, section)
        if value is not None:
            drawn += _draw(draw, value, folder / f"{name}.png")
    return drawn


def _draw(draw: Callable[[Any, Any], bool], section: Any, path: Path) -> list[Path]:
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(7, 4.6), layout="constrained")
    try:
        if not draw(figure, section):
            return []
        figure.savefig(path, dpi=_DPI)
        return [path]
    finally:
        pyplot.close(figure)


def _pareto_plot(figure: Any, section: Compare) -> bool:
    """AUROC against the 90th percentile of latency; the line joins what nothing beats in both."""
    rows = [row for row in section.rows if row.auroc is not None and row.p90_ms is not None]
    if not rows:
        return False
    axes = figure.subplots()
    for row in rows:
        if row.auroc is not None:
            label = f"{row.contender.name}, {row.threads} thr."
            bars = _whiskers(row.auroc)
            axes.errorbar(row.p90_ms, row.auroc.value, bars, fmt="o", capsize=3, label=label)
    front = sorted(pareto_front(rows), key=lambda row: row.p90_ms or 0.0)
    axes.plot(
        [r.p90_ms for r in front],
        [r.auroc.value for r in front if r.auroc],
        "k--",
        lw=1,
        label="Pareto front",
    )
    axes.set_xscale("log")
    axes.set_xlabel("90th percentile of one inference, ms")
    axes.set_ylabel(f"AUROC on {section.data}, 95% interval")
    axes.set_title("Accuracy against latency")
    axes.legend(fontsize=7)
    return True


def pareto_front(rows: Sequence[CompareRow]) -> list[CompareRow]:
    """Rows than which no other is both at least as accurate and at least as fast, one strictly."""

    def beats(a: CompareRow, b: CompareRow) -> bool:
        if a.auroc is None or b.auroc is None or a.p90_ms is None or b.p90_ms is None:
            return False
        no_worse = a.auroc.value >= b.auroc.value and a.p90_ms <= b.p90_ms
        return no_worse and (a.auroc.value, -a.p90_ms) != (b.auroc.value, -b.p90_ms)

    return [row for row in rows if not any(beats(other, row) for other in rows)]


def _latency_plot(figure: Any, section: Latency) -> bool:
    """Share of inferences that took longer, on logarithmic axes: the tail is what hurts."""
    measured = {
        f"{row.contender.name}, {row.threads} thr.": row.figures.samples_us
        for row in section.rows
        if row.figures is not None
    }
    if not measured:
        return False
    axes = figure.subplots()
    for label, samples_us in measured.items():
        samples = sorted(us / 1000 for us in samples_us)
        shares = [1 - index / len(samples) for index in range(len(samples))]
        axes.plot(samples, shares, drawstyle="steps-post", lw=1.2, label=label)
    axes.axhline(0.1, color="grey", lw=0.8, ls=":")
    axes.text(
        0.99,
        0.105,
        "90th percentile",
        ha="right",
        fontsize=7,
        color="grey",
        transform=axes.get_yaxis_transform(),
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("latency of one inference, ms")
    axes.set_ylabel("share of runs that took longer")
    axes.set_title("Latency distribution")
    axes.legend(fontsize=7)
    return True


def _roc_plot(figure: Any, section: Accuracy) -> bool:
    rows = [row for row in section.rows if row.auroc is not None]
    if not rows:
        return False
    axes = figure.subplots()
    for row in rows:
        labels, scores = _scored(row, section)
        curve = metrics.roc_curve(labels, scores)
        label = f"{row.contender.name}: {metrics.auroc(labels, scores):.4f}"
        axes.plot(1 - curve.specificity, curve.sensitivity, lw=1.2, label=label)
    axes.plot([0, 1], [0, 1], color="grey", lw=0.8, ls=":")
    for point in rows[0].points:
        sensitivity, specificity = point.counts.sensitivity, point.counts.specificity
        if sensitivity is not None and specificity is not None:
            at = (1 - specificity.value, sensitivity.value)
            axes.plot(*at, "k+", ms=9)
            offset = {"xytext": (6, -8), "textcoords": "offset points"}
            axes.annotate(point.name, at, fontsize=7, **offset)
    axes.set_xlabel("1 − specificity")
    axes.set_ylabel("sensitivity")
    axes.set_title(f"ROC on {section.data.name}, n = {section.data.n}")
    axes.legend(fontsize=7, loc="lower right", title="AUROC")
    return True


def _reliability_plot(figure: Any, section: Accuracy) -> bool:
    row = next((row for row in section.rows if row.reliability), None)
    if row is None:
        return False
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", lw=0.8, ls=":")
    for point in row.reliability:
        seen = point.observed
        axes.errorbar(
            point.mean_probability, seen.value, yerr=_whiskers(seen), fmt="o", color="C0", capsize=3
        )
    axes.set_xlabel("claimed probability of pneumonia (mean of ten bins of equal size)")
    axes.set_ylabel("observed share, 95% interval")
    ece = "" if row.ece is None else f", ECE {row.ece.value:.3f}"
    axes.set_title(f"Reliability, {row.contender.name} on {section.data.name}{ece}")
    return True


def _confusion_plot(figure: Any, section: Accuracy) -> bool:
    row = next((row for row in section.rows if row.points), None)
    if row is None:
        return False
    all_axes = figure.subplots(1, len(row.points), squeeze=False)[0]
    for axes, point in zip(all_axes, row.points, strict=True):
        of = point.counts
        counts = [[of.tp, of.fn], [of.fp, of.tn]]
        shares = [[n / max(1, sum(line)) for n in line] for line in counts]
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
        for y, line in enumerate(counts):
            for x, count in enumerate(line):
                color = "white" if shares[y][x] > 0.5 else "black"
                axes.text(x, y, str(count), ha="center", va="center", color=color)
        axes.set_xticks([0, 1], ["called\npneumonia", "called\nnormal"], fontsize=7)
        axes.set_yticks([0, 1], ["pneumonia", "normal"], fontsize=7)
        axes.set_title(f"{point.name}\nthreshold {point.threshold:+.2f}", fontsize=8)
    data = section.data
    figure.suptitle(f"{row.contender.name} on {data.name}, n = {data.n}", fontsize=9)
    return True


def _throughput_plot(figure: Any, section: Throughput) -> bool:
    rows = [row for row in section.rows if row.seconds]
    if not rows:
        return False
    axes = figure.subplots()
    for position, row in enumerate(rows):
        times = section.ms_per_image(row)
        axes.plot(times, [position] * len(times), "o", color="C0", alpha=0.6)
    names = [f"floor / {section.cores} cores" if r.name == section.floor else r.name for r in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("ms an image, one point a round")
    axes.set_title(f"Folder to results, {section.pictures} pictures of {section.data}")
    return True


def _scale_plot(figure: Any, section: Scale) -> bool:
    curves = [curve for curve in section.curves if len(curve.points) > 1]
    if not curves:
        return False
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        xs, seconds = zip(*((p.x, p.seconds) for p in curve.points), strict=True)
        axes.loglog(xs, seconds, "o-", label="time, s")
        memory = [(p.x, p.peak_memory_mb) for p in curve.points if p.peak_memory_mb]
        if memory:
            axes.loglog(*zip(*memory, strict=True), "s--", label="memory, MB")
        _linear_guide(axes, xs, seconds)
        axes.set_xlabel(curve.name)
        axes.legend(fontsize=7)
    return True


def _linear_guide(axes: Any, xs: Sequence[float], seconds: Sequence[float]) -> None:
    """Proportional growth, drawn through the last point."""
    guide = [seconds[-1] * x / xs[-1] for x in xs]
    if all(math.isfinite(value) for value in guide):
        axes.loglog(xs, guide, color="grey", lw=0.8, ls=":", label="proportional")


def _whiskers(figure: Figure) -> list[list[float]]:
    """Distances to the ends of the interval, as errorbar wants them."""
    return [[figure.value - figure.low], [figure.high - figure.value]]


def _scored(row: AccuracyRow, section: Accuracy) -> tuple[list[int], list[float]]:
    pairs = [(lab, s) for lab, s in zip(section.labels, row.scores, strict=True) if s is not None]
    return [label for label, _ in pairs], [score for _, score in pairs]


_PLOTS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "accuracy_latency": ("compare", _pareto_plot),
    "latency": ("latency", _latency_plot),
    "throughput": ("throughput", _throughput_plot),
    "roc": ("accuracy", _roc_plot),
    "reliability": ("accuracy", _reliability_plot),
    "confusion": ("accuracy", _confusion_plot),
    "scale": ("scale", _scale_plot),
}
