"""`report.html`: a run's results for the person who must act, in one file that opens offline.

A run's folder, its bundle and its gallery enter; one page leaves: a worklist, what needs a look
first. Style, script and pictures stand inside, and a policy forbids it to load anything. What comes
from outside (file names, messages) is escaped or stands in JSON that the script turns into text, so
a name cannot act. Memory is bounded: results are read twice, line by line, and the table is capped.
"""

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from edge_app.bundle.manifest import Bundle, Calibration, OperatingPoint
from edge_app.decision import Decision, Reason, show_probability
from edge_app.files.bucket import address_of, is_in_bucket
from edge_app.files.whole import write_whole
from edge_app.report.gallery import MOST_PICTURES, Gallery
from edge_app.report.histogram import Histogram
from edge_app.report.words import (
    KINDS,
    MARKS,
    NAMES,
    OF_THE_WHOLE,
    kind_of,
    reason_words,
    remarks,
)
from edge_app.results.folder import RunFolder
from edge_app.results.identifiers import IDENTIFIERS
from edge_app.results.rows import OTHER_INPUTS, ResultRow, RunHeader, read_results, with_staleness
from edge_app.results.run_end import RunEnd, left_out_words
from edge_app.screening.heat_scale import CORE, WHAT_IT_IS

# Rows of the table: about 3 MB of page. Beyond, those that need a reader's eyes come first.
MOST_ROWS = 20_000
# Of so many scored files, more than half suspected says something of the folder, not of children.
_ENOUGH_TO_WONDER = 10

_PICTURED = {
    "suspected": Decision.PNEUMONIA_SUSPECTED,
    "indeterminate": Decision.INDETERMINATE,
    "unscreened": Decision.NOT_ASSESSABLE,
}


@dataclass(slots=True)
class _Counts:
    """What the first reading of the results finds."""

    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    scores: Histogram = field(default_factory=Histogram)
    last_scored_at: str = ""
    # By file, how many of its rows are of content that was overwritten since.
    stale: Mapping[str, int] = field(default_factory=dict)
    end: RunEnd | None = None
    # Why those pictures were refused that are shown.
    refusals: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.rows.total()

    @property
    def scored(self) -> int:
        return self.total - self.rows["unscreened"]

    def add(self, row: ResultRow) -> None:
        kind = kind_of(row)
        self.rows[kind] += 1
        self.last_scored_at = max(self.last_scored_at, row.scored_at)
        if row.reason is not None:
            self.reasons[row.reason] += 1
        if row.raw_score is not None:
            self.scores.add(kind, row.raw_score)
            self.flags.update(name for name in OF_THE_WHOLE if row.quality.get(name))


def write_report(
    folder: RunFolder,
    bundle: Bundle,
    root: Path,
    gallery: Gallery,
    stale: Mapping[str, int],
    end: RunEnd | None = None,
) -> None:
    """Write a run's report.

    Args:
        folder: where the results are and the report goes.
        bundle: what scored.
        root: the folder that the rows' names are relative to; links lead there.
        gallery: the pictures.
        stale: by file, how many of its rows are of content that was overwritten since.
        end: how the run ended, None where that is not known.

    Raises:
        StorageError: it cannot be written.
    """
    header, _ = read_results(folder.results)
    counts = _Counts(stale=stale, end=end)
    shown = {picture.file for picture in gallery.pictures(Decision.NOT_ASSESSABLE)}
    for row in _current_rows(folder, counts):
        counts.add(row)
        if row.file in shown:
            counts.refusals[row.file] = remarks(row)
    write_whole(folder.report, _page(folder, bundle, root, gallery, header, counts))


