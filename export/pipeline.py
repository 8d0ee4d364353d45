"""The export from beginning to end: a checkpoint enters, a written bundle leaves.

Read the checkpoint, prepare the pictures, make the files, hold them against the trained network,
fit each shipped file's own calibration and operating points, write. The first thing that does
not hold stops it, and nothing is written.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
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
    Locator,
    LocatorOutputs,
    Manifest,
    Metric,
    ModelFile,
    ModelFormat,
    OperatingPoint,
    OutputNames,
    Provenance,
    Split,
)
from edge_app.bundle.research import RESEARCH_FILE, RESEARCH_PREFIX, Research
from edge_app.files.codec import canonical_json
from edge_app.images.labelled_pictures import LabelledPicture, Labelling, split_hash
from edge_app.images.preprocess import PreprocessSpec, preprocess
from edge_app.progress import step
from edge_app.screening.gate import Gate, gate_features
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.calibration import Platt, reliability
from edge_app.statistics.intervals import Figure
from export import onnx_model, tflite_model
from export.about import About
from export.bundle_writer import file_entries
from export.card import model_card
from export.checkpoint import LOCATOR_ROLES, Checkpoint, Network
from export.diagram import reliability_png
from export.errors import ExportError, GateError
from export.figures import area_under_precision, measure, read_external, refused_share, split_of
from export.fitting import MOST_ECE, PointSpecs, fit_calibration, fit_points, rounded
from export.gate import MOST_REFUSED, Seen, answered, describe, fit_gate
from export.golden import DISTANCE_TOLERANCE, TOLERANCE, golden_arrays, to_npy
from export.looks import Finder, Run, View, reader_inputs, views
from export.parity import (
    LocatorRow,
    Report,
    Row,
    check,
    check_locator,
    compare,
    compare_views,
    keras_thresholds,
    require_enough,
    require_logits,
)
from export.pictures import (
    STORED,
    Pictures,
    Sources,
    all_forms,
    representative,
    training_forms,
)
from export.recipe import Recipe
from export.scores import (
    Logits,
    Outputs,
    file_logits,
    file_outputs,
    keras_logits,
    keras_outputs,
    tflite_runtime_logits,
)
from export.shortfalls import Shortfalls

Grey = npt.NDArray[np.generic]

CARD_FILE = "model_card.md"
PARITY_FILE = "parity.json"
_CHUNK = 512  # pictures that the gate is fitted on, of which so many are held at once


@dataclass(frozen=True, slots=True)
class Order:
    """What to export.

    Attributes:
        recipes: every recipe to make and hold against the gate.
        shipped: names of those whose files go into the bundle, the default of a format first.
        model_id, created: as they stand in the bundle; `created` is YYYY-MM-DD.
        external: CSV files or folders of other sites by name, measured and never fitted on.
        labelling: what the external sites call their classes and columns.
        tflite_runtime: a Python with tflite-runtime, whose rows go into the report only.
        research: make a research bundle where a release cannot be had.
    """

    recipes: tuple[Recipe, ...]
    shipped: tuple[str, ...]
    model_id: str
    created: str
    external: Mapping[str, Path]
    labelling: Labelling
    tflite_runtime: Path | None
    research: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """The validation pictures in all forms, and what the trained networks make of them.

    Attributes:
        pictures: in all forms.
        seen: the trained locator's views; whole pictures without one.
        reference: the trained reader's raw scores of these views.
    """

    pictures: Pictures
    seen: Sequence[View]
    reference: Logits


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """The exported files of a recipe and what they make of the validation pictures.

    Attributes:
        recipe: how they were made.
        content: the reader's file.
        finder: the trained locator with its rules, None without one.
        locator: the locator's file, None without one.
        seen: its views.
        logits: the reader file's raw scores of these.
        described: what the gate compares of each, None of what the first look refuses.
    """

    recipe: Recipe
    content: bytes
    finder: Finder | None
    locator: bytes | None
    seen: Sequence[View]
    logits: Logits
    described: Sequence[Seen | None]

    @property
    def sha256(self) -> str:
        """Of the reader's file."""
        return hashlib.sha256(self.content).hexdigest()

    def look(self, pictures: Sequence[Grey], *, turn: bool = True) -> Sequence[View]:
        """What the locator's file makes of other pictures."""
        return _file_views(self.locator, self.recipe.format, self.finder, pictures, turn=turn)

    def read(
        self, pictures: Sequence[Grey], seen: Sequence[View], spec: PreprocessSpec
    ) -> tuple[Logits, Sequence[Seen | None]]:
        """The reader file's raw scores, and what the gate compares."""
        return _read(self.content, self.recipe.format, pictures, seen, spec, self.has_gate)

    @property
    def has_gate(self) -> bool:
        """Whether the networks give what a gate needs."""
        return len(self.described) > 0


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A bundle that has passed every gate and is not written yet.

    Attributes:
        manifest, files: of the bundle.
        report: with all runtimes.
        left_out: why recipes that do not ship are not in it.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    report: Report
    left_out: tuple[str, ...]


