"""An answer as a page shows it: in words, by a sign and a colour, on a scale, with what to do.

A `Study` and a language enter, plain values for the templates leave.
"""

from dataclasses import dataclass

from edge_app.bundle.manifest import Bundle
from edge_app.decision import Decision, Reason, show_probability
from edge_app.record.studies import Kind, Study
from edge_app.report.words import plain, reason_words
from edge_app.results.rows import RunHeader
from edge_app.screening.flaws import show_flag
from edge_app.web.languages import Language

CLASSES = {
    Decision.PNEUMONIA_SUSPECTED: "suspected",
    Decision.INDETERMINATE: "indeterminate",
    Decision.NOT_ASSESSABLE: "unscreened",
    Decision.NO_PNEUMONIA_SEEN: "clear",
}


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a picture, and what to do about it."""

    what: str
    to_do: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Places on a bar from 0 (surely clear) to 100, and the same as texts.

    Attributes:
        low, high: of the cut-offs.
        score: of this picture.
        low_text, high_text, score_text: as probabilities.
    """

    low: float
    high: float
    score: float
    low_text: str
    high_text: str
    score_text: str


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """What a page says of a study.

    Attributes:
        kind: of `CLASSES`: chooses sign and colour.
        name, to_do: the answer in words, and the next step.
        reason: why there is none, None where there is one.
        remarks: the quality flags.
        scale: None where there is no score, or another model than today's has given it.
    """

    kind: str
    name: str
    to_do: str
    reason: Remark | None
    remarks: tuple[Remark, ...]
    scale: Scale | None


def shown_answer(
    study: Study, language: Language, bundle: Bundle, header: RunHeader
) -> ShownAnswer:
    """What a page says of a study in a language."""
    kind = CLASSES[study.decision]
    return ShownAnswer(
        kind=kind,
        name=language(f"decision_{kind}"),
        to_do=language(f"do_{kind}"),
        reason=None if study.reason is None else _reason(study.reason, language),
        remarks=tuple(_remarks(study, language)),
        scale=_scale(study, bundle, header),
    )


def _reason(reason: Reason, language: Language) -> Remark:
    key = f"reason_{reason.value}"
    if not language.has(key):
        return Remark(reason_words(reason), language("reason_do_other"))
    todo = f"reason_do_{reason.value}"
    return Remark(language(key), language(todo if language.has(todo) else "reason_do_other"))


def _remarks(study: Study, language: Language) -> list[Remark]:
    flags = [name for name, is_set in sorted(study.quality.items()) if is_set]
    return [_flag(name, show_flag(name, study.measures), language) for name in flags]


def _flag(name: str, number: str, language: Language) -> Remark:
    behind = f" ({number})" if number else ""
    if not language.has(f"flag_{name}"):
        return Remark(plain(name) + behind, "")
    return Remark(language(f"flag_{name}") + behind, language(f"flag_do_{name}"))


def _scale(study: Study, bundle: Bundle, header: RunHeader) -> Scale | None:
    if study.raw_score is None or study.model_sha256 != header.model_sha256:
        return None
    if study.kind is Kind.PHOTOGRAPH:  # other cut-offs hold, and none of them was validated
        return None
    point = header.operating_point
    if study.operating_point != point.name:
        return None
    calibration = next(
        c for c in bundle.manifest.calibration if c.model_sha256 == study.model_sha256
    )
    raws = point.refer_low, point.refer_high, study.raw_score
    low, high, score = (calibration.probability(raw) for raw in raws)
    return Scale(
        low=_percent(low),
        high=_percent(high),
        score=_percent(score),
        low_text=show_probability(low),
        high_text=show_probability(high),
        score_text=show_probability(score),
    )


def _percent(probability: float) -> float:
    return round(100 * probability, 1)
