"""How good is each format? Labelled pictures and candidates enter, an `Accuracy` leaves.

Every candidate scores every picture in a process of its own; the statistics are those of
`edge_app.statistics`. What is undefined, such as the AUROC where one class is missing, is said in
words, never NaN.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.candidates import Candidate
from benchmarks.processes import WorkerError, run_worker
from benchmarks.progress import progress
from benchmarks.record import (
    Accuracy,
    AccuracyRow,
    DataFacts,
    Entrant,
    GroupRow,
    PointRow,
    ReliabilityPoint,
    Stopwatch,
)
from benchmarks.subgroups import age_band, groups_of
from edge_app.bundle.manifest import Bundle
from edge_app.files.codec import encode
from edge_app.images.labelled_pictures import LabelledPicture, sizes_hash, split_hash
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.calibration import expected_calibration_error, reliability
from edge_app.statistics.intervals import Figure, wilson

_RESAMPLES = 1000
_FEWEST_IN_GROUP = 10

Save = Callable[[Accuracy], None]


@dataclass(frozen=True, slots=True)
class Cut:
    """An operating point as far as accuracy asks: cut-offs in raw-score units."""

    name: str
    threshold: float
    refer_low: float
    refer_high: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate's answers, one a case, in the cases' order."""

    entrant: Entrant
    candidate: Candidate
    rows: tuple[Mapping[str, Any], ...]

    def values(self, key: str) -> list[float | None]:
        """A field of each row, None where the picture has none."""
        return [row.get(key) for row in self.rows]


def measure_accuracy(
    bundle: Bundle,
    candidates: Sequence[Candidate],
    cases: Sequence[LabelledPicture],
    data_name: str,
    watch: Stopwatch,
    save: Save,
) -> Accuracy:
    """Score all cases with all candidates; `save` is called after each candidate.

    Raises:
        KeyboardInterrupt: handed on; what was done has been saved.
    """
    done: list[Scored | Entrant] = []
    section = _section(bundle, done, cases, data_name, watch, complete=False)
    for candidate in candidates:
        done.append(score_cases(candidate, cases))
        section = _section(
            bundle, done, cases, data_name, watch, complete=len(done) == len(candidates)
        )
        save(section)
    return section


def score_cases(candidate: Candidate, cases: Sequence[LabelledPicture]) -> Scored | Entrant:
    """Score the cases in a worker; an `Entrant` that says why where the candidate can't run."""
    request = {
        "task": "score",
        "candidate": encode(candidate),
        "files": [str(case.path.resolve()) for case in cases],
    }
    rows: list[Mapping[str, Any]] = []
    entrant = describe(candidate)
    try:
        with progress(candidate.name, len(cases), "images") as bar:
            for message in run_worker(candidate.interpreter, request):
                if "ready" in message:
                    entrant = with_runtime(entrant, message["ready"])
                if "row" in message:
                    rows.append(message["row"])
                    bar.at(len(rows))
    except WorkerError as error:
        return replace(entrant, missing=str(error))
    return Scored(entrant, candidate, tuple(rows))


def describe(candidate: Candidate, missing: str = "") -> Entrant:
    """A candidate before its runtime was opened."""
    return Entrant(
        name=candidate.name,
        foreign=candidate.foreign is not None,
        file=candidate.model.file,
        model_sha256=candidate.model.sha256,
        recipe=candidate.model.recipe,
        runtime=candidate.runtime,
        version="",
        notes=(),
        missing=missing,
    )


def with_runtime(entrant: Entrant, ready: Mapping[str, Any]) -> Entrant:
    """The same with what the worker said of its runtime."""
    return replace(entrant, version=ready["version"], notes=tuple(ready["notes"]))


