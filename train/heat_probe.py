"""Are heatmaps right? Against opacities at known places, people's outlines, and what is put away.

A `Screener` and folders of films enter, a `HeatProbe` leaves: whether the hottest point lies in
the opacity (pointing game, Zhang et al. 2018, arXiv:1608.00507), beside what chance would give,
and how fast the score falls and rises as the view is blurred or shown in the map's order (deletion
and insertion, Petsiuk et al. 2018, arXiv:1806.07421) against random orders.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from edge_app.decision import Decision
from edge_app.errors import DataError
from edge_app.images.radiograph import Radiograph
from edge_app.images.read import read_image
from edge_app.progress import track
from edge_app.screening.heatmap import SIDE
from edge_app.screening.screener import Screener
from edge_app.statistics.intervals import Figure, wilson
from edge_app.statistics.observations import patient_weights
from train.heat_maps import (
    Floats,
    GradCam,
    Looked,
    Method,
    View,
    blurred,
    edge_methods,
    look,
    shipped,
)
from train.tables import markdown_table

Mask = npt.NDArray[np.bool_]

# Height of an opacity's centre in the lungs, and its radius, both as shares of the lungs' height.
_HEIGHTS = {"upper": 0.25, "middle": 0.5, "lower": 0.75}
_RADII = {"small": 0.12, "large": 0.20}
# 1 is as dense as the soft tissue beside the lungs.
_DENSITY = 0.75
# A drawn opacity ends where it has less than half of its density.
_EDGE = 0.5
_MOVED = 1.0
_SUSPECTED, _UNMOVED = "suspected", "the score rose by less than 1"
_FINDINGS = ("Consolidation", "Ground Glass Opacities")
# Blocks a side, and steps in which they are blurred or shown.
_BLOCKS, _STEPS, _RANDOM_ORDERS = 16, 16, 5
_SEED = 2026


@dataclass(frozen=True, slots=True)
class Pointed:
    """How often the hottest point lies inside, of one kind of films.

    Attributes:
        films: which.
        n: pictures; the interval counts films, of which each holds several opacities in turn.
        chance: mean share of the lungs that is inside.
        inside: by method.
    """

    films: str
    n: int
    chance: float
    inside: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Ordered:
    """The score's mean fall, or rise, over all steps, and how much better than in random order.

    Attributes:
        method: by which the blocks are ordered.
        n: films.
        deletion: mean share of the way from the film's score to the blurred one's, over all
            steps, less that of random orders; above 0 is better. 95% of the mean.
        insertion: the same from the blurred score to the film's.
    """

    method: str
    n: int
    deletion: tuple[float, float, float]
    insertion: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Alike:
    """How alike maps of different sick films are: the map's habit, whatever is on the film.

    Attributes:
        method: which map.
        n: films.
        correlation: mean over all pairs, over the frame.
        lower: share of films whose hottest point lies in the lower half of the lungs' box.
    """

    method: str
    n: int
    correlation: float
    lower: float


@dataclass(frozen=True, slots=True)
class HeatProbe:
    """All of it; `rivals` is about a sample with Grad-CAM beside, None without a checkpoint."""

    drawn: tuple[Pointed, ...]
    rivals: tuple[Pointed, ...]
    agreement: Mapping[str, float]
    people: tuple[Pointed, ...]
    ordered: tuple[Ordered, ...]
    alike: tuple[Alike, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A picture with something in it, and where each method's hottest point lies."""

    film: str
    kinds: tuple[str, ...]
    chance: float
    inside: Mapping[str, bool]


