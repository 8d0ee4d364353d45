"""The main path: a `Radiograph` in, a `ScreeningResult` out.

Checks whether the picture may be screened, finds the lungs in it, reads them, and holds the score
against the operating point of that very model file. Every number comes from the bundle. No file
access beyond loading the networks; no score for a picture that is refused.
"""

import time
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from edge_app.bundle.manifest import Bundle, OperatingPoint
from edge_app.decision import Decision, Reason, Status, show_probability
from edge_app.errors import UsageError
from edge_app.images.lung_frame import WHOLE, Frame, lung_frame
from edge_app.images.lung_grid import lungs_in_box
from edge_app.images.preprocess import PreprocessSpec, grey_range, resize, to_input
from edge_app.images.radiograph import Pixels, Radiograph
from edge_app.images.read import read_image
from edge_app.runtimes import RawOutputs, Runtime, open_runtime
from edge_app.screening.flaws import FILE_FLAWS, own_ranges, set_flags
from edge_app.screening.gate import gate_features, joined, open_gate
from edge_app.screening.heatmap import Heatmap, make_heatmap
from edge_app.screening.locator import ONE_LUNG, Lungs, look
from edge_app.screening.picture_checks import find_picture_refusal, measure_picture
from edge_app.screening.population import find_population_refusal
from edge_app.screening.quality import FLAGS, measure_quality, quality_of
from edge_app.screening.refusals import (
    UNLIKE,
    Refusal,
    find_contrast_refusal,
    find_refusal,
    quality_flags,
)
from edge_app.screening.selftest import run_self_test
from edge_app.screening.stated import NOTHING_STATED, Stated

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Decision", "Reason", "Screener", "ScreeningResult", "Status"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ScreeningResult:
    """The answer for one picture.

    Attributes:
        decision: the answer.
        reason: why the picture is not assessable, None where it was scored.
        message: the same for people, empty where it was scored.
        raw_score: the network's logit, unbounded; None unless scored.
        probability: of pneumonia by the bundle's calibration, 0 to 1; None unless scored. It
            holds for the prevalence of the set that the calibration was fitted on.
        subtype_logit: above 0 bacterial, below 0 viral, given pneumonia; None where the network
            has no such output.
        operating_point: name of the cut-offs that were applied.
        quality: flags, see `screening.refusals.quality_flags`.
        measures: the numbers behind the flags, by the names of `screening.flaws`; those that were
            not reached are left out.
        model_id, model_sha256, runtime: what gave the score.
        lungs: where the lungs are, None where none were looked for or found.
        frame: the part of the upright picture that was read, None unless scored.
        infer_ms: time for both looks, resampling included; None unless scored.
        activation_map: float32 (h, w), where in the frame the score comes from; its mean is the
            raw score.
        embedding: float32 (d,), what the input gate looks at.
        seen: uint8 (1, h, w, 1), what the reader was shown; None unless scored.
        heatmap: where in the lungs the score comes from; None unless it was asked for.
    """

    decision: Decision
    reason: Reason | None
    message: str
    raw_score: float | None
    probability: float | None
    subtype_logit: float | None
    operating_point: str
    quality: Mapping[str, bool]
    measures: Mapping[str, float]
    model_id: str
    model_sha256: str
    runtime: str
    lungs: Lungs | None
    frame: Frame | None
    infer_ms: float | None
    activation_map: npt.NDArray[np.float32] | None
    embedding: npt.NDArray[np.float32] | None
    seen: npt.NDArray[np.uint8] | None
    heatmap: Heatmap | None = None

    @property
    def status(self) -> Status:
        """`scored` or `refused`; a picture that could not be read never gets here."""
        return Status.SCORED if self.reason is None else Status.REFUSED

    def overlay(self) -> "Image.Image":
        """The film beside the same with its heat, a legend and what it means: a Pillow image.

        Raises:
            UsageError: there is no heatmap: it was not asked for, the picture was refused, or the
                network has no activation map.
        """
        if self.heatmap is None or self.probability is None:
            why = self.message or "score(picture, heatmap=True) makes one, where the model can"
            raise UsageError(f"this result has no heatmap: {why}")
        from edge_app.screening.overlay import draw_overlay

        answer = self.decision.value.replace("_", " ")
        text = f"{answer}, probability {show_probability(self.probability)}"
        return draw_overlay(self.heatmap, f"{text} ({self.operating_point}, {self.model_id})")

    def to_dict(self) -> dict[str, object]:
        """What `json.dumps` takes: all but the arrays and the mask of the lungs."""
        box = None if self.lungs is None else asdict(self.lungs.box)
        return {
            "status": self.status.value,
            "decision": self.decision.value,
            "reason": None if self.reason is None else self.reason.value,
            "message": self.message or None,
            "raw_score": self.raw_score,
            "probability": self.probability,
            "subtype_logit": self.subtype_logit,
            "operating_point": self.operating_point,
            "quality": dict(self.quality),
            "measures": dict(self.measures),
            "lungs": box,
            "model_id": self.model_id,
            "model_sha256": self.model_sha256,
            "runtime": self.runtime,
            "infer_ms": self.infer_ms,
        }

    def __repr__(self) -> str:
        """One line: the arrays of a result fill screens."""
        if self.probability is None:
            return f"<ScreeningResult {self.decision} ({self.reason})>"
        shown = show_probability(self.probability)
        return f"<ScreeningResult {self.decision}, probability {shown}>"


