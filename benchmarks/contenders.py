"""What can be measured here: every model file in every runtime that loads its format.

A bundle, and model files beside it, enter; `Contender`s leave, those whose runtime is missing
among them, since their rows say so. A contender is a small JSON document that a worker process,
possibly of another Python environment, turns into an open runtime.
"""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.record import ContenderFacts
from edge_app.bundle.load import load_bundle
from edge_app.bundle.manifest import (
    FORMAT_VERSION,
    Bundle,
    Golden,
    InputSpec,
    Manifest,
    ModelFile,
    ModelFormat,
    OutputNames,
    Population,
    Provenance,
)
from edge_app.errors import UsageError
from edge_app.files.codec import CodecError, decode, parse_json
from edge_app.images.preprocess import PreprocessSpec
from edge_app.runtimes import RUNTIMES, RuntimeName

_FORMATS: dict[str, ModelFormat] = {".tflite": "tflite", ".onnx": "onnx"}


@dataclass(frozen=True, slots=True)
class Description:
    """A foreign model's description file: what a bundle would say about it.

    Attributes:
        recipe: how it was quantized, for the table.
        input: name of its input tensor, uint8 (1, height, width, 1).
        logit: name of its output tensor, float32 (1, 1): the raw score.
        threshold: raw score from which on a picture is called positive, null where none is known.
        preprocess: as in a bundle.
    """

    recipe: Literal["float32", "float16", "dynamic_int8", "static_int8"]
    input: str
    logit: str
    threshold: float | None
    preprocess: PreprocessSpec


@dataclass(frozen=True, slots=True)
class Contender:
    """One model file in one runtime with one number of threads.

    Attributes:
        folder: where the model file lies; for a foreign model, its folder.
        model: the file, its format, recipe and hash.
        runtime: name of the runtime.
        threads: threads that one inference may use.
        python: interpreter that has the runtime, "" for the one that runs the benchmark.
        foreign: the description of a model that comes without a bundle.
        alias: what a foreign model is called, where its file name is another one's too.
    """

    folder: str
    model: ModelFile
    runtime: RuntimeName
    threads: int
    python: str
    foreign: Description | None
    alias: str = ""

    @property
    def name(self) -> str:
        """Such as "static_int8 litert", with the file's name where it is foreign."""
        of = "" if self.foreign is None else f"{self.alias or self.model.file} "
        return f"{of}{self.model.recipe} {self.runtime}"

    @property
    def path(self) -> Path:
        """The model file."""
        return Path(self.folder) / self.model.file

    @property
    def interpreter(self) -> str:
        """The Python that runs it."""
        return self.python or sys.executable

    def facts(self) -> ContenderFacts:
        """What a row says of it, before its runtime was opened."""
        return ContenderFacts(
            name=self.name,
            foreign=self.foreign is not None,
            file=self.model.file,
            model_sha256=self.model.sha256,
            recipe=self.model.recipe,
            runtime=self.runtime,
            version="",
            notes=(),
            missing="",
        )

    def open_bundle(self) -> Bundle:
        """The bundle, with this contender's model as the only one of its format.

        Raises:
            BundleError: the bundle does not load.
        """
        if self.foreign is not None:
            return _foreign_bundle(Path(self.folder), self.model, self.foreign)
        bundle = load_bundle(self.folder)
        return replace(bundle, manifest=replace(bundle.manifest, models=(self.model,)))


def bundle_contenders(
    bundle: Bundle,
    runtimes: Sequence[str] | None = None,
    pythons: Mapping[str, str] | None = None,
) -> list[Contender]:
    """Every model file of a bundle in every runtime of its format, installed or not.

    Args:
        bundle: the checked bundle.
        runtimes: only these; None for all.
        pythons: interpreters of other environments, by runtime.
    """
    models = [(str(bundle.folder.resolve()), model, None) for model in bundle.manifest.models]
    return _in_all_runtimes(models, runtimes, pythons)


