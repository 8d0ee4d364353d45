"""The first look: where are the lungs, how surely, which way up, and is it a chest film at all?

A picture's pixels enter; its lungs, upright, leave, or the reason why it is not read. What this
look does not find is not guessed by the second: the reader sees the lungs' frame and nothing else.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import Locator, LocatorRules
from edge_app.decision import ONE_LUNG as ONE_LUNG_MESSAGE
from edge_app.decision import Reason
from edge_app.images.lung_box import LungBox, find_lung_box
from edge_app.images.lung_frame import WHOLE, Frame, lung_frame
from edge_app.images.preprocess import grey_range, resize, to_input
from edge_app.images.radiograph import Pixels
from edge_app.runtimes import Runtime
from edge_app.runtimes.base import Floats, LungOutputs
from edge_app.screening.refusals import Refusal, find_contrast_refusal
from edge_app.statistics.logistic import sigmoids

SIDES = ("left", "top", "right", "bottom")
_LUNGS = 2  # of a chest
_HALF = 0.55  # of a side: up to here a box keeps to one half of the picture
_FRONTAL, _LATERAL = 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """Where the lungs are in the upright picture.

    Attributes:
        box: around them, as fractions of the picture.
        mask: bool (h, w), a coarse map of the whole picture: lung here.
        quarter_turns: the file shows the upright picture turned so often by 90 degrees
            counter-clockwise; 0 where it was upright.
        touched: sides of the picture at which lungs may be cut off.
        logits: float32 (h, w), what `mask` was made of.
    """

    box: LungBox
    mask: npt.NDArray[np.bool_]
    quarter_turns: int
    touched: tuple[str, ...]
    logits: Floats

    @property
    def is_half(self) -> bool:
        """Whether only one lung was found: the other is off the picture, or white with disease."""
        return self.box.parts < _LUNGS


@dataclass(frozen=True, slots=True, eq=False)
class FirstLook:
    """What the first look found; `refusal` is None where the lungs may be read.

    Attributes:
        pixels: (height, width), upright.
        lungs: the map's box, None where it has none; only without a refusal may it be read.
        refusal: why the picture is not read.
    """

    pixels: Pixels
    lungs: Lungs | None
    refusal: Refusal | None


def look(pixels: Pixels, runtime: Runtime, locator: Locator) -> FirstLook:
    """Find the lungs in a picture, and put one that lies on its side or its head right."""
    outputs, blank = _locate(pixels, runtime, locator)
    if outputs is None:
        return FirstLook(pixels, None, blank)
    turns = quarter_turns(outputs, locator.rules)
    if turns:
        pixels = cast(Pixels, np.ascontiguousarray(np.rot90(pixels, -turns)))
        turned, blank = _locate(pixels, runtime, locator)
        if turned is None:  # a thin picture may be blank at the network's size one way only
            return FirstLook(pixels, None, blank)
        outputs = turned
    lungs, refusal = find_lungs(outputs, locator.rules, turns)
    if refusal is None and lungs is not None and _is_second_film(pixels, lungs, runtime, locator):
        refusal = _SEVERAL_FILMS
    return FirstLook(pixels, lungs, refusal)


def quarter_turns(outputs: LungOutputs, rules: LocatorRules) -> int:
    """By how many quarter turns the picture is surely turned; 0 where that is not sure."""
    probability = _softmax(outputs.orientation)
    turns = int(probability.argmax())
    return turns if turns and probability[turns] >= rules.turned else 0


def find_lungs(
    outputs: LungOutputs, rules: LocatorRules, turns: int
) -> tuple[Lungs | None, Refusal | None]:
    """The lungs in a picture from which `turns` were taken back, and why they are not read.

    Where a refusal leaves no doubt about where the lungs are, both are given.
    """
    refusal = _wrong_view(outputs, rules) or _not_upright(outputs, rules)
    box = find_lung_box(outputs.lungs, rules.box)
    if box is None:
        return None, refusal or _NOT_FOUND
    cut_off = sigmoids(outputs.cut_off)
    lungs = Lungs(
        box=box,
        mask=sigmoids(outputs.lungs) >= rules.box.threshold,
        quarter_turns=turns,
        touched=tuple(s for s, p in zip(SIDES, cut_off, strict=True) if p >= rules.touches_edge),
        logits=outputs.lungs,
    )
    if refusal is None and box.parts > _LUNGS:
        refusal = _SEVERAL_FILMS
    if refusal is None and _is_doubtful(box, rules):
        refusal = _NOT_FOUND
    cut = [s for s, p in zip(SIDES, cut_off, strict=True) if p >= rules.cut_off]
    return lungs, refusal or (_cut_off(cut) if cut else None)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Where the lungs are by the map alone, whatever the rules say; for golden inputs and parity.

    Attributes:
        logits: float32 (h, w), the map.
        box: of the lungs, None where the map has none.
        frame: of the reader, the whole picture without a box.
    """

    logits: Floats
    box: LungBox | None
    frame: Frame


