"""The bundle's contract: all of it is checked, and what does not fit does not load."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_app.bundle import location
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import Manifest
from edge_app.bundle.signature import Signature, key_id
from edge_app.errors import (
    BundleError,
    BundleFormatError,
    BundleIntegrityError,
    PneumoscopeError,
    UsageError,
)
from tests.tiny_bundle import write_tiny_bundle

Document = dict[str, Any]
OTHER_HASH = "f" * 64


def test_a_valid_bundle_loads(tiny_bundle_folder: Path) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    assert bundle.manifest.model_id == "tiny-random-1"
    assert bundle.signed_by is None
    model = bundle.model("tflite")
    assert model is not None
    assert model.recipe == "static_int8"
    assert bundle.calibration(model).scale == 1.5
    assert bundle.operating_point(model).name == "balanced"
    assert bundle.operating_point(model, "screening").model_sha256 == model.sha256
    assert bundle.path("golden/phantom.npy").is_file()


def test_the_manifest_survives_writing_and_reading(tiny_bundle_folder: Path) -> None:
    manifest = load_bundle(tiny_bundle_folder).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest.from_json(manifest.to_json()).to_json() == manifest.to_json()


def test_an_unknown_operating_point_is_a_usage_error(tiny_bundle_folder: Path) -> None:
    bundle = load_bundle(tiny_bundle_folder)
    with pytest.raises(UsageError, match="balanced, screening"):
        bundle.operating_point(bundle.manifest.models[0], "nonesuch")


def test_without_a_default_bundle_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "default_bundle_folder", lambda: tmp_path / "none")
    with pytest.raises(BundleError, match=r"no default bundle.*--bundle FOLDER"):
        load_bundle()
    with pytest.raises(BundleError, match="no model bundle here"):
        load_bundle(tmp_path / "none")
    with pytest.raises(BundleFormatError, match=r"bundle\.json is missing"):
        load_bundle(tmp_path)


def paths_of_objects(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every JSON object within a document."""
    if isinstance(value, dict):
        yield path
        for key, item in value.items():
            yield from paths_of_objects(item, (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths_of_objects(item, (*path, index))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


# Objects whose keys are names that the bundle chooses, not keys of the format.
OPEN_OBJECTS = {("files",), ("provenance", "versions")}


def test_every_missing_and_every_unknown_key_is_an_error(tiny_bundle_folder: Path) -> None:
    content = (tiny_bundle_folder / "bundle.json").read_bytes()
    tried = 0
    for path in paths_of_objects(json.loads(content)):
        if path in OPEN_OBJECTS or path[-1:] in (("logits",), ("distances",)):
            continue
        document = json.loads(content)
        at(document, path)["surprise"] = 1
        with pytest.raises(BundleFormatError, match="surprise"):
            Manifest.from_json(json.dumps(document).encode())
        for key in at(json.loads(content), path):
            document = json.loads(content)
            del at(document, path)[key]
            with pytest.raises(BundleFormatError):
                Manifest.from_json(json.dumps(document).encode())
            tried += 1
    assert tried > 150


def rename_point(document: Document) -> None:
    document["operating_points"][0]["model_sha256"] = OTHER_HASH


def foreign_calibration(document: Document) -> None:
    document["calibration"][1]["model_sha256"] = OTHER_HASH


def foreign_metric(document: Document) -> None:
    document["metrics"][0]["model_sha256"] = OTHER_HASH


def foreign_golden(document: Document) -> None:
    logits = document["golden"]["cases"][0]["logits"]
    logits[OTHER_HASH] = logits.popitem()[1]


def two_hashes(document: Document) -> None:
    document["models"][0]["sha256"] = OTHER_HASH


def replaced_model(document: Document) -> None:
    document["files"]["model.tflite"]["sha256"] = OTHER_HASH
    document["models"][0]["sha256"] = OTHER_HASH


def longer_file(document: Document) -> None:
    document["files"]["model_card.md"]["bytes"] += 1


def unlisted_file(document: Document) -> None:
    del document["files"]["model_card.md"]


def absent_file(document: Document) -> None:
    document["files"]["other.md"] = {"sha256": OTHER_HASH, "bytes": 1}


@pytest.mark.parametrize(
    "change",
    [
        rename_point,
        foreign_calibration,
        foreign_metric,
        foreign_golden,
        two_hashes,
        replaced_model,
        longer_file,
        unlisted_file,
        absent_file,
    ],
)
def test_what_belongs_to_another_file_does_not_load(
    tmp_path: Path, change: Callable[[Document], None]
) -> None:
    folder = write_tiny_bundle(tmp_path / "bundle", change=change)
    with pytest.raises(BundleIntegrityError):
        load_bundle(folder)


def set_at(*path: Any) -> Callable[[Document], None]:
    """A change that sets the value at a path: all but the last argument."""
    *keys, last, value = path

    def change(document: Document) -> None:
        at(document, tuple(keys))[last] = value

    return change


def drop_second_screening(document: Document) -> None:
    del document["operating_points"][-1]


def repeat_point(document: Document) -> None:
    document["operating_points"].append(document["operating_points"][0])


def drop_calibration(document: Document) -> None:
    del document["calibration"][1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (set_at("format_version", 4), "format version 4"),
        (set_at("created", "23.11.2026"), "not a date"),
        (set_at("models", []), "no model"),
        (set_at("models", 0, "format", "pickle"), r"models\[0\].format"),
        (set_at("models", 0, "file", "gone.tflite"), "gone.tflite"),
        (set_at("input", "shape", [1, 32, 64, 1]), "contradicts the preprocessing"),
        (set_at("preprocess", "resize_filter", "magic"), "resize_filter"),
        (set_at("preprocess", "range_region", -1), "range_region"),
        (set_at("default_operating_point", "nonesuch"), "nonesuch"),
        (set_at("operating_points", 0, "threshold", 99.0), "refer_low"),
        (set_at("operating_points", 0, "threshold", "0.5"), "threshold"),
        (set_at("calibration", 0, "scale", -1.0), "scale"),
        (set_at("golden", "cases", 0, "file", "golden/other.npy"), "other.npy"),
        (set_at("population", "age_years", [5, 1]), "age_years"),
        (set_at("files", "../evil", {"sha256": OTHER_HASH, "bytes": 1}), "plain relative path"),
        (set_at("files", "/evil", {"sha256": OTHER_HASH, "bytes": 1}), "plain relative path"),
        (set_at("files", "a\\b", {"sha256": OTHER_HASH, "bytes": 1}), "plain relative path"),
        (set_at("files", "bundle.json", {"sha256": OTHER_HASH, "bytes": 1}), "itself"),
        (set_at("files", ".", {"sha256": OTHER_HASH, "bytes": 1}), "plain relative path"),
        (set_at("files", "\ud800", {"sha256": OTHER_HASH, "bytes": 1}), "plain relative path"),
        (set_at("files", "d/" + "\u00e4" * 128, {"sha256": OTHER_HASH, "bytes": 1}), "255 bytes"),
        (set_at("files", "golden", {"sha256": OTHER_HASH, "bytes": 1}), "below another file"),
        (set_at("files", "Golden", {"sha256": OTHER_HASH, "bytes": 1}), "below another file"),
        (set_at("files", "bundle.json/x", {"sha256": OTHER_HASH, "bytes": 1}), "below another"),
        (set_at("files", "x", {"sha256": "F" * 64, "bytes": 1}), "SHA-256"),
        (drop_second_screening, "missing for model.onnx"),
        (repeat_point, "twice"),
        (drop_calibration, "calibration"),
    ],
)
def test_contradictions_are_format_errors(
    tmp_path: Path, change: Callable[[Document], None], text: str
) -> None:
    folder = write_tiny_bundle(tmp_path / "bundle", change=change)
    with pytest.raises(BundleFormatError, match=text):
        load_bundle(folder)


def test_an_extra_file_is_an_integrity_error(tiny_bundle_folder: Path) -> None:
    (tiny_bundle_folder / "golden" / "extra.npy").write_bytes(b"")
    with pytest.raises(BundleIntegrityError, match=r"golden/extra\.npy"):
        load_bundle(tiny_bundle_folder)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A signed bundle and the keys that are trusted."""
    folder = write_tiny_bundle(tmp_path_factory.mktemp("signed") / "bundle")
    return folder, sign(folder, Ed25519PrivateKey.generate())


def sign(folder: Path, key: Ed25519PrivateKey) -> dict[str, bytes]:
    public = key.public_key().public_bytes_raw()
    raw = key.sign((folder / "bundle.json").read_bytes())
    signature = Signature("ed25519", key_id(public), base64.b64encode(raw).decode())
    (folder / "SIGNATURE").write_bytes(signature.to_json())
    return {key_id(public): public}


def test_a_signed_bundle_names_its_key(signed: tuple[Path, dict[str, bytes]]) -> None:
    folder, keys = signed
    assert load_bundle(folder, trusted_keys=keys).signed_by == next(iter(keys))


def test_an_untrusted_or_another_key_is_an_integrity_error(
    signed: tuple[Path, dict[str, bytes]],
) -> None:
    folder, keys = signed
    with pytest.raises(BundleIntegrityError, match="does not trust"):
        load_bundle(folder, trusted_keys={})
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(BundleIntegrityError, match="does not match"):
        load_bundle(folder, trusted_keys={next(iter(keys)): other})


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_caught(
    signed: tuple[Path, dict[str, bytes]], data: st.DataObject
) -> None:
    folder, keys = signed
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.integers(1, 255))
    changed = bytearray(content)
    changed[position] ^= change
    try:
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            load_bundle(folder, trusted_keys=keys)
    finally:
        path.write_bytes(content)


def test_a_truncated_file_is_caught(signed: tuple[Path, dict[str, bytes]]) -> None:
    folder, keys = signed
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        try:
            path.write_bytes(content[:-1])
            with pytest.raises(BundleError):
                load_bundle(folder, trusted_keys=keys)
        finally:
            path.write_bytes(content)


def test_bundle_errors_end_with_exit_code_3() -> None:
    assert {BundleError.exit_code, BundleFormatError.exit_code} == {3}
    assert BundleIntegrityError.exit_code == 3
    assert issubclass(BundleIntegrityError, PneumoscopeError)


@pytest.mark.parametrize(
    "cut_offs",
    [
        {"refer_low": 50.0, "threshold": 55.0, "refer_high": 60.0},
        {"refer_low": -60.0, "threshold": -55.0, "refer_high": -50.0},
        {"refer_low": 4.0, "threshold": 4.0, "refer_high": 4.0},
    ],
)
def test_cut_offs_that_contradict_the_calibration_do_not_load(
    tmp_path: Path, cut_offs: dict[str, float]
) -> None:
    """Edited so, a bundle once answered "no_pneumonia_seen, probability 0.993"."""
    folder = write_tiny_bundle(
        tmp_path / "edited",
        change=lambda document: document["operating_points"][0].update(cut_offs),
    )
    with pytest.raises(BundleFormatError, match="would contradict the calibration"):
        load_bundle(folder)
