"""How many answers are right where one is given, in every form in which clinics send a film.

The held-out pictures of a run and a `Screener` enter; for each form how many films it answers, how
many of these answers are right, and how many it leaves open leave, each patient counting once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge_app.decision import Decision
from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.radiograph import Radiograph
from edge_app.screening.screener import Screener
from edge_app.statistics.intervals import Figure, wilson
from edge_app.statistics.observations import patient_weights
from export.pictures import Sources, all_forms

_AT_ONCE = 20  # films whose forms are in memory together
_CALLED = {Decision.PNEUMONIA_SUSPECTED: 1, Decision.NO_PNEUMONIA_SEEN: 0}


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: of a form and a patient, with the truth."""

    form: str
    patient: str
    label: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class FormAnswers:
    """What came of one form.

    Attributes:
        form: its name, as of `export.pictures`.
        n, patients: pictures, and of how many patients.
        refused: pictures.
        indeterminate: share of the pictures that were not refused.
        right: share of the answers that were given, suspected or clear.
    """

    form: str
    n: int
    patients: int
    refused: int
    indeterminate: Figure
    right: Figure

    def row(self) -> str:
        """One line of the Markdown table."""
        figures = (self.right, self.indeterminate)
        shares = (f"{f.value:.3f} ({f.low:.3f}–{f.high:.3f})" for f in figures)
        return (
            f"| {self.form} | {self.n} | {self.patients} | {self.refused} | {' | '.join(shares)} |"
        )


def answer_forms(
    entries: Sequence[LabelledPicture], sources: Sources, screener: Screener, seed: int
) -> Iterator[Answered]:
    """Screen every form of every picture."""
    spec = screener.bundle.manifest.preprocess
    for first in range(0, len(entries), _AT_ONCE):
        some = entries[first : first + _AT_ONCE]
        pictures = all_forms(some, sources, spec, seed, framings=True)
        for index, pixels in enumerate(pictures.pixels):
            grey = np.ascontiguousarray(pixels)
            most, size = int(np.iinfo(grey.dtype).max), (grey.shape[1], grey.shape[0])
            result = screener.score(Radiograph(grey, most, "PNG", "0" * 64, size))
            form, patient = str(pictures.forms[index]), str(pictures.patients[index])
            yield Answered(form, patient, int(pictures.labels[index]), result.decision)


def count_answers(answers: Iterable[Answered], least: int = 100) -> list[FormAnswers]:
    """Each form that at least so many pictures have, the one with the fewest right first."""
    by_form: dict[str, list[Answered]] = defaultdict(list)
    for answer in answers:
        by_form[answer.form].append(answer)
    counted = [_count(form, some) for form, some in by_form.items() if len(some) >= least]
    return sorted(counted, key=lambda each: each.right.value)


def _count(form: str, answers: Sequence[Answered]) -> FormAnswers:
    kept = [a for a in answers if a.decision is not Decision.NOT_ASSESSABLE]
    given = [a for a in kept if a.decision is not Decision.INDETERMINATE]
    return FormAnswers(
        form=form,
        n=len(answers),
        patients=len({a.patient for a in answers}),
        refused=len(answers) - len(kept),
        indeterminate=_share(kept, [a.decision is Decision.INDETERMINATE for a in kept]),
        right=_share(given, [_CALLED[a.decision] == a.label for a in given]),
    )


def _share(answers: Sequence[Answered], is_so: Sequence[bool]) -> Figure:
    """A share in which each patient counts once."""
    weights = patient_weights([a.patient for a in answers])
    total = float(weights.sum())
    return wilson(min(float(weights[np.array(is_so, bool)].sum()), total), total)


def make_table(forms: Sequence[FormAnswers], screener: Screener, again: str) -> str:
    """The Markdown table with what it was made of."""
    head = "| form | n | patients | refused | right, of the answers given | indeterminate |"
    bundle, point = screener.bundle.manifest, screener.operating_point.name
    note = (
        "Held-out pictures; each patient counts once, 95% Wilson intervals. An answer is given "
        "where it is neither refused nor `indeterminate`. The cut-offs were fitted on these very "
        f"pictures, so the shares flatter. {bundle.model_id} in "
        f"{screener.runtime.name} at `{point}`. Again: `{again}`."
    )
    return "\n".join([head, "|---" * 6 + "|", *(form.row() for form in forms), "", note, ""])
