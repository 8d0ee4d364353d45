"""The export from beginning to end: a checkpoint enters, a written bundle leaves.

Read the checkpoint, prepare the pictures, make the files, hold them against the trained network,
fit each shipped file's own calibration and operating points, write. The first thing that does
not hold stops it, and nothing is written.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import (
    FORMAT_VERSION,
    Calibration,
    Golden,
    GoldenCase,
    InputGate,
    InputSpec,
    Manifest,
    Metric,
    ModelFile,
    ModelFormat,
    OperatingPoint,
    OutputNames,
    Provenance,
)
from edge_app.files.codec import canonical_json
from edge_app.images.labelled_pictures import LabelledPicture, Labelling
from edge_app.images.preprocess import PreprocessSpec
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.calibration import Platt, reliability
from edge_app.statistics.intervals import Figure
from export import onnx_model, tflite_model
from export.about import About
from export.bundle_writer import file_entries
from export.card import model_card
from export.checkpoint import Checkpoint, Network
from export.diagram import reliability_png
from export.errors import GateError
from export.figures import area_under_precision, measure, read_external, split_of
from export.fitting import MOST_ECE, PointSpecs, fit_calibration, fit_points, rounded
from export.golden import TOLERANCE, golden_arrays, golden_inputs, to_npy
from export.parity import (
    Report,
    Row,
    check,
    compare,
    keras_thresholds,
    require_enough,
    require_logits,
)
from export.pictures import STORED, Pictures, Sources, all_forms, representative
from export.progress import step
from export.recipe import Recipe
from export.scores import Logits, file_logits, keras_logits, tflite_runtime_logits

CARD_FILE = "model_card.md"
PARITY_FILE = "parity.json"


@dataclass(frozen=True, slots=True)
class Order:
    """What to export.

    Attributes:
        recipes: every recipe to make and hold against the gate.
        shipped: names of those whose files go into the bundle, the default of a format first.
        model_id, created: as they stand in the bundle; `created` is YYYY-MM-DD.
        external: CSV files or folders of other sites by name, measured and never fitted on.
        labelling: what those call their classes and columns.
        tflite_runtime: a Python with tflite-runtime, whose rows go into the report only.
    """

    recipes: tuple[Recipe, ...]
    shipped: tuple[str, ...]
    model_id: str
    created: str
    external: Mapping[str, Path]
    labelling: Labelling
    tflite_runtime: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """The validation pictures in all forms, and the trained network's raw scores of them."""

    pictures: Pictures
    reference: Logits


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """One exported file and its raw scores of the validation pictures."""

    recipe: Recipe
    content: bytes
    logits: Logits

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A bundle that has passed every gate and is not written yet; `report` has all runtimes."""

    manifest: Manifest
    files: Mapping[str, bytes]
    report: Report


def build(
    checkpoint: Checkpoint,
    entries: Sequence[LabelledPicture],
    sources: Sources,
    order: Order,
    points: PointSpecs,
    about: About,
    gate: InputGate | None,
) -> Built:
    """Do everything but write.

    Raises:
        ExportError: too few pictures, or an operating point that cannot be shown.
        GateError: a file is not as good as the trained network, or that one gives no logits.
    """
    spec, seed = checkpoint.record.preprocess, checkpoint.record.seed
    held_out = [entry for entry in entries if entry.split == "validation"]
    pictures = all_forms(held_out, sources, spec, seed)
    require_enough(pictures)
    validation = Validation(pictures, keras_logits(checkpoint.network, pictures.inputs))
    require_logits(validation.reference)
    thresholds = keras_thresholds(points.point, pictures, validation.reference)
    n = max((r.static.representative_images for r in order.recipes if r.static), default=0)
    samples = representative(entries, sources, spec, n, seed) if n else None
    exported, rows, foreign = [], [], []
    contents: dict[str, bytes] = {}
    for recipe in order.recipes:
        step(f"{recipe.name}: convert")
        content = contents[recipe.name] = make(recipe, checkpoint, contents, samples)
        found = Exported(recipe, content, file_logits(content, recipe.format, pictures.inputs))
        runtime = "litert" if recipe.format == "tflite" else "onnxruntime"
        rows.append(_row(found, runtime, validation, found.logits, thresholds))
        check(rows[-1], recipe.limits)
        exported.append(found)
        if recipe.format == "tflite" and order.tflite_runtime is not None:
            step(f"{recipe.name}: tflite-runtime")
            # Stored pictures only: without int8 kernels one picture takes a tenth of a second.
            stored = _of_stored(validation)
            logits = tflite_runtime_logits(content, stored.pictures.inputs, order.tflite_runtime)
            foreign.append(_row(found, "tflite-runtime", stored, logits, thresholds))
            check(foreign[-1], recipe.limits)
    keras = _keras_figures(validation)
    # The bundle's own report holds the runtimes that every export has, so that a rebuild without
    # tflite-runtime gives the same bytes.
    report = Report(checkpoint.sha256, keras, thresholds, tuple(rows))
    whole = Report(checkpoint.sha256, keras, thresholds, (*rows, *foreign))
    chosen = [next(e for e in exported if e.recipe.name == name) for name in order.shipped]
    external = {
        name: read_external(name, path, order.labelling, spec)
        for name, path in order.external.items()
    }
    return _assemble(
        checkpoint, order, points, about, gate, validation, chosen, external, report, whole
    )


def make(
    recipe: Recipe,
    checkpoint: Checkpoint,
    made: Mapping[str, bytes],
    samples: npt.NDArray[np.uint8] | None,
) -> bytes:
    """The bytes of one recipe's file; `made` holds earlier ones, so float32 is converted once."""
    spec, network = checkpoint.record.preprocess, checkpoint.network
    size = (spec.height, spec.width)
    name = recipe.recipe
    if recipe.format == "tflite" and name != "float32" and name != "static_int8":
        return tflite_model.convert(network, *size, name)
    float32 = made.get(f"{recipe.format}_float32")
    if float32 is None:
        float32 = _float32(recipe.format, network, size)
    if recipe.static is None:
        return float32
    assert samples is not None
    chosen = samples[: recipe.static.representative_images]
    if recipe.format == "tflite":
        return tflite_model.quantize_static(float32, chosen, recipe.static)
    return onnx_model.quantize_static(float32, chosen, recipe.static)


