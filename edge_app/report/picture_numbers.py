"""A picture's numbers as tables of a page: its quality, and how like the training pictures it is.

A `ScreeningResult` enters, HTML leaves, each number beside what is usual.
"""

import math
from html import escape

import numpy as np

from edge_app.report.words import MEASURES
from edge_app.runtimes.base import Floats
from edge_app.screening.flaws import own_ranges, show_measure
from edge_app.screening.gate import Direction, gate_features
from edge_app.screening.screener import Screener, ScreeningResult

_PATTERNS = 3
_LEAST_SHARE = 0.001
_PARTS = {
    "lungs": "Shape of the lungs",
    "frame": "Light and dark over the chest",
    "embedding": "What the network makes of it",
}


def measures_table(result: ScreeningResult, screener: Screener) -> str:
    """Every number of the picture's quality beside the range in which most films lie."""
    usual = own_ranges() | ({} if screener.gate is None else dict(screener.gate.fit.usual))
    rows = "".join(
        f"<tr><td>{escape(words)}</td><td>{show_measure(name, result.measures[name])}</td>"
        f"<td>{_range(name, usual[name])}</td></tr>"
        for name, words in MEASURES.items()
        if name in result.measures and name in usual
    )
    if not rows:
        return ""
    return (
        "<h2>The picture in numbers</h2><table><tr><th>Measure</th><th>Here</th>"
        f'<th>98 of 100 films</th></tr>{rows}</table>\n<p class="facts">No answer depends on '
        "them, but where a picture is so coloured, written over or burnt out that it is "
        "refused.</p>\n"
    )


def _range(name: str, usual: tuple[float, float]) -> str:
    low, high = (show_measure(name, value) for value in usual)
    return f"up to {high}" if usual[0] == 0 else f"{low} to {high}"


def likeness_table(result: ScreeningResult, screener: Screener) -> str:
    """How far the picture lies from the training pictures: numbers, nobody's picture."""
    gate = screener.gate
    if gate is None or "unlike" not in result.measures:
        return ""
    features = _features(result)
    rows = "".join(
        f"<tr><td>{words}</td><td>{result.measures[f'unlike_{part}']:+.2f}</td>"
        f"<td>{_share_farther(result.measures[f'unlike_{part}'])}</td>"
        f"<td>{_patterns(gate.parts[part], features.get(part))}</td></tr>"
        for part, words in _PARTS.items()
    )
    limit = gate.fit.most_distance
    return f"""<h2>How like the training pictures</h2>
<p>Distance {result.measures["unlike"]:.2f}; a picture beyond {limit:.2f} is refused as unlike. The
distance is the sum of what lies above 0 below.</p>
<table><tr><th>Compared</th><th>Standard deviations beyond the validation pictures' mean</th>
<th>Of these, about so many lie farther out</th><th>Strongest patterns</th></tr>{rows}</table>
<p class="facts">The model's file holds the mean of its training pictures and the main patterns in
which they vary, and no single picture or patient: there is no nearest one to show. A pattern's
number is its rank among them; behind it stands how strong it is here, in standard deviations of the
training pictures, as far as the file tells these. The share is that of a normal distribution with
the validation pictures' mean and deviation.</p>
"""


def _features(result: ScreeningResult) -> dict[str, Floats]:
    if result.lungs is None or result.seen is None or result.embedding is None:
        return {}
    return gate_features(result.lungs.logits, result.lungs.box, result.seen, result.embedding)


def _share_farther(deviation: float) -> str:
    share = 0.5 * math.erfc(deviation / math.sqrt(2))
    return "under 1 in 1,000" if share < _LEAST_SHARE else f"{100 * share:.1f}%"


def _patterns(direction: Direction, values: Floats | None) -> str:
    if values is None:
        return "not kept"
    strength = direction.patterns(values)
    strongest = np.argsort(-np.abs(np.nan_to_num(strength)))[:_PATTERNS]
    known = [index for index in strongest if np.isfinite(strength[index])]
    return ", ".join(f"{index + 1}: {strength[index]:+.1f}" for index in known) or "not known"
