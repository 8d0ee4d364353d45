"""The representative pictures: any first part of them is a sample of both classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_app.images.labelled_pictures import LabelledPicture
from export import pictures
from export.bias_correction import MOST_PICTURES
from export.pictures import Sources, representative
from tests.export_inputs import SPEC

NAMES = [f"c{i % 2}/p{i}.png" for i in range(700)]
ENTRIES = [
    LabelledPicture(Path(name), name, i % 2, f"p{i}", split="train") for i, name in enumerate(NAMES)
]


def chosen(monkeypatch: pytest.MonkeyPatch, n: int, seed: int) -> list[tuple[int, str]]:
    """Label and form of each picture, in order; nothing is read."""
    seen: list[tuple[int, str]] = []

    def note(entry: LabelledPicture, form: str, *rest: object) -> np.ndarray:
        seen.append((entry.label, form))
        return np.zeros((1, 1, 1, 1), np.uint8)

    monkeypatch.setattr(pictures, "_in_form", note)
    representative(ENTRIES, Sources({}), SPEC, n, seed)
    return seen


def sick_share(rows: Sequence[tuple[int, str]]) -> float:
    return float(np.mean([label for label, _ in rows]))


@pytest.mark.parametrize("seed", [1, 7, 2026])
def test_the_first_ones_hold_both_classes(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Bias correction takes the first `MOST_PICTURES`; sorted by class they were all healthy."""
    rows = chosen(monkeypatch, 300, seed)
    assert sick_share(rows) == 0.5
    for first in (32, MOST_PICTURES, 200):
        assert 0.25 < sick_share(rows[:first]) < 0.75


def test_every_form_holds_both_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = chosen(monkeypatch, 300, 1)[:MOST_PICTURES]
    for form in {form for _, form in rows}:
        assert 0.2 < sick_share([row for row in rows if row[1] == form]) < 0.8


def test_the_order_follows_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, 60, 1) == chosen(monkeypatch, 60, 1)
    assert chosen(monkeypatch, 60, 1) != chosen(monkeypatch, 60, 2)