class Screener:
    """A bundle's model, ready to score radiographs one after another (one thread at a time)."""

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime | str | None = None,
        operating_point: str | None = None,
        threads: int = 1,
        stated: Stated = NOTHING_STATED,
    ) -> None:
        """Open the model, and score the bundle's golden inputs where it holds any.

        A runtime's kernels are chosen by the processor, and wrong ones raise nothing: they give
        other scores. So no picture is scored on a processor that was not tried.

        Args:
            bundle: the checked bundle.
            runtime: an open runtime, the name of one, or None for the first that is installed.
            operating_point: its name, None for the bundle's default.
            threads: threads that one inference may use; only where the runtime is opened here.
            stated: what is known of all pictures that will be scored.

        Raises:
            BundleError: no model for the runtime, or it does not load; or its input gate is
                not what the bundle promises; or (`SelfTestError`) a golden input gives another
                score on this machine than it must.
            RuntimeUnavailableError: the runtime is not installed.
            UsageError: no such runtime or operating point.
        """
        if runtime is None or isinstance(runtime, str):
            runtime = open_runtime(bundle, runtime, threads)
        self.bundle = bundle
        self.runtime: Runtime = runtime
        self.stated = stated
        self.operating_point: OperatingPoint = bundle.operating_point(
            runtime.model, operating_point
        )
        self.calibration = bundle.calibration(runtime.model)
        self.gate = open_gate(bundle, runtime.model)
        if bundle.manifest.golden.cases:
            run_self_test(bundle, runtime)

    def stating(self, age_years: float | None, view: str) -> "Screener":
        """The same with an age or a view stated in place of what was; None and "" leave it."""
        if age_years is None and not view:
            return self
        other, stated = copy(self), self.stated
        age_years = stated.age_years if age_years is None else age_years
        other.stated = replace(stated, age_years=age_years, view=view or stated.view)
        return other

    def score(self, picture: Radiograph | str | Path, *, heatmap: bool = False) -> ScreeningResult:
        """Screen one picture; refuses rather than scores what it was not made for.

        Args:
            picture: a file, read as a folder run reads it, or what `read_image` gave.
            heatmap: whether to find out where the score comes from too, by 36 more looks; the
                result holds the reduced picture then.

        Raises:
            InputError: the file cannot be read, is damaged or holds no picture.
            TypeError: something else, such as a bare array, which does not say what is white.
        """
        if isinstance(picture, str | Path):
            picture = read_image(picture, spec=self.bundle.manifest.preprocess)
        if not isinstance(picture, Radiograph):
            raise TypeError(
                "score takes a path, or a Radiograph as read_image gives it or as you make it "
                f"from an array; this is {type(picture).__name__}"
            )
        result = self._score(picture)
        return self.with_heatmap(picture, result) if heatmap else result

    def with_heatmap(self, radiograph: Radiograph, result: ScreeningResult) -> ScreeningResult:
        """The result of this radiograph with its heatmap, where it was scored and has one."""
        if result.frame is None or result.seen is None:
            return result
        level = self.operating_point.refer_high
        heatmap = make_heatmap(
            radiograph, result.lungs, result.frame, result.seen, self.runtime, level
        )
        return replace(result, heatmap=heatmap)

    def _score(self, radiograph: Radiograph) -> ScreeningResult:
        manifest = self.bundle.manifest
        stated = self.stated
        outside = find_population_refusal(radiograph.dicom, stated, manifest.population)
        quality = quality_flags(
            radiograph,
            manifest.preprocess,
            age_stated=stated.age_years is not None,
            view_stated=bool(stated.view),
        )
        quality["outside_population"] = outside is not None
        measures = measure_picture(radiograph)
        quality |= set_flags(FILE_FLAWS, measures, own_ranges())
        refusal = find_refusal(radiograph) or (None if stated.accept_outside else outside)
        refusal = refusal or find_picture_refusal(measures)
        if refusal is not None:
            return self._refused(refusal, quality, measures)
        started = time.perf_counter()
        looked = self._look(radiograph.pixels)
        if looked.inverted:
            negative = self._look(_negative(radiograph))
            looked = replace(negative, quality={**negative.quality, "greys_inverted": True})
        infer_ms = (time.perf_counter() - started) * 1000
        quality, measures = quality | looked.quality, measures | looked.measures
        if looked.refusal is not None or looked.outputs is None:
            return self._refused(looked.refusal or UNLIKE, quality, measures, looked.place)
        outputs, lungs = looked.outputs, looked.lungs
        decision = decide(outputs.logit, self.operating_point)
        if lungs is not None and lungs.is_half and decision is not Decision.PNEUMONIA_SUSPECTED:
            return self._refused(ONE_LUNG, quality, measures)
        return ScreeningResult(
            decision=decision,
            reason=None,
            message="",
            raw_score=outputs.logit,
            probability=self.calibration.probability(outputs.logit),
            subtype_logit=outputs.subtype_logit,
            operating_point=self.operating_point.name,
            quality=quality,
            measures=measures,
            model_id=manifest.model_id,
            model_sha256=self.runtime.model.sha256,
            runtime=self.runtime.name,
            lungs=lungs,
            frame=looked.frame,
            infer_ms=infer_ms,
            activation_map=outputs.activation_map,
            embedding=outputs.embedding,
            seen=looked.seen,
        )

    def _look(self, pixels: Pixels) -> "_Looked":
        """Both looks and the gate's judgement, as if the greys were right."""
        manifest, locator = self.bundle.manifest, self.bundle.manifest.locator
        lungs, frame, quality = None, WHOLE, dict[str, bool]()
        if locator is not None:
            found = look(pixels, self.runtime, locator)
            pixels, lungs = found.pixels, found.lungs
            quality = self._flags(lungs)
            if found.refusal is not None:
                return _Looked(quality, lungs, frame, found.refusal)
            assert lungs is not None
            frame = lung_frame(lungs.box, locator.margin)
            quality["enlarged"] = _is_enlarged(pixels.shape, frame, manifest.preprocess)
        # `preprocess`, step by step: the contrast is judged by the range that it finds anyway.
        resized = resize(pixels, manifest.preprocess, None if locator is None else frame)
        found_range = grey_range(resized, manifest.preprocess)
        refusal = find_contrast_refusal(*found_range)
        if refusal is not None:
            return _Looked(quality, lungs, frame, refusal)
        seen = to_input(resized, manifest.preprocess, found_range)
        outputs = self.runtime.run(seen)
        if self.gate is None or lungs is None or outputs.embedding is None:
            return _Looked(quality, lungs, frame, None, outputs, seen=seen)
        features = gate_features(lungs.logits, lungs.box, seen, outputs.embedding)
        if self.gate.is_inverted(features):
            return _Looked(quality, lungs, frame, UNLIKE, inverted=True)
        shape = lungs_in_box(lungs.logits, lungs.box)
        measures = measure_quality(shape, lungs.box, seen, pixels.shape)
        quality |= quality_of(measures, self.gate.fit.usual)
        deviations = self.gate.deviations(features)
        distance = joined(deviations)
        measures |= {f"unlike_{name}": deviation for name, deviation in deviations.items()}
        measures["unlike"] = distance
        refusal = find_picture_refusal(measures)
        if refusal is None and distance > self.gate.fit.most_distance:
            refusal = UNLIKE
        return _Looked(quality, lungs, frame, refusal, outputs, seen=seen, measures=measures)

    def _flags(self, lungs: Lungs | None) -> dict[str, bool]:
        """What the first look says; the gate's flags, as long as it has not looked, are not set."""
        flags = {
            "turned_upright": lungs is not None and lungs.quarter_turns > 0,
            "touches_edge": lungs is not None and bool(lungs.touched),
        }
        if self.gate is not None:
            flags |= dict.fromkeys(("greys_inverted", *FLAGS), False)
        return flags

    def _refused(
        self,
        refusal: Refusal,
        quality: Mapping[str, bool],
        measures: Mapping[str, float],
        lungs: Lungs | None = None,
    ) -> ScreeningResult:
        return ScreeningResult(
            decision=Decision.NOT_ASSESSABLE,
            reason=refusal.reason,
            message=refusal.message,
            raw_score=None,
            probability=None,
            subtype_logit=None,
            operating_point=self.operating_point.name,
            quality=quality,
            measures=measures,
            model_id=self.bundle.manifest.model_id,
            model_sha256=self.runtime.model.sha256,
            runtime=self.runtime.name,
            lungs=lungs,
            frame=None,
            infer_ms=None,
            activation_map=None,
            embedding=None,
            seen=None,
        )


