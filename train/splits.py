"""Division of samples into training and validation: by patient, as given, or by image.

Samples enter, a frozen `Splits` leaves. Patients that share a duplicate count as one, so neither a
patient nor a picture that stands twice is on both sides. Pictures of a given test split are never
divided: they are for evaluation alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from edge_app.errors import DataError
from edge_app.images.labelled_pictures import LabelledPicture, sizes_hash
from train.config import SplitSpec


@dataclass(frozen=True, slots=True)
class Splits:
    """Training and validation pictures, each sorted by name."""

    train: tuple[LabelledPicture, ...]
    validation: tuple[LabelledPicture, ...]


def make_splits(samples: Sequence[LabelledPicture], spec: SplitSpec, seed: int) -> Splits:
    """Divide as the configuration says, and check what came out.

    Raises:
        DataError: too few patients, a patient in both given splits, or a split in which
            a class is missing.
    """
    if spec.unit == "given":
        splits = split_as_given(samples)
    else:
        pool = [sample for sample in samples if sample.split != "test"]
        if spec.unit == "patient":
            splits = split_by_patient(pool, spec.folds, spec.fold, seed)
        else:
            splits = split_by_image(pool, 1 / spec.folds, seed)
    if spec.unit != "image":
        check_disjoint(splits)
    for side in ("train", "validation"):
        if {sample.label for sample in getattr(splits, side)} != {0, 1}:
            raise DataError(f"the {side} split lacks a class")
    return splits


def split_by_patient(
    samples: Sequence[LabelledPicture], folds: int, fold: int, seed: int
) -> Splits:
    """Hold out one of `folds` folds, stratified by class and sub-type, whole patients only.

    For one seed, the held-out splits of all folds are disjoint and together are all samples.

    Raises:
        DataError: fewer patients of a class than folds, or `fold` outside of [0, folds).
    """
    if folds < 2 or not 0 <= fold < folds:
        raise DataError(f"fold {fold} of {folds} does not exist")
    strata: dict[tuple[int, str], list[list[LabelledPicture]]] = defaultdict(list)
    for group in _linked_groups(samples):
        strata[(max(s.label for s in group), max(s.subtype for s in group))].append(group)
    for label in (0, 1):
        patients = sum(len(groups) for key, groups in strata.items() if key[0] == label)
        if patients < folds:
            raise DataError(f"only {patients} patients of class {label} for {folds} folds")
    rng = np.random.default_rng([seed, folds])
    train: list[LabelledPicture] = []
    validation: list[LabelledPicture] = []
    next_fold = 0
    for key in sorted(strata):
        groups = strata[key]
        start = 0
        if len(groups) < folds:
            # Small strata follow each other around the folds instead of all filling fold 0.
            start, next_fold = next_fold, (next_fold + len(groups)) % folds
        for position, index in enumerate(rng.permutation(len(groups)), start=start):
            (validation if position % folds == fold else train).extend(groups[index])
    return _sorted_split(train, validation)


def split_as_given(samples: Sequence[LabelledPicture]) -> Splits:
    """The data's own training and validation splits; its test split is left out.

    Raises:
        DataError: a picture of no split, or no validation split.
    """
    without = [sample.name for sample in samples if not sample.split]
    if without:
        raise DataError(f"{len(without)} pictures belong to no given split, such as {without[0]}")
    return _sorted_split(
        [s for s in samples if s.split == "train"],
        [s for s in samples if s.split == "validation"],
    )


def given_splits(samples: Sequence[LabelledPicture]) -> dict[str, tuple[LabelledPicture, ...]]:
    """Train, validation and test as the data itself is divided, as far as they are there."""
    names = [n for n in ("train", "validation", "test") if any(s.split == n for s in samples)]
    return {name: tuple(s for s in samples if s.split == name) for name in names}


def split_by_image(samples: Sequence[LabelledPicture], share: float, seed: int) -> Splits:
    """The article's split: images at random, patients on both sides. Only to show its price."""
    order = np.random.default_rng(seed).permutation(len(samples))
    held_out = set(order[: round(share * len(samples))].tolist())
    return Splits(
        tuple(s for i, s in enumerate(samples) if i not in held_out),
        tuple(s for i, s in enumerate(samples) if i in held_out),
    )


def shared_values(
    left: Iterable[LabelledPicture], right: Iterable[LabelledPicture], attribute: str
) -> tuple[str, ...]:
    """Values of `patient_id` or `duplicate_group` that stand on both sides, sorted."""
    mine = {getattr(sample, attribute) for sample in left} - {""}
    return tuple(sorted(mine & {getattr(sample, attribute) for sample in right}))


def check_disjoint(splits: Splits) -> None:
    """Raises DataError when a patient or a duplicate stands on both sides."""
    for attribute in ("patient_id", "duplicate_group"):
        both = shared_values(splits.train, splits.validation, attribute)
        if both:
            raise DataError(
                f"{len(both)} values of {attribute} stand in training and validation, such as "
                f"{', '.join(both[:3])}; let the configuration split by patient instead"
            )


def larger_hash(samples: Iterable[LabelledPicture]) -> str:
    """`sizes_hash` of the larger copies, "" where there is none; no path of this machine in it."""
    larger = {s.name: s.larger for s in samples if s.larger is not None}
    return sizes_hash(larger) if larger else ""


def _sorted_split(
    train: Iterable[LabelledPicture], validation: Iterable[LabelledPicture]
) -> Splits:
    by_name = attrgetter("name")
    return Splits(tuple(sorted(train, key=by_name)), tuple(sorted(validation, key=by_name)))


def _linked_groups(samples: Sequence[LabelledPicture]) -> list[list[LabelledPicture]]:
    """Groups of pictures joined by a patient or a duplicate, in the order of their first name."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for sample in samples:
        if sample.duplicate_group:
            parent[find(f"p:{sample.patient_id}")] = find(f"d:{sample.duplicate_group}")
    groups: dict[str, list[LabelledPicture]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.name):
        groups[find(f"p:{sample.patient_id}")].append(sample)
    return list(groups.values())