def probe_heatmaps(
    screener: Screener,
    healthy: Path,
    outlines: Path,
    lesions: Path,
    sick: Path,
    grad_cam: GradCam | None = None,
    sample: int = 20,
) -> HeatProbe:
    """Put the maps to the test.

    Args:
        screener: what scores.
        healthy: a folder of films without a finding.
        outlines: of their lungs, masks of the same stem.
        lesions: a folder with `labels.csv` of people's outlines.
        sick: a folder of films with pneumonia.
        grad_cam: of the checkpoint, for the sample.
        sample: healthy films on which Grad-CAM is tried beside the others.

    Raises:
        DataError: no film or no outline there.
    """
    films = [(path, outlines / f"{path.stem}.png") for path in sorted(healthy.iterdir())]
    films = [pair for pair in films if pair[1].is_file()]
    if not films:
        raise DataError(f"{healthy}: no film with an outline in {outlines}")
    methods = edge_methods(_healthy_mean(screener, [path for path, _ in films]))
    drawn = [
        trial
        for path, mask in track(films, "films with drawn opacities", len(films))
        for trial in _drawn(screener, path, mask, methods)
    ]
    sick_films = _looks(screener, sick)
    if not sick_films:
        raise DataError(f"{sick}: no film in it is suspected")
    rivals: list[_Trial] = []
    agreement: dict[str, float] = {}
    if grad_cam is not None:
        others = {**methods, **grad_cam.methods()}
        for path, mask in track(films[:sample], "films with Grad-CAM", sample):
            rivals += _drawn(screener, path, mask, others, heights=("middle",))
        agreement = _agreement(sick_films[:sample], others)
    return HeatProbe(
        drawn=_pointed(drawn, ("all", *_HEIGHTS, *_RADII, _SUSPECTED, _UNMOVED)),
        rivals=_pointed(rivals, ("all",)),
        agreement=agreement,
        people=_pointed(_outlined(screener, lesions, methods), ("all", _SUSPECTED, *_FINDINGS)),
        ordered=_ordered(sick_films, methods),
        alike=tuple(_alike(name, method, sick_films) for name, method in methods.items()),
    )


def draw_opacity(
    radiograph: Radiograph, lungs: Mask, height: str, radius: str, side: str
) -> tuple[Radiograph, Mask] | None:
    """A soft opacity in one lung, and where it is; None where the lung is not there.

    Args:
        radiograph: an 8-bit film without a finding.
        lungs: bool, the film's size.
        height: of its centre; see `_HEIGHTS`.
        radius: of `_RADII`.
        side: of the picture, "left" or "right".
    """
    rows, columns = np.nonzero(lungs)
    tall = float(np.ptp(rows)) + 1
    center_y = rows.min() + _HEIGHTS[height] * tall
    across = np.flatnonzero(lungs[int(center_y)])
    across = across[(across < columns.mean()) == (side == "left")]
    if not across.size:
        return None
    y, x = np.indices(lungs.shape)
    distance = np.hypot(y - center_y, x - across.mean()) / (_RADII[radius] * tall)
    cloud = np.exp(-(distance**4)) * lungs
    soft = Image.fromarray(np.rint(255 * cloud).astype(np.uint8))
    weight = np.asarray(soft.filter(ImageFilter.GaussianBlur(tall / 60)), np.float32) / 255
    beside = radiograph.pixels[~lungs & (radiograph.pixels > 20)]
    dense = float(np.percentile(beside if beside.size else radiograph.pixels, 70))
    share = _DENSITY * weight
    pixels = np.clip(radiograph.pixels * (1 - share) + dense * share, 0, 255).astype(np.uint8)
    return replace(radiograph, pixels=pixels), weight >= _EDGE


def _drawn(
    screener: Screener,
    path: Path,
    mask: Path,
    methods: Mapping[str, Method],
    heights: Sequence[str] = tuple(_HEIGHTS),
) -> list[_Trial]:
    radiograph = read_image(path, spec=screener.bundle.manifest.preprocess)
    lungs = _read_mask(mask, radiograph.pixels.shape)
    before = screener.score(radiograph).raw_score
    if before is None:
        return []
    trials = []
    for height in heights:
        for radius in _RADII:
            for side in ("left", "right"):
                made = draw_opacity(radiograph, lungs, height, radius, side)
                looked = None if made is None else look(screener, made[0])
                if made is None or looked is None:
                    continue
                kinds = ["all", height, radius]
                result = looked.result
                if result.decision is Decision.PNEUMONIA_SUSPECTED:
                    kinds.append(_SUSPECTED)
                if (result.raw_score or 0.0) - before < _MOVED:
                    kinds.append(_UNMOVED)
                trials.append(_trial(path.name, kinds, looked, made[1], lungs, methods))
    return trials