def _float32(kind: ModelFormat, network: Network, size: tuple[int, int]) -> bytes:
    if kind == "tflite":
        return tflite_model.convert(network, *size, "float32")
    return onnx_model.convert_float32(network, *size)


def _row(
    exported: Exported,
    runtime: str,
    validation: Validation,
    logits: Logits,
    thresholds: Mapping[str, float],
) -> Row:
    try:
        comparisons = compare(validation.pictures, validation.reference, logits, thresholds)
    except GateError as error:
        raise GateError(f"{exported.recipe.name} in {runtime}: {error}") from error
    return Row(
        recipe=exported.recipe.name,
        runtime=runtime,
        bytes=len(exported.content),
        sha256=exported.sha256,
        comparisons=comparisons,
    )


def _of_stored(validation: Validation) -> Validation:
    """The stored pictures alone."""
    members = validation.pictures.forms == STORED
    return Validation(validation.pictures.select(members), validation.reference[members])


def _keras_figures(validation: Validation) -> dict[str, Figure]:
    pictures, reference = validation.pictures, validation.reference
    stored = pictures.forms == STORED
    return {
        name: rounded(
            metrics.auroc_delong(
                pictures.labels[members], reference[members], groups=pictures.patients[members]
            )
        )
        for name, members in ((STORED, stored), ("all forms", np.ones_like(stored)))
    }


def _assemble(
    checkpoint: Checkpoint,
    order: Order,
    points: PointSpecs,
    about: About,
    gate: InputGate | None,
    validation: Validation,
    chosen: Sequence[Exported],
    external: Mapping[str, Pictures],
    report: Report,
    whole: Report,
) -> Built:
    spec = checkpoint.record.preprocess
    files = {item.recipe.file: item.content for item in chosen}
    arrays = golden_arrays(spec)
    files |= {name: to_npy(array) for name, array in arrays.items()}
    calibrations: list[Calibration] = []
    fitted: list[OperatingPoint] = []
    figures: list[Metric] = []
    everywhere = split_of(
        f"{about.data_name} patient-wise validation, all forms", validation.pictures
    )
    for item in chosen:
        step(f"{item.recipe.name}: calibrate")
        sha256 = item.sha256
        calibration = fit_calibration(validation.pictures, item.logits, sha256, everywhere)
        mine = fit_points(points.point, validation.pictures, item.logits, sha256, everywhere)
        calibrations.append(calibration)
        fitted += mine
        figures += _figures(about, validation, item, mine, points.default, external)
        if calibration.ece.value > MOST_ECE:
            raise GateError(
                f"{item.recipe.name}: calibration error {calibration.ece.value:.4f} is above "
                f"{MOST_ECE}; a probability must not be shown for this network"
            )
        files[f"reliability_{item.recipe.name}.png"] = _diagram(item, validation, calibration)
    golden = _golden(chosen, arrays, spec)
    files[PARITY_FILE] = canonical_json(report)
    manifest = _manifest(
        checkpoint, order, points, about, gate, chosen, files, calibrations, fitted, figures, golden
    )
    card = model_card(manifest, about, report, points).encode("utf-8")
    files[CARD_FILE] = card
    manifest = _manifest(
        checkpoint, order, points, about, gate, chosen, files, calibrations, fitted, figures, golden
    )
    return Built(manifest, files, whole)


