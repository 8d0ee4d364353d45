"""From a run's folder to a bundle that loads: the whole export on drawn pictures."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="exporting needs the extra: export")

from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Bundle
from edge_app.errors import BundleError, StorageError, UsageError
from edge_app.images.read import read_image
from edge_app.runtimes import open_runtime
from edge_app.screening.screener import Screener
from edge_app.screening.selftest import run_self_test
from export.bundle_writer import write_bundle
from export.cli import main
from export.fitting import load_points
from export.readme import formats_section, read_report, replace_section
from tests.conftest import REPOSITORY
from tests.export_inputs import Run, build_network, dense_network, write_run

RECIPES = ["--recipe", "tflite_static_int8", "--recipe", "onnx_float32"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    # Fewer patients could not show what the operating points promise.
    return write_run(tmp_path_factory.mktemp("run"), n_validation=600)


def export(run: Run, target: Path, *more: str) -> int:
    return main(
        [
            *("bundle", str(run.folder)),
            *("-o", str(target), "--data", str(run.labels), "--about", "chest_xray"),
            *("--larger", f"large={run.larger}", *more),
        ]
    )


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    folder = tmp_path_factory.mktemp("out")
    report = folder / "report.json"
    code = export(
        run, folder / "bundle", *RECIPES, "--report", str(report), "--model-id", "ramps-1"
    )
    assert code == 0
    return load_bundle(folder / "bundle"), report


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_the_bundle_says_what_it_is(exported: tuple[Bundle, Path], run: Run) -> None:
    manifest = exported[0].manifest
    assert [(m.file, m.recipe) for m in manifest.models] == [
        ("model_static_int8.tflite", "static_int8"),
        ("model_float32.onnx", "float32"),
    ]
    assert manifest.model_id == "ramps-1"
    assert manifest.created == "2026-11-23"  # the day the run began
    assert manifest.operating_point_names() == ("balanced", "screening", "rule_in")
    assert manifest.default_operating_point == "balanced"
    assert manifest.input_gate is None
    checkpoint = hashlib.sha256((run.folder / "model.keras").read_bytes()).hexdigest()
    assert manifest.provenance.checkpoint_sha256 == checkpoint
    assert manifest.provenance.seed == 5


def test_every_model_has_its_own_fit(exported: tuple[Bundle, Path]) -> None:
    manifest = exported[0].manifest
    thresholds = [p.threshold for p in manifest.operating_points if p.name == "balanced"]
    assert len(set(thresholds)) == 2
    assert {c.model_sha256 for c in manifest.calibration} == {m.sha256 for m in manifest.models}
    for calibration in manifest.calibration:
        assert calibration.ece.value <= 0.02
        assert calibration.fitted_on.n_images > 2400


def test_figures_stand_for_every_form(exported: tuple[Bundle, Path]) -> None:
    manifest = exported[0].manifest
    default = manifest.models[0].sha256
    splits = {m.split.name for m in manifest.metrics if m.model_sha256 == default}
    forms = {name.rpartition(", ")[2] for name in splits}
    changed = {"recompressed", "resampled", "exposed", "handed_on"}
    assert forms == {"all forms", "stored", "large", *changed}


def test_the_self_test_passes_in_every_runtime(exported: tuple[Bundle, Path]) -> None:
    bundle, _ = exported
    for name in ("litert", "onnxruntime"):
        assert len(run_self_test(bundle, open_runtime(bundle, name))) == 8


def test_a_picture_is_screened_with_it(exported: tuple[Bundle, Path], run: Run) -> None:
    screener = Screener(exported[0])
    pictures = [
        run.labels.parent / kind / name
        for kind, name in (("NORMAL", "p0100.png"), ("PNEUMONIA", "p0101.png"))
    ]
    healthy, sick = (screener.score(read_image(path)) for path in pictures)
    assert healthy.raw_score is not None
    assert sick.raw_score is not None
    assert healthy.raw_score < sick.raw_score
    assert sick.activation_map is not None
    assert np.mean(sick.activation_map) == pytest.approx(sick.raw_score, abs=1e-3)


def test_the_same_command_gives_the_same_bytes(
    exported: tuple[Bundle, Path], run: Run, tmp_path: Path
) -> None:
    assert export(run, tmp_path / "again", *RECIPES, "--model-id", "ramps-1") == 0
    assert digests(tmp_path / "again") == digests(exported[0].folder)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_changed_byte_of_a_file_is_caught(
    exported: tuple[Bundle, Path], data: st.DataObject
) -> None:
    """Of every file but bundle.json, whose own bytes the signature guards (tests/test_bundle)."""
    folder = exported[0].folder
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "bundle.json")
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            load_bundle(folder)
    finally:
        path.write_bytes(content)


def test_the_card_and_the_readme_hold_the_figures(
    exported: tuple[Bundle, Path], tmp_path: Path
) -> None:
    bundle, report = exported
    card = bundle.path("model_card.md").read_text()
    for heading in ("Intended use", "Population", "Limits", "Calibration", "Data", "How to cite"):
        assert f"## {heading}" in card
    point = bundle.operating_point(bundle.manifest.models[0])
    assert f"{point.threshold:.3f}" in card
    section = formats_section(bundle, read_report(report), load_points())
    assert f"{point.threshold:.3f}" in section
    assert "onnx_float32 | onnxruntime" in section
    readme = tmp_path / "README.md"
    section_start, section_end = "<!-- export:formats -->", "<!-- /export:formats -->"
    readme.write_text(f"# A\n{section_start}\nstale figures\n{section_end}\nend\n")
    assert main(["readme", str(bundle.folder), str(readme), "--report", str(report)]) == 0
    text = readme.read_text()
    assert section in text
    assert "stale figures" not in text
    assert text.endswith("end\n")
    # A second time changes nothing.
    assert replace_section(text, section) == text


def test_a_readme_without_markers_is_refused(exported: tuple[Bundle, Path], tmp_path: Path) -> None:
    bundle, report = exported
    readme = tmp_path / "README.md"
    readme.write_text("# no markers\n")
    assert main(["readme", str(bundle.folder), str(readme), "--report", str(report)]) == 3
    assert readme.read_text() == "# no markers\n"


def test_too_few_validation_pictures_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, n_validation=60)
    assert export(run, tmp_path / "bundle", *RECIPES) == 3
    assert "too few validation pictures: 60" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_recipe_beyond_its_limits_writes_nothing(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quantizer that spoils the network: the gate stops the export and says where."""
    from export import tflite_model

    worse = tmp_path / "worse.keras"
    build_network(scale=4.0).save(worse)
    from export.checkpoint import load_network
    from tests.export_inputs import SIDE, SPEC

    spoiled = tflite_model.convert(load_network(worse, SPEC), SIDE, SIDE, "float32")
    monkeypatch.setattr("export.pipeline.tflite_model.quantize_static", lambda *a: spoiled)
    assert export(run, tmp_path / "bundle", *RECIPES) == 3
    assert "tflite_static_int8 in litert is not as good" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["worse.keras"]


