"""Accuracy end to end: real worker processes score real files with the tiny bundle."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy import measure_accuracy
from benchmarks.contenders import (
    bundle_contenders,
    foreign_contenders,
    parse_pythons,
    with_distinct_names,
)
from benchmarks.record import Accuracy, AccuracyRow
from benchmarks.store import Recording
from benchmarks.subgroups import age_band, groups_of
from benchmarks.tables import Table, as_markdown, make_tables
from benchmarks.training_split import trained_on
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.errors import BundleError, UsageError
from edge_app.files.codec import encode
from edge_app.images.labelled_pictures import (
    LabelledPicture,
    read_labelled_pictures,
    split_hash,
)
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import preprocess
from edge_app.images.read import read_image
from tests.benchmark_results import results
from tests.pictures import dicom_bytes
from tests.tiny_bundle import SPEC, write_tiny_bundle
from tests.tiny_network import FOLDER, forward

SICK, HEALTHY = 6, 6


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms by class, one file that is no picture, one too small to be assessed."""
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("PNEUMONIA", SICK), ("NORMAL", HEALTHY)):
        (folder / name).mkdir()
        for index in range(count):
            pixels = draw_phantom(Phantom(seed=index, opacity=float(name == "PNEUMONIA")), 160, 180)
            Image.fromarray(pixels).save(folder / name / f"person{index}_virus_{index}.png")
    (folder / "NORMAL" / "torn.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "NORMAL" / "small.png")
    return folder


@pytest.fixture(scope="module")
def measured(bundle: Bundle, data: Path) -> Accuracy:
    return measure(bundle, read_labelled_pictures(data))


class Kept(Recording[Accuracy]):
    """Keeps every state of the section."""

    def put(self, section: Accuracy) -> Accuracy:
        self.states = [*getattr(self, "states", []), section]
        return super().put(section)


def tables_of(section: Accuracy) -> dict[str, Table]:
    return {table.name: table for table in make_tables(results(accuracy=section))}


def measure(bundle: Bundle, cases: list[LabelledPicture]) -> Accuracy:
    contenders = bundle_contenders(bundle)
    recording = Kept("accuracy", "test", "tiny")
    section = measure_accuracy(bundle, contenders, cases, "phantoms", recording)
    saved = recording.states
    assert [len(s.rows) for s in saved] == list(range(1, len(contenders) + 1))
    assert [s.taken.complete for s in saved] == [False] * (len(saved) - 1) + [True]
    return section


def row_of(section: Accuracy, name: str) -> AccuracyRow:
    return next(row for row in section.rows if row.contender.name == name)


def test_scores_are_those_of_the_reference_network(measured: Accuracy, data: Path) -> None:
    scores = row_of(measured, "float32 onnxruntime").scores
    for case, score in zip(read_labelled_pictures(data), scores, strict=True):
        if score is None:
            assert case.path.stem in ("torn", "small")
            continue
        expected = forward(preprocess(np.asarray(Image.open(case.path)), SPEC)).logit
        assert score == pytest.approx(expected, abs=2e-4)


def test_failures_and_refusals_are_counted_not_scored(measured: Accuracy) -> None:
    row = row_of(measured, "static_int8 litert")
    assert (row.n_scored, row.n_refused, row.n_failed) == (SICK + HEALTHY, 1, 1)
    assert row.refusals == {"too_small": 1, "unreadable": 1}
    assert row.refused is not None
    assert row.refused.value == pytest.approx(1 / 14)


def test_counts_at_an_operating_point_are_those_of_the_scores(
    measured: Accuracy, bundle: Bundle
) -> None:
    row = row_of(measured, "static_int8 litert")
    assert [point.name for point in row.points] == ["balanced", "screening"]
    point = row.points[0]
    pairs = [(y, s) for y, s in zip(measured.labels, row.scores, strict=True) if s is not None]
    called = [(y, s >= point.threshold) for y, s in pairs]
    counts = point.counts
    assert (counts.tp, counts.fn) == (called.count((1, True)), called.count((1, False)))
    assert (counts.fp, counts.tn) == (called.count((0, True)), called.count((0, False)))
    cut = bundle.operating_point(bundle.manifest.models[0], "balanced")
    between = sum(cut.refer_low <= s < cut.refer_high for _, s in pairs)
    assert point.indeterminate is not None
    assert point.indeterminate.value == pytest.approx(between / len(pairs))


def test_flips_are_against_the_float32_network(measured: Accuracy, bundle: Bundle) -> None:
    reference, quantized = (
        row_of(measured, name) for name in ("float32 onnxruntime", "static_int8 litert")
    )
    assert measured.reference == "float32 onnxruntime"
    assert reference.points[0].flipped is None
    pairs = zip(reference.scores, quantized.scores, strict=True)
    int8, float32 = (bundle.operating_point(m).threshold for m in bundle.manifest.models)
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    flips = sum((a >= float32) != (b >= int8) for a, b in both)
    assert quantized.points[0].flipped is not None
    assert quantized.points[0].flipped.value == pytest.approx(flips / (SICK + HEALTHY))
    assert quantized.versus is not None


def test_runtime_that_is_missing_says_so_and_the_rest_runs(measured: Accuracy) -> None:
    missing = row_of(measured, "static_int8 tflite-runtime")
    # This environment may hold tflite-runtime or not; never both outcomes.
    assert bool(missing.contender.missing) != bool(missing.scores)
    if missing.contender.missing:
        assert "pneumoscope[tflite]" in missing.contender.missing
        assert missing.auroc is None


def test_subgroup_of_the_sick_is_set_against_all_the_healthy(measured: Accuracy) -> None:
    groups = {(g.kind, g.value): g for g in row_of(measured, "float32 onnxruntime").groups}
    assert groups[("subtype", "virus")].n == SICK + HEALTHY
    assert groups[("subtype", "virus")].n_positive == SICK


def test_auroc_of_one_class_is_said_to_be_undefined(bundle: Bundle, data: Path) -> None:
    section = measure(bundle, [case for case in read_labelled_pictures(data) if case.label == 1])
    row = row_of(section, "float32 onnxruntime")
    assert row.auroc is None
    assert row.undefined["auroc"] == "only one class"
    assert row.points[0].counts.specificity is None
    assert row.points[0].counts.sensitivity is not None
    shown = as_markdown(list(tables_of(section).values()))
    assert "nan" not in shown.lower()
    assert "AUROC is undefined: only one class." in shown


def test_pictures_that_the_threshold_was_fitted_on_are_named(bundle: Bundle, data: Path) -> None:
    cases = read_labelled_pictures(data)[:4]
    split = replace(
        bundle.manifest.operating_points[0].fitted_on,
        sha256=split_hash(case.identity for case in cases),
    )
    point = replace(bundle.manifest.operating_points[0], fitted_on=split)
    manifest = replace(
        bundle.manifest, operating_points=(point, *bundle.manifest.operating_points[1:])
    )
    section = measure_accuracy(
        replace(bundle, manifest=manifest), [], cases, "x", Recording("accuracy", "t", "m")
    )
    assert "operating point balanced" in section.data.fitted_here


def test_subgroups_of_a_picture() -> None:
    picture = LabelledPicture(Path("x"), "x", 1, "p", subtype="virus", view="AP", age_years=5.9)
    assert groups_of(picture) == {"subtype": "virus", "view": "AP", "age": "1 to 5"}
    bands = {0.5: "under 1", 1: "1 to 5", 90: "65 and over"}
    assert {years: age_band(years) for years in bands} == bands


def test_pictures_that_the_network_was_trained_on_are_counted(
    bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    cases = read_labelled_pictures(data)
    provenance = replace(bundle.manifest.provenance, config="net", checkpoint_sha256="abc")
    # Its split is not here: not known, which is not none.
    assert trained_on(provenance, cases, tmp_path) is None
    (tmp_path / "net").mkdir()
    # Another copy of the set: other folders above, another suffix.
    split = ["file,label,subtype,patient_id,split", "a/b/person0_virus_0.jpeg,1,,person0,train"]
    split += ["a/b/person1_virus_1.jpeg,1,,person1,validation"]
    # The same name of another patient is another picture.
    split += ["a/b/person2_virus_2.jpeg,1,,other,train"]
    (tmp_path / "net" / "split.csv").write_text("\n".join(split))
    (tmp_path / "net" / "run.json").write_text('{"checkpoint_sha256": "another"}')
    assert trained_on(provenance, cases, tmp_path) is None
    (tmp_path / "net" / "run.json").write_text('{"checkpoint_sha256": "abc"}')
    of_its_name = [case for case in cases if case.path.stem == "person0_virus_0"]
    assert trained_on(provenance, cases, tmp_path) == len(of_its_name) == 2
    # The very list of the training split, by its hash.
    whole = replace(provenance, data_sha256=split_hash(case.identity for case in cases))
    assert trained_on(whole, cases, tmp_path) == len(cases)


def test_tables_name_pictures_that_were_trained_on(measured: Accuracy) -> None:
    seen = replace(measured, data=replace(measured.data, trained_on=3))
    for table in tables_of(seen).values():
        assert "**The network was trained on 3 of these 14 pictures" in table.markdown
    # The tiny bundle has no checkpoint here.
    assert "is not known here" in tables_of(measured)["accuracy"].markdown
    none = replace(measured, data=replace(measured.data, trained_on=0))
    assert "trained on" not in tables_of(none)["accuracy"].markdown


def test_tables_show_every_flip_failure_refusal_and_subgroup(measured: Accuracy) -> None:
    tables = tables_of(measured)
    about = tables["accuracy"]
    cells = about.rows()[0]
    assert (cells["n scored"], cells["failed"]) == (str(SICK + HEALTHY), "1")
    assert "Not scored: 1 too_small, 1 unreadable." in about.markdown
    points = tables["operating_points"]
    shown = {(row["contender"], row["point"]): row["flipped"] for row in points.rows()}
    assert shown[("float32 onnxruntime", "screening")] == "–"
    assert "%" in shown[("static_int8 litert", "screening")]
    formats = {row["contender"] for row in tables["subgroups"].rows()}
    assert {"static_int8 litert", "float32 onnxruntime"} <= formats


def test_sex_comes_from_the_dicom_header(tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="needs the extra dicom")
    from benchmarks.worker import header_groups

    file = tmp_path / "x.dcm"
    stored = np.arange(16, dtype=np.uint16).reshape(4, 4)
    file.write_bytes(dicom_bytes(stored, ViewPosition="PA", PatientSex="F"))
    groups = header_groups(file, read_image(file))
    assert (groups["view"], groups["sex"]) == ("PA", "F")
    file.write_bytes(dicom_bytes(stored))
    assert header_groups(file, read_image(file))["sex"] == ""


def describe(path: Path, **changes: object) -> Path:
    content = {
        "recipe": "float32",
        "input": "image",
        "logit": "logit",
        "threshold": 0.5,
        "preprocess": encode(SPEC),
    }
    path.write_text(json.dumps(content | changes))
    return path


def test_foreign_model_is_scored_by_its_description(
    bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    contenders = foreign_contenders(FOLDER / "tiny.onnx", describe(tmp_path / "d.json"))
    section = measure_accuracy(
        bundle, contenders, read_labelled_pictures(data), "x", Recording("accuracy", "t", "m")
    )
    (row,) = section.rows
    assert row.contender.name == "tiny.onnx float32 onnxruntime"
    assert [point.name for point in row.points] == ["given"]
    assert "calibration" in row.undefined["ece"]
    # A foreign model has no input checks of its own; the picture too small is scored.
    assert (row.n_scored, row.n_refused, row.n_failed) == (SICK + HEALTHY + 1, 0, 1)


def test_foreign_model_s_flips_are_against_float32_at_the_default_point(
    bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    own = bundle_contenders(bundle, ["onnxruntime"])
    threshold = bundle.operating_point(own[0].model).threshold
    # The very network that it stands against, called sick only far above that one's threshold.
    description = describe(tmp_path / "d.json", threshold=threshold + 1000)
    contenders = own + foreign_contenders(FOLDER / "tiny.onnx", description)
    section = measure_accuracy(
        bundle, contenders, read_labelled_pictures(data), "x", Recording("accuracy", "t", "m")
    )
    reference, foreign = section.rows
    sick = sum(score is not None and score >= threshold for score in reference.scores)
    assert sick
    assert foreign.points[0].flipped is not None
    assert foreign.points[0].flipped.value == pytest.approx(sick / (SICK + HEALTHY))


def test_model_that_gives_no_number_has_a_row_that_says_so(
    data: Path,
) -> None:
    from benchmarks.worker import score_pixels

    class Broken:
        def run(self, _: object) -> SimpleNamespace:
            return SimpleNamespace(logit=float("nan"))

    radiograph = read_image(read_labelled_pictures(data)[0].path)
    with pytest.raises(BundleError, match="gave nan in place of a score"):
        score_pixels(radiograph, cast(Any, Broken()), None, SPEC)


def test_two_foreign_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    description = describe(tmp_path / "d.json")
    files = [tmp_path / "a" / "m.onnx", tmp_path / "b" / "m.onnx"]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(file.parent.name.encode())
    found = [c for file in files for c in foreign_contenders(file, description)]
    names = [contender.name for contender in with_distinct_names(found)]
    assert len(set(names)) == 2
    assert all(name.startswith("m.onnx ") for name in names)
    with pytest.raises(UsageError, match="given twice"):
        with_distinct_names([found[0], found[0]])


def test_model_whose_input_does_not_fit_has_a_row_that_says_so(
    bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    spec = encode(replace(SPEC, height=96))
    description = describe(tmp_path / "d.json", preprocess=spec)
    contenders = foreign_contenders(FOLDER / "tiny.onnx", description)
    section = measure_accuracy(
        bundle, contenders, read_labelled_pictures(data), "x", Recording("accuracy", "t", "m")
    )
    assert "[1, 96, 64, 1]" in section.rows[0].contender.missing
    assert section.rows[0].auroc is None


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tiny.onnx", {"surprise": 1}, "surprise: unknown key"),
        ("tiny.onnx", {"recipe": "int4"}, "recipe"),
        ("absent.onnx", {}, "No such file"),
        ("tiny.keras", {}, "must end in .tflite or .onnx"),
    ],
)
def test_foreign_model_that_cannot_be_used(
    tmp_path: Path, name: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        foreign_contenders(FOLDER / name, describe(tmp_path / "d.json", **changes))


@pytest.mark.parametrize("item", ["litert", "nonsense=/bin/sh", "litert=/no/such/python"])
def test_python_option_that_cannot_be_used(item: str) -> None:
    with pytest.raises(UsageError, match="--python"):
        parse_pythons([item])
