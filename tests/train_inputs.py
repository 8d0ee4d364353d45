"""Inputs of the training tests: phantoms in class folders, a tiny configuration."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.phantom import Phantom, draw_lungs, draw_phantom
from train.config import Config, parse_config
from train.outlines import COLUMNS, Box, box_of


def write_phantoms(
    root: Path, patients: int, *, side: int = 48, suffix: str = ".png", first: int = 0
) -> Path:
    """NORMAL and PNEUMONIA folders with two pictures of each of `patients` patients a class."""
    for patient in range(first, first + patients):
        for picture in range(2):
            seed = 2 * patient + picture
            subtype = "bacteria" if patient % 2 else "virus"
            normal = f"NORMAL/IM-{patient:04}-{picture:04}{suffix}"
            sick = f"PNEUMONIA/person{patient}_{subtype}_{seed}{suffix}"
            for name, opacity in ((normal, 0.0), (sick, 1.0)):
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = draw_phantom(Phantom(seed=seed, opacity=opacity), side, side + 8)
                Image.fromarray(pixels).save(path)
    return root


def tiny_document(**changes: Any) -> dict[str, Any]:
    """A configuration that trains in seconds; `changes` are `table__key=value` or `key=value`."""
    side = 32
    document: dict[str, Any] = {
        "name": "tiny",
        "seed": 7,
        "initial_weights": "random",
        "split": {"unit": "patient", "folds": 3, "fold": 0},
        "network": {
            "height": side,
            "width": side,
            "width_multiplier": 0.1,
            "depth_multiplier": 0.2,
            "head_channels": 16,
            "stem_channels": 8,
            "dropout": 0.3,
            "stages": 2,
        },
        "preprocess": {
            "height": side,
            "width": side,
            "grey": "rec601",
            "resize_filter": "bilinear",
            "aspect": "stretch",
            "range_low_percentile": 0.5,
            "range_high_percentile": 99.5,
            "range_region": 0.8,
            "jpeg_draft_ratio": 2,
        },
        "optimizer": {
            "batch_size": 4,
            "epochs": 2,
            "learning_rate": 3e-3,
            "warmup_share": 0.2,
            "weight_decay": 0.01,
            "clip_norm": 1.0,
            "ema_momentum": 0.8,
            "label_smoothing": 0.02,
            "balance": 1.0,
            "subtype_weight": 0.2,
            "precision": "float32",
            "patience": 0,
        },
        "degrade": {
            "side": [32, 64],
            "stretch": 0.2,
            "rotation_degrees": 5.0,
            "shift": 0.04,
            "zoom": 0.1,
            "crop": 0.05,
            "p_mirror": 0.5,
            "gamma": 0.3,
            "window": 0.05,
            "p_border": 0.3,
            "p_letters": 0.3,
            "p_photo": 0.2,
            "p_blur": 0.4,
            "blur_sigma": 1.0,
            "p_sharpen": 0.3,
            "p_noise": 0.5,
            "noise_sigma": 5.0,
            "p_jpeg": 0.8,
            "jpeg_quality": [30, 95],
        },
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        if name:
            document[table][name] = value
        elif value is None:
            document.pop(key)
        else:
            document[key] = value
    return document


def tiny_config(**changes: Any) -> Config:
    """`tiny_document` as a `Config`."""
    return parse_config(tiny_document(**changes), "tiny")


def tiny_locator_document(**changes: Any) -> dict[str, Any]:
    """As `tiny_document`, for a locator."""
    document = tiny_document(optimizer__subtype_weight=0.0, optimizer__balance=0.0)
    del document["network"]
    document["degrade"] |= {"p_border": 0.0, "p_photo": 0.0}
    document["locator"] = {
        "height": 32,
        "width": 32,
        "stem_channels": 4,
        "channels": [8, 8, 8],
        "expansion": 2,
        "dropout": 0.1,
    }
    document["locate"] = {
        "p_stored": 0.3,
        "inward": 0.2,
        "outward": 0.4,
        "rotation_degrees": 10.0,
        "p_quarter": 0.3,
        "p_cloud": 0.3,
        "p_composed": 0.3,
        "p_inverted": 0.1,
    }
    return document | changes


READ = {
    "margin": 0.03,
    "jitter": 0.03,
    "p_reframe": 0.3,
    "inward": 0.15,
    "outward": 0.2,
    "rotation_degrees": 5.0,
    "p_exchange": 0.5,
    "p_painted": 0.2,
    "p_opacity": 0.2,
    "p_style": 0.3,
    "p_contrast": 0.3,
    "p_tissue": 0.2,
}


def write_outlines(pictures: Path, samples: Sequence[LabelledPicture]) -> Path:
    """A CSV of the phantoms' lungs beside their pictures, and of a film and a stripe to train on.

    The phantoms are those of `write_phantoms`; the CSV's files are relative to its folder.
    """
    rows = []
    for s in samples:
        with Image.open(s.path) as image:
            width, height = image.size
        seed = int(s.path.stem.split("_")[-1]) if s.label else _seed_of_normal(s.path.stem)
        mask = draw_lungs(Phantom(seed=seed), height, width)
        path = pictures / "masks" / f"{s.path.stem}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
        rows.append(_outline_row(s.name, f"masks/{path.name}", box_of(mask), "frontal", "labelled"))
    film, stripe = pictures / "masks" / "film.png", pictures / "masks" / "stripe.png"
    Image.fromarray(draw_phantom(Phantom(seed=99), 60, 60)).save(film)
    Image.fromarray(np.tile(np.arange(60, dtype=np.uint8), (60, 1))).save(stripe)
    rows.append(_outline_row("masks/film.png", "", None, "frontal", "train"))
    rows.append(_outline_row("masks/stripe.png", "", None, "none", "train"))
    path = pictures / "outlines.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _seed_of_normal(stem: str) -> int:
    _, patient, picture = stem.split("-")
    return 2 * int(patient) + int(picture)


def _outline_row(file: str, mask: str, box: Box | None, view: str, use: str) -> dict[str, str]:
    edges = [""] * 4 if box is None else [f"{edge:.5f}" for edge in box]
    values = (file, mask, *edges, view, "phantoms", use, "")
    return dict(zip(COLUMNS, values, strict=True))


def sample(patient: str, picture: int = 0, label: int = 0, **fields: Any) -> LabelledPicture:
    """A sample without a file behind it."""
    name = f"{'PNEUMONIA' if label else 'NORMAL'}/{patient}-{picture}.png"
    return LabelledPicture(Path(name), name, label, patient, **fields)


def reference_picture(side: int = 192) -> np.ndarray:
    """The picture of `data/lite0_reference.json`: uint8 (side, side)."""
    y, x = np.mgrid[0:side, 0:side]
    return ((x * 3 + y * 5 + (x * y) // 7) % 256).astype(np.uint8)
