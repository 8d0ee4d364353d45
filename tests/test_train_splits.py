"""Splits: no patient and no duplicate on both sides, whatever the data; each fold once."""

from types import SimpleNamespace

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from edge_app.errors import DataError
from edge_app.images.labelled_pictures import LabelledPicture, split_hash
from tests.train_inputs import sample, tiny_config
from train.config import SplitSpec
from train.splits import Splits, check_disjoint, make_splits, split_by_image, split_by_patient


@st.composite
def populations(draw: st.DrawFn) -> list[LabelledPicture]:
    """Patients with one to four pictures, sick or healthy, some pictures standing twice."""
    samples = []
    for label in (0, 1):
        for patient in range(draw(st.integers(4, 12))):
            subtype = draw(st.sampled_from(["bacteria", "virus", ""])) if label else ""
            for picture in range(draw(st.integers(1, 4))):
                group = draw(st.sampled_from(["", "", "", "a", "b"]))
                samples.append(
                    sample(
                        f"{label}-{patient}",
                        picture,
                        label,
                        subtype=subtype,
                        duplicate_group=group,
                    )
                )
    return samples


def _patients(samples: tuple[LabelledPicture, ...]) -> set[str]:
    return {s.patient_id for s in samples}


def _groups(samples: tuple[LabelledPicture, ...]) -> set[str]:
    return {s.duplicate_group for s in samples} - {""}


@given(populations(), st.integers(2, 4), st.integers(0, 2**31))
def test_folds_are_disjoint_and_complete(
    samples: list[LabelledPicture], folds: int, seed: int
) -> None:
    try:
        found = [split_by_patient(samples, folds, fold, seed) for fold in range(folds)]
    except DataError:  # duplicates can join nearly all patients of a class into one
        reject()
    held_out = [s.name for splits in found for s in splits.validation]
    assert sorted(held_out) == sorted(s.name for s in samples)
    for splits in found:
        assert not _patients(splits.train) & _patients(splits.validation)
        assert not _groups(splits.train) & _groups(splits.validation)
        assert len(splits.train) + len(splits.validation) == len(samples)
        check_disjoint(splits)


@given(populations(), st.randoms(use_true_random=False))
def test_the_order_of_the_files_changes_nothing(
    samples: list[LabelledPicture], random: object
) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        expected = split_by_patient(samples, 3, 1, 5)
    except DataError:
        reject()
    assert split_by_patient(shuffled, 3, 1, 5) == expected
    assert split_hash(p.identity for p in shuffled) == split_hash(p.identity for p in samples)


def test_classes_are_stratified() -> None:
    samples = [sample(f"n{i}", 0, 0) for i in range(70)]
    samples += [sample(f"p{i}", 0, 1, subtype="virus") for i in range(140)]
    for fold in range(7):
        splits = split_by_patient(samples, 7, fold, 3)
        assert [sum(s.label == label for s in splits.validation) for label in (0, 1)] == [10, 20]


def test_small_strata_are_spread_over_the_folds() -> None:
    samples = [sample(f"n{i}", 0, 0) for i in range(8)]
    samples += [sample(f"v{i}", 0, 1, subtype="virus") for i in range(2)]
    samples += [sample(f"b{i}", 0, 1, subtype="bacteria") for i in range(2)]
    for fold in range(4):
        assert sum(s.label for s in split_by_patient(samples, 4, fold, 0).validation) == 1


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (5, 5), (5, 7), (5, -1)])
def test_a_fold_that_there_is_not_is_named(folds: int, fold: int) -> None:
    """Else nothing would be held out, and the network judged on what it was trained on."""
    samples = [sample(f"{label}-{i}", 0, label) for label in (0, 1) for i in range(9)]
    with pytest.raises(DataError, match=f"fold {fold} of {folds} does not exist"):
        split_by_patient(samples, folds, fold, 0)


def test_too_few_patients_are_named() -> None:
    samples = [sample(f"n{i}", 0, 0) for i in range(8)] + [sample("p", i, 1) for i in range(8)]
    with pytest.raises(DataError, match="only 1 patients of class 1 for 4 folds"):
        split_by_patient(samples, 4, 0, 0)