def build(
    checkpoint: Checkpoint,
    entries: Sequence[LabelledPicture],
    sources: Sources,
    order: Order,
    points: PointSpecs,
    about: About,
    finder: Finder | None = None,
) -> Built:
    """Do everything but write.

    Args:
        checkpoint: the reader.
        entries, sources: the run's pictures.
        order, points, about: what the bundle is to hold.
        finder: the locator; None makes a bundle whose reader sees whole pictures.

    Raises:
        ExportError: too few pictures, or an operating point that cannot be shown.
        GateError: a file is not as good as the trained network, or that one gives no logits.
    """
    spec, seed = checkpoint.record.preprocess, checkpoint.record.seed
    held_out = [entry for entry in entries if entry.split == "validation"]
    framings = finder is not None
    pictures = all_forms(held_out, sources, spec, seed, framings=framings)
    shortfalls = Shortfalls(order.research)
    require_enough(pictures, shortfalls)
    seen = views(pictures.pixels, finder, _trained(finder))
    inputs = reader_inputs(pictures.pixels, seen, spec)
    validation = Validation(pictures, seen, keras_logits(checkpoint.network, inputs))
    require_logits(validation.reference)
    thresholds = keras_thresholds(points.point, pictures, validation.reference, shortfalls)
    points = points.only(thresholds)
    n = max((r.static.representative_images for r in order.recipes if r.static), default=0)
    if order.research:
        n = min(n, 2 * _fewest_to_train_on(entries))
    shown = representative(entries, sources, spec, n, seed, framings=framings) if n else []
    samples = finder_samples = None
    if shown:
        samples = reader_inputs(shown, views(shown, finder, _trained(finder)), spec)
        if finder is not None:
            whole = finder.checkpoint.record.preprocess
            finder_samples = np.concatenate([preprocess(pixels, whole) for pixels in shown])
    bench = _Bench(checkpoint, finder, validation, thresholds, samples, finder_samples)
    exported, rows, foreign, found_rows = [], [], [], []
    left_out = []
    for recipe in order.recipes:
        try:
            tried = bench.try_recipe(recipe, order.tflite_runtime)
        except ExportError as error:
            if recipe.name in order.shipped:
                raise
            left_out.append(f"{recipe.name} is left out: {error}")
            continue
        exported.append(tried.exported)
        rows.append(tried.row)
        foreign += tried.foreign
        found_rows += tried.locator_row
    keras = _keras_figures(validation)
    # The bundle's own report holds the runtimes that every export has, so that a rebuild without
    # tflite-runtime gives the same bytes.
    looks = tuple(found_rows)
    report = Report(checkpoint.sha256, keras, thresholds, tuple(rows), looks)
    every = Report(checkpoint.sha256, keras, thresholds, (*rows, *foreign), looks)
    chosen = [next(e for e in exported if e.recipe.name == name) for name in order.shipped]
    external = {
        name: read_external(name, path, order.labelling, spec)
        for name, path in order.external.items()
    }
    gates: dict[str, tuple[Gate, bytes]] = {}
    if chosen[0].has_gate:
        gates = {
            item.sha256: _gate_of(item, entries, sources, checkpoint, pictures) for item in chosen
        }
    return _assemble(
        checkpoint,
        entries,
        order,
        points,
        about,
        validation,
        chosen,
        gates,
        external,
        report,
        every,
        shortfalls,
        tuple(left_out),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """A recipe's files and rows; lists of no or one row."""

    exported: Exported
    row: Row
    foreign: list[Row]
    locator_row: list[LocatorRow]


@dataclass(slots=True, eq=False)
class _Bench:
    """What every recipe is tried on; float32 files are kept, so each is converted once."""

    checkpoint: Checkpoint
    finder: Finder | None
    validation: Validation
    thresholds: Mapping[str, float]
    samples: npt.NDArray[np.uint8] | None
    finder_samples: npt.NDArray[np.uint8] | None
    contents: dict[str, bytes] = field(default_factory=dict)
    locators: dict[str, bytes] = field(default_factory=dict)

    def try_recipe(self, recipe: Recipe, tflite_runtime: Path | None) -> _Tried:
        """Make a recipe's files and hold them against the trained networks.

        Raises:
            ExportError: they cannot be made, or are not as good.
        """
        runtime = "litert" if recipe.format == "tflite" else "onnxruntime"
        pictures = self.validation.pictures
        locator, locator_row = None, []
        if self.finder is not None:
            step(f"{recipe.name}: convert the locator")
            locator = make(recipe, self.finder.checkpoint, self.locators, self.finder_samples)
            self.locators[recipe.name] = locator
        mine = _file_views(locator, recipe.format, self.finder, pictures.pixels)
        if locator is not None:
            seen = self.validation.seen
            locator_row = [compare_views(recipe.name, runtime, locator, seen, mine)]
            check_locator(locator_row[0], recipe.limits)
        step(f"{recipe.name}: convert")
        content = self.contents[recipe.name] = make(
            recipe, self.checkpoint, self.contents, self.samples
        )
        spec = self.checkpoint.record.preprocess
        with_gate = self.finder is not None and "embedding" in self.checkpoint.network.roles
        logits, described = _read(content, recipe.format, pictures.pixels, mine, spec, with_gate)
        found = Exported(recipe, content, self.finder, locator, mine, logits, described)
        row = _row(found, runtime, self.validation, logits, self.thresholds)
        check(row, recipe.limits)
        foreign = []
        if recipe.format == "tflite" and tflite_runtime is not None:
            step(f"{recipe.name}: tflite-runtime")
            # Stored pictures only: without int8 kernels one picture takes a tenth of a second.
            is_stored = pictures.forms == STORED
            stored = _of_stored(self.validation)
            shown = [view for view, is_in in zip(mine, is_stored, strict=True) if is_in]
            inputs = reader_inputs(stored.pictures.pixels, shown, spec)
            logits = tflite_runtime_logits(content, inputs, tflite_runtime)
            foreign = [_row(found, "tflite-runtime", stored, logits, self.thresholds)]
            check(foreign[0], recipe.limits)
        return _Tried(found, row, foreign, locator_row)


def _fewest_to_train_on(entries: Sequence[LabelledPicture]) -> int:
    """Training pictures of the class that has fewer."""
    labels = [entry.label for entry in entries if entry.split == "train"]
    return min(labels.count(0), labels.count(1))


def _gate_of(
    item: Exported,
    entries: Sequence[LabelledPicture],
    sources: Sources,
    checkpoint: Checkpoint,
    pictures: Pictures,
) -> tuple[Gate, bytes]:
    """The gate of one file: fitted on training pictures, its limit chosen on validation ones."""
    step(f"{item.recipe.name}: fit the gate")
    spec, seed = checkpoint.record.preprocess, checkpoint.record.seed
    training: list[Seen] = []
    forms = training_forms(entries, sources, spec, seed)
    while chunk := list(islice(forms, _CHUNK)):
        _, described = item.read(chunk, item.look(chunk), spec)
        training += [one for one in described if one is not None]
    passing = np.array([one is not None for one in item.described])
    held_out = [one for one in item.described if one is not None]
    name = f"gate_{item.recipe.name}.npy"
    return fit_gate(training, held_out, pictures.patients[passing], item.sha256, name)


def _read(
    content: bytes,
    format: ModelFormat,
    pictures: Sequence[Grey],
    seen: Sequence[View],
    spec: PreprocessSpec,
    with_gate: bool,
) -> tuple[Logits, Sequence[Seen | None]]:
    inputs = reader_inputs(pictures, seen, spec)
    if not with_gate:
        return file_logits(content, format, inputs), ()
    outputs = file_outputs(content, format, inputs, ("logit", "embedding"))
    logits = outputs["logit"][:, 0].astype(np.float64)
    return logits, describe(pictures, seen, inputs, outputs["embedding"])


def _trained(finder: Finder | None) -> Run | None:
    """The trained locator as a function of many pictures."""
    if finder is None:
        return None
    network = finder.checkpoint.network
    return lambda inputs: keras_outputs(network, inputs, network.roles)


def _file_views(
    locator: bytes | None,
    format: ModelFormat,
    finder: Finder | None,
    pictures: Sequence[Grey],
    *,
    turn: bool = True,
) -> Sequence[View]:
    run = None
    if locator is not None:
        content = locator

        def run(inputs: npt.NDArray[np.uint8]) -> Outputs:
            return file_outputs(content, format, inputs, tuple(LOCATOR_ROLES))

    return views(pictures, finder, run, turn=turn)


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
    return Validation(
        validation.pictures.select(members),
        [view for view, is_in in zip(validation.seen, members, strict=True) if is_in],
        validation.reference[members],
    )


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
    entries: Sequence[LabelledPicture],
    order: Order,
    points: PointSpecs,
    about: About,
    validation: Validation,
    chosen: Sequence[Exported],
    gates: Mapping[str, tuple[Gate, bytes]],
    external: Mapping[str, Pictures],
    report: Report,
    whole: Report,
    shortfalls: Shortfalls,
    left_out: tuple[str, ...],
) -> Built:
    spec = checkpoint.record.preprocess
    files = {item.recipe.file: item.content for item in chosen}
    files |= {item.recipe.locator_file: item.locator for item in chosen if item.locator is not None}
    files |= {gate.fit.file: content for gate, content in gates.values()}
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
        gate = gates[sha256][0] if sha256 in gates else None
        # Cut-offs and probabilities are for those that get an answer.
        passing = _answered(item, item.seen, item.described, gate)
        pictures, logits = validation.pictures.select(passing), item.logits[passing]
        split = split_of(f"{everywhere.name}, those answered", pictures)
        calibration = fit_calibration(pictures, logits, sha256, split)
        mine = fit_points(points.point, pictures, logits, sha256, split, shortfalls)
        calibrations.append(calibration)
        fitted += mine
        figures += _figures(about, validation, item, gate, mine, points.default, external, spec)
        if calibration.ece.value > MOST_ECE:
            shortfalls.note(
                GateError(
                    f"{item.recipe.name}: calibration error {calibration.ece.value:.4f} is above "
                    f"{MOST_ECE}; a probability must not be shown for this network"
                )
            )
        files[f"reliability_{item.recipe.name}.png"] = _diagram(item, pictures, logits, calibration)
    golden = _golden(chosen, gates, arrays, spec)
    files[PARITY_FILE] = canonical_json(report)
    if shortfalls.lacks:
        files[RESEARCH_FILE] = Research(tuple(shortfalls.lacks)).to_json()
        order = replace(order, model_id=f"{RESEARCH_PREFIX}{order.model_id}")
    manifest = _manifest(
        checkpoint,
        _input_gate(gates, about, entries, everywhere),
        order,
        points,
        about,
        chosen,
        files,
        calibrations,
        fitted,
        figures,
        golden,
    )
    card = model_card(manifest, about, report, points, shortfalls.lacks)
    files[CARD_FILE] = card.encode("utf-8")
    manifest = replace(manifest, files=file_entries(files))
    return Built(manifest, files, whole, left_out)