def test_an_existing_bundle_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    assert export(run, tmp_path / "bundle") == 2
    assert list((tmp_path / "bundle").iterdir()) == []


@pytest.mark.parametrize(
    "more",
    [
        ["--recipe", "tflite_int4"],
        ["--about", "nowhere"],
    ],
)
def test_a_wrong_name_stops_before_any_work(run: Run, tmp_path: Path, more: list[str]) -> None:
    assert export(run, tmp_path / "bundle", *more) == 3
    assert not (tmp_path / "bundle").exists()


def test_a_wrong_folder_is_a_usage_error(run: Run, tmp_path: Path) -> None:
    assert export(run, tmp_path / "bundle", "--external", "adults=nowhere.csv") == 2


def test_a_foreign_network_s_bundle_offers_less(run: Run, tmp_path: Path) -> None:
    """No map, no embedding: the bundle says so, and the edge gives a score without them."""
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    fit_dense(run, folder / "model.keras")
    foreign = Run(folder, run.labels, run.larger)
    recipes = ["--recipe", "tflite_float32", "--ship", "tflite_float32"]
    assert export(foreign, tmp_path / "bundle", *recipes) == 0
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest.outputs.roles() == {"logit": "logit"}
    result = Screener(bundle).score(read_image(run.labels.parent / "NORMAL" / "p0100.png"))
    assert result.raw_score is not None
    assert result.activation_map is None
    assert result.embedding is None


def fit_dense(run: Run, target: Path) -> None:
    """Train a plain classifier with a sigmoid on the run's training pictures."""
    from edge_app.images.preprocess import preprocess
    from tests.export_inputs import SPEC, ramp

    pictures = np.concatenate([preprocess(ramp(9000 + i, i % 2), SPEC) for i in range(600)])
    labels = np.arange(600) % 2
    model = dense_network("sigmoid")
    model.compile("adam", "binary_crossentropy")
    model.fit(pictures.astype(np.float32), labels, epochs=12, batch_size=32, verbose=0)
    model.save(target)


def test_a_full_disk_leaves_no_bundle(
    exported: tuple[Bundle, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, _ = exported
    files = {name: bundle.path(name).read_bytes() for name in bundle.manifest.files}
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_app.files.whole.os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_bundle(tmp_path / "bundle", bundle.manifest, files, None)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_the_manifest_s_leave_no_bundle(
    exported: tuple[Bundle, Path], tmp_path: Path
) -> None:
    bundle, _ = exported
    files = {name: bundle.path(name).read_bytes() for name in bundle.manifest.files}
    with pytest.raises(BundleError, match="changed since"):
        write_bundle(tmp_path / "b", bundle.manifest, files | {"model_card.md": b"another"}, None)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        write_bundle(tmp_path / "b", bundle.manifest, files, None)


def test_export_does_not_import_train() -> None:
    import ast

    for path in sorted((REPOSITORY / "export").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            assert not any(name.split(".")[0] in ("train", "benchmarks") for name in names), path
