"""How good is each contender? Labelled pictures and contenders enter, an `Accuracy` leaves.

Every contender scores every picture in a process of its own; the statistics are those of
`edge_app.statistics`. What is undefined, such as the AUROC where one class is missing, is said in
words, never NaN.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.contenders import Contender
from benchmarks.processes import WorkerError, run_worker
from benchmarks.record import (
    Accuracy,
    AccuracyRow,
    ContenderFacts,
    DataFacts,
    GroupRow,
    PointRow,
)
from benchmarks.store import Recording
from benchmarks.subgroups import age_band, groups_of
from benchmarks.training_split import trained_on
from edge_app.bundle.manifest import Bundle
from edge_app.files.codec import encode
from edge_app.images.labelled_pictures import LabelledPicture, sizes_hash, split_hash
from edge_app.progress import progress
from edge_app.results.rows import CutOffs
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    reliability,
)
from edge_app.statistics.intervals import Figure, wilson
from edge_app.statistics.observations import BoolArray, FloatArray

_RESAMPLES = 1000
_RELIABILITY_BINS = 10
_FEWEST_IN_GROUP = 10


@dataclass(frozen=True, slots=True)
class Scored:
    """A contender's answers, one a picture, in the pictures' order; none where it is missing.

    Attributes:
        cuts: its own operating points, the default first; a foreign model has at most one.
    """

    facts: ContenderFacts
    cuts: tuple[CutOffs, ...]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def is_reference(self) -> bool:
        """Whether quantization may be measured against it: a float32 network of the bundle."""
        return bool(self.rows) and not self.facts.foreign and self.facts.recipe == "float32"

    def values(self, key: str) -> FloatArray:
        """A number of each row, NaN where the picture has none."""
        return np.array([row.get(key) for row in self.rows], np.float64)


def measure_accuracy(
    bundle: Bundle,
    contenders: Sequence[Contender],
    cases: Sequence[LabelledPicture],
    data_name: str,
    recording: Recording[Accuracy],
) -> Accuracy:
    """Score all pictures with all contenders; each contender is recorded when it is done."""
    data = _Data(cases)
    facts = _data_facts(bundle, cases, data_name)
    done: list[Scored] = []

    def section(*, complete: bool) -> Accuracy:
        reference = next((answer for answer in done if answer.is_reference), None)
        return Accuracy(
            taken=recording.taken(complete=complete),
            data=facts,
            reference="" if reference is None else reference.facts.name,
            labels=tuple(map(int, data.labels)),
            patients=tuple(map(int, data.patients)),
            rows=tuple(_row(answer, reference, data) for answer in done),
        )

    for contender in contenders:
        done.append(score_cases(bundle, contender, cases))
        recording.put(section(complete=len(done) == len(contenders)))
    return recording.section or section(complete=True)


def score_cases(bundle: Bundle, contender: Contender, cases: Sequence[LabelledPicture]) -> Scored:
    """Score the pictures in a worker; the facts say why where the contender can't run."""
    request = {
        "task": "score",
        "contender": encode(contender),
        "files": [str(case.path.resolve()) for case in cases],
    }
    facts, rows = contender.facts(), []
    try:
        with progress(contender.name, len(cases), "images") as at:
            for message in run_worker(contender.interpreter, request):
                if "ready" in message:
                    facts = facts.opened(message["ready"])
                if "row" in message:
                    rows.append(message["row"])
                    at(len(rows))
    except WorkerError as error:
        return Scored(replace(facts, missing=str(error)), (), ())
    return Scored(facts, _cuts_of(bundle, contender), tuple(rows))


class _Data:
    """The pictures as arrays, and subsets of them.

    Attributes:
        labels: (n,) bool, True for pneumonia.
        patients: (n,) number of each picture's patient.
    """

    def __init__(self, cases: Sequence[LabelledPicture]) -> None:
        self.cases = cases
        self.labels: BoolArray = np.array([case.label == 1 for case in cases], np.bool_)
        numbers: dict[str, int] = {}
        found = [numbers.setdefault(case.patient_id, len(numbers)) for case in cases]
        self.patients = np.array(found, np.intp)

    def why_no_interval(self, kept: BoolArray, *, both_classes: bool = True) -> str:
        """Why figures of these pictures have no interval over patients, "" where they have."""
        if not kept.any():
            return "no picture was scored"
        sides = [kept & self.labels, kept & ~self.labels] if both_classes else [kept]
        patients = [len(np.unique(self.patients[side])) for side in sides]
        if 0 in patients:
            return "only one class"
        return "" if min(patients) > 1 else "fewer than two patients" + " of a class" * both_classes