def _outlined(screener: Screener, folder: Path, methods: Mapping[str, Method]) -> list[_Trial]:
    """Films on which people outlined what they saw: each finding, and both together."""
    masks: dict[str, dict[str, Path]] = defaultdict(dict)
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            masks[row["image"]][row["finding"]] = folder / row["mask"]
    trials = []
    for image, named in track(masks.items(), "films that people outlined", len(masks)):
        found = [finding for finding in _FINDINGS if finding in named]
        radiograph = read_image(folder / image, spec=screener.bundle.manifest.preprocess)
        looked = look(screener, radiograph) if found else None
        if looked is None:
            continue
        shape = radiograph.pixels.shape
        inside = {finding: _read_mask(named[finding], shape) for finding in found}
        lungs = np.logical_or.reduce(
            [_read_mask(named[f], shape) for f in ("Left Lung", "Right Lung") if f in named]
            or [np.ones(shape, np.bool_)]
        )
        union = np.logical_or.reduce(list(inside.values()))
        kinds = ["all"]
        if looked.result.decision is Decision.PNEUMONIA_SUSPECTED:
            kinds.append(_SUSPECTED)
        trials.append(_trial(image, kinds, looked, union, lungs, methods))
        for finding, mask in inside.items():
            trials.append(_trial(image, [finding], looked, mask, lungs, methods))
    return trials


def _trial(
    film: str,
    kinds: Sequence[str],
    looked: Looked,
    inside: Mask,
    lungs: Mask,
    methods: Mapping[str, Method],
) -> _Trial:
    """Where each method points; turned films are told by their upright masks."""
    turns = 0 if looked.result.lungs is None else looked.result.lungs.quarter_turns
    height, width = looked.heatmap.picture.shape
    upright = np.rot90(inside, -turns)
    truth = np.asarray(Image.fromarray(upright).resize((width, height)))
    hits = {}
    for name, method in methods.items():
        x, y = replace(looked.heatmap, values=method(looked)).hottest()
        hits[name] = bool(truth[int(y * height), int(x * width)])
    return _Trial(film, tuple(kinds), float((inside & lungs).sum() / lungs.sum()), hits)


def _pointed(trials: Sequence[_Trial], kinds: Sequence[str]) -> tuple[Pointed, ...]:
    found = []
    for kind in kinds:
        chosen = [trial for trial in trials if kind in trial.kinds]
        if not chosen:
            continue
        weights = patient_weights([trial.film for trial in chosen])
        inside = {}
        for name in chosen[0].inside:
            hit = np.array([trial.inside[name] for trial in chosen])
            # Films count, not opacities: those of one film are answered alike.
            share, n = float(hit.mean()), float(weights.sum())
            inside[name] = wilson(share * n, n)
        chance = float(np.mean([trial.chance for trial in chosen]))
        found.append(Pointed(kind, len(chosen), chance, inside))
    return tuple(found)


def _healthy_mean(screener: Screener, paths: Sequence[Path]) -> npt.NDArray[np.float32]:
    grids = []
    for path in paths:
        grid = screener.score(path).activation_map
        if grid is not None:
            grids.append(grid)
    mean: npt.NDArray[np.float32] = np.mean(grids, axis=0)
    return mean


def _looks(screener: Screener, folder: Path) -> list[Looked]:
    spec = screener.bundle.manifest.preprocess
    looks = []
    for path in sorted(folder.iterdir()):
        looked = look(screener, read_image(path, spec=spec))
        if looked is not None and looked.result.decision is Decision.PNEUMONIA_SUSPECTED:
            looks.append(looked)
    return looks


def _agreement(films: Sequence[Looked], methods: Mapping[str, Method]) -> dict[str, float]:
    """Mean correlation of each method's map with the one that ships, over the frame."""
    return {
        name: float(np.mean([_correlation(shipped(film), method(film)) for film in films]))
        for name, method in methods.items()
    }


def _alike(name: str, method: Method, films: Sequence[Looked]) -> Alike:
    maps = [method(looked) for looked in films]
    pairs = [
        _correlation(maps[i], maps[j]) for i in range(len(maps)) for j in range(i + 1, len(maps))
    ]
    lower = 0
    for looked, values in zip(films, maps, strict=True):
        box = looked.result.lungs
        assert box is not None
        _, y = replace(looked.heatmap, values=values).hottest()
        lower += y > (box.box.top + box.box.bottom) / 2
    return Alike(name, len(maps), float(np.mean(pairs)), lower / len(maps))