def _section(
    bundle: Bundle,
    done: Sequence[Scored | Entrant],
    cases: Sequence[LabelledPicture],
    data_name: str,
    watch: Stopwatch,
    *,
    complete: bool,
) -> Accuracy:
    labels = [case.label for case in cases]
    patients = _numbered([case.patient_id for case in cases])
    reference = _reference([answer for answer in done if isinstance(answer, Scored)])
    rows = [
        _missing_row(answer)
        if isinstance(answer, Entrant)
        else _row(bundle, answer, reference, cases, patients)
        for answer in done
    ]
    return Accuracy(
        taken=watch.taken(complete=complete),
        data=DataFacts(
            name=data_name,
            n=len(cases),
            n_positive=sum(labels),
            n_patients=max(patients) + 1,
            sha256=split_hash(case.identity for case in cases),
            sizes_sha256=sizes_hash({case.name: case.path for case in cases}),
            fitted_here=_fitted_here(bundle, cases),
        ),
        reference="" if reference is None else reference.entrant.name,
        labels=tuple(labels),
        patients=tuple(patients),
        rows=tuple(rows),
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


def _reference(scored: Sequence[Scored]) -> Scored | None:
    """The float32 network of the bundle: what quantization is measured against."""
    of_bundle = [answer for answer in scored if answer.candidate.foreign is None]
    return next((a for a in of_bundle if a.entrant.recipe == "float32"), None)


def _row(
    bundle: Bundle,
    answer: Scored,
    reference: Scored | None,
    cases: Sequence[LabelledPicture],
    patients: Sequence[int],
) -> AccuracyRow:
    counts = Counter(row["status"] for row in answer.rows)
    scores = answer.values("raw_score")
    kept = [index for index, score in enumerate(scores) if score is not None]
    subset = _Subset(cases, patients, scores, kept)
    undefined: dict[str, str] = {}
    auroc = _or_reason("auroc", undefined, _of_both_classes(subset, subset.auroc))
    auprc = _or_reason("auprc", undefined, _of_both_classes(subset, subset.auprc))
    ece = _or_reason("ece", undefined, lambda: subset.ece(answer.values("probability")))
    versus, versus_p = _versus(answer, reference, cases, patients)
    cuts = _cuts_of(bundle, answer.candidate)
    return AccuracyRow(
        entrant=answer.entrant,
        n_scored=counts["scored"],
        n_refused=counts["refused"],
        n_failed=counts["failed"],
        refused=wilson(counts["refused"], len(cases)),
        refusals=Counter(row["reason"] for row in answer.rows if "reason" in row),
        auroc=auroc,
        auprc=auprc,
        ece=ece,
        undefined=undefined,
        versus=versus,
        versus_p=versus_p,
        points=tuple(_point_row(bundle, cut, answer, reference, cases) for cut in cuts),
        groups=tuple(_group_rows(cuts, answer, cases, patients)),
        reliability=tuple(_reliability(subset, answer.values("probability"))),
        scores=tuple(None if score is None else round(score, 4) for score in scores),
    )


def _missing_row(entrant: Entrant) -> AccuracyRow:
    return AccuracyRow(
        entrant=entrant,
        n_scored=0,
        n_refused=0,
        n_failed=0,
        refused=None,
        refusals={},
        auroc=None,
        auprc=None,
        ece=None,
        undefined={},
        versus=None,
        versus_p=None,
        points=(),
        groups=(),
        reliability=(),
        scores=(),
    )


class _Subset:
    """The scored ones among the cases, as arrays."""

    def __init__(
        self,
        cases: Sequence[LabelledPicture],
        patients: Sequence[int],
        scores: Sequence[float | None],
        kept: Sequence[int],
    ) -> None:
        self.kept = list(kept)
        self.labels = np.array([cases[i].label for i in kept])
        self.patients = np.array([patients[i] for i in kept])
        self.scores: npt.NDArray[np.float64] = np.array([scores[i] for i in kept], np.float64)

    def auroc(self) -> Figure:
        return metrics.auroc_delong(self.labels, self.scores, groups=self.patients)

    def auprc(self) -> Figure:
        return metrics.auprc_bootstrap(self.labels, self.scores, self.patients, _RESAMPLES)

    def ece(self, probabilities: Sequence[float | None]) -> Figure:
        values = self.probabilities(probabilities)
        return metrics.bootstrap(
            expected_calibration_error, self.labels, values, self.patients, n_resamples=_RESAMPLES
        )

    def probabilities(self, values: Sequence[float | None]) -> npt.NDArray[np.float64]:
        """Raises ValueError for a model without a calibration."""
        kept = [values[index] for index in self.kept]
        if any(value is None for value in kept):
            raise ValueError("the model has no calibration, so its score is no probability")
        return np.array(kept, np.float64)


def _or_reason(
    name: str, undefined: dict[str, str], statistic: Callable[[], Figure]
) -> Figure | None:
    try:
        return statistic()
    except ValueError as error:
        undefined[name] = str(error)
        return None


def _of_both_classes(subset: _Subset, statistic: Callable[[], Figure]) -> Callable[[], Figure]:
    """The statistic, behind the plain words for what alone makes it meaningless."""

    def checked() -> Figure:
        classes = len(set(subset.labels.tolist()))
        if classes < 2:
            raise ValueError("only one class" if classes else "no picture was scored")
        return statistic()

    return checked


def _cuts_of(bundle: Bundle, candidate: Candidate) -> list[Cut]:
    """The candidate's own operating points, the default first; a foreign model has at most one."""
    if candidate.foreign is not None:
        threshold = candidate.foreign.threshold
        return [] if threshold is None else [Cut("given", threshold, threshold, threshold)]
    default = bundle.manifest.default_operating_point
    own = (p for p in bundle.manifest.operating_points if p.model_sha256 == candidate.model.sha256)
    cuts = [Cut(p.name, p.threshold, p.refer_low, p.refer_high) for p in own]
    return sorted(cuts, key=lambda cut: cut.name != default)


def _point_row(
    bundle: Bundle,
    cut: Cut,
    answer: Scored,
    reference: Scored | None,
    cases: Sequence[LabelledPicture],
) -> PointRow:
    scores = answer.values("raw_score")
    kept = [i for i, score in enumerate(scores) if score is not None]
    labels = [cases[i].label for i in kept]
    values = np.array([scores[i] for i in kept], np.float64)
    if not kept:
        confusion = metrics.Confusion(0, 0, 0, 0)
    else:
        confusion = metrics.confusion_at(labels, values, cut.threshold)
    between = int(np.sum((values >= cut.refer_low) & (values < cut.refer_high)))
    flipped, mcnemar_p = _flips(bundle, cut, answer, reference, cases)
    return PointRow(
        name=cut.name,
        threshold=cut.threshold,
        tp=confusion.tp,
        fp=confusion.fp,
        tn=confusion.tn,
        fn=confusion.fn,
        sensitivity=confusion.sensitivity,
        specificity=confusion.specificity,
        ppv=confusion.ppv,
        npv=confusion.npv,
        indeterminate=wilson(between, len(kept)) if kept else None,
        flipped=flipped,
        mcnemar_p=mcnemar_p,
    )


def _flips(
    bundle: Bundle,
    cut: Cut,
    answer: Scored,
    reference: Scored | None,
    cases: Sequence[LabelledPicture],
) -> tuple[Figure | None, float | None]:
    """Decisions that differ from the float32 network's, each at its own file's threshold."""
    if reference is None or reference is answer:
        return None, None
    # A foreign model's one threshold has no name: it stands against the default point.
    known = _cuts_of(bundle, reference.candidate)
    foreign = answer.candidate.foreign is not None
    others = known[:1] if foreign else [c for c in known if c.name == cut.name]
    if not others:
        return None, None
    both = _scored_by_both(answer, reference)
    if not both:
        return None, None
    ours, theirs = answer.values("raw_score"), reference.values("raw_score")
    called = np.array([_at_least(ours[i], cut.threshold) for i in both])
    called_there = np.array([_at_least(theirs[i], others[0].threshold) for i in both])
    labels = np.array([bool(cases[i].label) for i in both])
    flipped = wilson(int(np.sum(called != called_there)), len(both))
    return flipped, metrics.mcnemar(called == labels, called_there == labels).p_value


def _versus(
    answer: Scored,
    reference: Scored | None,
    cases: Sequence[LabelledPicture],
    patients: Sequence[int],
) -> tuple[Figure | None, float | None]:
    if reference is None or reference is answer:
        return None, None
    both = _scored_by_both(answer, reference)
    ours, theirs = answer.values("raw_score"), reference.values("raw_score")
    try:
        return metrics.delong_test(
            [cases[i].label for i in both],
            np.array([ours[i] for i in both], np.float64),
            np.array([theirs[i] for i in both], np.float64),
            groups=[patients[i] for i in both],
        )
    except ValueError:  # too few images, or one class: the AUROCs' own reasons say so
        return None, None


def _scored_by_both(answer: Scored, reference: Scored) -> list[int]:
    pairs = zip(answer.values("raw_score"), reference.values("raw_score"), strict=True)
    return [i for i, (a, b) in enumerate(pairs) if a is not None and b is not None]


def _at_least(score: float | None, threshold: float) -> bool:
    return score is not None and score >= threshold


def _group_rows(
    cuts: Sequence[Cut],
    answer: Scored,
    cases: Sequence[LabelledPicture],
    patients: Sequence[int],
) -> list[GroupRow]:
    """By sub-type, view, age and sex; sub-types of the sick are set against all the healthy."""
    members: dict[tuple[str, str], list[int]] = {}
    scores = answer.values("raw_score")
    for index, (case, row) in enumerate(zip(cases, answer.rows, strict=True)):
        for kind, value in _all_groups(case, row).items():
            members.setdefault((kind, value), []).append(index)
    healthy = [index for index, case in enumerate(cases) if case.label == 0]
    found = []
    for (kind, value), indices in sorted(members.items()):
        against = indices + healthy if kind == "subtype" else indices
        kept = sorted(index for index in set(against) if scores[index] is not None)
        if len(kept) >= _FEWEST_IN_GROUP:
            found.append(_group_row(kind, value, cuts, _Subset(cases, patients, scores, kept)))
    return found


def _group_row(kind: str, value: str, cuts: Sequence[Cut], subset: _Subset) -> GroupRow:
    auroc = _or_reason("auroc", {}, subset.auroc)
    confusion = None
    if cuts:
        confusion = metrics.confusion_at(subset.labels, subset.scores, cuts[0].threshold)
    return GroupRow(
        kind=kind,
        value=value,
        n=len(subset.kept),
        n_positive=int(subset.labels.sum()),
        auroc=auroc,
        sensitivity=None if confusion is None else confusion.sensitivity,
        specificity=None if confusion is None else confusion.specificity,
    )


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


def _reliability(subset: _Subset, probabilities: Sequence[float | None]) -> list[ReliabilityPoint]:
    try:
        bins = reliability(subset.labels, subset.probabilities(probabilities), 10)
    except ValueError:
        return []
    return [ReliabilityPoint(b.n, b.mean_probability, b.observed) for b in bins]


def _numbered(names: Sequence[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(name, len(numbers)) for name in names]
