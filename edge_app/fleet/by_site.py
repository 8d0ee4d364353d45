"""What a campaign says of each site and each device, asked of its Parquet files by DuckDB.

Counts, days and scores leave; what follows from them is `drift` and `calibration`. No device's
clock is believed: answers of days that cannot be are counted, and are in nothing that has to do
with time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_app.device.clock import EARLIEST
from edge_app.fleet.campaign import ANSWERS_FILE
from edge_app.statistics.intervals import Figure, wilson
from edge_app.statistics.observations import BoolArray, FloatArray

if TYPE_CHECKING:
    pass

# What DuckDB may use; with the rest of the process it stays below 1 GB.
_MEMORY = "384MB"


@dataclass(frozen=True, slots=True)
class SiteCounts:
    """Of a site.

    Attributes:
        site: its name.
        devices: with an answer.
        answers, scored, refused, failed: how many.
        suspected, referred: share of the scored; null where there is none. Referred are suspected
            and indeterminate ones.
        labelled: answers whose truth is known.
        impossible_days: answers of days that cannot be.
        first, last: day of an answer, of those that can be.
        median_ms: for an answer.
    """

    site: str
    devices: int
    answers: int
    scored: int
    refused: int
    failed: int
    suspected: Figure | None
    referred: Figure | None
    labelled: int
    impossible_days: int
    first: date | None
    last: date | None
    median_ms: float


@dataclass(frozen=True, slots=True)
class Films:
    """What one model saw at a site, before the last weeks and in them.

    Attributes:
        site, model_id, model_sha256: whose.
        scores_before, scores: (n,) raw scores.
        answers_before, answers: how many were scored, or not for which reason.
    """

    site: str
    model_id: str
    model_sha256: str
    scores_before: FloatArray
    scores: FloatArray
    answers_before: dict[str, int]
    answers: dict[str, int]


@dataclass(frozen=True, slots=True)
class LabelledFilms:
    """Films of a site whose truth is known, of each picture the last answer.

    Attributes:
        site: whose.
        labels: (n,) pneumonia.
        probabilities, scores: (n,).
        is_referred, is_suspected: (n,) by the decision.
        patients: (n,) films of one patient share one.
    """

    site: str
    labels: BoolArray
    probabilities: FloatArray
    scores: FloatArray
    is_referred: BoolArray
    is_suspected: BoolArray
    patients: "np.ndarray[Any, np.dtype[Any]]"


class Questions:
    """An open campaign."""

    def __init__(self, folder: Path, as_of: date) -> None:
        """Open the answers of a campaign.

        Args:
            folder: of its files.
            as_of: the day that is called today.
        """
        import duckdb

        self._database: duckdb.DuckDBPyConnection = duckdb.connect()
        # Nothing is fetched: an extension that is lacking is an error.
        self._database.execute("SET autoinstall_known_extensions = false")
        self._database.execute(f"SET memory_limit = '{_MEMORY}'")
        self._database.execute("SET temp_directory = ?", [str(folder / ".duckdb")])
        answers = self._database.read_parquet(str(folder / ANSWERS_FILE))
        answers.create_view("answers")
        # A day in hand: where a device stands, tomorrow may have begun.
        self._days = [date.fromisoformat(EARLIEST[:10]), as_of + timedelta(days=1)]

    def close(self) -> None:
        """Let go of it."""
        self._database.close()

    def __enter__(self) -> "Questions":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def sites(self) -> list[SiteCounts]:
        """Every site that has an answer, by name."""
        rows = self._database.execute(_SITES, self._days).fetchall()
        return [_site(row) for row in rows]

    def impossible_days(self) -> dict[str, int]:
        """Devices whose answers have days that cannot be, and how many."""
        return dict(self._database.execute(_IMPOSSIBLE, self._days).fetchall())

    def last_answers(self) -> dict[str, date]:
        """The day of the last answer of each device, of days that can be."""
        return dict(self._database.execute(_LAST, self._days).fetchall())

    def films(self, since: date) -> Iterator[Films]:
        """What each site's model of the last weeks saw, before `since` and from it on."""
        self._database.execute(_USED, [*self._days, since])
        words: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
        counts = self._database.execute(_WORDS, [since, *self._days])
        for site, is_new, word, n in counts.fetchall():
            words.setdefault(site, ({}, {}))[is_new][word] = n
        scores = self._database.execute(_SCORES, [since, since, *self._days])
        while rows := scores.fetchmany(1):
            site, model_id, sha256, before, now = rows[0]
            yield Films(site, model_id, sha256, _floats(before), _floats(now), *words[site])

    def labelled(self) -> Iterator[LabelledFilms]:
        """The films whose truth is known, site by site."""
        found = self._database.execute(_LABELLED).fetchnumpy()
        sites = np.asarray(found["site"])
        ends = np.flatnonzero(sites[1:] != sites[:-1]) + 1
        for some in np.split(np.arange(sites.size), ends):
            if some.size:
                columns = (np.asarray(found[name])[some] for name in _LABELLED_COLUMNS)
                yield LabelledFilms(str(sites[some[0]]), *columns)


