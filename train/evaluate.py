"""How good a checkpoint is where it was not trained: held-out pictures, other copies, other sites.

A `Scorer` and samples enter, an `Evaluation` leaves: discrimination and calibration with
intervals, the operating point, and the *skew*: how far the logit moves, and which decisions flip,
between a picture and another copy of it.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure, wilson
from train.cache import read_grey
from train.checkpoint import Scorer, read_file
from train.decision import (
    Floats,
    Judged,
    Performance,
    Point,
    cross_fit,
    fit_views,
    judge,
    note_on_spread,
    perform,
)
from train.degrade import DegradeSpec, degrade
from train.tables import markdown_table, short

_CROSS = "fitted on the other patients (5 folds), clean and degraded copies"
_CROSS_CLEAN = "fitted on the other patients (5 folds), clean copies alone"
_FIXED = "fitted on the validation pictures, clean and degraded copies"
_FIXED_CLEAN = "fitted on the validation pictures, clean copies alone"
DEGRADED = "validation, degraded"
NOT_DEGRADED = "not degraded: the configuration has no table degrade"


@dataclass(frozen=True, slots=True)
class Skew:
    """Logits of another copy of the same pictures, minus those of the pictures.

    Attributes:
        copies: name of the folder.
        trained_on: whether these are training pictures, whose scores say less.
        n_images, n_patients: pairs.
        mean_change, sd_change, mean_absolute_change: in logits.
        flips: share of the decisions that differ.
        auroc: of the copies; None where a class has fewer than two patients.
    """

    copies: str
    trained_on: bool
    n_images: int
    n_patients: int
    mean_change: float
    sd_change: float
    mean_absolute_change: float
    flips: Figure
    auroc: Figure | None


@dataclass(frozen=True, slots=True)
class Subtype:
    """Bacterial or viral, among held-out pneumonias whose file names say which.

    Attributes:
        auroc: with bacterial as the positive class.
        accuracy: at a logit of 0.
    """

    auroc: Figure
    accuracy: Figure


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of it.

    Attributes:
        checkpoints: SHA-256 of each.
        mirrored: whether mirrored pictures were averaged in.
        threshold: the operating point's, on the logit, fitted on all validation pictures.
        calibration_scale, calibration_offset: Platt's.
        performances: on validation and external pictures.
        skews: against other copies.
        subtype: None where the network or the data has none.
    """

    checkpoints: tuple[str, ...]
    mirrored: bool
    threshold: float
    calibration_scale: float
    calibration_offset: float
    performances: tuple[Performance, ...]
    skews: tuple[Skew, ...]
    subtype: Subtype | None


@dataclass(frozen=True, slots=True)
class Validated:
    """Logits of the held-out pictures, and the operating point that they give.

    Attributes:
        samples: n pictures.
        labels, clean: (n,).
        degraded: (n,), None where nothing says how to degrade.
        subtype_logits: (n,), None where the network has no such output.
        point: fitted on clean and, where there are any, degraded logits together.
    """

    samples: tuple[LabelledPicture, ...]
    labels: npt.NDArray[np.intp]
    clean: Floats
    degraded: Floats | None
    subtype_logits: Floats | None
    point: Point

    @property
    def patients(self) -> list[str]:
        """Patient of each picture."""
        return [sample.patient_id for sample in self.samples]


def validate(
    scorer: Scorer, samples: Sequence[LabelledPicture], degradation: DegradeSpec | None = None
) -> Validated:
    """Score held-out pictures as they are and degraded once, and fit the operating point.

    Args:
        scorer: of the checkpoint(s).
        samples: pictures that it was not trained on.
        degradation: the first checkpoint's own where None; without any, nothing is degraded.
    """
    config = scorer.checkpoints[0].config
    spec = degradation or config.degrade
    labels = np.array([sample.label for sample in samples])
    paths = [sample.path for sample in samples]
    outputs = scorer.outputs(paths, read_file)
    clean = outputs["logit"]
    if note := note_on_spread(clean):
        print(note, file=sys.stderr)
    degraded = None
    if spec is not None:
        seed = config.seed
        degraded = scorer.logits(
            range(len(samples)), lambda i, _: degraded_once(paths[i], spec, seed, i)
        )
    patients = [sample.patient_id for sample in samples]
    views = [clean] if degraded is None else [clean, degraded]
    point = fit_views(labels, views, patients)
    return Validated(tuple(samples), labels, clean, degraded, outputs.get("subtype_logit"), point)


def degraded_once(path: Path, spec: DegradeSpec, seed: int, index: int) -> npt.NDArray[np.uint8]:
    """The degradation that picture `index` of the validation had in training: (h, w) uint8."""
    return degrade(read_grey(path), spec, np.random.default_rng([seed, index]))


