"""How the shipped bundle answers films of other sites, where a label is often a source.

A CSV with `file`, `site`, `label` and `finding` enters; for each site and what its films show, the
shares of each answer leave, with intervals. No sensitivity is made of
it: one site gives the healthy, another the sick, so a figure over both would tell sites apart.
"""

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from edge_app.decision import Decision
from edge_app.errors import DataError
from edge_app.screening.score_file import score_file
from edge_app.screening.screener import Screener
from edge_app.statistics.intervals import wilson

_COLUMNS = {"file", "site", "label", "finding"}
_ANSWERS = {
    Decision.PNEUMONIA_SUSPECTED: "suspected",
    Decision.INDETERMINATE: "indeterminate",
    Decision.NO_PNEUMONIA_SEEN: "no pneumonia seen",
    Decision.NOT_ASSESSABLE: "refused",
}
# Groups below this size say nothing.
_LEAST = 20


@dataclass(frozen=True, slots=True)
class SiteAnswers:
    """How many films of one site that show the same thing got each answer."""

    site: str
    shows: str
    answers: Counter[Decision]

    def row(self) -> str:
        """One line of the Markdown table: each share with its 95% interval."""
        n = self.answers.total()
        shares = (wilson(self.answers[decision], n) for decision in _ANSWERS)
        cells = [f"{f.value:.2f} ({f.low:.2f}–{f.high:.2f})" for f in shares]
        return f"| {self.site} | {self.shows} | {n} | {' | '.join(cells)} |"


def answer_sites(table: Path, screener: Screener) -> list[SiteAnswers]:
    """Score every film of a table; groups of fewer than 20 films are left out.

    Raises:
        DataError: not such a table.
    """
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if not set(reader.fieldnames or ()) >= _COLUMNS:
            raise DataError(f"{table}: needs the columns {', '.join(sorted(_COLUMNS))}")
        groups: dict[tuple[str, str], Counter[Decision]] = defaultdict(Counter)
        for line in reader:
            shows = line["label"].lower() or line["finding"]
            row = score_file(screener, table.parent / line["file"], line["file"])
            groups[line["site"], shows][row.decision] += 1
    found = [SiteAnswers(site, shows, answers) for (site, shows), answers in groups.items()]
    return sorted(
        (group for group in found if group.answers.total() >= _LEAST),
        key=lambda group: (group.shows, group.site),
    )


def make_table(groups: list[SiteAnswers], screener: Screener, again: str) -> str:
    """The Markdown table with what it was made of."""
    head = f"| site | films that show | n | {' | '.join(_ANSWERS.values())} |"
    model = screener.bundle.manifest.model_id
    note = (
        f"Shares of films with 95% Wilson intervals; {model} at `{screener.operating_point.name}`, "
        "whose training and fitting saw no label of theirs. A site's films show one thing only, so "
        f"no sensitivity and specificity follow. Again: `{again}`."
    )
    return "\n".join([head, "|---" * 7 + "|", *(group.row() for group in groups), "", note, ""])