def _page(
    folder: RunFolder,
    bundle: Bundle,
    root: Path,
    gallery: Gallery,
    header: RunHeader,
    counts: _Counts,
) -> Iterator[str]:
    style, script = _asset("report.css"), _asset("map.js") + _asset("report.js")
    yield _head(header, counts, style, script)
    yield _warnings(bundle, header, counts)
    yield _answers(counts)
    yield _worklist(header, counts, gallery)
    yield _chart(header, bundle, counts)
    yield _unscreened(counts, gallery)
    yield _table_place(counts)
    yield _about(bundle, header)
    facts = {
        # A pseudonym leads to no file.
        "root": None if IDENTIFIERS in header.parameters else _link_root(folder.path, root),
        "kinds": KINDS,
        "names": NAMES,
        "marks": MARKS,
        # One absolute scale for the heat of every picture; null where none was asked for.
        "contour": header.operating_point.refer_high + CORE if _has_heat(header) else None,
    }
    yield _data("data-run", [json.dumps(facts)])
    yield _data("data-rows", _rows(folder, counts))
    yield _data(
        "data-pictures", _pictures(folder, header, gallery, counts, _calibration(bundle, header))
    )
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _head(header: RunHeader, counts: _Counts, style: str, script: str) -> str:
    # Nothing may be loaded or sent, and no other script may run than this page's own.
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    until = f" to {_time(counts.last_scored_at)}" if counts.last_scored_at else ""
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
<p class="facts">{escape(_inputs(header))} · {counts.total:,} files ·
{_time(header.started_at)}{until}</p>
{_lead(counts)}
<p class="warning"><strong>A screening aid, no diagnosis.</strong> A person decides about each
picture. “No pneumonia seen” does not rule pneumonia out. A picture that was not screened has no
answer at all.</p>
</header>
<main>
"""


def _inputs(header: RunHeader) -> str:
    """All that the run was given, as far as its header names it."""
    others = str(header.parameters.get(OTHER_INPUTS, ""))
    names = [header.input, *others.splitlines()]
    left = int(header.parameters.get("inputs", 1)) - len(names)
    return ", ".join(names) + (f" and {left} more" if left > 0 else "")


def _lead(counts: _Counts) -> str:
    """Where to begin, before anything else is read."""
    kinds = [kind for kind in ("suspected", "indeterminate") if counts.rows[kind]]
    first = ""
    if kinds:
        number = sum(counts.rows[kind] for kind in kinds)
        of_each = ", ".join(f"{counts.rows[kind]:,} {kind}" for kind in kinds)
        films = "film" if number == 1 else "films"
        first = f'<a href="#worklist">Look first at {number:,} {films}: {of_each}</a>'
    return f'<p class="lead no-print">{first} <a href="#files">All files in a table</a></p>'


def _time(utc: str) -> str:
    """A time that the script turns into the reader's own; without it, UTC."""
    return f'<time datetime="{escape(utc)}">{escape(utc[:16].replace("T", " "))} UTC</time>'


def _warnings(bundle: Bundle, header: RunHeader, counts: _Counts) -> str:
    """What holds for the folder as a whole, once."""
    population = bundle.manifest.population
    sentences = [*_of_the_end(header, counts.end), *map(escape, bundle.remarks)]
    if counts.scored >= _ENOUGH_TO_WONDER and counts.rows["suspected"] > counts.scored / 2:
        sentences.append(
            "More than half of the screened pictures are suspected. Where that is not expected, "
            "these pictures may differ from those that the model was validated on."
        )
    age, view = (counts.flags[name] for name in OF_THE_WHOLE)
    if age or view:
        ages = population.age_years
        whom = "" if ages is None else f" of {ages[0]:g} to {ages[1]:g} years"
        views = " or ".join(population.views)
        sentences.append(
            f"Of {counts.scored:,} screened pictures the age is unknown for {age:,} and the view "
            f"for {view:,}: the model is validated for patients{whom} and the view "
            f"{escape(views)} only."
        )
    if counts.stale:
        sentences.append(
            f"{sum(counts.stale.values()):,} earlier answers are left out, since their files were "
            "overwritten; they stand in the table of results, marked stale."
        )
    return "".join(f'<p class="notice">{sentence}</p>\n' for sentence in sentences)


def _of_the_end(header: RunHeader, end: RunEnd | None) -> list[str]:
    """Whether all pictures stand here, and which files are no pictures."""
    sentences = []
    if header.parameters.get("watch"):
        sentences.append("What arrived after this page was made does not stand in it.")
    elif end is None or not end.complete:
        sentences.append(
            "<strong>This run has not come to its end: pictures are missing here.</strong> The "
            "command that began it goes on."
        )
    if end is not None and end.left_out:
        sentences.append(
            f"Files that are no pictures were left out: {escape(left_out_words(end.left_out))}."
        )
    return sentences


def _answers(counts: _Counts) -> str:
    total = max(counts.total, 1)
    items = "".join(
        f'<li class="{kind}"><span class="mark" aria-hidden="true">{MARKS[kind]}</span>&nbsp;'
        f"{NAMES[kind]}<b>{counts.rows[kind]:,}</b>"
        f"<small>{100 * counts.rows[kind] / total:.1f}% of {counts.total:,}</small></li>"
        for kind in KINDS
    )
    return f'<h2 id="answers">Answers</h2>\n<ul class="counts">{items}</ul>\n'


