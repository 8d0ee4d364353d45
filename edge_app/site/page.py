"""The frame of the pages that a site prints: one file, no script, nothing that is loaded."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from edge_app.statistics.intervals import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #16202a; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; break-after: avoid; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #c9d0d6;
  vertical-align: top; }
tr { break-inside: avoid; } thead { display: table-header-group; }
.scroll { overflow-x: auto; } figure { margin: 1rem 0; break-inside: avoid; }
figure svg { max-width: 100%; height: auto; }
figcaption, .facts { color: #44505a; font-size: .9rem; }
.notice { border-left: 4px solid #7d1d15; padding: .4rem .8rem; background: #f6efee; }
td { white-space: nowrap; } td:first-child { white-space: normal; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; } .pair figure { flex: 1 1 20rem; }
@media print { .scroll { overflow: visible; }
  body { margin: 0; max-width: none; font-size: 11px; } }
"""


def page(title: str, body: Iterable[str]) -> Iterator[str]:
    """A page of HTML parts, in pieces."""
    yield f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
"""
    yield from body
    yield "</body>\n</html>\n"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>\n' if kind else f"<p>{escape(text)}</p>\n"


def heading(text: str) -> str:
    """A heading of plain text."""
    return f"<h2>{escape(text)}</h2>\n"


def figure(drawing: str, caption: str) -> str:
    """A drawing and what it shows."""
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
        "</div>\n"
    )


def show(figure: Figure | None, per: int = 1) -> str:
    """A share with its interval for people: `0.91 (0.85-0.95)`; `per` 100 gives `23 (17-30)`."""
    if figure is None:
        return "nobody gets it"
    digits = ".0f" if per > 1 else ".2f"
    value, low, high = (format(per * x, digits) for x in (figure.value, figure.low, figure.high))
    return f"{value} ({low}-{high})"
