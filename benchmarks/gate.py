"""What the input gate refuses, what it lets pass, and what it costs.

The data folder and a `Screener` enter; for each kind of picture how many were refused and how many
are called suspected leave, with Wilson intervals. Some kinds are made here of chest films: turned,
inverted, two side by side, small parts of one, noise, text.
"""

import csv
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.made_pictures import made_pictures
from edge_app.decision import Decision
from edge_app.errors import DataError, InputError
from edge_app.images.lung_box import LungBox
from edge_app.images.lung_frame import lung_frame
from edge_app.images.lung_grid import lungs_in_box
from edge_app.images.preprocess import preprocess
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import read_image
from edge_app.screening.gate import gate_features
from edge_app.screening.locator import look
from edge_app.screening.picture_checks import measure_picture
from edge_app.screening.quality import measure_quality
from edge_app.screening.screener import Screener, ScreeningResult
from edge_app.statistics.intervals import wilson

Grey = npt.NDArray[np.uint8]
Named = tuple[str, Radiograph]

_SUFFIXES = {".jpeg", ".jpg", ".png"}


@dataclass(frozen=True, slots=True)
class Answers:
    """How many pictures of one kind there were, and what came of them.

    Attributes:
        kind: what they show.
        wanted: what should come of them: "refused", "read" or "put right".
        n, refused, suspected: numbers of pictures.
        mended: how many were put right, turned or inverted, and then read.
        is_detail: whether it is left out of a short table.
    """

    kind: str
    wanted: str
    n: int
    refused: int
    suspected: int
    mended: int
    is_detail: bool = False

    def row(self) -> str:
        """One line of the Markdown table; the share is that of what is wanted."""
        good = {
            "refused": self.refused,
            "read": self.n - self.refused,
            "put right": self.refused + self.mended,
        }[self.wanted]
        share = wilson(good, self.n)
        return (
            f"| {self.kind} | {self.wanted} | {self.n} | {self.refused} | {self.mended} "
            f"| {self.suspected} | {share.value:.3f} ({share.low:.3f}–{share.high:.3f}) |"
        )


def measure_gate(data: Path, split: Path, screener: Screener) -> list[Answers]:
    """Every kind of picture that a data folder holds, and those that are made of its films.

    Args:
        data: with not_chest, chest_xray, adult_nih, other_sites and originals.
        split: `split.csv` of the reader's run: validation pictures are those that count.
        screener: of the bundle.

    Raises:
        DataError: a part of the folder is missing.
    """
    films = [film for _, film in _folder(screener, data / "originals")]
    grey = [_grey(film) for film in films]
    made = made_pictures(grey, _lung_boxes(screener, grey))
    found = [
        *_by_folder(screener, data / "not_chest"),
        _count(screener, "validation films, as stored", "read", _validation(data, split, screener)),
        _count(screener, "100 originals", "read", (("", film) for film in films)),
        *_sites(screener, data),
    ]
    found += [_count_arrays(screener, kind, wanted, some) for kind, wanted, some in made]
    return found


def cost_ms(screener: Screener, films: list[Radiograph], rounds: int = 5) -> float:
    """Median time that gate and quality take beside the two networks, in milliseconds."""
    bundle, gate, locator = screener.bundle, screener.gate, screener.bundle.manifest.locator
    if gate is None or locator is None:
        raise DataError(f"{bundle.folder}: has no input gate")
    times = []
    for film in films:
        first = look(film.pixels, screener.runtime, locator)
        if first.refusal is not None or first.lungs is None:
            continue
        lungs = first.lungs
        seen = preprocess(
            first.pixels, bundle.manifest.preprocess, lung_frame(lungs.box, locator.margin)
        )
        embedding = screener.runtime.run(seen).embedding
        assert embedding is not None
        for _ in range(rounds):
            started = time.perf_counter()
            measure_picture(film)
            features = gate_features(lungs.logits, lungs.box, seen, embedding)
            gate.is_inverted(features)
            gate.distance(features)
            shape = lungs_in_box(lungs.logits, lungs.box)
            measure_quality(shape, lungs.box, seen, first.pixels.shape)
            times.append((time.perf_counter() - started) * 1000)
    return float(np.median(times))


