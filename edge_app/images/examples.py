"""Example pictures for a first run, none of them a child's X-ray.

A folder name enters; drawn phantoms, one real adult radiograph where the package `pydicom-data`
is installed, and a README.txt that says what each file is leave. No network.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from PIL import Image

from edge_app.errors import StorageError
from edge_app.images.phantom import Phantom, draw_phantom

README_FILE = "README.txt"
_NEMA_RG1 = "data_store/data/RG1_UNCR.dcm"

_PHANTOMS = {
    "phantom_clear_1.png": Phantom(seed=1),
    "phantom_clear_2.png": Phantom(seed=2),
    "phantom_clouded_left.png": Phantom(seed=4, opacity=1.0, side="left"),
    "phantom_clouded_right.png": Phantom(seed=3, opacity=0.8, side="right"),
}
_PHANTOM_BITS = 16


@dataclass(frozen=True, slots=True)
class Example:
    """A file that was written, and in plain words what it is."""

    file: str
    what: str


def write_examples(folder: Path) -> tuple[Example, ...]:
    """Write the examples into `folder`, which is made where it is not there.

    Returns:
        What was written, in the order of the file names. Without `pydicom-data` the phantoms
        alone.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = (*_write_radiographs(folder), *_write_phantoms(folder))
        lines = [f"{example.file}: {example.what}\n" for example in written]
        (folder / README_FILE).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{folder}: cannot write the examples: {error.strerror}") from error
    return written


def _write_phantoms(folder: Path) -> Iterator[Example]:
    for file, phantom in _PHANTOMS.items():
        picture = draw_phantom(phantom, height=768, width=896, bits=_PHANTOM_BITS)
        Image.fromarray(picture).save(folder / file)
        state = "with a drawn cloud in one lung" if phantom.opacity else "with clear lungs"
        yield Example(
            file,
            f"a drawing {state}, made by this program. Nobody's X-ray: the shipped model's "
            "input gate refuses it as unlike the films it knows, which shows that the program "
            "runs.",
        )


def _write_radiographs(folder: Path) -> Iterator[Example]:
    source = _nema_rg1()
    if source is None:
        return
    file = "nema_rg1_adult.dcm"
    shutil.copyfile(source, folder / file)
    yield Example(
        file,
        "a real chest X-ray (NEMA WG04 sample RG1, from the package pydicom-data) of an adult "
        "born in 1940. The shipped model was validated on small children, so the right answer "
        "is a refusal.",
    )


def _nema_rg1() -> Path | None:
    """The sample's file in the installed package; its own access function would use a network."""
    try:
        path = Path(str(distribution("pydicom-data").locate_file(_NEMA_RG1)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None
