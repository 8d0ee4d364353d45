"""The article's network and its way of splitting, beside ours, on the same pictures.

Training records (`run.json` and `validation.csv`, the held-out pictures' logits; beside them
`evaluation.json` of `python -m train evaluate`, where there is one) enter, an `Article` leaves. The
shipped model's degraded figure comes from the record of the checkpoint that it was exported from.
What the table shows: what the network reads of the files' own traces (compression, sharpness) is
gone once all pictures are degraded alike. Splitting by image or by patient changes little beside
that, and the two runs were not even validated on the same pictures.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import REPOSITORY, WorkerError
from benchmarks.record import Article, ArticleRow
from benchmarks.store import Recording
from benchmarks.training_split import CHECKPOINTS
from edge_app.bundle.manifest import Bundle
from edge_app.errors import NoInputError, UsageError
from edge_app.files.codec import CodecError, decode
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure, wilson

RECORDS = REPOSITORY / "train" / "records"
EVALUATION = "evaluation.json"
_DEGRADED = "validation, degraded"
SEED = ("seed_cnn", "seed_cnn_patient")
# The article calls a sigmoid of one half or more pneumonia: a logit of 0.
_THRESHOLD = 0.0

# Kermany DS et al. Cell 2018; 172:1122-1131: Inception V3 on the official test split (390
# pneumonia, 234 normal); the paper gives no interval, so Wilson's is made from its counts.
_KERMANY = {"accuracy": 0.928, "sensitivity": 0.932, "specificity": 0.901}
_KERMANY_SICK, _KERMANY_HEALTHY = 390, 234


def read_article(
    records: Sequence[Path],
    bundle: Bundle,
    recording: Recording[Article],
    checkpoints: Path = CHECKPOINTS,
) -> Article:
    """Work out the table from records, and what the bundle says of itself.

    Args:
        records: folders of training runs.
        bundle: the shipped one.
        recording: of the section.
        checkpoints: where the record of the bundle's own checkpoint lies, by its configuration.

    Raises:
        NoInputError: none of the folders holds a finished record.
        UsageError: an evaluation is of other pictures than its record, or none of ours.
    """
    rows = [row for folder in records if (row := _record_row(folder)) is not None]
    if not rows:
        raise NoInputError(
            "no training record with run.json and validation.csv; train the article's network "
            f"with --train DATA, or name records: {', '.join(map(str, records))}"
        )
    shipped = _shipped_rows(bundle, checkpoints)
    taken = recording.taken(complete=True)
    return recording.put(Article(taken, (*rows, *shipped, _published_row())))


def known_records(names: Sequence[str]) -> list[Path]:
    """Folders of the committed records, the article's first."""
    return [RECORDS / name for name in dict.fromkeys((*SEED, *names))]


def train_records(data: Path, folder: Path) -> list[Path]:
    """Train the article's network both ways; what is finished already is not trained again.

    Raises:
        WorkerError: training failed, or Keras is not installed.
    """
    for name in SEED:
        command = [
            *(sys.executable, "-m", "train", "fit", name),
            *("--data", str(data.resolve()), "-o", str((folder / name).resolve())),
        ]
        if subprocess.run(command, cwd=REPOSITORY, check=False).returncode:
            raise WorkerError(f"training failed: {' '.join(command)}")
    return [folder / name for name in SEED]


def _record_row(folder: Path) -> ArticleRow | None:
    record = _read_json(folder / "run.json")
    rows = _read_rows(folder / "validation.csv")
    if record is None or not record.get("finished") or not rows:
        return None
    labels = [int(row["label"]) for row in rows]
    logits = [float(row["logit"]) for row in rows]
    # Split by image, patients stand on both sides: that is the point, so they are not grouped.
    unit = record["config"]["split"]["unit"]
    groups = [row["patient_id"] for row in rows] if unit == "patient" else None
    confusion = metrics.confusion_at(labels, logits, _THRESHOLD)
    return ArticleRow(
        name=record["config"]["name"],
        split=f"by {unit}",
        n=len(rows),
        auroc=metrics.auroc_delong(labels, logits, groups=groups),
        auroc_degraded=_evaluated(folder, labels) or _recorded(record, rows, labels, groups),
        sensitivity=confusion.sensitivity,
        specificity=confusion.specificity,
        accuracy=confusion.accuracy,
        source=f"{_shown(folder)} ({_origin(record)})",
    )


def _shown(folder: Path) -> str:
    """Where a record lies, for the table: of the checkout, from its root."""
    resolved = folder.resolve()
    inside = resolved.is_relative_to(REPOSITORY)
    return str(resolved.relative_to(REPOSITORY)) if inside else folder.name


