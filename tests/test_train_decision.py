"""Operating points are judged on patients that they were not fitted on."""

import numpy as np
import pytest

from train.decision import _fold, cross_fit, fit_point, judge, perform


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.decision._RESAMPLES", 50)


def _scores(n: int = 400, seed: int = 1) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 4 > 0).astype(int)
    return labels, rng.normal(2.5 * labels - 1, 1.0), [f"p{i // 2}" for i in range(n)]


def test_a_point_balances_and_calibrates() -> None:
    labels, logits, patients = _scores(4000)
    point = fit_point(labels, logits, patients)
    figures = perform(judge(point, labels, logits, patients), "all", "here")
    # Two normal classes 2.5 SD apart: the midpoint gives Phi(1.25) = 0.894 on both sides.
    assert point.threshold == pytest.approx(0.25, abs=0.12)
    assert figures.sensitivity.value == pytest.approx(0.894, abs=0.025)
    assert figures.specificity.value == pytest.approx(0.894, abs=0.025)
    assert figures.ece.value < 0.03
    assert figures.n_patients == 2000


def test_a_patient_is_judged_by_the_others() -> None:
    labels, logits, patients = _scores()
    (judged,) = cross_fit(labels, [logits], patients)
    thresholds = logits - judged.margins
    of_patient: dict[str, set[float]] = {}
    for patient, threshold in zip(patients, thresholds.round(9).tolist(), strict=True):
        of_patient.setdefault(patient, set()).add(threshold)
    assert all(len(values) == 1 for values in of_patient.values())
    assert len(set.union(*of_patient.values())) > 3
    # The scores of a part's own patients do not touch its threshold, and touch all the others.
    own = np.array([_fold(patient) == _fold("p7") for patient in patients])
    moved = logits + 3 * own
    (again,) = cross_fit(labels, [moved], patients)
    np.testing.assert_array_equal(np.isclose(moved - again.margins, thresholds), own)


def test_several_views_share_one_point() -> None:
    labels, logits, patients = _scores()
    shifted = logits + 1
    first, second = cross_fit(labels, [logits, shifted], patients)
    np.testing.assert_allclose(logits - first.margins, shifted - second.margins)
    assert (first.margins >= 0).sum() < (second.margins >= 0).sum()


def test_a_missing_class_is_an_error() -> None:
    labels, logits, patients = _scores()
    point = fit_point(labels, logits, patients)
    sick = labels == 1
    names = [p for p, chosen in zip(patients, sick, strict=True) if chosen]
    with pytest.raises(ValueError, match="a class is missing"):
        perform(judge(point, labels[sick], logits[sick], names), "only the sick", "")