def _figures(
    about: About,
    validation: Validation,
    item: Exported,
    gate: Gate | None,
    points: Sequence[OperatingPoint],
    default_point: str,
    external: Mapping[str, Pictures],
    spec: PreprocessSpec,
) -> list[Metric]:
    """Figures on each form, on all of them, and on the sets of other sites."""
    pictures, sha256 = validation.pictures, item.sha256
    answered_for = _answered(item, item.seen, item.described, gate)
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
        if item.finder is not None:
            found.append(refused_share(split, of_form, ~answered_for[members], sha256))
    for site, others in external.items():
        seen = item.look(others.pixels)
        logits, described = item.read(others.pixels, seen, spec)
        split = split_of(f"{site} (another site, not fitted on)", others)
        found += measure(split, others, logits, points, sha256)
        if item.finder is not None:
            found.append(
                refused_share(split, others, ~_answered(item, seen, described, gate), sha256)
            )
        for view in sorted(set(others.forms.tolist()) - {site}):
            members = others.forms == view
            of_view = others.select(members)
            split = split_of(f"{site}, view {view}", of_view)
            found += measure(split, of_view, logits[members], default, sha256)
    return found


def _answered(
    item: Exported, seen: Sequence[View], described: Sequence[Seen | None], gate: Gate | None
) -> npt.NDArray[np.bool_]:
    """(n,) which pictures the edge would answer for."""
    if not item.has_gate:
        return np.array([view.reason is None for view in seen], np.bool_)
    return answered(gate, described)


