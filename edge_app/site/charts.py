"""Drawings (SVG) of what was measured at a site; legible on paper and without colour.

Vectors instead of pixels: they need no library, no font file and no second file, and print sharp
(docs/decisions: drawings of a site). All text in them is ours or a number.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from edge_app.site.accuracy import Accuracy, Answers
from edge_app.statistics.calibration import ReliabilityBin

_SIDE = 320
_LEFT, _BOTTOM, _TOP, _RIGHT = 58, 52, 14, 14
_INK, _PALE, _ACCENT = "#16202a", "#c9d0d6", "#7d1d15"


class _Point(NamedTuple):
    """A point in the unit square, y upwards."""

    x: float
    y: float


def draw_roc(accuracy: Accuracy) -> str:
    """Sensitivity over 1 - specificity at every cut-off, the run's two cut-offs with intervals."""
    curve = [
        _Point(1 - row.specificity.value, row.sensitivity.value)
        for row in reversed(accuracy.cut_offs)
    ]
    body = [_line([_Point(0, 0), _Point(1, 1)], _PALE, "4 4"), _line(curve, _INK)]
    for mark, row in (("L", accuracy.referred), ("U", accuracy.suspected)):
        sensitivity, false_alarms = row.sensitivity, 1 - row.specificity.value
        at = _Point(false_alarms, sensitivity.value)
        ends = (1 - row.specificity.high, 1 - row.specificity.low)
        body += [
            _line([_Point(at.x, sensitivity.low), _Point(at.x, sensitivity.high)], _ACCENT),
            _line([_Point(ends[0], at.y), _Point(ends[1], at.y)], _ACCENT),
            _dot(at, mark),
        ]
    return _square("ROC curve", "1 - specificity", "sensitivity", body)


def draw_reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Observed share of the sick over the mean probability of each bin, with Wilson's interval."""
    body = [_line([_Point(0, 0), _Point(1, 1)], _PALE, "4 4")]
    for one in bins:
        x = one.mean_probability
        body += [
            _line([_Point(x, one.observed.low), _Point(x, one.observed.high)], _INK),
            _dot(_Point(x, one.observed.value)),
        ]
    return _square("Reliability", "probability that was given", "share with pneumonia", body)


def draw_confusion(sick: Answers, healthy: Answers) -> str:
    """How many of either class got which answer, the darker the larger its share of the class."""
    columns = (
        ("suspected", "pneumonia_suspected"),
        ("indeterminate", "indeterminate"),
        ("none seen", "no_pneumonia_seen"),
        ("no answer", "unanswered"),
    )
    cell_width, cell_height, left, top = 100, 64, 110, 34
    parts = [
        _text(left + (i + 0.5) * cell_width, top - 12, title)
        for i, (title, _) in enumerate(columns)
    ]
    for row, (name, answers) in enumerate((("pneumonia", sick), ("no pneumonia", healthy))):
        y = top + row * cell_height
        parts.append(_text(left - 8, y + cell_height / 2 + 4, name, "end"))
        for column, (_, field) in enumerate(columns):
            n = getattr(answers, field)
            share = n / max(1, answers.total)
            parts.append(
                f'<rect x="{left + column * cell_width}" y="{y}" width="{cell_width - 4}" '
                f'height="{cell_height - 4}" fill="{_ACCENT}" fill-opacity="{0.75 * share:.2f}" '
                f'stroke="{_INK}"/>'
            )
            ink = "#fff" if share > 0.85 else _INK
            middle = left + (column + 0.5) * cell_width - 2
            parts.append(_text(middle, y + 28, f"{n:,}", ink=ink, size=17))
            parts.append(_text(middle, y + 46, f"{100 * share:.1f}%", ink=ink))
    width, height = left + len(columns) * cell_width, top + 2 * cell_height
    return _svg(width, height, "Answers by truth", parts)


