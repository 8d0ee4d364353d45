"""Does a threshold carry from fold to fold, however a film is framed?

Held-out logits of every fold in every framing enter. Each fold is judged at the threshold that the
others give, as a clinic is judged by what was fitted elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from edge_app.errors import ConfigError
from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.statistics.intervals import Figure, wilson
from train.checkpoint import Checkpoint, Scorer, held_out
from train.decision import Floats
from train.locator_task import FORMS
from train.lung_probe import framed, worst_form_threshold
from train.tables import markdown_table, short


@dataclass(frozen=True, slots=True, eq=False)
class FoldLogits:
    """What one fold's network says of what it never saw.

    Attributes:
        fold: its name.
        labels: (n,).
        logits: (n,) by framing.
    """

    fold: str
    labels: npt.NDArray[np.intp]
    logits: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Carried:
    """One fold in one framing, at the threshold of the other folds.

    Attributes:
        fold, framing: which.
        threshold: at which the other folds' worst framing is best.
        sensitivity, specificity: Wilson's intervals over pictures.
    """

    fold: str
    framing: str
    threshold: float
    sensitivity: Figure
    specificity: Figure


def score_folds(
    checkpoints: Sequence[Checkpoint], locator: Checkpoint | None, samples: list[LabelledPicture]
) -> Iterator[FoldLogits]:
    """Score each checkpoint's held-out pictures in every framing; one fold at a time.

    Args:
        checkpoints: of one k-fold, each in the folder of its fold.
        locator: finds the lungs, for networks that are shown nothing else.
        samples: the data that all of them were trained on.
    """
    for checkpoint in checkpoints:
        pictures = held_out(checkpoint, samples).validation
        scorer = Scorer([checkpoint], locator=locator)
        logits = {f.name: scorer.logits(pictures, partial(framed, f)) for f in FORMS}
        labels = np.array([picture.label for picture in pictures])
        yield FoldLogits(checkpoint.path.parent.name, labels, logits)


def carry(folds: Sequence[FoldLogits]) -> tuple[Carried, ...]:
    """Every fold in every framing at the threshold that the other folds give.

    Raises:
        ConfigError: fewer than two folds.
    """
    if len(folds) < 2:
        raise ConfigError("a threshold is carried between folds; at least two are needed")
    return tuple(
        found for one in folds for found in _judge(one, [f for f in folds if f is not one])
    )


def in_words(found: Sequence[Carried]) -> str:
    """A row a fold: the worst framing of either kind, as a Markdown table."""
    rows = []
    for fold in dict.fromkeys(row.fold for row in found):
        own = [row for row in found if row.fold == fold]
        missed = min(own, key=lambda row: row.sensitivity.value)
        called = min(own, key=lambda row: row.specificity.value)
        rows.append(
            (
                fold,
                f"{own[0].threshold:+.2f}",
                f"{short(missed.sensitivity)}, {missed.framing}",
                f"{short(called.specificity)}, {called.framing}",
            )
        )
    header = ("fold", "threshold of the others", "worst sensitivity", "worst specificity")
    return markdown_table(header, rows)


def _judge(one: FoldLogits, others: Sequence[FoldLogits]) -> Iterator[Carried]:
    labels = np.concatenate([fold.labels for fold in others])
    forms = [np.concatenate([fold.logits[name] for fold in others]) for name in one.logits]
    threshold = worst_form_threshold(labels, forms)
    for name, logits in one.logits.items():
        sick, healthy = logits[one.labels == 1], logits[one.labels == 0]
        yield Carried(
            one.fold,
            name,
            threshold,
            wilson(int((sick >= threshold).sum()), len(sick)),
            wilson(int((healthy < threshold).sum()), len(healthy)),
        )
