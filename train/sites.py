"""How films of other hospitals are answered, site by site.

A CSV of films enters; for each site and each reading of its films, how many are called pneumonia
and how the logits spread, leave. No AUROC over sites: there a label is a source, and a network that
told the hospitals apart would shine.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_app.errors import DataError
from edge_app.statistics.intervals import Figure, wilson
from train.checkpoint import Scorer, read_file
from train.tables import markdown_table, short

_LEAST = 5


@dataclass(frozen=True, slots=True)
class Film:
    """One film: its file, site, and what was read in it."""

    path: Path
    site: str
    reading: str


@dataclass(frozen=True, slots=True)
class Answer:
    """How the films of one site and reading are answered.

    Attributes:
        site, reading: which.
        called: share that is called pneumonia.
        mean, sd: of the logit.
    """

    site: str
    reading: str
    called: Figure
    mean: float
    sd: float


def read_films(path: Path) -> list[Film]:
    """Films of a CSV with `file` (relative to it), `site`, `label` and `finding`.

    Raises:
        DataError: no such file, a missing column, a film that is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"file", "site", "label", "finding"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path}: missing columns {sorted(missing)}")
            rows = list(reader)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    films = []
    for line, row in enumerate(rows, 2):
        film = path.parent / row["file"]
        if not film.is_file():
            raise DataError(f"{path}:{line}: {row['file']} is not there")
        films.append(Film(film, row["site"], row["label"] or row["finding"] or "not read"))
    return films


def answer(scorer: Scorer, films: Sequence[Film], threshold: float) -> tuple[Answer, ...]:
    """Score the films; readings of fewer than five films of a site are put together as `other`."""
    logits = scorer.logits([film.path for film in films], read_file)
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for film in films:
        counts[film.site, film.reading] += 1
    for film, logit in zip(films, logits, strict=True):
        reading = film.reading if counts[film.site, film.reading] >= _LEAST else "other"
        groups[film.site, reading].append(float(logit))
    return tuple(
        Answer(
            site,
            reading,
            wilson(sum(value >= threshold for value in values), len(values)),
            float(np.mean(values)),
            float(np.std(values)),
        )
        for (site, reading), values in sorted(groups.items())
    )


def in_words(answers: Sequence[Answer]) -> str:
    """The answers as a Markdown table."""
    header = ("site", "read as", "n", "called pneumonia", "mean logit (SD)")
    rows = [
        (a.site, a.reading, str(a.called.n), short(a.called), f"{a.mean:+.2f} ({a.sd:.2f})")
        for a in answers
    ]
    return markdown_table(header, rows)