def _square(title: str, x_title: str, y_title: str, body: Iterable[str]) -> str:
    ticks = []
    for fifth in range(6):
        x, y = _place(_Point(fifth / 5, 0)), _place(_Point(0, fifth / 5))
        ticks += [
            _text(x.x, x.y + 18, f"{fifth / 5:g}"),
            _text(y.x - 8, y.y + 4, f"{fifth / 5:g}", "end"),
        ]
    corner = _place(_Point(0, 1))
    frame = (
        f'<rect x="{corner.x}" y="{corner.y}" width="{_SIDE}" height="{_SIDE}" fill="none" '
        f'stroke="{_INK}"/>'
    )
    middle_x, middle_y = _LEFT + _SIDE / 2, _TOP + _SIDE / 2
    titles = [
        _text(middle_x, _TOP + _SIDE + 40, x_title),
        f'<text x="16" y="{middle_y}" text-anchor="middle" fill="{_INK}" '
        f'transform="rotate(-90 16 {middle_y})">{escape(y_title)}</text>',
    ]
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    return _svg(width, height, title, [frame, *ticks, *titles, *body])


def _place(point: _Point) -> _Point:
    """From the unit square to the drawing."""
    return _Point(_LEFT + point.x * _SIDE, _TOP + (1 - point.y) * _SIDE)


def _line(points: Sequence[_Point], ink: str, dashes: str = "") -> str:
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(_place, points))
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{text}" fill="none" stroke="{ink}" stroke-width="1.6"{dash}/>'


def _dot(point: _Point, mark: str = "") -> str:
    x, y = _place(point)
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_ACCENT}"/>'
    return circle + (_text(x + 12, y + 16, mark) if mark else "")


def _text(
    x: float, y: float, text: str, anchor: str = "middle", ink: str = _INK, size: int = 13
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{ink}" '
        f'font-size="{size}">{escape(text)}</text>'
    )


def _svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" role="img" aria-label="{escape(title)}" font-family="sans-serif" '
        f'font-size="13">{"".join(parts)}</svg>'
    )


def draw_series(names: Sequence[str], values: Sequence[float], noise: Sequence[float]) -> str:
    """A value for each name, and how high chance alone would reach."""
    width, height = max(300, 46 * len(names)), 150
    highest = max([*values, *noise, 0.3])
    base = height + 16
    parts = []
    for number, (name, value, chance) in enumerate(zip(names, values, noise, strict=True)):
        middle = 46 + (number + 0.5) * (width - 10) / len(names)
        reach = height * chance / highest
        parts += [
            f'<rect x="{middle - 10:.1f}" y="{base - reach:.1f}" width="20" '
            f'height="{reach:.1f}" fill="{_PALE}"/>',
            f'<circle cx="{middle:.1f}" cy="{base - height * value / highest:.1f}" r="4" '
            f'fill="{_ACCENT}"/>',
            _text(middle, base + 16, name.partition("-")[2] or name),
        ]
    for level in (0.1, 0.25):
        y = base - height * level / highest
        parts += [
            f'<line x1="40" x2="{width + 40}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_INK}" '
            'stroke-dasharray="4 4" stroke-width=".7"/>',
            _text(36, y + 4, f"{level:g}", "end"),
        ]
    return _svg(width + 46, base + 24, "Index by week", parts)


def draw_shares(before: Sequence[float], now: Sequence[float]) -> str:
    """Two distributions over the same bins, side by side."""
    width, height, base = 480, 150, 166
    highest = max([*before, *now, 1e-9])
    step = width / len(before)
    parts = []
    for bin_number, pair in enumerate(zip(before, now, strict=True)):
        for side, (share, ink) in enumerate(zip(pair, (_PALE, _INK), strict=True)):
            bar = height * share / highest
            x = 10 + bin_number * step + side * step * 0.4
            parts.append(
                f'<rect x="{x:.1f}" y="{base - bar:.1f}" width="{step * 0.38:.1f}" '
                f'height="{bar:.1f}" fill="{ink}"/>'
            )
    parts.append(_text(14, 12, f"up to {100 * highest:.0f}% of the films", "start"))
    return _svg(width + 20, base + 8, "Scores then and now", parts)
