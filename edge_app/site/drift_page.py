"""A `Drift` for people: lines of text, and a page to print with drawings."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from edge_app.site.charts import draw_series, draw_shares
from edge_app.site.drift import LARGE, SMALL, Drift, FeatureDrift, Verdict, feature_words
from edge_app.site.page import figure, heading, page, paragraph, table

_COLUMNS = ("", "films", "index", "by chance", "noise", "p", "verdict")
_TITLES = {"all": "All films", "week": "By week of the answer", "device": "By device"}


def drift_page(drift: Drift) -> Iterator[str]:
    """The page of `pneumoscope drift`."""
    yield from page(f"Drift at {drift.site}", _body(drift))


def describe(drift: Drift) -> str:
    """The same in a few lines: what to do, then what is not as before."""
    lines = [_facts(drift), *drift.advice]
    for feature in drift.features:
        if feature.verdict in (Verdict.CHANGED, Verdict.CHANGED_MUCH):
            group = f" ({feature.group})" if feature.group else ""
            lines.append(
                f"  {feature_words(feature.feature)}{group}: {feature.verdict}, index "
                f"{feature.comparison.index:.2f}, by chance {feature.comparison.by_chance:.2f}, "
                f"n={feature.comparison.n}"
            )
    return "\n".join(lines)


def _facts(drift: Drift) -> str:
    return (
        f"{drift.n:,} films answered from {drift.first[:10]} to {drift.last[:10]}, against "
        f"{drift.n_baseline:,} of the calibration of {drift.created_at[:10]}"
    )


def _body(drift: Drift) -> Iterator[str]:
    yield paragraph(_facts(drift) + ".", "facts")
    for text in drift.advice:
        yield paragraph(text, "notice" if drift.call_for_help else "")
    yield from _drawings(drift)
    for kind, features in groupby(drift.features, lambda feature: feature.kind):
        yield heading(_TITLES[kind])
        for group, some in groupby(features, lambda feature: feature.group):
            yield f"<h3>{escape(group)}</h3>\n" if group else ""
            yield table(_COLUMNS, (_row(feature) for feature in some))
    yield paragraph(
        "Index: population stability index in tenths of the baseline (Siddiqi 2006). By chance: "
        "its mean where nothing has changed, for so many films (Yurdakul and Naranjo 2020), noise: "
        "what it then stays below in 95%; both from dealing the pooled films out again. p: of no "
        "change, for all comparisons together (Holm 1979). Changed: p below 0.05, and at least "
        f"{SMALL:g} above chance; changed much: at least {LARGE:g}; too few to tell: the noise "
        f"alone reaches {LARGE:g}. Weeks are those of the answer, not of the film. Films of one "
        "patient count each, so a few patients with many films look like a change.",
        "facts",
    )


def _drawings(drift: Drift) -> Iterator[str]:
    for name in ("raw_score", "answer"):
        weeks = drift.of("week", name)
        if len(weeks) > 1:
            yield figure(
                draw_series(
                    [week.group for week in weeks],
                    [week.comparison.index for week in weeks],
                    [week.comparison.noise for week in weeks],
                ),
                f"Index of {feature_words(name)} by week (dots), and the noise (bars): a dot "
                "within its bar says nothing.",
            )
    for feature in drift.of("all", "raw_score"):
        yield figure(
            draw_shares(_shares(feature.baseline.counts), _shares(feature.now.counts)),
            "Share of films in each tenth of the baseline's scores, from the least to the most "
            "suspect: then (light) and now (dark).",
        )


def _shares(counts: Sequence[int]) -> list[float]:
    return [count / max(1, sum(counts)) for count in counts]


def _row(feature: FeatureDrift) -> tuple[str, ...]:
    one = feature.comparison
    needed = ""
    if feature.verdict is Verdict.TOO_FEW:
        more = "a larger baseline" if feature.needed is None else f"about {feature.needed:,}"
        needed = f" (takes {more})"
    return (
        feature_words(feature.feature),
        f"{one.n:,}",
        f"{one.index:.2f}",
        f"{one.by_chance:.2f}",
        f"{one.noise:.2f}",
        f"{feature.p_adjusted:.3f}",
        f"{feature.verdict}{needed}",
    )