def _data_facts(bundle: Bundle, cases: Sequence[LabelledPicture], name: str) -> DataFacts:
    return DataFacts(
        name=name,
        n=len(cases),
        n_positive=sum(case.label for case in cases),
        n_patients=len({case.patient_id for case in cases}),
        sha256=split_hash(case.identity for case in cases),
        sizes_sha256=sizes_hash({case.name: case.path for case in cases}),
        fitted_here=_fitted_here(bundle, cases),
        trained_on=trained_on(bundle.manifest.provenance, cases),
    )


def _fitted_here(bundle: Bundle, cases: Sequence[LabelledPicture]) -> tuple[str, ...]:
    """What the bundle says was fitted on these very pictures: its figures here flatter.

    Bundles that were exported before 2026-11-28 hash each form of the pictures by itself: what
    was fitted on "NAME, all forms" is found by the hash of "NAME, stored".
    """
    manifest = bundle.manifest
    own = {split_hash(case.identity for case in cases), _stored_form_hash(cases)}
    fitted = [(f"operating point {p.name}", p.fitted_on) for p in manifest.operating_points]
    fitted += [("calibration", c.fitted_on) for c in manifest.calibration]
    splits = [split for _, split in fitted] + [metric.split for metric in manifest.metrics]
    bases = {split.name.partition(", ")[0] for split in splits if split.sha256 in own}
    here = [what for what, split in fitted if split.name.partition(", ")[0] in bases]
    return tuple(dict.fromkeys(here))


def _stored_form_hash(cases: Sequence[LabelledPicture]) -> str:
    lines = sorted(f"{case.name}\t{case.label}\tstored\n" for case in cases)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _cuts_of(bundle: Bundle, contender: Contender) -> tuple[CutOffs, ...]:
    if contender.foreign is not None:
        threshold = contender.foreign.threshold
        return () if threshold is None else (CutOffs("given", threshold, threshold, threshold),)
    default = bundle.manifest.default_operating_point
    own = (p for p in bundle.manifest.operating_points if p.model_sha256 == contender.model.sha256)
    cuts = [CutOffs(p.name, p.threshold, p.refer_low, p.refer_high) for p in own]
    return tuple(sorted(cuts, key=lambda cut: cut.name != default))


def _row(answer: Scored, reference: Scored | None, data: _Data) -> AccuracyRow:
    if answer.facts.missing:
        return AccuracyRow(contender=answer.facts)
    counts = Counter(row["status"] for row in answer.rows)
    scores, probabilities = answer.values("raw_score"), answer.values("probability")
    kept = ~np.isnan(scores)
    why = data.why_no_interval(kept)
    undefined = {"auroc": why, "auprc": why, "ece": data.why_no_interval(kept, both_classes=False)}
    calibrated = bool(kept.any()) and not np.isnan(probabilities[kept]).any()
    if not calibrated and not undefined["ece"]:
        undefined["ece"] = "the model has no calibration, so its score is no probability"
    versus = _versus(answer, reference, data)
    return AccuracyRow(
        contender=answer.facts,
        n_scored=counts["scored"],
        n_refused=counts["refused"],
        n_failed=counts["failed"],
        refused=wilson(counts["refused"], len(data.cases)),
        refusals=Counter(row["reason"] for row in answer.rows if "reason" in row),
        auroc=None if why else _auroc(data, kept, scores),
        auprc=None if why else _auprc(data, kept, scores),
        ece=None
        if undefined["ece"]
        else _bootstrap(expected_calibration_error, data, kept, probabilities),
        undefined={name: reason for name, reason in undefined.items() if reason},
        versus=versus[0],
        versus_p=versus[1],
        points=tuple(_point_row(cut, answer, reference, data) for cut in answer.cuts),
        groups=tuple(_group_rows(answer, data)),
        reliability=_reliability(data, kept, probabilities) if calibrated else (),
        scores=tuple(None if np.isnan(score) else round(float(score), 4) for score in scores),
    )


def _auroc(data: _Data, kept: BoolArray, scores: FloatArray) -> Figure:
    return metrics.auroc_delong(data.labels[kept], scores[kept], groups=data.patients[kept])


def _auprc(data: _Data, kept: BoolArray, scores: FloatArray) -> Figure:
    patients = data.patients[kept]
    return metrics.auprc_bootstrap(data.labels[kept], scores[kept], patients, _RESAMPLES)


