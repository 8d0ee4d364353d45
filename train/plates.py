"""Plates of the pictures that went worst, to be looked at by a person.

Held-out samples enter, PNG files leave: the worst located lungs with box and outline drawn, and the
most wrong answers in the reader's own frame. They show patients: they are for the eye, not for git.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from edge_app.files.whole import whole
from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.lung_box import LungBox
from train.cache import read_grey
from train.checkpoint import Scorer
from train.locator_task import box_iou
from train.lung_finder import LungFinder
from train.outlines import Outline, read_mask

_COLUMNS, _SIDE = 8, 160
Picture = npt.NDArray[np.uint8]


def worst_locations(
    finder: LungFinder, outlined: Sequence[Outline], count: int, path: Path
) -> None:
    """The `count` pictures whose box agrees least with the outline's: found yellow, true green."""
    pictures = [read_grey(outline.path) for outline in outlined]
    boxes = list(finder.boxes(pictures))
    agreement = [_agreement(box, outline) for box, outline in zip(boxes, outlined, strict=True)]
    tiles = []
    for index in np.argsort(agreement)[:count].tolist():
        tile = _tile(pictures[index])
        outline, box = outlined[index], boxes[index]
        if outline.mask is not None:
            mask = Image.fromarray(read_mask(outline.mask)).resize((_SIDE, _SIDE))
            red = Image.new("RGB", tile.size, (255, 0, 0))
            tile = Image.composite(Image.blend(tile, red, 0.25), tile, mask)
        draw = ImageDraw.Draw(tile)
        if outline.box is not None:
            draw.rectangle([edge * _SIDE for edge in outline.box], outline=(0, 255, 0))
        if box is not None:
            found = (box.left, box.top, box.right, box.bottom)
            draw.rectangle([edge * _SIDE for edge in found], outline=(255, 255, 0))
        draw.text((2, 2), f"{outline.path.stem[:20]} {agreement[index]:.2f}", fill=(0, 255, 255))
        tiles.append(tile)
    _write(tiles, path)


def most_wrong(scorer: Scorer, samples: Sequence[LabelledPicture], count: int, path: Path) -> None:
    """The reader's view of the pictures that lie deepest on the wrong side, normals first."""
    config = scorer.checkpoints[0].config
    logits = scorer.logits(samples, lambda sample, _: read_grey(sample.path))
    wrong = np.array([x if s.label == 0 else -x for s, x in zip(samples, logits, strict=True)])
    order = np.argsort(-wrong)
    half = [
        [i for i in order.tolist() if samples[i].label == label][: count // 2] for label in (0, 1)
    ]
    chosen = [*half[0], *half[1]]
    shown = scorer.inputs([samples[i] for i in chosen], lambda s: read_grey(s.path), config)
    tiles = []
    for index, pixels in zip(chosen, shown, strict=True):
        tile = _tile(pixels[0, :, :, 0])
        color = (255, 90, 90) if samples[index].label else (90, 255, 90)
        text = f"{samples[index].path.stem[:20]} {logits[index]:+.1f}"
        ImageDraw.Draw(tile).text((2, 2), text, fill=color)
        tiles.append(tile)
    _write(tiles, path)


def _agreement(box: LungBox | None, outline: Outline) -> float:
    if box is None or outline.box is None:
        return 0.0
    return box_iou((box.left, box.top, box.right, box.bottom), outline.box)


def _tile(pixels: Picture) -> Image.Image:
    return Image.fromarray(pixels, mode="L").resize((_SIDE, _SIDE)).convert("RGB")


def _write(tiles: Sequence[Image.Image], path: Path) -> None:
    rows = -(-len(tiles) // _COLUMNS)
    plate = Image.new("RGB", (_COLUMNS * _SIDE, rows * _SIDE))
    for index, tile in enumerate(tiles):
        plate.paste(tile, (index % _COLUMNS * _SIDE, index // _COLUMNS * _SIDE))
    with whole(path) as partial:
        plate.save(partial, "PNG")
