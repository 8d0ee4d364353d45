"""Division of samples into training and validation: by patient, as given, or by image.

Samples enter, a frozen `Split` leaves. Patients that share a duplicate count as one, so neither a
patient nor a picture that stands twice is on both sides. Pictures of a given test split are never
divided: they are for evaluation alone.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from train.config import SplitSpec
from train.samples import DataError, Sample


@dataclass(frozen=True, slots=True)
class Split:
    """Training and validation pictures, each sorted by name."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]


def make_split(samples: Sequence[Sample], spec: SplitSpec, seed: int) -> Split:
    """Divide as the configuration says, and check what came out.

    Raises:
        DataError: too few patients, a patient on both sides of a given split, or a side on which
            a class is missing.
    """
    if spec.unit == "given":
        split = split_as_given(samples)
    else:
        pool = [sample for sample in samples if sample.given_split != "test"]
        if spec.unit == "patient":
            split = split_by_patient(pool, spec.folds, spec.fold, seed)
        else:
            split = split_by_image(pool, 1 / spec.folds, seed)
    if spec.unit != "image":
        check_disjoint(split)
    for side in ("train", "validation"):
        if {sample.label for sample in getattr(split, side)} != {0, 1}:
            raise DataError(f"the {side} part of the split lacks a class")
    return split


def split_by_patient(samples: Sequence[Sample], folds: int, fold: int, seed: int) -> Split:
    """Hold out one of `folds` parts, stratified by class and sub-type, whole patients only.

    For one seed, the held-out parts of all folds are disjoint and together are all samples.

    Raises:
        DataError: fewer patients of a class than folds, or `fold` outside of [0, folds).
    """
    if folds < 2 or not 0 <= fold < folds:
        raise DataError(f"fold {fold} of {folds} does not exist")
    strata: dict[tuple[int, str], list[list[Sample]]] = defaultdict(list)
    for group in _linked_groups(samples):
        strata[(max(s.label for s in group), max(s.subtype for s in group))].append(group)
    for label in (0, 1):
        patients = sum(len(groups) for key, groups in strata.items() if key[0] == label)
        if patients < folds:
            raise DataError(f"only {patients} patients of class {label} for {folds} folds")
    rng = np.random.default_rng([seed, folds])
    train: list[Sample] = []
    validation: list[Sample] = []
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


def split_as_given(samples: Sequence[Sample]) -> Split:
    """The data's own training and validation parts; its test part is left out.

    Raises:
        DataError: a picture without a part, or no validation part.
    """
    without = [sample.name for sample in samples if not sample.given_split]
    if without:
        raise DataError(f"{len(without)} pictures belong to no given split, such as {without[0]}")
    return _sorted_split(
        [s for s in samples if s.given_split == "train"],
        [s for s in samples if s.given_split == "validation"],
    )


def given_parts(samples: Sequence[Sample]) -> dict[str, tuple[Sample, ...]]:
    """Train, validation and test as the data itself is divided, as far as they are there."""
    names = [n for n in ("train", "validation", "test") if any(s.given_split == n for s in samples)]
    return {name: tuple(s for s in samples if s.given_split == name) for name in names}


def split_by_image(samples: Sequence[Sample], share: float, seed: int) -> Split:
    """The article's split: images at random, patients on both sides. Only to show its price."""
    order = np.random.default_rng(seed).permutation(len(samples))
    held_out = set(order[: round(share * len(samples))].tolist())
    return Split(
        tuple(s for i, s in enumerate(samples) if i not in held_out),
        tuple(s for i, s in enumerate(samples) if i in held_out),
    )


def shared_values(
    left: Iterable[Sample], right: Iterable[Sample], attribute: str
) -> tuple[str, ...]:
    """Values of `patient_id` or `duplicate_group` that stand on both sides, sorted."""
    mine = {getattr(sample, attribute) for sample in left} - {""}
    return tuple(sorted(mine & {getattr(sample, attribute) for sample in right}))


def check_disjoint(split: Split) -> None:
    """Raises DataError when a patient or a duplicate stands on both sides."""
    for attribute in ("patient_id", "duplicate_group"):
        both = shared_values(split.train, split.validation, attribute)
        if both:
            raise DataError(
                f"{len(both)} values of {attribute} stand in training and validation, such as "
                f"{', '.join(both[:3])}; let the configuration split by patient instead"
            )


def data_hash(samples: Iterable[Sample]) -> str:
    """SHA-256 over the sorted names and labels: which pictures, not their bytes."""
    lines = sorted(f"{s.name}\t{s.label}\t{s.patient_id}\n" for s in samples)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def larger_hash(samples: Iterable[Sample]) -> str:
    """SHA-256 over which pictures have a larger copy, and the copies' sizes in bytes; "" if none.

    No path of this machine is in it, and no byte of the copies is read.
    """
    lines = sorted(
        f"{s.name}\t{s.larger.stat().st_size}\n" for s in samples if s.larger is not None
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


def _sorted_split(train: Iterable[Sample], validation: Iterable[Sample]) -> Split:
    by_name = attrgetter("name")
    return Split(tuple(sorted(train, key=by_name)), tuple(sorted(validation, key=by_name)))


def _linked_groups(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Groups of pictures joined by a patient or a duplicate, in the order of their first name."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for sample in samples:
        if sample.duplicate_group:
            parent[find(f"p:{sample.patient_id}")] = find(f"d:{sample.duplicate_group}")
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.name):
        groups[find(f"p:{sample.patient_id}")].append(sample)
    return list(groups.values())