def _bootstrap(
    statistic: Callable[..., float], data: _Data, kept: BoolArray, values: FloatArray
) -> Figure:
    return metrics.bootstrap(
        statistic, data.labels[kept], values[kept], data.patients[kept], n_resamples=_RESAMPLES
    )


def _reliability(
    data: _Data, kept: BoolArray, probabilities: FloatArray
) -> tuple[ReliabilityBin, ...]:
    return reliability(data.labels[kept], probabilities[kept], _RELIABILITY_BINS)


def _point_row(cut: CutOffs, answer: Scored, reference: Scored | None, data: _Data) -> PointRow:
    scores = answer.values("raw_score")
    kept = ~np.isnan(scores)
    n = int(kept.sum())
    between = int(np.sum((scores >= cut.refer_low) & (scores < cut.refer_high)))
    flipped, mcnemar_p = _flips(cut, answer, reference, data)
    return PointRow(
        name=cut.name,
        threshold=cut.threshold,
        counts=_counts(data, kept, scores, cut),
        indeterminate=wilson(between, n) if n else None,
        flipped=flipped,
        mcnemar_p=mcnemar_p,
    )


def _counts(data: _Data, kept: BoolArray, scores: FloatArray, cut: CutOffs) -> metrics.Confusion:
    if not kept.any():
        return metrics.Confusion(0, 0, 0, 0)
    return metrics.confusion_at(data.labels[kept], scores[kept], cut.threshold)


def _flips(
    cut: CutOffs, answer: Scored, reference: Scored | None, data: _Data
) -> tuple[Figure | None, float | None]:
    """Decisions that differ from the float32 network's, each at its own file's threshold."""
    if reference is None or reference is answer:
        return None, None
    # A foreign model's one threshold has no name: it stands against the default point.
    known = reference.cuts
    others = known[:1] if answer.facts.foreign else [c for c in known if c.name == cut.name]
    ours, theirs = answer.values("raw_score"), reference.values("raw_score")
    both = ~np.isnan(ours + theirs)
    if not others or not both.any():
        return None, None
    called = ours[both] >= cut.threshold
    called_there = theirs[both] >= others[0].threshold
    labels = data.labels[both]
    flipped = wilson(int(np.sum(called != called_there)), int(both.sum()))
    return flipped, metrics.mcnemar(called == labels, called_there == labels).p_value


def _versus(
    answer: Scored, reference: Scored | None, data: _Data
) -> tuple[Figure | None, float | None]:
    if reference is None or reference is answer:
        return None, None
    ours, theirs = answer.values("raw_score"), reference.values("raw_score")
    both = ~np.isnan(ours + theirs)
    if data.why_no_interval(both):
        return None, None
    compared = partial(metrics.delong_test, groups=data.patients[both])
    try:
        return compared(data.labels[both], ours[both], theirs[both])
    except ValueError:  # AUROCs that differ without any variance: the test itself is undefined
        return None, None


def _group_rows(answer: Scored, data: _Data) -> list[GroupRow]:
    """By sub-type, view, age and sex; sub-types of the sick are set against all the healthy."""
    members: dict[tuple[str, str], list[int]] = {}
    for index, (case, row) in enumerate(zip(data.cases, answer.rows, strict=True)):
        for kind, value in _all_groups(case, row).items():
            members.setdefault((kind, value), []).append(index)
    scores = answer.values("raw_score")
    found = []
    for (kind, value), indices in sorted(members.items()):
        kept = np.isin(np.arange(len(scores)), indices)
        if kind == "subtype":
            kept |= ~data.labels
        kept &= ~np.isnan(scores)
        if kept.sum() < _FEWEST_IN_GROUP:
            continue
        found.append(
            GroupRow(
                kind=kind,
                value=value,
                n=int(kept.sum()),
                n_positive=int(data.labels[kept].sum()),
                auroc=None if data.why_no_interval(kept) else _auroc(data, kept, scores),
                counts=_counts(data, kept, scores, answer.cuts[0]) if answer.cuts else None,
            )
        )
    return found


def _all_groups(case: LabelledPicture, row: Mapping[str, Any]) -> dict[str, str]:
    """What the labels know; where they are silent, what the DICOM header says."""
    groups = groups_of(case)
    header = row.get("groups", {})
    for kind in ("view", "sex"):
        if header.get(kind):
            groups.setdefault(kind, header[kind])
    if header.get("age") is not None:
        groups.setdefault("age", age_band(header["age"]))
    return groups