def evaluate(
    scorer: Scorer,
    validation: Sequence[LabelledPicture],
    training: Sequence[LabelledPicture],
    copies: Mapping[str, Mapping[str, Path]],
    external: Mapping[str, Sequence[LabelledPicture]],
    degradation: DegradeSpec | None = None,
) -> Evaluation:
    """Score everything and report.

    Args:
        scorer: of the checkpoint(s).
        validation: pictures that none of the checkpoints was trained on.
        training: the others; only their copies are looked at, and marked.
        copies: by folder name: sample name to another copy of it.
        external: other sites' pictures by name.
        degradation: see `validate`.
    """
    held = validate(scorer, validation, degradation)
    performances = _held_out_performances(held)
    how = _FIXED_CLEAN if held.degraded is None else _FIXED
    performances += [
        perform(_judge_files(scorer, held.point, samples), name, how)
        for name, samples in external.items()
    ]
    skews = []
    for name, paths in copies.items():
        for samples, trained_on in ((validation, False), (training, True)):
            found = [sample for sample in samples if sample.name in paths]
            if found:
                skews.append(_skew(scorer, held.point, name, found, paths, trained_on=trained_on))
    return Evaluation(
        checkpoints=tuple(checkpoint.sha256 for checkpoint in scorer.checkpoints),
        mirrored=scorer.mirror,
        threshold=held.point.threshold,
        calibration_scale=held.point.calibration.scale,
        calibration_offset=held.point.calibration.offset,
        performances=tuple(performances),
        skews=tuple(skews),
        subtype=_subtype(held),
    )


def _held_out_performances(held: Validated) -> list[Performance]:
    """Clean pictures alone where nothing was degraded: clean figures are not called degraded."""
    (by_clean,) = cross_fit(held.labels, [held.clean], held.patients)
    if held.degraded is None:
        return [perform(by_clean, "validation", _CROSS_CLEAN)]
    clean, degraded = cross_fit(held.labels, [held.clean, held.degraded], held.patients)
    return [
        perform(clean, "validation", _CROSS),
        perform(degraded, DEGRADED, _CROSS),
        perform(by_clean, "validation, point from clean copies", _CROSS_CLEAN),
    ]


def in_words(evaluation: Evaluation) -> str:
    """The evaluation as text with Markdown tables."""
    parts = [
        f"operating point: logit >= {evaluation.threshold:.3f}",
        performance_table(evaluation.performances),
    ]
    if all(performance.pictures != DEGRADED for performance in evaluation.performances):
        parts.append(f"{NOT_DEGRADED}; --degrade CONFIG lends one")
    if evaluation.skews:
        header = ("copies", "n", "mean change", "SD", "mean |change|", "decisions flipped", "AUROC")
        parts.append(markdown_table(header, [_skew_row(s) for s in evaluation.skews]))
    if evaluation.subtype is not None:
        subtype = evaluation.subtype
        parts.append(
            f"bacterial or viral, n={subtype.auroc.n}: AUROC {short(subtype.auroc)}, "
            f"accuracy {short(subtype.accuracy)}"
        )
    return "\n\n".join(parts)


def performance_table(performances: Sequence[Performance]) -> str:
    """Performances as a Markdown table."""
    header = ("pictures", "n (positive)", "AUROC", "AUPRC", "sensitivity", "specificity", "ECE")
    return markdown_table(header, [_performance_row(p) for p in performances])


def _judge_files(scorer: Scorer, point: Point, samples: Sequence[LabelledPicture]) -> Judged:
    labels = np.array([sample.label for sample in samples])
    logits = scorer.logits([sample.path for sample in samples], read_file)
    return judge(point, labels, logits, [sample.patient_id for sample in samples])


def _skew(
    scorer: Scorer,
    point: Point,
    name: str,
    samples: Sequence[LabelledPicture],
    paths: Mapping[str, Path],
    *,
    trained_on: bool,
) -> Skew:
    before = scorer.logits([sample.path for sample in samples], read_file)
    after = scorer.logits([paths[sample.name] for sample in samples], read_file)
    change = (after - before).astype(np.float64)
    flips = int(((before >= point.threshold) != (after >= point.threshold)).sum())
    patients = [sample.patient_id for sample in samples]
    labels = [sample.label for sample in samples]
    of_class = [{p for p, y in zip(patients, labels, strict=True) if y == c} for c in (0, 1)]
    return Skew(
        copies=name,
        trained_on=trained_on,
        n_images=len(samples),
        n_patients=len(set(patients)),
        mean_change=float(change.mean()),
        sd_change=float(change.std(ddof=1)) if len(change) > 1 else 0.0,
        mean_absolute_change=float(np.abs(change).mean()),
        flips=wilson(flips, len(samples)),
        auroc=(
            metrics.auroc_delong(labels, after, groups=patients)
            if min(map(len, of_class)) > 1
            else None
        ),
    )


def _subtype(held: Validated) -> Subtype | None:
    known = [i for i, sample in enumerate(held.samples) if sample.subtype]
    if held.subtype_logits is None or not known:
        return None
    logits = held.subtype_logits[known]
    bacterial = np.array([held.samples[i].subtype == "bacteria" for i in known])
    patients = [held.samples[i].patient_id for i in known]
    # An interval needs two patients of each.
    if (
        min(len({p for p, b in zip(patients, bacterial, strict=True) if b == k}) for k in (0, 1))
        < 2
    ):
        return None
    right = int(((logits > 0) == bacterial).sum())
    return Subtype(
        auroc=metrics.auroc_delong(bacterial.astype(int), logits, groups=patients),
        accuracy=wilson(right, len(known)),
    )


def _performance_row(p: Performance) -> tuple[str, ...]:
    return (
        p.pictures,
        f"{p.n_images} ({p.n_positive})",
        short(p.auroc),
        short(p.auprc),
        short(p.sensitivity),
        short(p.specificity),
        short(p.ece),
    )


def _skew_row(s: Skew) -> tuple[str, ...]:
    return (
        f"{s.copies}, {'training' if s.trained_on else 'validation'} pictures",
        str(s.n_images),
        f"{s.mean_change:+.3f}",
        f"{s.sd_change:.3f}",
        f"{s.mean_absolute_change:.3f}",
        short(s.flips),
        short(s.auroc),
    )