def _figures(
    about: About,
    validation: Validation,
    item: Exported,
    points: Sequence[OperatingPoint],
    default_point: str,
    external: Mapping[str, Pictures],
) -> list[Metric]:
    """Figures on each form, on all of them, and on the sets of other sites."""
    pictures, sha256 = validation.pictures, item.sha256
    name = f"{about.data_name} patient-wise validation"
    split = split_of(f"{name}, all forms", pictures)
    found = measure(split, pictures, item.logits, points, sha256)
    found.append(area_under_precision(split, pictures, item.logits, sha256))
    # One form or view at a time only the default point: the manifest is read at every start.
    default = [point for point in points if point.name == default_point]
    for form in pictures.form_names():
        members = pictures.forms == form
        of_form = pictures.select(members)
        split = split_of(f"{name}, {form}", of_form)
        found += measure(split, of_form, item.logits[members], default, sha256)
    for site, others in external.items():
        logits = file_logits(item.content, item.recipe.format, others.inputs)
        split = split_of(f"{site} (another site, not fitted on)", others)
        found += measure(split, others, logits, points, sha256)
        for view in sorted(set(others.forms.tolist()) - {site}):
            members = others.forms == view
            of_view = others.select(members)
            split = split_of(f"{site}, view {view}", of_view)
            found += measure(split, of_view, logits[members], default, sha256)
    return found


def _diagram(item: Exported, validation: Validation, calibration: Calibration) -> bytes:
    platt = Platt(calibration.scale, calibration.offset)
    bins = reliability(validation.pictures.labels, platt.probability(item.logits))
    error = calibration.ece
    note = f"ECE {error.value:.4f} ({error.low:.4f}-{error.high:.4f}), n={error.n}"
    return reliability_png(bins, f"{item.recipe.file}: validation, all forms", note)


def _golden(
    chosen: Sequence[Exported],
    arrays: dict[str, npt.NDArray[np.uint8]],
    spec: PreprocessSpec,
) -> Golden:
    inputs = golden_inputs(arrays, spec)
    scores = {item.sha256: file_logits(item.content, item.recipe.format, inputs) for item in chosen}
    cases = [
        GoldenCase(name, {sha: round(float(logits[i]), 3) for sha, logits in scores.items()})
        for i, name in enumerate(arrays)
    ]
    return Golden(TOLERANCE, tuple(cases))


def _manifest(
    checkpoint: Checkpoint,
    order: Order,
    points: PointSpecs,
    about: About,
    gate: InputGate | None,
    chosen: Sequence[Exported],
    files: Mapping[str, bytes],
    calibrations: Sequence[Calibration],
    fitted: Sequence[OperatingPoint],
    figures: Sequence[Metric],
    golden: Golden,
) -> Manifest:
    record = checkpoint.record
    spec = record.preprocess
    return Manifest(
        format_version=FORMAT_VERSION,
        model_id=order.model_id,
        created=order.created,
        files=file_entries(files),
        models=tuple(
            ModelFile(item.recipe.file, item.recipe.format, item.recipe.recipe, item.sha256)
            for item in chosen
        ),
        input=InputSpec(tflite_model.INPUT, (1, spec.height, spec.width, 1), "uint8"),
        preprocess=spec,
        outputs=_output_names(checkpoint),
        locator=None,
        calibration=tuple(calibrations),
        operating_points=tuple(fitted),
        default_operating_point=points.default,
        input_gate=gate,
        population=about.population,
        metrics=tuple(figures),
        golden=golden,
        provenance=Provenance(
            checkpoint_sha256=checkpoint.sha256,
            config=record.name,
            data_sha256=record.train_sha256,
            seed=record.seed,
            versions=record.versions,
            licence=about.licence,
            citation=about.citation,
        ),
    )


def _output_names(checkpoint: Checkpoint) -> OutputNames:
    """Outputs are named by their role; null says that the network has none, and the edge
    offers less.
    """
    roles = checkpoint.network.roles
    return OutputNames(
        logit="logit",
        activation_map="activation_map" if "activation_map" in roles else None,
        embedding="embedding" if "embedding" in roles else None,
        subtype_logit="subtype_logit" if "subtype_logit" in roles else None,
    )