def test_a_split_by_image_leaks_patients_which_is_its_point() -> None:
    samples = [
        sample(f"{label}-{i}", k, label) for label in (0, 1) for i in range(9) for k in "abc"
    ]
    splits = split_by_image(samples, 0.2, 1)
    assert len(splits.validation) == round(0.2 * len(samples))
    with pytest.raises(DataError, match="patient_id stand in training and validation"):
        check_disjoint(splits)


def _given(patient: str, picture: int, label: int, part: str) -> LabelledPicture:
    return sample(patient, picture, label, split=part)


def test_a_given_split_is_kept_and_its_test_split_left_out() -> None:
    parts = ("train", "validation", "test")
    samples = [_given(f"{part}{label}", 0, label, part) for part in parts for label in (0, 1)]
    splits = make_splits(samples, SplitSpec("given", 2, 0), 0)
    assert _patients(splits.train) == {"train0", "train1"}
    assert _patients(splits.validation) == {"validation0", "validation1"}


def test_a_patient_on_both_sides_of_a_given_split_is_an_error() -> None:
    samples = [_given(f"{part}{n}", 0, n, part) for part in ("train", "validation") for n in (0, 1)]
    samples += [_given("train1", 9, 1, "validation")]
    with pytest.raises(DataError, match=r"1 values of patient_id .* such as train1"):
        make_splits(samples, SplitSpec("given", 2, 0), 0)


def test_a_patient_wise_split_never_takes_test_pictures() -> None:
    samples = [_given(f"{n}-{i}", 0, n, "train") for n in (0, 1) for i in range(6)]
    samples += [_given(f"test{n}", 0, n, "test") for n in (0, 1)]
    splits = make_splits(samples, SplitSpec("patient", 3, 0), 0)
    assert not {"test0", "test1"} & (_patients(splits.train) | _patients(splits.validation))


def test_a_side_without_a_class_is_an_error() -> None:
    samples = [_given("a", 0, 0, "train"), _given("b", 0, 1, "train")]
    samples += [_given("c", 0, 0, "validation")]
    with pytest.raises(DataError, match="validation split lacks a class"):
        make_splits(samples, SplitSpec("given", 2, 0), 0)


def test_an_ensembles_held_out_patients_are_held_out_by_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One network split by image: another picture of its held-out patient taught the other."""
    from train.cli.options import held_out_by_all

    pictures = {(p, k): sample(p, k, int(p > "b")) for p in "abcd" for k in range(2)}

    def checkpoint(unit: str, held: set[tuple[str, int]]) -> SimpleNamespace:
        split = Splits(
            tuple(s for key, s in pictures.items() if key not in held),
            tuple(s for key, s in pictures.items() if key in held),
        )
        return SimpleNamespace(config=tiny_config(split__unit=unit), split=split)

    monkeypatch.setattr("train.checkpoint.held_out", lambda found, _: found.split)
    whole = {("a", 0), ("a", 1), ("c", 0), ("c", 1)}
    by_patient = checkpoint("patient", whole)
    # By image: all of a and c, and one picture of d, whose other one the first network saw too.
    by_image = checkpoint("image", whole | {("d", 0)})
    both = [by_image, by_patient]
    found, _ = held_out_by_all(both, list(pictures.values()))  # type: ignore[arg-type]
    assert {s.patient_id for s in found} == {"a", "c"}
    alone, _ = held_out_by_all([by_image], list(pictures.values()))  # type: ignore[list-item]
    assert {s.patient_id for s in alone} == {"a", "c", "d"}


def test_the_hash_names_pictures_labels_and_patients() -> None:
    one, other = sample("a", 0, 0), sample("b", 0, 1)
    assert split_hash(p.identity for p in [one, other]) == split_hash(
        p.identity for p in [other, one]
    )
    relabelled = sample("a", 0, 0)
    assert split_hash(p.identity for p in [relabelled]) == split_hash(p.identity for p in [one])
    changed = LabelledPicture(one.path, one.name, 1, one.patient_id)
    assert split_hash(p.identity for p in [changed]) != split_hash(p.identity for p in [one])
    assert Splits((one,), (other,)) != Splits((other,), (one,))
