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
from benchmarks.candidates import (
    bundle_candidates,
    foreign_candidates,
    parse_pythons,
    with_distinct_names,
)
from benchmarks.machine import this_machine
from benchmarks.record import Accuracy, AccuracyRow, Stopwatch
from benchmarks.subgroups import age_band, groups_of
from benchmarks.tables import accuracy_tables, markdown
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


def measure(bundle: Bundle, cases: list[LabelledPicture]) -> Accuracy:
    saved: list[Accuracy] = []
    candidates = bundle_candidates(bundle)
    watch = Stopwatch("test", "tiny")
    section = measure_accuracy(bundle, candidates, cases, "phantoms", watch, saved.append)
    assert [len(s.rows) for s in saved] == list(range(1, len(candidates) + 1))
    assert [s.taken.complete for s in saved] == [False] * (len(saved) - 1) + [True]
    return section


def row_of(section: Accuracy, name: str) -> AccuracyRow:
    return next(row for row in section.rows if row.entrant.name == name)


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
    assert (point.tp, point.fn) == (called.count((1, True)), called.count((1, False)))
    assert (point.fp, point.tn) == (called.count((0, True)), called.count((0, False)))
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
    assert bool(missing.entrant.missing) != bool(missing.scores)
    if missing.entrant.missing:
        assert "pneumoscope[tflite]" in missing.entrant.missing
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
    assert row.points[0].specificity is None
    assert row.points[0].sensitivity is not None
    shown = "\n".join(markdown(table) for table in accuracy_tables(section, this_machine()))
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
        replace(bundle, manifest=manifest), [], cases, "x", Stopwatch("t", "m"), lambda _: None
    )
    assert "operating point balanced" in section.data.fitted_here


def test_subgroups_of_a_picture() -> None:
    picture = LabelledPicture(Path("x"), "x", 1, "p", subtype="virus", view="AP", age_years=5.9)
    assert groups_of(picture) == {"subtype": "virus", "view": "AP", "age": "1 to 5"}
    bands = {0.5: "under 1", 1: "1 to 5", 90: "65 and over"}
    assert {years: age_band(years) for years in bands} == bands


def test_tables_show_every_flip_failure_refusal_and_subgroup(measured: Accuracy) -> None:
    tables = {table.name: table for table in accuracy_tables(measured, this_machine())}
    about = tables["accuracy"]
    cells = dict(zip(about.headers, about.rows[0], strict=True))
    assert (cells["n scored"], cells["failed"]) == (str(SICK + HEALTHY), "1")
    assert "Not scored: 1 too_small, 1 unreadable." in about.notes
    points = tables["operating_points"]
    shown = {(row[0], row[1]): row[points.headers.index("flipped")] for row in points.rows}
    assert shown[("float32 onnxruntime", "screening")] == "–"
    assert "%" in shown[("static_int8 litert", "screening")]
    formats = {row[0] for row in tables["subgroups"].rows}
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
    candidates = foreign_candidates(FOLDER / "tiny.onnx", describe(tmp_path / "d.json"))
    section = measure_accuracy(
        bundle, candidates, read_labelled_pictures(data), "x", Stopwatch("t", "m"), lambda _: None
    )
    (row,) = section.rows
    assert row.entrant.name == "tiny.onnx float32 onnxruntime"
    assert [point.name for point in row.points] == ["given"]
    assert "calibration" in row.undefined["ece"]
    # A foreign model has no input checks of its own; the picture too small is scored.
    assert (row.n_scored, row.n_refused, row.n_failed) == (SICK + HEALTHY + 1, 0, 1)


def test_foreign_model_s_flips_are_against_float32_at_the_default_point(
    bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    own = bundle_candidates(bundle, ["onnxruntime"])
    threshold = bundle.operating_point(own[0].model).threshold
    # The very network that it stands against, called sick only far above that one's threshold.
    description = describe(tmp_path / "d.json", threshold=threshold + 1000)
    candidates = own + foreign_candidates(FOLDER / "tiny.onnx", description)
    section = measure_accuracy(
        bundle, candidates, read_labelled_pictures(data), "x", Stopwatch("t", "m"), lambda _: None
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
    found = [c for file in files for c in foreign_candidates(file, description)]
    names = [candidate.name for candidate in with_distinct_names(found)]
    assert len(set(names)) == 2
    assert all(name.startswith("m.onnx ") for name in names)
    with pytest.raises(UsageError, match="given twice"):
        with_distinct_names([found[0], found[0]])


def test_model_whose_input_does_not_fit_has_a_row_that_says_so(
    bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    spec = encode(replace(SPEC, height=96))
    description = describe(tmp_path / "d.json", preprocess=spec)
    candidates = foreign_candidates(FOLDER / "tiny.onnx", description)
    section = measure_accuracy(
        bundle, candidates, read_labelled_pictures(data), "x", Stopwatch("t", "m"), lambda _: None
    )
    assert "[1, 96, 64, 1]" in section.rows[0].entrant.missing
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
        foreign_candidates(FOLDER / name, describe(tmp_path / "d.json", **changes))


@pytest.mark.parametrize("item", ["litert", "nonsense=/bin/sh", "litert=/no/such/python"])
def test_python_option_that_cannot_be_used(item: str) -> None:
    with pytest.raises(UsageError, match="--python"):
        parse_pythons([item])
