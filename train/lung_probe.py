"""Does the answer follow the lungs, and nothing else? Frames moved, lungs painted over, opacities.

A `Scorer` and held-out samples enter, a `LungProbe` leaves. A picture that is framed otherwise
must keep its answer; a picture whose lungs are blacked out must lose it (Maguolo and Nanni 2021,
arXiv:2004.12823, found that networks trained on such sets do not); an opacity drawn into a healthy
lung must change it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_app.images.framing import Framing, frame_picture
from edge_app.images.labelled_pictures import LabelledPicture
from edge_app.images.preprocess import PreprocessSpec
from edge_app.progress import track
from edge_app.statistics import discrimination as metrics
from edge_app.statistics.intervals import Figure, wilson
from train.cache import read_grey
from train.checkpoint import Scorer
from train.decision import Floats
from train.drawn_opacities import Opacity, cloud_lung, every_opacity
from train.locator_task import FORMS
from train.outlines import Mask, Outlines, read_mask
from train.tables import markdown_table, short

Picture = npt.NDArray[np.uint8]

# Pictures are decoded up to this size; the outlines have 224 pixels.
_MAX_SIDE = 512


@dataclass(frozen=True, slots=True)
class Form:
    """Figures of the same pictures in one framing, at the one threshold of all of them.

    Attributes:
        name: of the framing.
        auroc, sensitivity, specificity: with intervals.
        mean_normal, mean_pneumonia: of the logit.
    """

    name: str
    auroc: Figure
    sensitivity: Figure
    specificity: Figure
    mean_normal: float
    mean_pneumonia: float


@dataclass(frozen=True, slots=True)
class Painted:
    """What is left of the ranking when a part of each picture is painted over.

    Attributes:
        name: what was painted, and how.
        auroc: near 0.5 where the lungs carried the answer and are gone.
    """

    name: str
    auroc: Figure


@dataclass(frozen=True, slots=True)
class Clouded:
    """Healthy pictures into which one opacity was drawn.

    Attributes:
        opacity: which; None for the pictures as they are.
        mean_change: of the logit.
        called: share that is called pneumonia.
        not_cleared: share at or above the lower cut-off, called or indeterminate; None where no
            cut-offs were given.
    """

    opacity: Opacity | None
    mean_change: float
    called: Figure
    not_cleared: Figure | None


@dataclass(frozen=True, slots=True)
class LungProbe:
    """All of it.

    Attributes:
        threshold: the one at which the worst framing's worse of sensitivity and specificity is
            best.
        cut_offs: at which opacities are called and cleared, where they were given.
        forms, painted, opacities: the findings; the last two are empty without outlines.
    """

    threshold: float
    cut_offs: tuple[float, float] | None
    forms: tuple[Form, ...]
    painted: tuple[Painted, ...]
    opacities: tuple[Clouded, ...]


def probe_lungs(
    scorer: Scorer,
    samples: Sequence[LabelledPicture],
    outlines: Outlines | None = None,
    cut_offs: tuple[float, float] | None = None,
) -> LungProbe:
    """Probe a network on held-out pictures.

    Args:
        scorer: with a locator, where its networks want one.
        samples: pictures that were not trained on.
        outlines: of the lungs; without them nothing is painted or drawn.
        cut_offs: logits below which a picture is cleared and from which on it is called; without
            them opacities are called from the framings' threshold on, and none is cleared.
    """
    labels = np.array([sample.label for sample in samples])
    patients = [sample.patient_id for sample in samples]
    logits = {
        framing.name: scorer.logits(samples, partial(framed, framing))
        for framing in track(FORMS, "framings", len(FORMS))
    }
    threshold = worst_form_threshold(labels, list(logits.values()))
    forms = tuple(
        _form(name, labels, values, patients, threshold) for name, values in logits.items()
    )
    if outlines is None:
        return LungProbe(threshold, cut_offs, forms, (), ())
    known = [sample for sample in samples if sample.name in outlines.by_name]
    masks = {sample.name: _mask(sample, outlines) for sample in known}
    painted = tuple(_painted(scorer, known, masks, name, paint) for name, paint in _PAINTS.items())
    healthy = [sample for sample in known if sample.label == 0]
    opacities = probe_opacities(scorer, healthy, masks, cut_offs or (None, threshold))
    return LungProbe(threshold, cut_offs, forms, painted, opacities)


def probe_opacities(
    scorer: Scorer,
    healthy: Sequence[LabelledPicture],
    masks: Mapping[str, Mask],
    cut_offs: tuple[float | None, float],
) -> tuple[Clouded, ...]:
    """Draw every opacity into every healthy picture.

    Args:
        scorer: as of `probe_lungs`.
        healthy: pictures.
        masks: outlines of their lungs, by the pictures' names.
        cut_offs: the lower (None where none is known) and the upper one, as logits.
    """
    before = scorer.logits(healthy, _plain)
    found = [_answers(None, before, before, cut_offs)]
    opacities = every_opacity()
    for opacity in track(opacities, "opacities", len(opacities)):
        logits = scorer.logits(healthy, partial(_clouded, masks, opacity))
        found.append(_answers(opacity, before, logits, cut_offs))
    return tuple(found)


def _answers(
    opacity: Opacity | None, before: Floats, logits: Floats, cut_offs: tuple[float | None, float]
) -> Clouded:
    (low, high), n = cut_offs, len(logits)
    return Clouded(
        opacity,
        float((logits - before).mean()),
        wilson(int((logits >= high).sum()), n),
        None if low is None else wilson(int((logits >= low).sum()), n),
    )


def worst_form_threshold(labels: npt.NDArray[np.intp], forms: Sequence[Floats]) -> float:
    """The threshold at which the least of all forms' sensitivities and specificities is largest."""
    grid = np.unique(np.concatenate(forms).round(2))
    least = [
        min(min((v[labels == 1] >= t).mean(), (v[labels == 0] < t).mean()) for v in forms)
        for t in grid
    ]
    return float(grid[int(np.argmax(least))])