def foreign_contenders(
    model_path: Path,
    description_path: Path,
    runtimes: Sequence[str] | None = None,
    pythons: Mapping[str, str] | None = None,
) -> list[Contender]:
    """A model file that comes with a description instead of a bundle.

    Raises:
        UsageError: neither .tflite nor .onnx, no such file, or a description that does not fit.
    """
    format = _FORMATS.get(model_path.suffix.lower())
    if format is None:
        raise UsageError(f"{model_path}: a model's name must end in .tflite or .onnx")
    description = read_description(description_path)
    try:
        content = model_path.read_bytes()
    except OSError as error:
        raise UsageError(f"{model_path}: {error.strerror}") from error
    model = ModelFile(
        file=model_path.name,
        format=format,
        recipe=description.recipe,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    folder = str(model_path.parent.resolve())
    return _in_all_runtimes([(folder, model, description)], runtimes, pythons)


def with_distinct_names(contenders: Sequence[Contender]) -> list[Contender]:
    """The same, foreign models of one file name told apart by their hash.

    Raises:
        UsageError: one model was given twice, so that its rows could not be told apart.
    """
    keys = [contender.facts().key for contender in contenders]
    twice = [c for c, key in zip(contenders, keys, strict=True) if keys.count(key) > 1]
    if twice:
        raise UsageError(f"--model {twice[0].path}: this model was given twice")
    names = [contender.name for contender in contenders]
    return [
        replace(c, alias=f"{c.model.file} {c.model.sha256[:8]}")
        if c.foreign is not None and names.count(c.name) > 1
        else c
        for c in contenders
    ]


def read_description(path: Path) -> Description:
    """Read a foreign model's description, strictly.

    Raises:
        UsageError: no such file, or a key that is unknown, missing or of another kind.
    """
    try:
        return decode(Description, parse_json(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except CodecError as error:
        raise UsageError(f"{path}: not a model's description: {error}") from error


def parse_pythons(items: Sequence[str]) -> dict[str, str]:
    """Turn "tflite-runtime=/path/to/python" options into a mapping.

    Raises:
        UsageError: another form, an unknown runtime, or an interpreter that cannot be run.
    """
    names = {engine.name for engine in RUNTIMES}
    pythons: dict[str, str] = {}
    for item in items:
        runtime, equals, python = item.partition("=")
        if not equals or runtime not in names:
            raise UsageError(f"--python {item}: give RUNTIME=PATH, with one of {sorted(names)}")
        if not os.access(python, os.X_OK):
            raise UsageError(f"--python {item}: {python} cannot be executed")
        pythons[runtime] = python
    return pythons


def _in_all_runtimes(
    models: Sequence[tuple[str, ModelFile, Description | None]],
    runtimes: Sequence[str] | None,
    pythons: Mapping[str, str] | None,
) -> list[Contender]:
    return [
        Contender(
            folder=folder,
            model=model,
            runtime=engine.name,
            threads=1,
            python=(pythons or {}).get(engine.name, ""),
            foreign=foreign,
        )
        for folder, model, foreign in models
        for engine in RUNTIMES
        if engine.format == model.format and (runtimes is None or engine.name in runtimes)
    ]


def _foreign_bundle(folder: Path, model: ModelFile, description: Description) -> Bundle:
    """What a runtime needs to know to open a foreign model; it has no operating points."""
    spec = description.preprocess
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model_id=model.file,
        created="1970-01-01",
        files={},
        models=(model,),
        input=InputSpec(description.input, (1, spec.height, spec.width, 1), "uint8"),
        preprocess=spec,
        outputs=OutputNames(description.logit, None, None, None),
        locator=None,
        calibration=(),
        operating_points=(),
        default_operating_point="",
        input_gate=None,
        population=Population("unknown", None, (), ()),
        metrics=(),
        golden=Golden(0.0, 0.0, ()),
        provenance=Provenance("", "", "", 0, {}, "", ""),
    )
    return Bundle(folder=folder, manifest=manifest, signed_by=None)
