"""What a bundle says about itself that no measurement gives: population, limits, terms.

A TOML file enters, a frozen `About` leaves; an unknown or missing key is an error.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from edge_app.bundle.manifest import Population
from edge_app.files.codec import CodecError, decode
from export.errors import ExportError

ABOUT_FOLDER = Path(__file__).parent / "about"
TEMPLATE = ABOUT_FOLDER / "template.toml"


@dataclass(frozen=True, slots=True)
class About:
    """Texts of the bundle and its model card.

    Attributes:
        data_name: name of the data set, used in the names of splits.
        intended_use, limits, data, how_to_cite: paragraphs in Markdown.
        licence: SPDX expression of the model.
        citation: one line.
        population: whom it was validated on.
    """

    data_name: str
    intended_use: str
    limits: str
    data: str
    how_to_cite: str
    licence: str
    citation: str
    population: Population


def load_about(name: str | Path) -> About:
    """Read a path, or the name of a file in export/about.

    Raises:
        ExportError: no such file, not TOML, or a key that is unknown, missing or wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = ABOUT_FOLDER / f"{name}.toml"
    try:
        return decode(About, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, CodecError) as error:
        raise ExportError(f"{path}: {error}") from error