def _site(row: Sequence[Any]) -> SiteCounts:
    scored, suspected, referred = row[3], row[6], row[7]
    shares = [wilson(n, scored) if scored else None for n in (suspected, referred)]
    return SiteCounts(*row[:6], *shares, *row[8:])


def _floats(values: Sequence[float] | None) -> FloatArray:
    return np.array(values or [], dtype=np.float64)


def together(films: Sequence[LabelledFilms]) -> LabelledFilms:
    """The films of all sites."""
    return LabelledFilms(
        "all sites",
        np.concatenate([f.labels for f in films]),
        np.concatenate([f.probabilities for f in films]),
        np.concatenate([f.scores for f in films]),
        np.concatenate([f.is_referred for f in films]),
        np.concatenate([f.is_suspected for f in films]),
        np.concatenate([f.patients for f in films]),
    )


_SITES = """
    SELECT site, count(DISTINCT device), count(*),
        count_if(status = 'scored'), count_if(status = 'refused'), count_if(status = 'failed'),
        count_if(decision = 'pneumonia_suspected'),
        count_if(decision IN ('pneumonia_suspected', 'indeterminate')),
        count(label),
        count_if(NOT (answered_on BETWEEN $1 AND $2)),
        min(answered_on) FILTER (answered_on BETWEEN $1 AND $2),
        max(answered_on) FILTER (answered_on BETWEEN $1 AND $2),
        approx_quantile(total_ms, 0.5)
    FROM answers GROUP BY site ORDER BY site"""
_IMPOSSIBLE = """
    SELECT device, count(*) FROM answers WHERE NOT (answered_on BETWEEN $1 AND $2)
    GROUP BY device ORDER BY device"""
_LAST = """
    SELECT device, max(answered_on) FROM answers WHERE answered_on BETWEEN $1 AND $2
    GROUP BY device"""
# The model that a site has used most since a day: scores of two models cannot be compared.
_USED = """
    CREATE OR REPLACE TEMP TABLE used AS
    SELECT site, model_sha256, any_value(model_id) AS model_id FROM answers
    WHERE answered_on BETWEEN $1 AND $2 AND answered_on >= $3 GROUP BY site, model_sha256
    QUALIFY row_number() OVER (PARTITION BY site ORDER BY count(*) DESC, model_sha256) = 1"""
_WORDS = """
    SELECT site, answered_on >= $1, coalesce(reason, 'scored'), count(*)
    FROM answers JOIN used USING (site, model_sha256)
    WHERE answered_on BETWEEN $2 AND $3 GROUP BY ALL"""
_SCORES = """
    SELECT site, used.model_id, model_sha256,
        list(raw_score) FILTER (answered_on < $1 AND status = 'scored'),
        list(raw_score) FILTER (answered_on >= $2 AND status = 'scored')
    FROM answers JOIN used USING (site, model_sha256)
    WHERE answered_on BETWEEN $3 AND $4 GROUP BY ALL ORDER BY site"""
_LABELLED_COLUMNS = (
    "is_sick", "probability", "raw_score", "is_referred", "is_suspected", "patient"
)  # fmt: skip
_LABELLED = """
    SELECT site, label = 'pneumonia' AS is_sick, probability, raw_score,
        decision <> 'no_pneumonia_seen' AS is_referred,
        decision = 'pneumonia_suspected' AS is_suspected,
        hash(device, coalesce(patient, picture, answer)) AS patient
    FROM answers WHERE label IS NOT NULL AND status = 'scored'
    QUALIFY row_number() OVER (
        PARTITION BY device, coalesce(picture, answer) ORDER BY answered_on DESC, answer) = 1
    ORDER BY site"""
