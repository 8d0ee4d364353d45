"""One page about one picture's answer, in one file that opens offline.

A `Radiograph` and its `ScreeningResult` enter, HTML leaves: the picture, whose window and level
the reader sets, the lungs as found, the heat, the score among the cut-offs, each flag with its
sentence. A policy forbids it to load anything; names from outside are escaped.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from html import escape
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.decision import Decision, show_probability
from edge_app.images.radiograph import Radiograph
from edge_app.report.picture_numbers import likeness_table, measures_table
from edge_app.report.words import (
    FLAG_SENTENCES,
    FLAGS,
    KINDS,
    MARKS,
    NAMES,
    plain,
    reason_words,
)
from edge_app.screening.flaws import show_flag
from edge_app.screening.heat_scale import CORE, FULL, WHAT_IT_IS
from edge_app.screening.heatmap import Heatmap, pixel_box
from edge_app.screening.screener import Screener, ScreeningResult

_LONGEST_SIDE = 1024
# The greys that no window can reach beyond: what lies outside them is a marker or a dead pixel.
_PERCENTILES = (0.01, 99.99)
_CELLS = 48
_KINDS = dict(
    zip(
        (
            Decision.PNEUMONIA_SUSPECTED,
            Decision.INDETERMINATE,
            Decision.NOT_ASSESSABLE,
            Decision.NO_PNEUMONIA_SEEN,
        ),
        KINDS,
        strict=True,
    )
)
_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def explanation_page(
    name: str, radiograph: Radiograph, result: ScreeningResult, screener: Screener
) -> Iterator[str]:
    """The page, piece by piece.

    Args:
        name: of the file, for people.
        radiograph: the picture.
        result: its answer, with its heatmap where it has one.
        screener: that gave it.
    """
    style, script = _asset("explanation.css"), _asset("map.js") + _asset("explanation.js")
    yield _head(name, style, script)
    yield _answer(name, result, screener)
    yield _viewer(result)
    yield _flags(result)
    yield measures_table(result, screener)
    yield likeness_table(result, screener)
    yield _numbers(radiograph, result, screener)
    facts = json.dumps(_facts(radiograph, result)).replace("<", "\\u003c")
    yield f'</main><script type="application/json" id="data">{facts}</script>\n'
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _head(name: str, style: str, script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}: chest X-ray screening</title>
<style>{style}</style>
</head>
<body>
<main>
"""


def _answer(name: str, result: ScreeningResult, screener: Screener) -> str:
    kind = _KINDS[result.decision]
    why = ""
    if result.reason is not None:
        words = f"{reason_words(result.reason)}: {result.message}"
        why = f"<p>{escape(words[:1].upper() + words[1:])}.</p>"
    scale = ""
    if result.raw_score is not None and result.probability is not None:
        text = show_probability(result.probability)
        why = f"<p>Probability of pneumonia: <b>{escape(text)}</b></p>"
        scale = _scale(result.raw_score, screener)
    mark = f'<span aria-hidden="true">{MARKS[kind]}</span>&nbsp;{NAMES[kind]}'
    return f"""<h1><span class="mark {kind}">{mark}</span></h1>
<p class="facts">{escape(name)}</p>
{why}
{scale}
{_notices(screener)}
<p class="warning"><strong>A screening aid, no diagnosis.</strong> A person decides. “No pneumonia
seen” does not rule pneumonia out.</p>
"""


def _notices(screener: Screener) -> str:
    """What holds for every answer of this model."""
    bundle = screener.bundle
    sentences = list(bundle.remarks)
    return "".join(f'<p class="notice">{escape(sentence)}</p>\n' for sentence in sentences)


def _scale(raw_score: float, screener: Screener) -> str:
    """The score on a line with the cut-offs: linear in the raw score, labelled by probability."""
    point, calibration = screener.operating_point, screener.calibration
    span = [raw_score, point.refer_low - 3, point.refer_high + 3]
    first, last = min(span) - 0.5, max(span) + 0.5

    def place(value: float) -> str:
        return f"{100 * (value - first) / (last - first):.2f}"

    low, high = place(point.refer_low), place(point.refer_high)
    ticks = "".join(
        f'<span class="tick" style="left:{place(value)}%">{probability:g}</span>'
        for probability in _TICKS
        if first < (value := calibration.raw_score(probability)) < last
    )
    below, above = (
        show_probability(calibration.probability(cut))
        for cut in (point.refer_low, point.refer_high)
    )
    return f"""<div class="scale" role="img" aria-label="The probability on a scale: below {
        escape(below)
    } no pneumonia seen, from {escape(above)} suspected">
<div class="bands"><i class="clear" style="left:0;width:{low}%"></i>
<i class="indeterminate" style="left:{low}%;right:calc(100% - {high}%)"></i>
<i class="suspected" style="left:{high}%;right:0"></i>
<b class="needle" style="left:{place(raw_score)}%"></b></div>
<div class="ticks">{ticks}</div></div>
<p class="facts">Green: no pneumonia seen, below {escape(below)}. Hatched: indeterminate, refer.
Red: suspected, from {escape(above)}. Operating point {escape(point.name)}.</p>
"""


