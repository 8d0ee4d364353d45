"""A threshold from the other folds: what it gives in the fold that it was not taken from."""

import numpy as np
import pytest

from edge_app.errors import ConfigError
from train.carried import FoldLogits, carry, in_words

_LABELS = np.array([0] * 10 + [1] * 10)
_APART = np.concatenate([np.full(10, -2.0), np.full(10, 2.0)])


def _fold(name: str, shift: float = 0.0, framed: float = 0.0) -> FoldLogits:
    logits = {"stored": _APART + shift, "tight": _APART + shift + framed}
    return FoldLogits(name, _LABELS, logits)


def test_folds_alike_lose_nothing() -> None:
    for row in carry([_fold("fold0"), _fold("fold1"), _fold("fold2")]):
        assert row.sensitivity.value == row.specificity.value == 1
        assert row.sensitivity.n == 10


def test_a_fold_is_judged_by_the_others_alone() -> None:
    """The fold that lies 5 higher calls all of its healthy; its own threshold would not."""
    found = carry([_fold("fold0"), _fold("fold1"), _fold("fold2", shift=5.0)])
    by_fold = {row.fold: row for row in found if row.framing == "stored"}
    assert by_fold["fold2"].threshold <= 2.0
    assert (by_fold["fold2"].sensitivity.value, by_fold["fold2"].specificity.value) == (1, 0)


def test_the_worst_framing_is_named() -> None:
    found = carry([_fold("fold0", framed=4.5), _fold("fold1"), _fold("fold2")])
    line = next(line for line in in_words(found).splitlines() if "fold0" in line)
    missed, called = line.split("|")[3:5]
    assert missed.strip().startswith("1.000 (")
    assert called.strip().startswith("0.000 (")
    assert called.strip().endswith(", tight")


def test_one_fold_is_not_enough() -> None:
    with pytest.raises(ConfigError, match="at least two"):
        carry([_fold("fold0")])
