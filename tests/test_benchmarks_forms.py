"""Answers in every form: counted by hand, and of a small run of the tiny network."""

from pathlib import Path

import pytest

from benchmarks.forms import Answered, count_answers, make_table
from edge_app.bundle.load import load_bundle
from edge_app.decision import Decision
from edge_app.screening.screener import Screener

SICK, CLEAR = Decision.PNEUMONIA_SUSPECTED, Decision.NO_PNEUMONIA_SEEN
OPEN, REFUSED = Decision.INDETERMINATE, Decision.NOT_ASSESSABLE


def answers(form: str, *given: tuple[str, int, Decision]) -> list[Answered]:
    return [Answered(form, patient, label, decision) for patient, label, decision in given]


def test_each_patient_counts_once_and_the_worst_form_stands_first(
    tiny_bundle_folder: Path,
) -> None:
    """Patient a has two films, one of them right; b is right, c is open, d is refused."""
    mixed = answers(
        "handed_on",
        ("a", 1, SICK), ("a", 1, CLEAR), ("b", 0, CLEAR), ("c", 1, OPEN), ("d", 1, REFUSED),
    )  # fmt: skip
    good = answers("stored", ("a", 1, SICK), ("b", 0, CLEAR), ("c", 0, CLEAR), ("d", 1, SICK))
    rare = answers("original", ("a", 1, CLEAR))
    worst, best = count_answers([*good, *rare, *mixed], least=2)
    assert (worst.form, worst.n, worst.patients, worst.refused) == ("handed_on", 5, 4, 1)
    assert worst.right.value == pytest.approx(1.5 / 2)
    assert worst.indeterminate.value == pytest.approx(1 / 3)
    assert (best.right.value, best.indeterminate.value) == (1, 0)
    table = make_table([worst, best], Screener(load_bundle(tiny_bundle_folder)), "again")
    assert "| handed_on | 5 | 4 | 1 | 0.750 (" in table
    assert "so the shares flatter" in table
