"""Inputs of the export tests: drawn pictures, a network that reads them, a run's folder.

A picture is a vertical ramp under noise: bright below is "sick", bright above is "healthy", and a
few ramps are too flat to tell. The network's filters are set by hand to the ramp's direction, so
nothing is trained, and it is as sure as a good one.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_app.files.codec import encode
from edge_app.images.labelled_pictures import split_hash
from edge_app.images.preprocess import PreprocessSpec

SIDE = 32
SPEC = PreprocessSpec(
    height=SIDE,
    width=SIDE,
    grey="rec601",
    resize_filter="bilinear",
    aspect="stretch",
    range_low_percentile=0.5,
    range_high_percentile=99.5,
    range_region=0.8,
    jpeg_draft_ratio=2,
)


@dataclass(frozen=True, slots=True)
class Run:
    """A training run's folder and the CSV of its pictures."""

    folder: Path
    labels: Path
    larger: Path


def ramp(seed: int, label: int, side: int = 132) -> np.ndarray:
    """(side, side + 4) uint8, bright below for label 1."""
    rng = np.random.default_rng([seed, label])
    strength = 0.6 * (1 if label else -1) + 0.24 * rng.standard_normal()
    y = np.linspace(-1, 1, side)[:, np.newaxis]
    picture = 128 + 90 * strength * y + 22 * rng.standard_normal((side, side + 4))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def write_run(
    root: Path,
    n_validation: int = 520,
    n_train: int = 320,
    network: Any | None = None,
    draw: Callable[[int, int, int], np.ndarray] = ramp,
    side: int = 132,
    margin: float | None = None,
) -> Run:
    """Write pictures, `labels.csv`, `run.json`, `split.csv` and `model.keras`.

    `margin` is that of a reader which was trained on the lungs' frame.
    """
    rows = []
    for index in range(n_train + n_validation):
        label = index % 2
        kind = "PNEUMONIA" if label else "NORMAL"
        split = "train" if index < n_train else "validation"
        rows.append((f"set/{kind}/p{index:04}.png", label, f"patient{index:04}", split))
        path = root / "set" / kind / f"p{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(index, label, side)).save(path)
        if index % 5 == 0:
            copy = root / "larger" / kind / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(index, label, side + 28)).save(copy)
    labels = root / "set" / "labels.csv"
    labels.write_text("file,label,patient_id\nset/NORMAL/p0000.png,NORMAL,p0000\n")
    folder = root / "run"
    folder.mkdir()
    write_split(folder / "split.csv", rows)
    write_record(folder / "run.json", rows, margin)
    (build_network() if network is None else network).save(folder / "model.keras")
    return Run(folder, labels, root / "larger")


def write_split(path: Path, rows: Sequence[tuple[str, int, str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "subtype", "patient_id", "split"])
        writer.writerows((name, label, "", patient, split) for name, label, patient, split in rows)


def write_record(
    path: Path, rows: Sequence[tuple[str, int, str, str]], margin: float | None = None
) -> None:
    path.write_text(json.dumps(record_document(rows, margin)))


def record_document(
    rows: Sequence[tuple[str, int, str, str]], margin: float | None = None
) -> dict[str, Any]:
    hashes = {}
    for name in ("train", "validation"):
        identities = (tuple(row[:3]) for row in rows if row[3] == name)
        hashes[f"{name}_sha256"] = split_hash(identities)
    config = {"name": "ramps", "seed": 5, "preprocess": encode(SPEC), "split": {"fold": 0}}
    if margin is not None:
        config["read"] = {"margin": margin}
    versions: Mapping[str, str] = {"keras": "3"}
    return {"config": config, "started": "2026-11-23T10:00:00Z", "versions": versions} | hashes


def build_network(scale: float = 9.0) -> Any:
    """A network with the outputs of Pneumoscope's, whose logit is the ramp's direction."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    image = keras.Input((SIDE, SIDE, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(image)
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(6)(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False, name="blur")(x)
    x = layers.BatchNormalization(name="blur_bn")(x)
    features = layers.ReLU(6)(x)
    embedding = layers.GlobalAveragePooling2D(name="embedding")(features)
    activation_map = layers.Conv2D(1, 1, name="activation_map")(features)
    subtype_map = layers.Conv2D(1, 1, name="subtype_map")(features)
    model = keras.Model(
        image,
        {
            "logit": layers.GlobalAveragePooling2D(name="logit")(activation_map),
            "activation_map": activation_map,
            "embedding": embedding,
            "subtype_logit": layers.GlobalAveragePooling2D(name="subtype")(subtype_map),
        },
    )
    _set_weights(model, scale)
    return model


def _set_weights(model: Any, scale: float) -> None:
    stem = np.random.default_rng(1).normal(0, 0.2, (3, 3, 1, 4)).astype(np.float32)
    stem[:, :, 0, 0] = np.array([[-1], [0], [1]])
    stem[:, :, 0, 1] = -stem[:, :, 0, 0]
    model.get_layer("stem").set_weights([stem])
    model.get_layer("blur").set_weights([np.full((3, 3, 4, 1), 0.3, np.float32)])
    for name in ("stem_bn", "blur_bn"):
        # Off from identity, so that folding it away has to be right.
        gamma, beta, mean, variance = (np.full(4, v, np.float32) for v in (1.1, 0.05, 0.1, 0.9))
        model.get_layer(name).set_weights([gamma, beta, mean, variance])
    weights = np.array([scale, -scale, 0.01, -0.02], np.float32).reshape(1, 1, 4, 1)
    model.get_layer("activation_map").set_weights([weights, np.array([0.3], np.float32)])


def dense_network(activation: str = "sigmoid", channels: int = 1) -> Any:
    """A foreign network: float input, one output by the name that Keras gives it."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    image = keras.Input((SIDE, SIDE, channels))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(4, 3, strides=4, activation="relu")(x)
    x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(1, activation=activation)(x))
