"""`report.html`: a run's results for people, in one file that opens offline.

A run's folder, its bundle and its gallery enter; one page leaves, with its style, script and
pictures inside and a policy that forbids it to load anything. What comes from outside (file names,
messages) is escaped or stands in JSON that the script turns into text, so a name cannot act.
Memory is bounded: results are read twice, line by line, and the table is capped.
"""

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from edge_app.bundle.manifest import Bundle, OperatingPoint
from edge_app.decision import Decision, Status
from edge_app.files.whole import write_whole
from edge_app.report.gallery import MOST_PICTURES, Gallery
from edge_app.results.folder import RunFolder
from edge_app.results.rows import ResultRow, RunHeader, read_results

# Rows of the table: about 3 MB of page. Beyond, those that need a reader's eyes come first.
MOST_ROWS = 20_000

_KINDS = ("suspected", "indeterminate", "clear", "refused", "failed")
_NAMES = {
    "suspected": "Pneumonia suspected",
    "indeterminate": "Indeterminate: refer",
    "clear": "No pneumonia seen",
    "refused": "Refused: not assessable",
    "failed": "Failed: not read",
}
_MARKS = {"suspected": "▲", "indeterminate": "◆", "clear": "○", "refused": "■", "failed": "✕"}
_BY_DECISION = {
    Decision.PNEUMONIA_SUSPECTED: "suspected",
    Decision.INDETERMINATE: "indeterminate",
    Decision.NO_PNEUMONIA_SEEN: "clear",
}
_PICTURED = {
    "suspected": Decision.PNEUMONIA_SUSPECTED,
    "indeterminate": Decision.INDETERMINATE,
    "refused": Decision.NOT_ASSESSABLE,
}

# What the flags of a row say to people; see `assessment.quality_flags`.
_REMARKS = {
    "age_unknown": "age unknown",
    "view_unknown": "view unknown",
    "view_outside_validation": "view not validated",
    "enlarged": "few pixels, enlarged",
}

_FINE_BINS_PER_UNIT = 8


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A size of the chart: its text is of the same size in each, so a phone gets its own."""

    name: str
    width: int
    height: int
    most_bars: int
    most_ticks: int


_DRAWINGS = (_Drawing("wide", 960, 240, 48, 14), _Drawing("narrow", 360, 200, 24, 7))


@dataclass(slots=True)
class _Counts:
    """What the first reading of the results finds."""

    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    # Kind and fine bin of the raw score.
    scores: Counter[tuple[str, int]] = field(default_factory=Counter)
    # Why those pictures were refused that are shown.
    refusals: dict[str, str] = field(default_factory=dict)

    def add(self, row: ResultRow) -> None:
        kind = kind_of(row)
        self.rows[kind] += 1
        if row.reason is not None:
            self.reasons[row.reason.value] += 1
        if row.raw_score is not None:
            self.scores[kind, int(row.raw_score * _FINE_BINS_PER_UNIT // 1)] += 1


def write_report(folder: RunFolder, bundle: Bundle, root: Path, gallery: Gallery) -> None:
    """Write a run's report.

    Args:
        folder: where the results are and the report goes.
        bundle: what scored.
        root: the folder that the rows' names are relative to; links lead there.
        gallery: the pictures.

    Raises:
        StorageError: it cannot be written.
    """
    header, rows = read_results(folder.results)
    counts = _Counts()
    shown = {picture.file for picture in gallery.pictures(Decision.NOT_ASSESSABLE)}
    for row in rows:
        counts.add(row)
        if row.message is not None and row.file in shown:
            counts.refusals[row.file] = row.message
    write_whole(folder.report, _page(folder, bundle, root, gallery, header, counts))


def kind_of(row: ResultRow) -> str:
    """Which of the report's five answers a row is."""
    if row.status is Status.SCORED:
        return _BY_DECISION[row.decision]
    return "refused" if row.status is Status.REFUSED else "failed"


