"""A small valid model bundle around `tests.tiny_network`, and ways to write changed ones."""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_app.bundle.manifest import (
    Calibration,
    FileEntry,
    Golden,
    GoldenCase,
    InputSpec,
    Locator,
    LocatorOutputs,
    LocatorRules,
    Manifest,
    Metric,
    ModelFile,
    OperatingPoint,
    OutputNames,
    Population,
    Provenance,
    Split,
)
from edge_app.bundle.signature import Signature, added_keys_folder, key_id
from edge_app.images.lung_box import LungBoxSpec, find_lung_box
from edge_app.images.lung_frame import Frame, lung_frame
from edge_app.images.phantom import Phantom, draw_phantom
from edge_app.images.preprocess import PreprocessSpec, preprocess
from edge_app.statistics.intervals import Figure
from tests.tiny_network import FOLDER, SIDE, forward, locate

SPEC = PreprocessSpec(
    height=SIDE,
    width=SIDE,
    grey="rec601",
    resize_filter="bilinear",
    aspect="stretch",
    range_low_percentile=1.0,
    range_high_percentile=99.0,
    range_region=0.8,
    jpeg_draft_ratio=2,
)
OUTPUTS = OutputNames("logit", "activation_map", "embedding", "subtype_logit")
SPLIT = Split("no patients at all", n_images=10, n_patients=8, n_positive=4, sha256="0" * 64)
FIGURE = Figure(0.9, 0.8, 0.95, 0.95, "wilson", 10)

TEST_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TEST_PUBLIC_KEY = TEST_KEY.public_key().public_bytes_raw()

MARGIN = 0.03
RULES = LocatorRules(
    box=LungBoxSpec(threshold=0.5, smallest_part=0.3, left=0.5, top=0.5, right=0.5, bottom=0.5),
    least_certainty=0.5,
    least_area=0.05,
    least_frontal=0.5,
    turned=0.9,
    least_upright=0.5,
    cut_off=0.9,
    touches_edge=0.5,
    chosen_on=("phantoms",),
)

# Between the drawn phantoms' scores: seed 1 lies above, seed 3 below, seed 8 between.
BALANCED_CUT = 1.45
# int8 arithmetic moves the tiny network's logit by less than this against its numpy reference.
TOLERANCE = 0.05


def write_tiny_bundle(
    folder: Path,
    *,
    tflite: str = "tiny.tflite",
    change: Callable[[dict[str, Any]], None] | None = None,
    signed: bool = False,
    locator: bool = False,
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    """Write the bundle; `change` may alter the document of `bundle.json` before it is written.

    `extra` are further files, by name.

    Signed with `TEST_KEY` where that is asked for; `trust_test_key` makes that count.
    """
    files = {
        "model.tflite": (FOLDER / tflite).read_bytes(),
        "model.onnx": (FOLDER / "tiny.onnx").read_bytes(),
        "model_card.md": b"# A tiny network with random weights\n",
        "golden/phantom.npy": _npy(draw_phantom(Phantom(seed=5), 160, 192, bits=12)),
        **(extra or {}),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if locator:
        for kind in ("tflite", "onnx"):
            content = (FOLDER / f"tiny_locator.{kind}").read_bytes()
            (folder / f"locator.{kind}").write_bytes(content)
            files[f"locator.{kind}"] = content
    document = json.loads(tiny_manifest(files).to_json())
    if change is not None:
        change(document)
    content = json.dumps(document).encode("utf-8")
    (folder / "bundle.json").write_bytes(content)
    if signed:
        signature = base64.b64encode(TEST_KEY.sign(content)).decode("ascii")
        written = Signature("ed25519", key_id(TEST_PUBLIC_KEY), signature)
        (folder / "SIGNATURE").write_bytes(written.to_json())
    return folder


def trust_test_key() -> None:
    """Accept `TEST_KEY`, as `pneumoscope model trust` would; in child processes too."""
    folder = added_keys_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tests.pub").write_bytes(base64.b64encode(TEST_PUBLIC_KEY))


def tiny_manifest(files: dict[str, bytes]) -> Manifest:
    """The manifest of the tiny bundle with these files."""
    entries = {name: FileEntry(_sha256(data), len(data)) for name, data in files.items()}
    models = (
        ModelFile("model.tflite", "tflite", "static_int8", entries["model.tflite"].sha256),
        ModelFile("model.onnx", "onnx", "float32", entries["model.onnx"].sha256),
    )
    hashes = [model.sha256 for model in models]
    golden = np.load(io.BytesIO(files["golden/phantom.npy"]))
    locator = _locator(entries, hashes) if "locator.tflite" in files else None
    logit = forward(preprocess(golden, SPEC, None if locator is None else tiny_frame(golden))).logit
    return Manifest(
        format_version=3,
        model_id="tiny-random-1",
        created="2026-11-23",
        files=entries,
        models=models,
        input=InputSpec("image", (1, SIDE, SIDE, 1), "uint8"),
        preprocess=SPEC,
        outputs=OUTPUTS,
        locator=locator,
        calibration=tuple(Calibration(h, "platt", 1.5, -0.25, FIGURE, SPLIT) for h in hashes),
        operating_points=tuple(
            OperatingPoint(name, h, cut, cut - 0.03, cut + 0.05, "a test", SPLIT, FIGURE, FIGURE)
            for h in hashes
            for name, cut in (("balanced", BALANCED_CUT), ("screening", -1.5))
        ),
        default_operating_point="balanced",
        input_gate=None,
        population=Population("nobody", (1, 5), ("AP",), ("nowhere",)),
        metrics=(Metric("auroc", SPLIT, hashes[0], FIGURE, None),),
        golden=Golden(
            TOLERANCE, 0.5, (GoldenCase("golden/phantom.npy", dict.fromkeys(hashes, logit), {}),)
        ),
        provenance=Provenance("0" * 64, "none", "0" * 64, 20, {"numpy": "2"}, "CC0", "none"),
    )


def _locator(entries: dict[str, FileEntry], readers: list[str]) -> Locator:
    models = (
        ModelFile("locator.tflite", "tflite", "float32", entries["locator.tflite"].sha256),
        ModelFile("locator.onnx", "onnx", "float32", entries["locator.onnx"].sha256),
    )
    return Locator(
        models=models,
        input=InputSpec("image", (1, SIDE, SIDE, 1), "uint8"),
        preprocess=SPEC,
        outputs=LocatorOutputs("lungs", "orientation", "view", "cut_off"),
        rules=RULES,
        margin=MARGIN,
        pairs={reader: model.sha256 for reader, model in zip(readers, models, strict=True)},
    )


def tiny_frame(picture: Any) -> Frame:
    """The reader's frame of a picture that is upright, by the reference in numpy."""
    box = find_lung_box(locate(preprocess(picture, SPEC))["lungs"][0, :, :, 0], RULES.box)
    assert box is not None
    return lung_frame(box, MARGIN)


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