def make_table(answers: list[Answers], milliseconds: float, screener: Screener, again: str) -> str:
    """The Markdown table with what it was made of."""
    head = "| pictures | should be | n | refused | put right | suspected | share as it should be |"
    note = (
        "Shares with 95% Wilson intervals; "
        f"{screener.bundle.manifest.model_id} in {screener.runtime.name} at "
        f"`{screener.operating_point.name}`. Gate and quality take {milliseconds:.2f} ms a picture "
        f"beside the two networks on the machine that made this table (median). Again: `{again}`."
    )
    return "\n".join([head, "|---" * 7 + "|", *(a.row() for a in answers), "", note, ""])


def _by_folder(screener: Screener, folder: Path) -> list[Answers]:
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())
    rows = [_count(screener, kind.name, "refused", _folder(screener, kind)) for kind in kinds]
    counts = ("n", "refused", "suspected", "mended")
    sums = {name: sum(getattr(row, name) for row in rows) for name in counts}
    whole = Answers("**not_chest, all kinds**", "refused", **sums)
    return [whole, *(replace(row, is_detail=True) for row in rows)]


def _folder(screener: Screener, folder: Path) -> Iterator[Named]:
    if not folder.is_dir():
        raise DataError(f"{folder}: is not there")
    spec = screener.bundle.manifest.preprocess
    for path in sorted(folder.rglob("*")):
        if path.suffix in _SUFFIXES:
            yield path.name, read_image(path, spec=spec)


def _validation(data: Path, split: Path, screener: Screener) -> Iterator[Named]:
    for line in _lines(split):
        if line["split"] == "validation":
            yield line["file"], _read(data / line["file"], screener)


def _sites(screener: Screener, data: Path) -> Iterator[Answers]:
    adults = data / "adult_nih"
    films = (
        (x["file"], _read(adults / x["file"], screener)) for x in _lines(adults / "labels.csv")
    )
    yield _count(screener, "adult_nih, population gate off", "read", films)
    folder = data / "other_sites"
    lines = _lines(folder / "labels.csv")
    for site in sorted({line["site"] for line in lines}):
        mine = [line["file"] for line in lines if line["site"] == site]
        some = ((file, _read(folder / file, screener)) for file in mine)
        found = _count(screener, f"other_sites: {site}, population gate off", "read", some)
        yield replace(found, is_detail=True)


def _read(path: Path, screener: Screener) -> Radiograph:
    return read_image(path, spec=screener.bundle.manifest.preprocess)


def _lines(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(stream))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _count_arrays(screener: Screener, kind: str, wanted: str, pictures: Iterable[Grey]) -> Answers:
    return _count(screener, kind, wanted, (("", _radiograph(pixels)) for pixels in pictures))


def _radiograph(pixels: Grey) -> Radiograph:
    pixels = np.ascontiguousarray(pixels)
    return Radiograph(pixels, 255, "PNG", "0" * 64, pixels.shape[::-1])


def _count(screener: Screener, kind: str, wanted: str, films: Iterable[Named]) -> Answers:
    results = [screener.score(film) for _, film in films]
    return Answers(
        kind,
        wanted,
        n=len(results),
        refused=sum(result.reason is not None for result in results),
        suspected=sum(result.decision is Decision.PNEUMONIA_SUSPECTED for result in results),
        mended=sum(_is_mended(result) for result in results),
    )


def _is_mended(result: ScreeningResult) -> bool:
    flags = ("turned_upright", "greys_inverted")
    return result.reason is None and any(result.quality.get(flag, False) for flag in flags)


def _grey(film: Radiograph) -> Grey:
    if film.pixels.dtype != np.uint8:
        raise InputError("made pictures are made of 8-bit films")
    return np.asarray(film.pixels, np.uint8)


def _lung_boxes(screener: Screener, films: list[Grey]) -> list[LungBox]:
    found = [screener.score(_radiograph(film)).lungs for film in films]
    if not all(found):
        raise DataError("a film that pictures are made of is itself refused")
    return [lungs.box for lungs in found if lungs is not None]
