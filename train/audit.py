"""What in a data set tells the classes apart without a look at the lungs, and what stands twice.

Samples enter, an `Audit` leaves: for each quantity of a file its AUROC for the label, duplicates,
and patients and duplicates on both sides of a split. Where a quantity alone comes near 1, a
network can learn that instead of pneumonia, and a validation on the same data will praise it.
"""

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_app.errors import InputError, UnreadableImageError
from edge_app.images.labelled_pictures import LabelledPicture, join_duplicates
from edge_app.progress import track
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure
from train.duplicates import Fingerprint, find_duplicates, fingerprint
from train.quantities import NAMES, Quantities, measure
from train.record import write_rows
from train.splits import shared_values
from train.tables import markdown_table

_SHOWN = 20
_ORIGINAL = ("original_pixel_count", "original_height", "original_aspect_ratio")


@dataclass(frozen=True, slots=True)
class Predictor:
    """How well one quantity alone predicts the label.

    Attributes:
        pictures: which of them: "all", a given split, or "larger copies".
        quantity: name of the quantity.
        auroc: with pneumonia as the positive class; below 0.5 the normals have more of it. The
            interval takes a patient's pictures as one cluster.
        median_normal, median_pneumonia: of the quantity.
    """

    pictures: str
    quantity: str
    auroc: Figure
    median_normal: float
    median_pneumonia: float

    @property
    def strength(self) -> float:
        """AUROC in the direction that predicts: 0.5 is nothing, 1 gives the label away."""
        return max(self.auroc.value, 1 - self.auroc.value)


@dataclass(frozen=True, slots=True)
class Overlap:
    """What stands on both sides of a split.

    Attributes:
        left, right: the two splits.
        patients, duplicates: how many patients and groups of equal pictures stand in both.
        examples: some of their names.
    """

    left: str
    right: str
    patients: int
    duplicates: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """Findings about a data set.

    Attributes:
        n_images, n_positive, n_patients: counts.
        predictors: strongest first.
        duplicate_groups: names of pictures that stand twice, by content.
        duplicates_of_other_label: groups that hold both labels.
        duplicates_of_other_patient: groups that hold several patients.
        overlaps: between the splits.
    """

    n_images: int
    n_positive: int
    n_patients: int
    predictors: tuple[Predictor, ...]
    duplicate_groups: tuple[tuple[str, ...], ...]
    duplicates_of_other_label: int
    duplicates_of_other_patient: int
    overlaps: tuple[Overlap, ...]


def audit(
    samples: Sequence[LabelledPicture], splits: Mapping[str, Sequence[LabelledPicture]]
) -> tuple[Audit, dict[str, str]]:
    """Measure every picture and report.

    Args:
        samples: all pictures.
        splits: of all of them or of some, by name; may be empty.

    Returns:
        The findings, and the duplicate group of each picture that has one, by name.

    Raises:
        UnreadableImageError: pictures cannot be read; the message names them.
    """
    measured = _measure_all([sample.path for sample in samples], "audit")
    duplicates = find_duplicates([fingerprint for _, fingerprint in measured])
    groups = [[samples[i] for i in group] for group in duplicates]
    of_sample = dict(zip((s.name for s in samples), (q for q, _ in measured), strict=True))
    predictors = _predictors("all", samples, [of_sample[s.name] for s in samples])
    predictors += _original_predictors(samples)
    for name, members in splits.items():
        predictors += _predictors(name, members, [of_sample[s.name] for s in members])
    larger = [sample for sample in samples if sample.larger is not None]
    if larger:
        copies = _measure_all([s.larger for s in larger if s.larger is not None], "larger copies")
        predictors += _predictors("larger copies", larger, [quantities for quantities, _ in copies])
    group_of = join_duplicates(samples, {f"content:{g[0].name}": g for g in groups})
    findings = Audit(
        n_images=len(samples),
        n_positive=sum(sample.label for sample in samples),
        n_patients=len({sample.patient_id for sample in samples}),
        predictors=tuple(sorted(predictors, key=_strongest_first)),
        duplicate_groups=tuple(tuple(s.name for s in group) for group in groups),
        duplicates_of_other_label=sum(len({s.label for s in g}) > 1 for g in groups),
        duplicates_of_other_patient=sum(len({s.patient_id for s in g}) > 1 for g in groups),
        overlaps=tuple(_overlaps(splits, group_of)),
    )
    return findings, group_of


def _strongest_first(predictor: Predictor) -> tuple[bool, str, float]:
    return predictor.pictures != "all", predictor.pictures, -predictor.strength