def _page(
    folder: RunFolder,
    bundle: Bundle,
    root: Path,
    gallery: Gallery,
    header: RunHeader,
    counts: _Counts,
) -> Iterator[str]:
    style, script = _asset("report.css"), _asset("report.js")
    yield _head(header, style, script)
    yield _counts(counts)
    yield _chart(header, counts)
    yield _picture_places(counts, gallery)
    yield _table_place(counts)
    yield _about(bundle, header)
    facts = {"root": _link_root(folder.path, root), "kinds": _KINDS, "names": _NAMES}
    yield _data("data-run", [json.dumps(facts)])
    yield _data("data-rows", _rows(folder, counts))
    yield _data("data-pictures", _pictures(gallery, counts))
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _head(header: RunHeader, style: str, script: str) -> str:
    # Nothing may be loaded or sent, and no other script may run than this page's own.
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
<title>Chest X-ray screening: {escape(header.input)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>Chest X-ray screening for signs of pneumonia</h1>
<p class="facts">{escape(header.input)} · begun {escape(header.started_at[:16].replace("T", " "))}
UTC · model {escape(header.model_id)} · operating point {escape(header.operating_point.name)} ·
pneumoscope {escape(header.pneumoscope_version)}</p>
<p class="warning"><strong>A screening aid, no diagnosis.</strong> A person decides about each
picture. “No pneumonia seen” does not rule pneumonia out. Pictures that were refused or failed have
not been screened at all.</p>
</header>
<main>
"""


def _counts(counts: _Counts) -> str:
    total = max(counts.rows.total(), 1)
    items = "".join(
        f'<li class="{kind}"><span class="mark" aria-hidden="true">{_MARKS[kind]}</span>&nbsp;'
        f"{_NAMES[kind]}<b>{counts.rows[kind]:,}</b>"
        f"<small>{100 * counts.rows[kind] / total:.1f}% of {counts.rows.total():,}</small></li>"
        for kind in _KINDS
    )
    reasons = ", ".join(f"{escape(_plain(name))} {n:,}" for name, n in counts.reasons.most_common())
    why = f"<p>Refused or failed because: {reasons}.</p>" if reasons else ""
    return f'<h2 id="answers">Answers</h2>\n<ul class="counts">{items}</ul>\n{why}\n'


def _chart(header: RunHeader, counts: _Counts) -> str:
    """The distribution of raw scores as bars, the cut-offs as lines."""
    if not counts.scores:
        return ""
    point = header.operating_point
    return f"""<h2 id="scores">Distribution of the raw scores</h2>
<div class="chart">{"".join(_svg(drawing, header, counts) for drawing in _DRAWINGS)}</div>
<p class="facts">{counts.scores.total():,} scored files. Dark: suspected, from
{point.refer_high:+.2f}. Hatched: indeterminate. Light: nothing seen, below {point.refer_low:+.2f}.
The raw score is the network's logit.</p>
"""


def _svg(drawing: _Drawing, header: RunHeader, counts: _Counts) -> str:
    bins = [index for _, index in counts.scores]
    low, high = min(bins), max(bins) + 1
    per_bar = max(1, -(-(high - low) // drawing.most_bars))
    bars: Counter[tuple[str, int]] = Counter()
    for (kind, index), n in counts.scores.items():
        bars[kind, (index - low) // per_bar] += n
    number = -(-(high - low) // per_bar)
    tallest = max(sum(bars[kind, bar] for kind in _KINDS) for bar in range(number))
    first = low / _FINE_BINS_PER_UNIT
    last = first + number * per_bar / _FINE_BINS_PER_UNIT
    body = "".join(_bar(drawing, bars, bar, number, tallest) for bar in range(number))
    body += _cut_offs(drawing, header, first, last) + _axis(drawing, first, last, tallest)
    # A pattern in a drawing that is not shown is not drawn: each has its own.
    return f"""<svg class="{drawing.name}" viewBox="0 0 {drawing.width} {drawing.height + 60}"
role="img" aria-label="Histogram of raw scores with the two cut-offs">
<defs><pattern id="hatch-{drawing.name}" width="6" height="6" patternUnits="userSpaceOnUse"
patternTransform="rotate(45)"><rect width="6" height="6" fill="#fff"/>
<rect width="3" height="6" fill="#8a5a00"/></pattern></defs>
{body}</svg>"""


_FILLS = {"clear": "#cfe3d8", "indeterminate": "url(#hatch-{name})", "suspected": "#7d1d15"}


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


def _cut_offs(drawing: _Drawing, header: RunHeader, first: float, last: float) -> str:
    point = header.operating_point
    lines = []
    for value in {point.refer_low, point.refer_high}:
        if first <= value <= last:
            x = (value - first) / (last - first) * drawing.width
            lines.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{drawing.height + 20}" '
                'stroke="#16202a" stroke-width="1.5" stroke-dasharray="5 3"/>'
            )
    return "".join(lines)


def _axis(drawing: _Drawing, first: float, last: float, tallest: int) -> str:
    base = drawing.height + 20
    steps = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 1e9)
    step = next(s for s in steps if (last - first) / s <= drawing.most_ticks)
    ticks = []
    value = -(-first // step) * step
    while value <= last:
        x = (value - first) / (last - first) * drawing.width
        anchor = "start" if x < 15 else "end" if x > drawing.width - 15 else "middle"
        ticks.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 5}" stroke="#16202a"/>'
            f'<text x="{x:.1f}" y="{base + 20}" text-anchor="{anchor}">{value:g}</text>'
        )
        value += step
    line = f'<line x1="0" x2="{drawing.width}" y1="{base}" y2="{base}" stroke="#16202a"/>'
    title = f'<text x="{drawing.width / 2}" y="{base + 38}" text-anchor="middle">raw score</text>'
    return f'{line}{"".join(ticks)}{title}<text x="2" y="14">up to {tallest:,} files a bar</text>'


def _picture_places(counts: _Counts, gallery: Gallery) -> str:
    parts = [
        """<h2 id="pictures">Pictures to look at</h2>
<p class="lead">Lines surround where the score comes from most: thin from 60%, thick from 85% of the
map's range in that picture. They show where the network looked, not what is there.</p>
<p class="no-print"><label><input type="checkbox" id="heat" checked> show where the score comes
from</label></p>"""
    ]
    for kind, decision in _PICTURED.items():
        n, most = counts.rows[kind], MOST_PICTURES[decision]
        if n == 0:
            continue
        which = "with the highest scores" if kind != "refused" else "that came first"
        some = f": the {most} {which} of {n:,}; all are in the table" if n > most else f": {n:,}"
        parts.append(
            f'<h3 class="{kind}"><span class="mark" aria-hidden="true">{_MARKS[kind]}</span>&nbsp;'
            f"{_NAMES[kind]}{some}</h3>\n{_missing_pictures(gallery.count(decision), min(n, most))}"
            f'<div class="pictures" id="pictures-{kind}"></div>'
        )
    return "\n".join(parts) + "\n"


def _missing_pictures(there: int, wanted: int) -> str:
    if there >= wanted:
        return ""
    return (
        f"<p><strong>{wanted - there:,} of these {wanted:,} pictures are missing.</strong> They "
        "are made while files are scored: these were scored without <code>html</code> among "
        "<code>--format</code>, or <code>thumbnails.jsonl</code> was deleted. To have them, score "
        "into another folder.</p>\n"
    )


def _table_place(counts: _Counts) -> str:
    note = ""
    if counts.rows.total() > MOST_ROWS:
        note = (
            f"<p><strong>Of {counts.rows.total():,} files this table holds at most {MOST_ROWS:,}: "
            "those that are not “no pneumonia seen”, in the order of the results.</strong> All are "
            "in <code>results.csv</code> and <code>results.jsonl</code>.</p>"
        )
    return f"""<h2 id="files">Files</h2>
{note}<noscript><p>The pictures and the table need JavaScript. The same rows stand in
<code>results.csv</code>.</p></noscript>
<div class="controls">
<label>Search in names and remarks <input type="search" id="search"></label>
<label>Answer <select id="kind"><option value="">all</option></select></label>
<label class="phone">Sort by <select id="sort"></select></label>
<span><button type="button" id="previous">Previous</button>
<button type="button" id="next">Next</button></span>
<span id="status" role="status"></span>
</div>
<div class="scroll"><table><thead><tr id="head"></tr></thead><tbody id="body"></tbody></table></div>
<p id="printed" hidden>Only the first rows are printed; all are in <code>results.csv</code>.</p>
"""


def _about(bundle: Bundle, header: RunHeader) -> str:
    manifest = bundle.manifest
    population = manifest.population
    ages = population.age_years
    entries = [
        ("Model", f"{manifest.model_id} of {manifest.created}, SHA-256 {header.model_sha256}"),
        ("Runtime", f"{header.runtime} {header.runtime_version}"),
        ("Signature", f"key {bundle.signed_by}" if bundle.signed_by else "not signed"),
        ("Validated on", population.description),
        ("Age", "not stated" if ages is None else f"{ages[0]:g} to {ages[1]:g} years"),
        ("Views and sites", f"{', '.join(population.views)}; {', '.join(population.sites)}"),
        *_point_entries(_operating_point(bundle, header)),
        ("Terms", f"{manifest.provenance.licence}. {manifest.provenance.citation}"),
    ]
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f"""<h2 id="model">The model and its limits</h2>
<dl>{facts}</dl>
<ul>
<li>Figures hold for the pictures that they were measured on. Another site, machine, age or view
shifts the scores: validate on your own pictures before you rely on them.</li>
<li>The probability holds for the share of sick in the set that it was calibrated on, not for
yours.</li>
<li>The model was made to find pneumonia, and sees no other disease.</li>
<li>Not a medical device.</li>
</ul>
</main>
"""


def _operating_point(bundle: Bundle, header: RunHeader) -> OperatingPoint | None:
    points = bundle.manifest.operating_points
    wanted = (header.operating_point.name, header.model_sha256)
    return next((p for p in points if (p.name, p.model_sha256) == wanted), None)


def _point_entries(point: OperatingPoint | None) -> list[tuple[str, str]]:
    if point is None:
        return []
    split = point.fitted_on
    return [
        ("Operating point", f"{point.name}: {point.purpose}"),
        ("Sensitivity", str(point.sensitivity)),
        ("Specificity", str(point.specificity)),
        (
            "Measured on",
            f"{split.name}: {split.n_images} images of {split.n_patients} patients, threshold "
            f"{point.threshold:+.3f}",
        ),
    ]


def _rows(folder: RunFolder, counts: _Counts) -> Iterator[str]:
    """The table as JSON: [file, kind, raw score, probability, remarks] a row."""
    all_fit = counts.rows.total() <= MOST_ROWS
    written = 0
    yield "["
    for row in read_results(folder.results)[1]:
        kind = kind_of(row)
        if not all_fit and (kind == "clear" or written >= MOST_ROWS):
            continue
        values = [row.file, kind, _short(row.raw_score), _short(row.probability), _remarks(row)]
        yield ("," if written else "") + json.dumps(values, separators=(",", ":"))
        written += 1
    yield "]"


def _remarks(row: ResultRow) -> str:
    flags = [name for name, is_set in sorted(row.quality.items()) if is_set]
    return row.message or ", ".join(_REMARKS.get(name, _plain(name)) for name in flags)


def _plain(code: str) -> str:
    return code.replace("_", " ")


def _pictures(gallery: Gallery, counts: _Counts) -> Iterator[str]:
    """Thumbnails as JSON, of each answer a list; refusals with their reason."""
    yield "{"
    for place, (kind, decision) in enumerate(_PICTURED.items()):
        yield ("," if place else "") + json.dumps(kind) + ":["
        for number, thumbnail in enumerate(gallery.pictures(decision)):
            values = asdict(thumbnail) | {"refusal": counts.refusals.get(thumbnail.file)}
            yield ("," if number else "") + json.dumps(values, separators=(",", ":"))
        yield "]"
    yield "}"


def _data(name: str, chunks: Iterator[str] | list[str]) -> str:
    """A block of JSON that no text in it can end: `<` stands as an escape."""
    text = "".join(chunks).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def _link_root(out: Path, root: Path) -> str:
    """What a file's name is appended to: relative, so that both folders may move together."""
    try:
        relative = os.path.relpath(root.resolve(), out.resolve())
    except ValueError:  # another drive
        return root.resolve().as_uri() + "/"
    return quote(Path(relative).as_posix(), errors="surrogateescape") + "/"


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _asset(name: str) -> str:
    return (files("edge_app") / "report" / "assets" / name).read_text(encoding="utf-8")