def find_anyway(pixels: Pixels, runtime: Runtime, locator: Locator) -> Found | None:
    """What the map of a picture says; None where it is too blank to ask."""
    outputs, _ = _locate(pixels, runtime, locator)
    if outputs is None:
        return None
    box = find_lung_box(outputs.lungs, locator.rules.box)
    frame = WHOLE if box is None else lung_frame(box, locator.margin)
    return Found(outputs.lungs, box, frame)


_NOT_FOUND = Refusal(
    Reason.LUNGS_NOT_FOUND,
    "the lungs were not found with certainty; take or scan the film again so that the whole chest "
    "is on it, or have it read by a person",
)

ONE_LUNG = Refusal(
    Reason.LUNGS_NOT_FOUND,
    ONE_LUNG_MESSAGE,
)
_SEVERAL_FILMS = Refusal(
    Reason.LUNGS_NOT_FOUND,
    "more than two lungs seem to be on this picture; send each film as a picture of its own",
)


def _is_second_film(pixels: Pixels, lungs: Lungs, runtime: Runtime, locator: Locator) -> bool:
    """Whether the half of the picture in which no lungs were found holds some, looked at alone.

    Of two films the locator may see one; where lungs lie in the middle, this costs nothing.
    """
    other = _empty_half(pixels, lungs.box)
    if other is None:
        return False
    outputs, _ = _locate(cast(Pixels, np.ascontiguousarray(other)), runtime, locator)
    if outputs is None:
        return False
    found, refusal = find_lungs(outputs, locator.rules, 0)
    return found is not None and refusal is None


def _empty_half(pixels: Pixels, box: LungBox) -> Pixels | None:
    """The half beside a box that keeps to the other one, None where it lies in the middle."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    if box.right <= _HALF:
        return pixels[:, width:]
    if box.left >= 1 - _HALF:
        return pixels[:, :width]
    if box.bottom <= _HALF:
        return pixels[height:]
    return pixels[:height] if box.top >= 1 - _HALF else None


def _locate(
    pixels: Pixels, runtime: Runtime, locator: Locator
) -> tuple[LungOutputs | None, Refusal | None]:
    """The locator's outputs, or why a picture is too blank to ask it."""
    resized = resize(pixels, locator.preprocess)
    found = grey_range(resized, locator.preprocess)
    blank = find_contrast_refusal(*found)
    if blank is not None:
        return None, blank
    return runtime.locate(to_input(resized, locator.preprocess, found)), None


def _wrong_view(outputs: LungOutputs, rules: LocatorRules) -> Refusal | None:
    probability = _softmax(outputs.view)
    if probability[_FRONTAL] >= rules.least_frontal:
        return None
    if int(probability.argmax()) == _LATERAL:
        return Refusal(
            Reason.VIEW_NOT_VALIDATED,
            "this looks like a lateral view; only frontal views are read: send the frontal film",
        )
    return Refusal(
        Reason.NOT_CHEST_RADIOGRAPH,
        "this does not look like a frontal chest X-ray; check which picture was sent",
    )


def _not_upright(outputs: LungOutputs, rules: LocatorRules) -> Refusal | None:
    if _softmax(outputs.orientation)[0] >= rules.least_upright:
        return None
    return Refusal(
        Reason.ROTATED, "it cannot be told which way up this film is: turn it upright, head above"
    )


def _is_doubtful(box: LungBox, rules: LocatorRules) -> bool:
    return box.certainty < rules.least_certainty or box.width * box.height < rules.least_area


def _cut_off(sides: list[str]) -> Refusal:
    where = " and ".join(sides)
    return Refusal(
        Reason.LUNGS_CUT_OFF,
        f"the lungs are cut off at the {where} of the picture: send a film with both lungs whole",
    )


def _softmax(logits: Floats) -> Floats:
    shares = np.exp(logits - logits.max())
    probability: Floats = shares / shares.sum()
    return probability
