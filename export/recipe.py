"""Recipes are data: how a format is made, and how far it may differ from the trained network.

A TOML file enters, a frozen `Recipe` leaves; an unknown or missing key is an error.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from edge_app.bundle.manifest import ModelFormat
from edge_app.bundle.manifest import Recipe as RecipeName
from edge_app.files.codec import CodecError, decode
from export.errors import ExportError

RECIPE_FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True)
class StaticSpec:
    """Static int8: per-channel int8 weights, per-tensor int8 activations with fixed ranges.

    Attributes:
        representative_images: real training pictures that the ranges are read from; each is
            taken in one of the forms that clinics send.
        bias_correction: take back the mean error that quantization gives each channel (see
            `export.bias_correction`).
        float_tail: leave what follows the last wide layer (the 1x1 convolutions and averages
            that make map and logit) in float32, so that the logit is not rounded to steps.
    """

    representative_images: int
    bias_correction: bool
    float_tail: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """The parity gate against Keras float32 on the same pictures; beyond them the export fails.

    Attributes:
        mean_logit_change, max_logit_change: of |logit - Keras's logit|.
        flipped_share: largest share of decisions that may differ at Keras's own threshold, at
            each operating point.
        auroc_change: largest |AUROC - Keras's AUROC|.
        mean_edge_change: of an edge of the lungs' frame, in shares of the picture, where there is
            a locator.
    """

    mean_logit_change: float
    max_logit_change: float
    flipped_share: float
    auroc_change: float
    mean_edge_change: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """One exported file; `static` is null for the other recipes."""

    format: ModelFormat
    recipe: RecipeName
    static: StaticSpec | None
    limits: Limits

    def __post_init__(self) -> None:
        """Raises ValueError where parts contradict each other, or ask for what is not made."""
        if (self.recipe == "static_int8") != (self.static is not None):
            raise ValueError("the table [static] belongs to static_int8, and only there")
        if self.format == "onnx" and self.recipe not in ("float32", "static_int8"):
            raise ValueError(f"there is no {self.recipe} in ONNX; there are float32, static_int8")
        if self.format == "onnx" and self.static is not None and self.static.bias_correction:
            raise ValueError("bias_correction is for TFLite files")

    @property
    def name(self) -> str:
        """Name on the command line and of the recipe's file, such as `tflite_static_int8`."""
        return f"{self.format}_{self.recipe}"

    @property
    def file(self) -> str:
        """Name of the reader's file in the bundle."""
        return f"model_{self.recipe}.{self.format}"

    @property
    def locator_file(self) -> str:
        """Name of the locator's file in the bundle."""
        return f"locator_{self.recipe}.{self.format}"


def load_recipe(name: str, folder: Path = RECIPE_FOLDER) -> Recipe:
    """Read `folder/name.toml`.

    Raises:
        ExportError: no such recipe, not TOML, or a key that is unknown, missing or wrong.
    """
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(recipe_names(folder))
        raise ExportError(f"no recipe {name!r}; there are {known}")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        # TOML has no null: leaving the table out says that there is none.
        recipe = decode(Recipe, {"static": None} | document)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, CodecError) as error:
        raise ExportError(f"{path}: {error}") from error
    if recipe.name != name:
        raise ExportError(f"{path}: holds the recipe {recipe.name}")
    return recipe


def recipe_names(folder: Path = RECIPE_FOLDER) -> tuple[str, ...]:
    """Names of all recipes, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))