def in_words(findings: Audit) -> str:
    """The findings as text with Markdown tables."""
    rows = [
        (
            p.pictures,
            p.quantity,
            f"{p.auroc.value:.3f}",
            f"{p.auroc.low:.3f} to {p.auroc.high:.3f}",
            str(p.auroc.n),
            f"{p.median_normal:.4g}",
            f"{p.median_pneumonia:.4g}",
        )
        for p in findings.predictors
    ]
    header = ("pictures", "quantity", "AUROC", "95% CI", "n", "median normal", "median pneumonia")
    lines = [
        f"{findings.n_images} pictures of {findings.n_patients} patients, "
        f"{findings.n_positive} with pneumonia",
        "",
        markdown_table(header, rows),
        "",
        f"{len(findings.duplicate_groups)} pictures stand more than once "
        f"({sum(map(len, findings.duplicate_groups))} files); "
        f"{findings.duplicates_of_other_label} of them with both labels, "
        f"{findings.duplicates_of_other_patient} under several patients",
    ]
    lines += [
        f"{overlap.left} and {overlap.right}: {overlap.patients} patients and "
        f"{overlap.duplicates} pictures stand in both"
        + (f", such as {', '.join(overlap.examples[:3])}" if overlap.examples else "")
        for overlap in findings.overlaps
    ]
    return "\n".join(lines)


def write_labels(
    samples: Sequence[LabelledPicture], group_of: Mapping[str, str], path: Path
) -> None:
    """A CSV for `--data` in which the duplicates that were found share a group."""
    rows = [
        {
            "file": os.path.relpath(sample.path, path.parent).replace(os.sep, "/"),
            "label": sample.label,
            "subtype": sample.subtype,
            "patient_id": sample.patient_id,
            "duplicate_group": group_of.get(sample.name, sample.duplicate_group),
            "split": sample.split,
            "original_width": sample.original_size[0] if sample.original_size else "",
            "original_height": sample.original_size[1] if sample.original_size else "",
            "view": sample.view,
        }
        for sample in samples
    ]
    write_rows(rows, path)


def _measure_all(paths: Sequence[Path], label: str) -> list[tuple[Quantities, Fingerprint]]:
    with ThreadPoolExecutor() as pool:
        results = list(track(pool.map(_try_measure, paths), label, len(paths)))
    failed = [result for result in results if isinstance(result, InputError)]
    if failed:
        shown = "; ".join(str(error) for error in failed[:5])
        raise UnreadableImageError(f"{len(failed)} of {len(paths)} cannot be read: {shown}")
    return [result for result in results if not isinstance(result, InputError)]


def _try_measure(path: Path) -> tuple[Quantities, Fingerprint] | InputError:
    try:
        quantities, grey = measure(path)
    except InputError as error:
        return error
    return quantities, fingerprint(grey)


def _predictors(
    pictures: str, samples: Sequence[LabelledPicture], quantities: Sequence[Quantities]
) -> list[Predictor]:
    found: list[Predictor] = []
    for name in NAMES:
        pairs = [
            (sample, value)
            for sample, measured in zip(samples, quantities, strict=True)
            if not math.isnan(value := getattr(measured, name))
        ]
        found += _predictor(pictures, name, pairs)
    return found


def _original_predictors(samples: Sequence[LabelledPicture]) -> list[Predictor]:
    """The size of the files that the copies were made from, where a CSV tells it."""
    known = [(s, s.original_size) for s in samples if s.original_size is not None]
    values = {
        "original_pixel_count": [(s, float(size[0] * size[1])) for s, size in known],
        "original_height": [(s, float(size[1])) for s, size in known],
        "original_aspect_ratio": [(s, size[0] / size[1]) for s, size in known],
    }
    return [found for name in _ORIGINAL for found in _predictor("all", name, values[name])]


def _predictor(
    pictures: str, quantity: str, pairs: Sequence[tuple[LabelledPicture, float]]
) -> Iterator[Predictor]:
    """One predictor, or none where the quantity is constant or a class has too few patients."""
    labels = np.array([sample.label for sample, _ in pairs])
    values = np.array([value for _, value in pairs])
    patients = [sample.patient_id for sample, _ in pairs]
    of_class: dict[int, set[str]] = defaultdict(set)
    for label, patient in zip(labels.tolist(), patients, strict=True):
        of_class[label].add(patient)
    if min(len(of_class[0]), len(of_class[1])) < 2 or np.ptp(values) == 0:
        return
    yield Predictor(
        pictures,
        quantity,
        metrics.auroc_delong(labels, values, groups=patients),
        float(np.median(values[labels == 0])),
        float(np.median(values[labels == 1])),
    )


def _overlaps(
    splits: Mapping[str, Sequence[LabelledPicture]], group_of: Mapping[str, str]
) -> Iterator[Overlap]:
    names = list(splits)
    for i, left in enumerate(names):
        for right in names[i + 1 :]:
            patients = shared_values(splits[left], splits[right], "patient_id")
            groups = [
                {group_of[s.name] for s in splits[side] if s.name in group_of}
                for side in (left, right)
            ]
            both = sorted(groups[0] & groups[1])
            examples = (*patients[:_SHOWN], *both[:_SHOWN])
            yield Overlap(left, right, len(patients), len(both), examples)