def _diagram(item: Exported, pictures: Pictures, logits: Logits, calibration: Calibration) -> bytes:
    platt = Platt(calibration.scale, calibration.offset)
    bins = reliability(pictures.labels, platt.probability(logits))
    error = calibration.ece
    note = f"ECE {error.value:.4f} ({error.low:.4f}-{error.high:.4f}), n={error.n}"
    return reliability_png(bins, f"{item.recipe.file}: validation, all forms", note)


def _golden(
    chosen: Sequence[Exported],
    gates: Mapping[str, tuple[Gate, bytes]],
    arrays: dict[str, npt.NDArray[np.uint8]],
    spec: PreprocessSpec,
) -> Golden:
    pictures = [array for array in arrays.values() if array.ndim == 2]
    ready = [array for array in arrays.values() if array.ndim == 4]
    scores: dict[str, list[float]] = {}
    distances: dict[str, list[float]] = {}
    for item in chosen:
        seen = item.look(pictures, turn=False)
        inputs = np.concatenate([reader_inputs(pictures, seen, spec), *ready])
        roles = ("logit", "embedding") if item.has_gate else ("logit",)
        outputs = file_outputs(item.content, item.recipe.format, inputs, roles)
        scores[item.sha256] = [round(float(logit), 3) for logit in outputs["logit"][:, 0]]
        if item.sha256 not in gates:
            continue
        gate = gates[item.sha256][0]
        found = []
        for index, view in enumerate(seen):
            assert view.lungs is not None
            one = inputs[index : index + 1]
            values = gate_features(view.lungs, view.box, one, outputs["embedding"][index])
            found.append(round(gate.distance(values), 3))
        distances[item.sha256] = found
    cases = [
        GoldenCase(
            name,
            {sha: logits[i] for sha, logits in scores.items()},
            {sha: found[i] for sha, found in distances.items() if i < len(found)},
        )
        for i, name in enumerate(arrays)
    ]
    return Golden(TOLERANCE, DISTANCE_TOLERANCE, tuple(cases))


