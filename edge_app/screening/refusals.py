"""May this picture be screened? What speaks against it, before any network has seen it.

A `Radiograph` enters, and then the grey range that preprocessing found; a `Refusal` or the quality
flags leave. What a DICOM header says is believed; whether a picture shows a chest at all is the
locator's and the input gate's question, whom the model was validated on that of `population`.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from edge_app.decision import Reason
from edge_app.images.preprocess import PreprocessSpec
from edge_app.images.radiograph import DicomFacts, Radiograph

# The network looks at about 200 pixels a side; below two thirds of that most of what it would
# see is made up by interpolation. Thumbnails of worklists and web pages lie below.
MIN_SIDE_PIXELS = 128
# Fewer grey levels than this between the darkest and brightest tissue are noise or a blank film.
MIN_GREY_LEVELS = 8
# Two ages of one patient differ by so much through rounding and dates.
_AGE_TOLERANCE_YEARS = 1.5

# PS3.3 C.7.3.1.1.1: computed and digital radiography, radiographic imaging of older equipment,
# other and secondary captures (film digitizers).
_RADIOGRAPHIC_MODALITIES = frozenset({"", "CR", "DX", "RG", "OT", "SC"})
# What is not a radiograph is named only where it is one of these, since anything may stand there.
_OTHER_MODALITIES = frozenset("CT MR US NM PT XA RF MG IO PX DR ES XC OP OPT SM SR PR KO".split())
# As the decoder has it from any element that tells a view, and as vendors write a ViewPosition.
_OTHER_VIEWS = frozenset({"LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT", "OBLIQUE"}) | frozenset(
    {"LEFTLATERAL", "RIGHTLATERAL", "LAO", "RAO", "LPO", "RPO", "LLO", "RLO"}
)
# PS3.16 Annex L, without what contains a chest. Vendors write hundreds of other texts: only
# those known to be elsewhere are refused.
_OTHER_BODY_PARTS = frozenset(
    """ABDOMEN ABDOMENPELVIS ANKLE ARM BREAST CALCANEUS CERVICALSPINE CLAVICLE COCCYX CSPINE ELBOW
    EXTREMITY EYE FACE FACIALBONES FEMUR FINGER FOOT FOREARM HAND HEAD HIP HUMERUS JAW KNEE LEG
    LOWERLEG LSPINE LUMBARSPINE MANDIBLE MAXILLA NECK ORBIT PATELLA PELVIS SACRUM SCAPULA SHOULDER
    SINUS SKULL SPINE SSPINE TEETH THIGH THORACICSPINE THUMB TIBIA TIBIAFIBULA TOE TSPINE UPPERARM
    WRIST ZYGOMA""".split()
)
_CHEST_WORDS = frozenset({"CHEST", "THORAX", "LUNG", "LUNGS", "CXR"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a picture is not scored: a code for machines, a sentence for people."""

    reason: Reason
    message: str


UNLIKE = Refusal(
    Reason.UNLIKE_VALIDATED_FILMS,
    "this does not look like the frontal chest films that the model was tried on: check that it is "
    "one, of one patient, whole and not edited; if it is, have it read by a person",
)


def find_refusal(radiograph: Radiograph) -> Refusal | None:
    """The first reason in header or size not to score a picture, None where there is none."""
    facts = radiograph.dicom
    if facts is not None:
        refusal = _wrong_object(facts)
        if refusal is not None:
            return refusal
    # The stored size, since a JPEG may have been decoded at a reduced scale.
    return find_size_refusal(*radiograph.original_size)


def find_contrast_refusal(low: float, high: float) -> Refusal | None:
    """A reason not to score a picture whose `grey_range` is this, None where there is none.

    The range is that of the reduced picture, in source units: noise, which the reduction averages
    away, makes no picture of a blank film.
    """
    if high - low >= MIN_GREY_LEVELS:
        return None
    return Refusal(
        Reason.NO_CONTRAST,
        f"{high - low:.3g} grey levels between dark and bright; "
        f"at least {MIN_GREY_LEVELS} are needed",
    )


def quality_flags(
    radiograph: Radiograph, spec: PreprocessSpec, *, age_stated: bool, view_stated: bool
) -> dict[str, bool]:
    """What a reader of the score should know; every flag here is always present.

    The screener adds `outside_population` (the answer was asked for all the same), the first look
    `turned_upright` and `touches_edge`, the input gate `greys_inverted` and the flags of
    `screening.quality`, once they have looked.

    - `age_unknown`: nobody said the patient's age, so nobody checked it.
    - `age_contradicted`: PatientAge is another one than the date of birth gives.
    - `view_unknown`: nobody said the projection.
    - `enlarged`: the picture is smaller than the network's input.
    """
    facts = radiograph.dicom
    view = "" if facts is None else facts.view_position
    height, width = radiograph.pixels.shape
    return {
        "age_unknown": not age_stated and (facts is None or facts.patient_age_years is None),
        "age_contradicted": facts is not None
        and ages_contradict(facts.patient_age_years, facts.age_by_birth_years),
        "view_unknown": not view_stated and not view,
        "enlarged": height < spec.height or width < spec.width,
    }


def _wrong_object(facts: DicomFacts) -> Refusal | None:
    if facts.modality not in _RADIOGRAPHIC_MODALITIES:
        modality = f" {facts.modality}" if facts.modality in _OTHER_MODALITIES else ""
        return Refusal(
            Reason.NOT_CHEST_RADIOGRAPH, f"Modality{modality} is no projection radiograph"
        )
    part = _other_body_part(facts.body_part)
    if part:
        return Refusal(Reason.NOT_CHEST_RADIOGRAPH, f"the header says {part}, not the chest")
    if facts.presentation_intent == "FOR PROCESSING":
        return Refusal(
            Reason.NOT_FOR_PRESENTATION,
            "raw detector values (FOR PROCESSING); send the picture that is FOR PRESENTATION",
        )
    view = _letters(facts.view_position)
    if view in _OTHER_VIEWS:
        return Refusal(
            Reason.VIEW_NOT_VALIDATED, f"the header says {view}: the model knows frontal views only"
        )
    return None


def _other_body_part(text: str) -> str:
    """The part of the body that a text names, other than the chest; empty where it names none."""
    words = [_singular(word) for word in re.findall(r"[A-Z]+", text.upper())]
    if _CHEST_WORDS & set(words):
        return ""
    # "L SPINE", "LOWER LEG", "PELVIS AP": one word or all of them, or two that belong together.
    pairs = [first + second for first, second in pairwise(words)]
    named = [_letters(text), *pairs, *words]
    return next((name for name in named if name in _OTHER_BODY_PARTS), "")


def _singular(word: str) -> str:
    """HANDS and FEET are as little a chest as one of them."""
    if word in _OTHER_BODY_PARTS:
        return word
    return "FOOT" if word == "FEET" else word.removesuffix("S")


def ages_contradict(stated: float | None, by_birth: float | None) -> bool:
    """Whether two ages of one patient, in years, cannot both be right."""
    if stated is None or by_birth is None:
        return False
    return abs(stated - by_birth) > _AGE_TOLERANCE_YEARS


def find_size_refusal(width: int, height: int) -> Refusal | None:
    """A reason not to score a picture of so many pixels, None where there is none."""
    if min(width, height) >= MIN_SIDE_PIXELS:
        return None
    return Refusal(
        Reason.TOO_SMALL,
        f"{width} x {height} pixels; at least {MIN_SIDE_PIXELS} a side are needed",
    )


def _letters(text: str) -> str:
    return re.sub(r"[^A-Z]", "", text.upper())
