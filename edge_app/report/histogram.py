"""How the scores of a run are distributed, as a drawing (SVG) with the cut-offs in it.

Raw scores are counted as they come; people read probabilities, so the axis is labelled with these.
It stays linear in the raw score: nearly all pictures would stand in the first and last bar else.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from edge_app.bundle.manifest import Calibration
from edge_app.results.rows import CutOffs

_FINE_BINS_PER_UNIT = 8
# From the bottom of a bar upwards.
_FILLS = {"clear": "#cfe3d8", "indeterminate": "url(#hatch-{name})", "suspected": "#7d1d15"}
_PROBABILITIES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A size of the chart: its text is of the same size in each, so a phone gets its own."""

    name: str
    width: int
    height: int
    most_bars: int


_DRAWINGS = (_Drawing("wide", 960, 220, 48), _Drawing("narrow", 360, 180, 24))


@dataclass(slots=True)
class Histogram:
    """Counts of scored rows by answer and fine bin of the raw score."""

    counts: Counter[tuple[str, int]] = field(default_factory=Counter)

    def add(self, kind: str, raw_score: float) -> None:
        """Count a scored row."""
        self.counts[kind, math.floor(raw_score * _FINE_BINS_PER_UNIT)] += 1

    def draw(self, point: CutOffs, calibration: Calibration) -> str:
        """The drawings, one for each width of a page; empty where nothing was scored."""
        if not self.counts:
            return ""
        return "".join(_svg(drawing, self.counts, point, calibration) for drawing in _DRAWINGS)


def _svg(
    drawing: _Drawing,
    counts: Counter[tuple[str, int]],
    point: CutOffs,
    calibration: Calibration,
) -> str:
    bins = [index for _, index in counts]
    low, high = min(bins), max(bins) + 1
    per_bar = max(1, -(-(high - low) // drawing.most_bars))
    bars: Counter[tuple[str, int]] = Counter()
    for (kind, index), n in counts.items():
        bars[kind, (index - low) // per_bar] += n
    number = -(-(high - low) // per_bar)
    tallest = max(sum(bars[kind, bar] for kind in _FILLS) for bar in range(number))
    first = low / _FINE_BINS_PER_UNIT
    last = first + number * per_bar / _FINE_BINS_PER_UNIT
    body = "".join(_bar(drawing, bars, bar, number, tallest) for bar in range(number))
    body += _cut_offs(drawing, point, first, last)
    body += _axis(drawing, calibration, first, last, tallest)
    # A pattern in a drawing that is not shown is not drawn: each has its own.
    return f"""<svg class="{drawing.name}" viewBox="0 0 {drawing.width} {drawing.height + 60}"
role="img" aria-label="How many files have which probability of pneumonia, with the two cut-offs">
<defs><pattern id="hatch-{drawing.name}" width="6" height="6" patternUnits="userSpaceOnUse"
patternTransform="rotate(45)"><rect width="6" height="6" fill="#fff"/>
<rect width="3" height="6" fill="#8a5a00"/></pattern></defs>
{body}</svg>"""


def _bar(
    drawing: _Drawing, bars: Counter[tuple[str, int]], bar: int, number: int, tallest: int
) -> str:
    width = drawing.width / number
    base = drawing.height + 20.0
    parts = []
    for kind, fill in _FILLS.items():
        n = bars[kind, bar]
        if n:
            height = drawing.height * n / tallest
            base -= height
            parts.append(
                f'<rect x="{bar * width + 0.5:.1f}" y="{base:.1f}" width="{width - 1:.1f}" '
                f'height="{height:.1f}" fill="{fill.format(name=drawing.name)}" stroke="#16202a" '
                'stroke-width=".6"/>'
            )
    return "".join(parts)


def _cut_offs(drawing: _Drawing, point: CutOffs, first: float, last: float) -> str:
    lines = []
    for value in {point.refer_low, point.refer_high}:
        if first <= value <= last:
            x = (value - first) / (last - first) * drawing.width
            lines.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{drawing.height + 20}" '
                'stroke="#16202a" stroke-width="1.5" stroke-dasharray="5 3"/>'
            )
    return "".join(lines)


def _axis(
    drawing: _Drawing, calibration: Calibration, first: float, last: float, tallest: int
) -> str:
    base = drawing.height + 20
    ticks = []
    for probability in _PROBABILITIES:
        raw_score = calibration.raw_score(probability)
        if not first <= raw_score <= last:
            continue
        x = (raw_score - first) / (last - first) * drawing.width
        anchor = "start" if x < 18 else "end" if x > drawing.width - 18 else "middle"
        ticks.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 5}" stroke="#16202a"/>'
            f'<text x="{x:.1f}" y="{base + 20}" text-anchor="{anchor}">{probability:g}</text>'
        )
    line = f'<line x1="0" x2="{drawing.width}" y1="{base}" y2="{base}" stroke="#16202a"/>'
    title = (
        f'<text x="{drawing.width / 2}" y="{base + 38}" text-anchor="middle">'
        "probability of pneumonia</text>"
    )
    files = "file" if tallest == 1 else "files"
    return f'{line}{"".join(ticks)}{title}<text x="2" y="14">up to {tallest:,} {files} a bar</text>'