def _worklist(header: RunHeader, counts: _Counts, gallery: Gallery) -> str:
    if not counts.rows["suspected"] and not counts.rows["indeterminate"]:
        return ""
    heat = ""
    if _has_heat(header):
        heat = (
            '<p class="no-print"><label><input type="checkbox" id="heat"> outline where the score '
            f"comes from</label><br><small>{escape(WHAT_IT_IS)}</small></p>"
        )
    return f"""<h2 id="worklist">Look at these first</h2>
{heat}
{_picture_place("suspected", "with the highest probability", counts, gallery)}
{_picture_place("indeterminate", "with the highest probability", counts, gallery)}
"""


def _has_heat(header: RunHeader) -> bool:
    """Whether heatmaps were asked for; pictures of other runs have a map that nobody tested."""
    return "heatmaps" in header.parameters


def _picture_place(kind: str, which: str, counts: _Counts, gallery: Gallery) -> str:
    n, most = counts.rows[kind], MOST_PICTURES[_PICTURED[kind]]
    if n == 0:
        return ""
    some = f": the {most} {which} of {n:,}; all are in the table" if n > most else f": {n:,}"
    missing = ""
    if kind != "unscreened":  # of those, files that could not be read have none
        missing = _missing_pictures(gallery.count(_PICTURED[kind]), min(n, most))
    return (
        f'<h3 class="{kind}"><span class="mark" aria-hidden="true">{MARKS[kind]}</span>&nbsp;'
        f'{NAMES[kind]}{some}</h3>\n{missing}<div class="pictures" id="pictures-{kind}"></div>'
    )


def _missing_pictures(there: int, wanted: int) -> str:
    if there >= wanted:
        return ""
    return (
        f"<p><strong>{wanted - there:,} of these {wanted:,} pictures are missing.</strong> They "
        "are made while files are scored: these were scored without <code>html</code> among "
        "<code>--format</code>, or <code>thumbnails.jsonl</code> was deleted. To have them, score "
        "into another folder.</p>\n"
    )


def _chart(header: RunHeader, bundle: Bundle, counts: _Counts) -> str:
    """The distribution of scores as bars, the cut-offs as lines."""
    point, calibration = header.operating_point, _calibration(bundle, header)
    drawings = counts.scores.draw(point, calibration)
    if not drawings:
        return ""
    low, high = (calibration.probability(x) for x in (point.refer_low, point.refer_high))
    return f"""<h2 id="scores">How the probabilities are spread</h2>
<div class="chart">{drawings}</div>
<p class="facts">{counts.scored:,} screened files. Light: no pneumonia seen, below
{escape(show_probability(low))}. Hatched: indeterminate. Dark: suspected, from
{escape(show_probability(high))}.</p>
"""


def _unscreened(counts: _Counts, gallery: Gallery) -> str:
    if not counts.rows["unscreened"]:
        return ""
    reasons = "".join(
        f"<li>{escape(reason_words(reason))}: {n:,}</li>"
        for reason, n in counts.reasons.most_common()
    )
    return f"""<h2 id="unscreened">Not screened</h2>
<p>These have no answer. Each stands in the table with what can be done.</p>
<ul>{reasons}</ul>
{_picture_place("unscreened", "that came first", counts, gallery)}
"""