def _input_gate(
    gates: Mapping[str, tuple[Gate, bytes]],
    about: About,
    entries: Sequence[LabelledPicture],
    chosen_on: Split,
) -> InputGate | None:
    if not gates:
        return None
    training = [entry for entry in entries if entry.split == "train"]
    return InputGate(
        kind="joined_distance",
        fits=tuple(gate.fit for gate, _ in gates.values()),
        fitted_on=Split(
            name=f"{about.data_name} training, stored and one other form each",
            n_images=2 * len(training),
            n_patients=len({entry.patient_id for entry in training}),
            n_positive=2 * sum(entry.label for entry in training),
            sha256=split_hash(entry.identity for entry in training),
        ),
        chosen_on=chosen_on,
        most_refused=MOST_REFUSED,
    )


def _manifest(
    checkpoint: Checkpoint,
    input_gate: InputGate | None,
    order: Order,
    points: PointSpecs,
    about: About,
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
        locator=_locator(chosen),
        calibration=tuple(calibrations),
        operating_points=tuple(fitted),
        default_operating_point=points.default,
        input_gate=input_gate,
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


def _locator(chosen: Sequence[Exported]) -> Locator | None:
    """The locator's part of the manifest; each reader file with the locator file of its recipe."""
    finder = chosen[0].finder
    if finder is None:
        return None
    spec = finder.checkpoint.record.preprocess
    models = {
        item.sha256: ModelFile(
            item.recipe.locator_file,
            item.recipe.format,
            item.recipe.recipe,
            hashlib.sha256(item.locator or b"").hexdigest(),
        )
        for item in chosen
    }
    return Locator(
        models=tuple(models.values()),
        input=InputSpec(tflite_model.INPUT, (1, spec.height, spec.width, 1), "uint8"),
        preprocess=spec,
        outputs=LocatorOutputs(**{role: role for role in LOCATOR_ROLES}),
        rules=finder.rules,
        margin=finder.margin,
        pairs={reader: model.sha256 for reader, model in models.items()},
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