def _viewer(result: ScreeningResult) -> str:
    heat = ""
    if result.heatmap is not None:
        heat = f"""<label>Heat <input type="range" id="heat" min="0" max="100" value="0"></label>
<p class="facts" id="legend"><span class="bar" aria-hidden="true"></span> from the cut-off for a
suspicion upwards, one scale for all films; the white line is its core. <b id="none" hidden>This
film has no heat: no part of the lungs reaches the cut-off.</b> {escape(WHAT_IT_IS)}</p>"""
    elif result.raw_score is not None:
        heat = '<p class="facts">This model gives no map of where its score comes from.</p>'
    lungs = ""
    if result.lungs is not None:
        lungs = '<label><input type="checkbox" id="lungs" checked> lungs as found</label>'
    return f"""<h2>The picture</h2>
<noscript><p>The picture needs JavaScript.</p></noscript>
<div class="viewer">
<canvas id="film" tabindex="0" role="img" aria-label="Chest X-ray; drag or use the arrow keys to
change window and level"></canvas>
<div class="controls">
<label>Window (contrast) <input type="range" id="window" min="1" max="255" value="255"></label>
<label>Level (brightness) <input type="range" id="level" min="0" max="255" value="127"></label>
<label><input type="checkbox" id="inverted"> inverted greys</label>
{lungs}
{heat}
<p><button type="button" id="reset">As it was</button></p>
<p class="facts">Drag on the picture, or use its arrow keys: across for the window, up and down for
the level. Keys: H heat, L lungs, I inverted, R as it was.</p>
</div></div>
"""


def _flags(result: ScreeningResult) -> str:
    set_ones = [flag for flag, is_set in sorted(result.quality.items()) if is_set]
    if not set_ones:
        return "<h2>Flags</h2><p>None is set.</p>\n"
    items = "".join(
        f"<dt>{escape(_named(flag, result))}</dt><dd>{escape(_sentence(flag))}</dd>"
        for flag in set_ones
    )
    return f"<h2>Flags</h2><dl>{items}</dl>\n"


def _named(flag: str, result: ScreeningResult) -> str:
    number = show_flag(flag, result.measures)
    return f"{plain(flag)} ({number})" if number else plain(flag)


def _sentence(flag: str) -> str:
    return FLAG_SENTENCES.get(flag) or FLAGS.get(flag) or plain(flag)


def _numbers(radiograph: Radiograph, result: ScreeningResult, screener: Screener) -> str:
    manifest = screener.bundle.manifest
    width, height = radiograph.original_size
    entries = [
        ("Picture", f"{radiograph.source_format}, {width} x {height} pixels"),
        ("SHA-256 of the file", radiograph.sha256),
        ("Model", f"{manifest.model_id}, {result.runtime}"),
        ("SHA-256 of the model", result.model_sha256),
        ("Validated on", manifest.population.description),
    ]
    if result.raw_score is not None:
        entries.insert(1, ("Raw score", f"{result.raw_score:.3f}"))
    if result.lungs is not None:
        box = result.lungs.box
        entries.insert(
            1,
            (
                "Lungs' box",
                f"left {box.left:.2f}, top {box.top:.2f}, right {box.right:.2f}, bottom "
                f"{box.bottom:.2f} of the picture; certainty {box.certainty:.2f}",
            ),
        )
    if result.heatmap is not None:
        x, y = result.heatmap.hottest()
        entries.insert(1, ("Hottest point", f"{x:.2f} from the left, {y:.2f} from the top"))
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f"<h2>Numbers</h2><dl>{facts}</dl>\n"


def _facts(radiograph: Radiograph, result: ScreeningResult) -> dict[str, object]:
    """What the script draws: the picture, the lungs' mask and the heat, each over all of it."""
    turns = 0 if result.lungs is None else result.lungs.quarter_turns
    picture, window = _whole_range(radiograph, turns)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    heat = None
    if result.heatmap is not None:
        heat = _heat(result.heatmap)
    mask = [] if result.lungs is None else result.lungs.mask.astype(int).tolist()
    return {
        "png": base64.b64encode(stream.getvalue()).decode("ascii"),
        "window": window,
        "lungs": mask,
        "heat": heat,
    }


def _whole_range(
    radiograph: Radiograph, turns: int
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """The picture in 8 bits over all of its greys, and the window that shows most of it."""
    pixels = np.rot90(radiograph.pixels, -turns).astype(np.float32)
    image = Image.fromarray(pixels)
    scale = min(1.0, _LONGEST_SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))
    low, high = (float(value) for value in np.percentile(small, _PERCENTILES))
    span = max(high - low, 1.0)
    grey = np.rint(np.clip((small - low) * (255 / span), 0, 255)).astype(np.uint8)
    shown_low, shown_high = (float(value) for value in np.percentile(grey, (0.5, 99.5)))
    wide = max(1, round(shown_high - shown_low))
    return grey, (wide, round((shown_low + shown_high) / 2))


def _heat(heatmap: Heatmap) -> dict[str, object]:
    height, width = heatmap.picture.shape
    values = Image.fromarray(heatmap.values.astype(np.float32))
    cells = np.asarray(values.resize((_CELLS, _CELLS), Image.Resampling.BILINEAR), np.float64)
    left, top, right, bottom = pixel_box(heatmap.frame, width, height)
    return {
        "frame": (left / width, top / height, right / width, bottom / height),
        "values": cells.round(2).tolist(),
        "from": heatmap.level,
        "core": heatmap.level + CORE,
        "full": heatmap.level + FULL,
    }


def _asset(name: str) -> str:
    return (files("edge_app") / "report" / "assets" / name).read_text(encoding="utf-8")