def _table_place(counts: _Counts) -> str:
    note = ""
    if counts.total > MOST_ROWS:
        note = (
            f"<p><strong>Of {counts.total:,} files this table holds at most {MOST_ROWS:,}: "
            "those that are not “no pneumonia seen”, in the order of the results.</strong> All are "
            "in <code>results.csv</code> and <code>results.jsonl</code>.</p>"
        )
    return f"""<h2 id="files">All files</h2>
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
        ("Program", f"pneumoscope {header.pneumoscope_version}"),
        ("Model", f"{manifest.model_id} of {manifest.created}, SHA-256 {header.model_sha256}"),
        ("Runtime", f"{header.runtime} {header.runtime_version}"),
        ("Signature", f"key {bundle.signed_by}" if bundle.signed_by else "not signed"),
        *(("A research model, lacks", text) for text in bundle.lacks),
        ("Validated on", population.description),
        ("Age", "not stated" if ages is None else f"{ages[0]:g} to {ages[1]:g} years"),
        ("Views and sites", f"{', '.join(population.views)}; {', '.join(population.sites)}"),
        *_point_entries(header, _operating_point(bundle, header)),
        *_site_entries(header),
        ("Terms", f"{manifest.provenance.licence}. {manifest.provenance.citation}"),
    ]
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f"""<h2 id="model">The model and its limits</h2>
<dl>{facts}</dl>
<ul>
<li>Figures hold for the pictures that they were measured on. Another site, machine, age or view
shifts the scores: validate on your own pictures before you rely on them.</li>
<li>{_whose_probability(header)}</li>
<li>The model was made to find pneumonia, and sees no other disease.</li>
<li>Not a medical device.</li>
</ul>
</main>
<dialog id="viewer" aria-label="One film" tabindex="-1"></dialog>
"""


def _site_entries(header: RunHeader) -> list[tuple[str, str]]:
    """The profile of a site that decided in place of the bundle, where one did."""
    facts = header.parameters
    if "site" not in facts:
        return []
    text = f"{facts['site']}, SHA-256 {facts['site_sha256']}, signed with {facts['site_signed_by']}"
    return [("Site profile", text)]


def _whose_probability(header: RunHeader) -> str:
    if "site" in header.parameters:
        return (
            "The probability is calibrated on films of the site "
            f"{escape(str(header.parameters['site']))}, and holds for the share of sick that its "
            "profile states."
        )
    return (
        "The probability holds for the share of sick in the set that it was calibrated on, not "
        "for yours."
    )


def _calibration(bundle: Bundle, header: RunHeader) -> Calibration:
    """That of the model that scored; a run goes on only with the very bundle it was begun with."""
    found = (c for c in bundle.manifest.calibration if c.model_sha256 == header.model_sha256)
    return next(found)


def _operating_point(bundle: Bundle, header: RunHeader) -> OperatingPoint | None:
    points = bundle.manifest.operating_points
    wanted = (header.operating_point.name, header.model_sha256)
    return next((p for p in points if (p.name, p.model_sha256) == wanted), None)


def _point_entries(header: RunHeader, point: OperatingPoint | None) -> list[tuple[str, str]]:
    if point is None:  # a site's, or cut-offs of one's own
        return [("Operating point", header.operating_point.name)]
    split = point.fitted_on
    return [
        ("Operating point", f"{point.name}: {point.purpose}"),
        ("Sensitivity", str(point.sensitivity)),
        ("Specificity", str(point.specificity)),
        ("Measured on", f"{split.name}: {split.n_images} images of {split.n_patients} patients"),
    ]


def _current_rows(folder: RunFolder, counts: _Counts) -> Iterator[ResultRow]:
    rows = with_staleness(read_results(folder.results)[1], counts.stale)
    return (row for row, is_stale in rows if not is_stale)


def _rows(folder: RunFolder, counts: _Counts) -> Iterator[str]:
    """The table as JSON: [file, kind, probability, remarks] a row."""
    all_fit = counts.total <= MOST_ROWS
    written = 0
    yield "["
    for row in _current_rows(folder, counts):
        kind = kind_of(row)
        if not all_fit and (kind == "clear" or written >= MOST_ROWS):
            continue
        values = [row.file, kind, _short(row.probability), remarks(row)]
        yield ("," if written else "") + json.dumps(values, separators=(",", ":"))
        written += 1
    yield "]"


def _pictures(
    folder: RunFolder,
    header: RunHeader,
    gallery: Gallery,
    counts: _Counts,
    calibration: Calibration,
) -> Iterator[str]:
    """Films as JSON, of each answer a list; with the reason of a refusal, the file of a heatmap."""
    yield "{"
    for place, (kind, decision) in enumerate(_PICTURED.items()):
        yield ("," if place else "") + json.dumps(kind) + ":["
        for number, thumbnail in enumerate(gallery.pictures(decision)):
            score = thumbnail.raw_score
            heatmap = folder.heatmap(thumbnail.file)
            has_heat = _has_heat(header) and heatmap.is_file()
            values = asdict(thumbnail) | {
                "refusal": counts.refusals.get(thumbnail.file),
                "heatmap": heatmap.relative_to(folder.path).as_posix() if has_heat else None,
                "probability": None if score is None else _short(calibration.probability(score)),
            }
            del values["raw_score"]
            yield ("," if number else "") + json.dumps(values, separators=(",", ":"))
        yield "]"
    yield "}"


def _data(name: str, chunks: Iterator[str] | list[str]) -> str:
    """A block of JSON that no text in it can end: `<` stands as an escape."""
    text = "".join(chunks).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def _link_root(out: Path, root: Path) -> str:
    """What a file's name is appended to: relative, so that both folders may move together."""
    if is_in_bucket(root):
        return quote(address_of(root), safe=":/") + "/"
    try:
        relative = os.path.relpath(root.resolve(), out.resolve())
    except ValueError:  # another drive
        return root.resolve().as_uri() + "/"
    return quote(Path(relative).as_posix(), errors="surrogateescape") + "/"


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _asset(name: str) -> str:
    return (files("edge_app") / "report" / "assets" / name).read_text(encoding="utf-8")