def _negative(radiograph: Radiograph) -> Pixels:
    pixels: npt.NDArray[Any] = radiograph.pixels
    return cast(Pixels, pixels.dtype.type(radiograph.max_value) - pixels)


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """What both looks made of a picture; `outputs` are None where it was refused before."""

    quality: dict[str, bool]
    lungs: Lungs | None
    frame: Frame
    refusal: Refusal | None
    outputs: RawOutputs | None = None
    inverted: bool = False
    seen: npt.NDArray[np.uint8] | None = None
    measures: dict[str, float] = field(default_factory=dict)

    @property
    def place(self) -> Lungs | None:
        """The lungs where a refusal leaves no doubt about where they are."""
        doubtful = self.refusal is not None and self.refusal.reason not in _LUNGS_ARE_SURE
        return None if doubtful else self.lungs


_LUNGS_ARE_SURE = (
    Reason.LUNGS_CUT_OFF,
    Reason.NO_CONTRAST,
    Reason.OVER_EXPOSED,
    Reason.UNDER_EXPOSED,
)


def _is_enlarged(shape: tuple[int, ...], frame: Frame, spec: PreprocessSpec) -> bool:
    """Whether the frame holds fewer pixels than the reader's input."""
    return frame.height * shape[0] < spec.height or frame.width * shape[1] < spec.width


def decide(raw_score: float, point: OperatingPoint) -> Decision:
    """Read a raw score against the cut-offs; a score that equals `refer_high` is suspected."""
    if raw_score >= point.refer_high:
        return Decision.PNEUMONIA_SUSPECTED
    if raw_score < point.refer_low:
        return Decision.NO_PNEUMONIA_SEEN
    return Decision.INDETERMINATE