def in_words(findings: LungProbe) -> str:
    """The findings as text with Markdown tables."""
    header = ("framing", "AUROC", "sensitivity", "specificity", "mean normal", "mean pneumonia")
    parts = [
        f"one threshold for every framing: logit >= {findings.threshold:.3f}",
        markdown_table(
            header,
            [
                (
                    form.name,
                    short(form.auroc),
                    short(form.sensitivity),
                    short(form.specificity),
                    f"{form.mean_normal:+.2f}",
                    f"{form.mean_pneumonia:+.2f}",
                )
                for form in findings.forms
            ],
        ),
    ]
    if findings.painted:
        rows = [(painted.name, short(painted.auroc)) for painted in findings.painted]
        parts.append(markdown_table(("painted over", "AUROC that is left"), rows))
    if findings.opacities:
        parts.append(opacities_in_words(findings.opacities))
    return "\n\n".join(parts)


def opacities_in_words(opacities: Sequence[Clouded]) -> str:
    """What drawn opacities did, as a Markdown table."""
    rows = [
        (
            *(("none", "", "", "") if drawn is None else astuple(drawn)),
            f"{found.mean_change:+.2f}",
            short(found.called),
            short(found.not_cleared),
        )
        for found in opacities
        for drawn in (found.opacity,)
    ]
    header = ("side", "third", "opacity", "density", "logit", "called", "called or indeterminate")
    return markdown_table(header, rows)


def _form(
    name: str,
    labels: npt.NDArray[np.intp],
    logits: Floats,
    patients: Sequence[str],
    threshold: float,
) -> Form:
    sick, healthy = logits[labels == 1], logits[labels == 0]
    return Form(
        name,
        metrics.auroc_delong(labels, logits, groups=patients),
        wilson(int((sick >= threshold).sum()), len(sick)),
        wilson(int((healthy < threshold).sum()), len(healthy)),
        float(healthy.mean()),
        float(sick.mean()),
    )


def framed(framing: Framing, sample: LabelledPicture, _: PreprocessSpec) -> Picture:
    """A sample's picture in a framing: what `Scorer` reads, uint8 (height, width)."""
    return frame_picture(read_grey(sample.path, _MAX_SIDE), framing)


def _mask(sample: LabelledPicture, outlines: Outlines) -> Mask:
    path = outlines.by_name[sample.name].mask
    assert path is not None, "labelled pictures in the list have an outline"
    return read_mask(path)


def _painted(
    scorer: Scorer,
    samples: Sequence[LabelledPicture],
    masks: dict[str, Mask],
    name: str,
    paint: Callable[[Picture, Mask], Picture],
) -> Painted:
    def read(sample: LabelledPicture, _: PreprocessSpec) -> Picture:
        pixels = read_grey(sample.path, _MAX_SIDE)
        return paint(pixels, _stretched(masks[sample.name], pixels))

    labels = np.array([sample.label for sample in samples])
    patients = [sample.patient_id for sample in samples]
    return Painted(
        name, metrics.auroc_delong(labels, scorer.logits(samples, read), groups=patients)
    )


def _stretched(mask: Mask, pixels: Picture) -> Mask:
    height, width = pixels.shape
    return np.asarray(Image.fromarray(mask).resize((width, height)))


def _lungs_black(pixels: Picture, mask: Mask) -> Picture:
    return np.where(mask, 0, pixels).astype(np.uint8)


def _lungs_grey(pixels: Picture, mask: Mask) -> Picture:
    return np.where(mask, int(pixels.mean()), pixels).astype(np.uint8)


def _lungs_alone(pixels: Picture, mask: Mask) -> Picture:
    return np.where(mask, pixels, 0).astype(np.uint8)


_PAINTS: dict[str, Callable[[Picture, Mask], Picture]] = {
    "nothing": lambda pixels, _: pixels,
    "the lungs, black": _lungs_black,
    "the lungs, the picture's mean grey": _lungs_grey,
    "all but the lungs, black": _lungs_alone,
}


def _plain(sample: LabelledPicture, _: PreprocessSpec) -> Picture:
    return read_grey(sample.path, _MAX_SIDE)


def _clouded(
    masks: Mapping[str, Mask], opacity: Opacity, sample: LabelledPicture, _: PreprocessSpec
) -> Picture:
    pixels = read_grey(sample.path, _MAX_SIDE)
    return cloud_lung(opacity, pixels, _stretched(masks[sample.name], pixels))