def _ordered(films: Sequence[Looked], methods: Mapping[str, Method]) -> tuple[Ordered, ...]:
    rng = np.random.default_rng(_SEED)
    gains: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for looked in track(films, "deletion and insertion", len(films)):
        whole, gone = looked.view, blurred(looked.view)
        span = looked.runtime.run(whole).logit - looked.runtime.run(gone).logit
        if span < 1:  # blurring takes nothing away that could be put back
            continue

        curve = partial(_mean_change, looked)
        shuffled = [rng.permutation(_BLOCKS**2) for _ in range(_RANDOM_ORDERS)]
        by_chance = (
            float(np.mean([curve(order, whole, gone) / span for order in shuffled])),
            float(np.mean([curve(order, gone, whole) / span for order in shuffled])),
        )
        for name, method in methods.items():
            order = np.argsort(-_by_block(method(looked)), kind="stable")
            gains[name].append(
                (
                    -(curve(order, whole, gone) / span - by_chance[0]),
                    curve(order, gone, whole) / span - by_chance[1],
                )
            )
    return tuple(
        Ordered(name, len(pairs), *(_mean(column) for column in zip(*pairs, strict=True)))
        for name, pairs in gains.items()
        if len(pairs) > 1  # of one film there is no interval
    )


def _mean_change(looked: Looked, order: npt.NDArray[np.intp], start: View, end: View) -> float:
    """Mean change of the score while blocks of `start` become those of `end`, in this order."""
    first = looked.runtime.run(start).logit
    side = start.shape[1] // _BLOCKS
    shown = start.copy()
    changes = []
    for step in np.array_split(order, _STEPS):
        for block in step.tolist():
            y, x = (side * place for place in divmod(block, _BLOCKS))
            shown[:, y : y + side, x : x + side] = end[:, y : y + side, x : x + side]
        changes.append(looked.runtime.run(shown).logit - first)
    return float(np.mean(changes))


def _by_block(values: Floats) -> Floats:
    wide = SIDE // _BLOCKS
    means: Floats = values.reshape(_BLOCKS, wide, _BLOCKS, wide).mean(axis=(1, 3)).ravel()
    return means


def _mean(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with its 95% interval by the normal approximation."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, mean - 1.96 * error, mean + 1.96 * error


def _correlation(a: Floats, b: Floats) -> float:
    """Pearson's; 0 where one of them is the same everywhere, as Grad-CAM can be."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _read_mask(path: Path, shape: tuple[int, ...]) -> Mask:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L").resize((shape[1], shape[0]))) > 127
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error


def in_words(probe: HeatProbe) -> str:
    """The findings as Markdown."""
    parts = [
        "Hottest point inside an opacity that was drawn into a healthy lung:",
        _pointed_table(probe.drawn),
    ]
    if probe.rivals:
        parts += ["A sample, with Grad-CAM of the checkpoint beside:", _pointed_table(probe.rivals)]
        rows = [(name, f"{value:.2f}") for name, value in probe.agreement.items()]
        parts.append(markdown_table(("map", "correlation with what ships"), rows))
    parts += [
        "Hottest point inside what people outlined on films of adults:",
        _pointed_table(probe.people),
        "Blocks of the view blurred (deletion) or shown (insertion), hottest first, less random "
        "order; share of the whole change of the score, above 0 is better:",
        markdown_table(
            ("order", "n", "deletion", "insertion"),
            [(o.method, str(o.n), _gain(o.deletion), _gain(o.insertion)) for o in probe.ordered],
        ),
        "Maps of different sick films beside each other:",
        markdown_table(
            ("map", "n", "mean correlation of two films", "hottest point in the lower half"),
            [(a.method, str(a.n), f"{a.correlation:.2f}", f"{a.lower:.2f}") for a in probe.alike],
        ),
    ]
    return "\n\n".join(parts)


def _pointed_table(found: Sequence[Pointed]) -> str:
    names = list(found[0].inside) if found else []
    rows = [
        (p.films, str(p.n), f"{p.chance:.2f}", *(_share(p.inside[name]) for name in names))
        for p in found
    ]
    return markdown_table(("films", "n", "chance", *names), rows)


def _share(figure: Figure) -> str:
    return f"{figure.value:.2f} ({figure.low:.2f}–{figure.high:.2f})"


def _gain(values: tuple[float, float, float]) -> str:
    return f"{values[0]:+.3f} ({values[1]:+.3f} to {values[2]:+.3f})"
