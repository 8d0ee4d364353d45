"""The record of a run: what it was made of, how it went, what it gave.

`run.json` says which run a folder holds: configuration, data hashes, seed, versions, machine,
time, figures. `split.csv` says which picture was in which split (export reads it), `history.csv`
has a row an epoch, `validation.csv` the best checkpoint's logits of
the held-out pictures. Files appear whole or not at all. No Keras here, so that whether a folder
may be used is known before any time is spent.
"""

import csv
import hashlib
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge_app.cores import usable_cores
from edge_app.errors import ConfigError, StorageError
from edge_app.files.codec import encode
from edge_app.files.locks import FileLock
from edge_app.files.whole import PART, whole, write_whole
from edge_app.images.labelled_pictures import LabelledPicture, split_hash
from train.config import Config, parse_config
from train.splits import Splits, larger_hash

RECORD = "run.json"
LOCK = ".lock"
CHECKPOINT = "model.keras"
HISTORY = "history.csv"
VALIDATION = "validation.csv"
SPLIT = "split.csv"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """What two runs must share to be one: resuming under another identity is refused.

    Attributes:
        config: the configuration.
        train_sha256, validation_sha256: hash of names, labels and patients.
        teachers: SHA-256 of each teacher's checkpoint, in order.
        larger_sha256: hash of which training pictures have a larger copy, and of the copies'
            sizes; "" without any, None where an older record does not say.
        outlines_sha256: of the CSV of outlines; "" without one.
    """

    config: Config
    train_sha256: str
    validation_sha256: str
    teachers: tuple[str, ...] = ()
    larger_sha256: str | None = None
    outlines_sha256: str = ""


# What a refusal calls the parts of an identity whose names say too little.
_IN_WORDS = {"larger_sha256": "larger copies (--larger)", "outlines_sha256": "--outlines"}


def identify(
    config: Config, splits: Splits, teachers: Sequence[str] = (), outlines: str = ""
) -> Identity:
    """The identity of a run on this split."""
    return Identity(
        config,
        split_hash(p.identity for p in splits.train),
        split_hash(p.identity for p in splits.validation),
        tuple(teachers),
        larger_hash(splits.train),
        outlines,
    )


def identity_of(record: Record, where: Path) -> Identity:
    """The identity that a record names.

    Raises:
        ConfigError: the record's configuration is not one.
    """
    return Identity(
        parse_config(_current(record.get("config")), f"{where}: config"),
        record.get("train_sha256", ""),
        record.get("validation_sha256", ""),
        tuple(record.get("teachers", ())),
        record.get("larger_sha256"),
        record.get("outlines_sha256", ""),
    )


def read_record(folder: Path) -> Record | None:
    """The record of the run in `folder`, None where there is none.

    Raises:
        ConfigError: the record is damaged.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: not a record of a run")
    return record


def check_folder(folder: Path, identity: Identity) -> None:
    """Raises ConfigError where `folder` holds another run or other files; changes nothing."""
    record = read_record(folder)
    if record is None:
        # A first write that was cut leaves its beginning; it is no other's file.
        foreign = [p.name for p in folder.glob("*") if not p.name.startswith(("cache", LOCK, PART))]
        if foreign:
            raise ConfigError(
                f"{folder} holds other files ({', '.join(sorted(foreign)[:3])}) and no run; "
                "choose a new folder"
            )
        return
    held = identity_of(record, folder / RECORD)
    names = ["config", "train_sha256", "validation_sha256", "teachers", "outlines_sha256"]
    if held.larger_sha256 is not None:
        names.append("larger_sha256")
    different = [
        _IN_WORDS.get(name, name)
        for name in names
        if getattr(held, name) != getattr(identity, name)
    ]
    if different:
        raise ConfigError(
            f"{folder} holds another run ({', '.join(different)} differ); choose a new folder"
        )


def start_record(identity: Identity, splits: Splits, folder: Path) -> Record:
    """Write the record of a run that begins, or read that of one that goes on."""
    check_folder(folder, identity)
    folder.mkdir(parents=True, exist_ok=True)
    record = read_record(folder)
    if record is not None:
        # A run that was begun before its split was written down, or killed in between.
        if not (folder / SPLIT).exists():
            write_rows(_split_rows(splits), folder / SPLIT)
        if not record.get("finished"):
            _note_versions(record, folder)
        return record
    record = {
        "config": encode(identity.config),
        "train_sha256": identity.train_sha256,
        "validation_sha256": identity.validation_sha256,
        "larger_sha256": identity.larger_sha256,
        "outlines_sha256": identity.outlines_sha256,
        "teachers": list(identity.teachers),
        "train": _count(splits.train),
        "validation": _count(splits.validation),
        "versions": _versions(),
        "machine": _machine(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "finished": False,
    }
    write_json(record, folder / RECORD)
    write_rows(_split_rows(splits), folder / SPLIT)
    return record


def held(folder: Path) -> FileLock:
    """Until it is closed, no other process trains the run in `folder`.

    Two would garble each other's state.

    Raises:
        StorageError: another process does.
    """
    return FileLock(folder / LOCK, f"{folder}: another process is training this run")


def _note_versions(record: Record, folder: Path) -> None:
    """Say and write down that a run goes on with other packages than it was begun with."""
    versions, begun = _versions(), record.get("versions")
    known = record.get("went_on_with", [])
    if begun is None or versions == begun or versions in known:
        return
    record["went_on_with"] = [*known, versions]
    write_json(record, folder / RECORD)
    changed = [
        f"{name} {begun.get(name, 'none')} then, {versions.get(name, 'none')} now"
        for name in sorted({*begun, *versions})
        if begun.get(name) != versions.get(name)
    ]
    print(
        f"note: {folder} goes on with other versions ({'; '.join(changed)}): it may end with "
        "other roundings than an uninterrupted run",
        file=sys.stderr,
    )


def _split_rows(splits: Splits) -> list[dict[str, Any]]:
    rows = [
        {
            "file": sample.name,
            "label": sample.label,
            "subtype": sample.subtype,
            "patient_id": sample.patient_id,
            "split": split,
        }
        for split, samples in (("train", splits.train), ("validation", splits.validation))
        for sample in samples
    ]
    return sorted(rows, key=lambda row: str(row["file"]))


def new_folder(path: Path) -> Path:
    """Make a folder for a report, and return it.

    Raises:
        ConfigError: it holds files already; reports are not overwritten.
        StorageError: it cannot be made.
    """
    if path.is_dir() and any(path.iterdir()):
        raise ConfigError(f"{path} holds files already; choose a new folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: {error}") from error
    return path


def write_json(value: Any, path: Path) -> None:
    """Write JSON, whole or not at all."""
    write_whole(path, [json.dumps(value, indent=2, allow_nan=False), "\n"])


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a CSV with the keys of the last row as header, whole or not at all.

    Rows of an earlier version of the same run may lack some.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _current(config: Any) -> Any:
    """A recorded configuration with the keys that came after it, at what they then were."""
    network = config.get("network") if isinstance(config, dict) else None
    if isinstance(network, dict) and "stages" not in network:
        return config | {"network": network | {"stages": 7}}
    return config


def _count(samples: Sequence[LabelledPicture]) -> dict[str, int]:
    return {
        "n_images": len(samples),
        "n_patients": len({sample.patient_id for sample in samples}),
        "n_positive": sum(sample.label for sample in samples),
    }


def _versions() -> dict[str, str]:
    import keras

    versions = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in ("keras", "tensorflow", "jax", "numpy", "pillow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _machine() -> dict[str, Any]:
    import keras

    return {
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "devices": keras.distribution.list_devices(),
    }
