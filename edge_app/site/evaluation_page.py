"""An `Accuracy` for people: lines of text, and a page to print."""

from collections.abc import Iterator, Sequence

from edge_app.decision import show_probability
from edge_app.site.accuracy import Accuracy, CutOffAccuracy
from edge_app.site.charts import draw_confusion, draw_reliability, draw_roc
from edge_app.site.page import figure, heading, page, paragraph, show, table

_COLUMNS = (
    "cut-off",
    "sensitivity",
    "specificity",
    "PPV",
    "NPV",
    "referred per 100",
)
# A page holds so many lines of the table; which ones says `spread`.
_MOST_LINES = 40


def evaluation_page(accuracy: Accuracy) -> Iterator[str]:
    """The page of `pneumoscope evaluate`."""
    yield from page("How good the answers are here", _body(accuracy))


def describe(accuracy: Accuracy) -> str:
    """The same in a few lines."""
    return "\n".join([*facts(accuracy), *_point_lines(accuracy), *warnings(accuracy)])


def facts(accuracy: Accuracy) -> list[str]:
    """What was measured on, in sentences."""
    sick, healthy = accuracy.sick, accuracy.healthy
    lines = [
        f"{accuracy.n_images:,} films of {accuracy.n_patients:,} patients with a score: "
        f"{sick.total - sick.unanswered:,} with pneumonia, "
        f"{healthy.total - healthy.unanswered:,} without",
        f"AUROC {show(accuracy.auroc)}; PPV, NPV and referrals are for a prevalence of "
        f"{accuracy.prevalence:.3g}; 95% intervals in brackets",
    ]
    if sick.unanswered or healthy.unanswered:
        lines.append(
            f"without an answer, and in no figure: {sick.unanswered:,} of {sick.total:,} with "
            f"pneumonia, {healthy.unanswered:,} of {healthy.total:,} without"
        )
    if accuracy.unlabelled:
        lines.append(f"rows without a known truth, left out: {accuracy.unlabelled:,}")
    if accuracy.unknown:
        lines.append(f"lines of truth without a row, left out: {accuracy.unknown:,}")
    return lines


def warnings(accuracy: Accuracy) -> list[str]:
    """What a reader must not overlook."""
    few = min(n.total - n.unanswered for n in (accuracy.sick, accuracy.healthy))
    if few >= 50:
        return []
    return [
        f"Of one class there are only {few} films: the intervals are wide, and a difference within "
        "them means nothing."
    ]


def cut_off_row(row: CutOffAccuracy) -> tuple[str, ...]:
    """A line of the table of cut-offs."""
    return (
        show_probability(row.probability),
        show(row.sensitivity),
        show(row.specificity),
        show(row.ppv),
        show(row.npv),
        show(row.referrals, per=100),
    )


def cut_off_table(rows: Sequence[CutOffAccuracy]) -> str:
    """The table of cut-offs, thinned out where it is long."""
    return table(_COLUMNS, map(cut_off_row, spread(rows)))


def spread(rows: Sequence[CutOffAccuracy]) -> list[CutOffAccuracy]:
    """Of many lines, some that are evenly apart in the number of films between them."""
    if len(rows) <= _MOST_LINES:
        return list(rows)
    step = (len(rows) - 1) / (_MOST_LINES - 1)
    return [rows[round(number * step)] for number in range(_MOST_LINES)]


def drawings(accuracy: Accuracy) -> Iterator[str]:
    """ROC, reliability and confusion."""
    yield '<div class="pair">'
    yield figure(
        draw_roc(accuracy),
        "ROC. L: lower cut-off (referred: suspected or indeterminate), U: upper cut-off "
        "(suspected), with 95% intervals.",
    )
    yield figure(
        draw_reliability(accuracy.bins),
        f"Reliability: dots on the diagonal are probabilities that hold here. Expected "
        f"calibration error {show(accuracy.ece)}.",
    )
    yield "</div>\n"
    yield figure(
        draw_confusion(accuracy.sick, accuracy.healthy), "Films by truth (rows) and answer."
    )


def _body(accuracy: Accuracy) -> Iterator[str]:
    yield paragraph(
        f"Model {accuracy.model_id}, SHA-256 {accuracy.model_sha256}, cut-offs "
        f"{accuracy.operating_point.name}.",
        "facts",
    )
    for text in facts(accuracy):
        yield paragraph(text[0].upper() + text[1:] + ".")
    for text in warnings(accuracy):
        yield paragraph(text, "notice")
    yield heading("At the two cut-offs")
    yield table(("", *_COLUMNS), _point_rows(accuracy))
    yield from drawings(accuracy)
    yield heading("At every cut-off")
    yield cut_off_table(accuracy.cut_offs)
    yield paragraph(
        "Sensitivity and specificity: Wilson's interval, films of one patient counted together as "
        "one. PPV, NPV, referrals: intervals recovered from these two (Zou and Donner 2008; Donner "
        "and Zou 2012), at the prevalence above taken as known. AUROC: DeLong, by patient.",
        "facts",
    )


def _points(accuracy: Accuracy) -> Iterator[tuple[str, CutOffAccuracy]]:
    yield "referred: suspected or indeterminate (L)", accuracy.referred
    yield "suspected (U)", accuracy.suspected


def _point_rows(accuracy: Accuracy) -> Iterator[tuple[str, ...]]:
    for name, row in _points(accuracy):
        yield (name, *cut_off_row(row))


def _point_lines(accuracy: Accuracy) -> Iterator[str]:
    for name, row in _points(accuracy):
        cut, sensitivity, specificity, ppv, npv, referrals = cut_off_row(row)
        yield (
            f"{name}, from {cut}: sensitivity {sensitivity}, specificity {specificity}, "
            f"PPV {ppv}, NPV {npv}, per 100 films {referrals}"
        )