def _origin(record: dict[str, Any]) -> str:
    """What a run was trained and validated on, as far as its record tells."""
    machine, versions = record.get("machine") or {}, record.get("versions") or {}
    named = [f"{name} {versions[name]}" for name in ("keras", "tensorflow") if name in versions]
    where = [f"{machine.get('architecture')}, {machine.get('cores')} cores"] if machine else []
    return "; ".join([", ".join(named), *where]).strip("; ") or "versions unknown"


def _recorded(
    record: dict[str, Any],
    rows: Sequence[dict[str, str]],
    labels: Sequence[int],
    groups: Sequence[str] | None,
) -> Figure | None:
    """The degraded AUROC of the run itself; None for a run without a degradation.

    Such a run leaves the column empty or out; before, it repeated the clean logits there.
    """
    degraded = [float(row["logit_degraded"]) for row in rows if row.get("logit_degraded")]
    if record["config"].get("degrade") is None or len(degraded) != len(labels):
        return None
    return metrics.auroc_delong(labels, degraded, groups=groups)


def _evaluated(folder: Path, labels: Sequence[int]) -> Figure | None:
    """The degraded AUROC of `python -m train evaluate --degrade CONFIG`; None without its file.

    Raises:
        UsageError: the file is another one's.
    """
    path = folder / EVALUATION
    if not path.exists():
        return None
    found = _read_json(path) or {}
    performances = {p.get("pictures"): p for p in found.get("performances", ())}
    degraded = performances.get(_DEGRADED)
    if degraded is None:
        raise UsageError(f"{path}: no performance {_DEGRADED!r}, as train evaluate writes it")
    counts = (degraded.get("n_images"), degraded.get("n_positive"))
    if counts != (len(labels), sum(labels)):
        raise UsageError(
            f"{path}: of {counts[0]} pictures, {counts[1]} with pneumonia; the record beside it "
            f"has {len(labels)} and {sum(labels)}"
        )
    try:
        return decode(Figure, degraded.get("auroc"))
    except CodecError as error:
        raise UsageError(f"{path}: {error}") from error


def _shipped_rows(bundle: Bundle, checkpoints: Path) -> list[ArticleRow]:
    """The shipped model on the held-out pictures as they are stored, at its own threshold."""
    manifest = bundle.manifest
    sha256, point = manifest.models[0].sha256, manifest.default_operating_point
    held = {
        metric.name: metric
        for metric in manifest.metrics
        if metric.model_sha256 == sha256
        and metric.split.name.endswith("validation, stored")
        and metric.operating_point in (None, point)
    }
    if "auroc" not in held:
        return []
    figures = {name: metric.value for name, metric in held.items()}
    folder = checkpoints / manifest.provenance.config
    degraded = _shipped_degraded(folder, bundle, held["auroc"].split.n_images)
    of_degraded = "" if degraded is None else f"; degraded: {_shown(folder)}, float32"
    return [
        ArticleRow(
            name=f"{manifest.model_id}, {manifest.models[0].recipe}",
            split="by patient",
            n=held["auroc"].split.n_images,
            auroc=figures["auroc"],
            auroc_degraded=degraded,
            sensitivity=figures.get("sensitivity"),
            specificity=figures.get("specificity"),
            accuracy=figures.get("accuracy"),
            source=f"bundle.json, threshold of {point}{of_degraded}",
        )
    ]


def _shipped_degraded(folder: Path, bundle: Bundle, n: int) -> Figure | None:
    """The degraded AUROC of the very checkpoint that was exported, on as many held-out pictures.

    Of the float32 network: quantized files never see degraded pictures, the export holds them
    against float32 on perturbed ones. None where the record is another checkpoint's.
    """
    record, rows = _read_json(folder / "run.json"), _read_rows(folder / "validation.csv")
    if record is None or len(rows) != n:
        return None
    if record.get("checkpoint_sha256") != bundle.manifest.provenance.checkpoint_sha256:
        return None
    labels = [int(row["label"]) for row in rows]
    groups = [row["patient_id"] for row in rows]
    return _evaluated(folder, labels) or _recorded(record, rows, labels, groups)


def _published_row() -> ArticleRow:
    n = _KERMANY_SICK + _KERMANY_HEALTHY
    shares = {
        "sensitivity": (_KERMANY["sensitivity"], _KERMANY_SICK),
        "specificity": (_KERMANY["specificity"], _KERMANY_HEALTHY),
        "accuracy": (_KERMANY["accuracy"], n),
    }
    figures = {name: wilson(share * k, k) for name, (share, k) in shares.items()}
    return ArticleRow(
        name="Inception V3",
        split="official test",
        n=n,
        auroc=None,
        auroc_degraded=None,
        source="published: Kermany et al. 2018",
        **figures,
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return found


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except OSError:
        return []
