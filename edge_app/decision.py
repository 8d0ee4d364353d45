"""The words of an answer: what was decided, how probable it is, and why where nothing is said."""

from enum import StrEnum


class Decision(StrEnum):
    """The answer for one picture."""

    PNEUMONIA_SUSPECTED = "pneumonia_suspected"
    NO_PNEUMONIA_SEEN = "no_pneumonia_seen"
    INDETERMINATE = "indeterminate"  # between the two cut-offs: refer
    NOT_ASSESSABLE = "not_assessable"  # with a `Reason`


class Status(StrEnum):
    """What became of a file: a score, a refusal (an answer too), or a failure to read it."""

    SCORED = "scored"
    REFUSED = "refused"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a picture is not assessable.

    The first five belong to files that failed, the others to pictures that were refused.
    """

    UNREADABLE = "unreadable"
    UNSUPPORTED_DICOM = "unsupported_dicom"
    INTERNAL_ERROR = "internal_error"
    DECODER_CRASHED = "decoder_crashed"  # took its process down
    TIMED_OUT = "timed_out"  # given up after a bound
    TOO_SMALL = "too_small"
    NO_CONTRAST = "no_contrast"
    COLOUR_PICTURE = "colour_picture"
    SCREEN_COPY = "screen_copy"  # or a page with text
    NOT_CHEST_RADIOGRAPH = "not_chest_radiograph"
    VIEW_NOT_VALIDATED = "view_not_validated"
    NOT_FOR_PRESENTATION = "not_for_presentation"
    OUTSIDE_VALIDATED_POPULATION = "outside_validated_population"  # age or view
    LUNGS_NOT_FOUND = "lungs_not_found"
    LUNGS_CUT_OFF = "lungs_cut_off"
    OVER_EXPOSED = "over_exposed"
    UNDER_EXPOSED = "under_exposed"
    UNLIKE_VALIDATED_FILMS = "unlike_validated_films"
    ROTATED = "rotated"  # and it cannot be told how


# Why a film with one lung is read only where it is suspected: a live run and one that is rescored
# say it alike.
ONE_LUNG = (
    "only one lung was found, and a chest is not called clear by half of it; send a film with both "
    "lungs, or have it read by a person"
)


def show_probability(probability: float) -> str:
    """Three digits for people, and never a certainty: `> 0.999` instead of `1.000`."""
    text = f"{probability:.3f}"
    return {"1.000": "> 0.999", "0.000": "< 0.001"}.get(text, text)
