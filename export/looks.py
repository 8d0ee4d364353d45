"""The first look, as export takes it: from pictures to the frames that the reader is shown.

Pictures and a locator (the trained one, or an exported file of it) enter; what each look makes of
each picture leaves: how often it was turned, the lungs' frame, and whether the edge would refuse
it. The steps are the edge's own (`edge_app.screening.locator`).
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import LocatorRules
from edge_app.decision import Reason
from edge_app.files.codec import CodecError, decode
from edge_app.images.lung_box import LungBox
from edge_app.images.lung_frame import WHOLE, Frame, lung_frame
from edge_app.images.preprocess import PreprocessSpec, preprocess
from edge_app.progress import track
from edge_app.runtimes.base import Floats, LungOutputs
from edge_app.screening.locator import find_lungs, quarter_turns
from edge_app.screening.refusals import find_size_refusal
from export.checkpoint import Checkpoint
from export.errors import ExportError

Grey = npt.NDArray[np.uint8]
Arrays = Mapping[str, npt.NDArray[np.float32]]
Run = Callable[[Grey], Arrays]

RULES_FILE = Path(__file__).parent / "locator_rules.toml"


@dataclass(frozen=True, slots=True, eq=False)
class Finder:
    """A trained locator with what the bundle says of it.

    Attributes:
        checkpoint: of the locator.
        rules: what is done with what it says.
        margin: of the reader's frame, from the reader's own record: it was trained with it.
    """

    checkpoint: Checkpoint
    rules: LocatorRules
    margin: float


@dataclass(frozen=True, slots=True)
class View:
    """What the first look makes of one picture.

    Attributes:
        turns: quarter turns that are taken back.
        frame: what the reader is shown; the whole picture where no lungs were found.
        reason: why the edge would refuse it, None where it would read it.
        lungs: (rows, columns) logits, None where nobody looked.
        box: of the lungs, None where none were found.
    """

    turns: int
    frame: Frame
    reason: Reason | None
    lungs: Floats | None = None
    box: LungBox | None = None


def load_rules(path: Path = RULES_FILE) -> LocatorRules:
    """Read the locator's rules.

    Raises:
        ExportError: not TOML, or a key that is unknown, missing or of the wrong kind.
    """
    try:
        return decode(LocatorRules, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, CodecError) as error:
        raise ExportError(f"{path}: {error}") from error


def views(
    pictures: Sequence[npt.NDArray[np.generic]],
    finder: Finder | None,
    run: Run | None,
    *,
    turn: bool = True,
) -> list[View]:
    """Look at each picture once; without a locator every frame is the whole picture.

    Args:
        pictures: (height, width) each.
        finder: the locator's rules.
        run: its network, uint8 (n, h, w, 1) to outputs by role.
        turn: put turned pictures right, as screening does and golden inputs do not.
    """
    if finder is None or run is None:
        return [View(0, WHOLE, _too_small(pixels)) for pixels in pictures]
    spec = finder.checkpoint.record.preprocess
    outputs = _outputs(run, [preprocess(p, spec) for p in pictures])
    turns = [quarter_turns(found, finder.rules) if turn else 0 for found in outputs]
    turned = [index for index, count in enumerate(turns) if count]
    again = _outputs(run, [preprocess(upright(pictures[i], turns[i]), spec) for i in turned])
    for index, found in zip(turned, again, strict=True):
        outputs[index] = found
    rows = zip(pictures, outputs, turns, strict=True)
    return [_view(pixels, found, count, finder) for pixels, found, count in rows]


def upright(pixels: npt.NDArray[Any], turns: int) -> npt.NDArray[Any]:
    """The picture with its quarter turns taken back."""
    return np.ascontiguousarray(np.rot90(pixels, -turns)) if turns else pixels


def reader_inputs(
    pictures: Sequence[npt.NDArray[np.generic]], seen: Sequence[View], spec: PreprocessSpec
) -> Grey:
    """What the reader is shown of each picture: uint8 (n, height, width, 1)."""
    return np.concatenate(
        [
            preprocess(upright(pixels, view.turns), spec, view.frame)
            for pixels, view in zip(pictures, seen, strict=True)
        ]
    )


def edge_error(mine: Sequence[View], theirs: Sequence[View]) -> tuple[float, float]:
    """Mean and largest difference of a frame's edge between two looks, in shares of a picture.

    Pictures that only one of the two turns are left out: theirs is another picture.
    """
    pairs = [(a.frame, b.frame) for a, b in zip(mine, theirs, strict=True) if a.turns == b.turns]
    errors = [
        abs(getattr(a, side) - getattr(b, side))
        for a, b in pairs
        for side in ("left", "top", "right", "bottom")
    ]
    return float(np.mean(errors)), float(np.max(errors))


def _view(
    pixels: npt.NDArray[np.generic], outputs: LungOutputs, turns: int, finder: Finder
) -> View:
    lungs, refusal = find_lungs(outputs, finder.rules, turns)
    reason = _too_small(pixels) or (None if refusal is None else refusal.reason)
    box = None if lungs is None else lungs.box
    frame = WHOLE if box is None else lung_frame(box, finder.margin)
    return View(turns, frame, reason, outputs.lungs, box)


def _too_small(pixels: npt.NDArray[np.generic]) -> Reason | None:
    height, width = pixels.shape
    refusal = find_size_refusal(width, height)
    return None if refusal is None else refusal.reason


def _outputs(run: Run, inputs: Sequence[Grey]) -> list[LungOutputs]:
    if not inputs:
        return []
    arrays = run(np.concatenate(inputs))
    return [
        LungOutputs(
            lungs=arrays["lungs"][index, :, :, 0],
            orientation=arrays["orientation"][index],
            view=arrays["view"][index],
            cut_off=arrays["cut_off"][index],
        )
        for index in track(range(len(inputs)), "lungs")
    ]
