"""What the report calls things, in plain English for health workers."""

from collections.abc import Iterator, Mapping

from edge_app.decision import Decision, Reason, Status
from edge_app.results.rows import ResultRow
from edge_app.screening.flaws import show_flag

# In the order of urgency: what to look at first.
KINDS = ("suspected", "indeterminate", "unscreened", "clear")
NAMES = {
    "suspected": "Pneumonia suspected",
    "indeterminate": "Indeterminate: refer",
    "unscreened": "Not screened",
    "clear": "No pneumonia seen",
}
MARKS = {"suspected": "▲", "indeterminate": "◆", "unscreened": "■", "clear": "○"}
_BY_DECISION = {
    Decision.PNEUMONIA_SUSPECTED: "suspected",
    Decision.INDETERMINATE: "indeterminate",
    Decision.NO_PNEUMONIA_SEEN: "clear",
}

REASONS = {
    Reason.UNREADABLE: "damaged, or no picture",
    Reason.UNSUPPORTED_DICOM: "DICOM of a kind that is not read",
    Reason.INTERNAL_ERROR: "an error of the program",
    Reason.DECODER_CRASHED: "damaged: its decoder crashed",
    Reason.TIMED_OUT: "took too long to read",
    Reason.TOO_SMALL: "picture too small",
    Reason.NO_CONTRAST: "blank or without contrast",
    Reason.COLOUR_PICTURE: "a picture in colour",
    Reason.SCREEN_COPY: "a copy of a screen or a page",
    Reason.NOT_CHEST_RADIOGRAPH: "not a chest X-ray",
    Reason.VIEW_NOT_VALIDATED: "not a frontal view",
    Reason.NOT_FOR_PRESENTATION: "raw detector data",
    Reason.OUTSIDE_VALIDATED_POPULATION: "age or view that the model was not validated on",
    Reason.LUNGS_NOT_FOUND: "lungs not found",
    Reason.LUNGS_CUT_OFF: "lungs cut off at the edge",
    Reason.OVER_EXPOSED: "over-exposed, lungs burnt out",
    Reason.UNDER_EXPOSED: "under-exposed, burnt out to white",
    Reason.UNLIKE_VALIDATED_FILMS: "unlike the films the model knows",
    Reason.ROTATED: "which way up is not clear",
}

# What the flags of a row say; see `screening.refusals.quality_flags`. Age and view are unknown of
# whole folders at once, so they are said once, at the top.
FLAGS = {
    "outside_population": "OUTSIDE THE VALIDATED POPULATION",
    "age_contradicted": "age contradicts the date of birth",
    "enlarged": "few pixels, enlarged",
    "turned_upright": "was turned, put upright",
    "touches_edge": "lungs reach the edge",
    "greys_inverted": "was a negative, greys put right",
    "tilted": "lies tilted",
    "patient_rotated": "patient rotated, or one lung small",
    "poor_inspiration": "poor inspiration",
    "low_penetration": "little contrast between lungs and the rest",
    "high_penetration": "strong contrast between lungs and the rest",
    "blurred": "blurred",
    "foreign_object": "something very bright in the lungs",
    "clipped": "much of it fully black or white",
    "over_exposed": "over-exposed",
    "under_exposed": "under-exposed",
    "in_colour": "partly in colour",
    "text_on_picture": "text on the picture",
}
# The same for one picture: a sentence each.
FLAG_SENTENCES = {
    "age_unknown": "Nobody checked the patient's age. The answer holds for validated ages only.",
    "view_unknown": "Nobody checked the projection. The answer holds for the validated view only.",
    "outside_population": "The model was not validated on this age or view.",
    "greys_inverted": "The picture was a photographic negative, and its greys were put right.",
    "tilted": "The lungs lie tilted in the picture.",
    "patient_rotated": "One lung is much smaller: the patient is rotated, or it is white.",
    "poor_inspiration": "The lungs are low: little air was breathed in, or it is squashed.",
    "enlarged": "The lungs have fewer pixels than the network looks at. Send the original picture.",
    "turned_upright": "The picture lay on its side or its head, and was put upright.",
    "touches_edge": "The lungs reach the edge of the picture. A part of them may be missing.",
    "age_contradicted": "PatientAge and the date of birth contradict each other.",
    "low_penetration": "The lungs hardly stand out from the rest. The exposure may be too low.",
    "high_penetration": "The lungs stand out more than usual. The exposure may be too high.",
    "blurred": "The picture is less sharp than usual. The patient may have moved.",
    "foreign_object": "Something very bright lies in or over the lungs.",
    "clipped": "Many points are fully black or white: greys were cut off.",
    "over_exposed": "A part of the lungs is plain black: too much exposure, or a narrow window.",
    "under_exposed": "Much beside the lungs is plain white: little exposure, or a narrow window.",
    "in_colour": "A part of the picture is in colour. Something was drawn or laid over the film.",
    "text_on_picture": "Much text lies on the picture. A copy of a screen has lost greys.",
}
# What the numbers of a picture measure; see `screening.quality` and `screening.picture_checks`.
MEASURES = {
    "tilt_degrees": "Tilt of the lungs",
    "lungs_unequal": "Area of the lung on the left to the other's",
    "lungs_height": "Height of the lungs' box over its width",
    "contrast": "Grey beside the lungs less grey in them",
    "sharpness": "Sharpness",
    "bright_in_lungs": "Brightest grey in the lungs",
    "clipped": "Points fully black or white",
    "black_in_lungs": "Lungs that are plain black",
    "white_beside_lungs": "Plain white beside the lungs",
    "colour": "Points in colour",
    "text": "Rows that run through text",
}
OF_THE_WHOLE = ("age_unknown", "view_unknown")


def kind_of(row: ResultRow) -> str:
    """Which of the report's four answers a row is."""
    return _BY_DECISION[row.decision] if row.status is Status.SCORED else "unscreened"


def priority(row: ResultRow) -> int:
    """1 is to be looked at first, 4 last."""
    return KINDS.index(kind_of(row)) + 1


def reason_words(reason: Reason) -> str:
    """A reason as people say it."""
    return REASONS.get(reason, plain(reason.value))


def remarks(row: ResultRow) -> str:
    """What the table says beside an answer: why there is none, or the flags that are set."""
    if row.reason is not None:
        return f"{reason_words(row.reason)}: {row.message}"
    return ", ".join(flag_words(row.quality, row.measures))


def flag_words(quality: Mapping[str, bool], measures: Mapping[str, float]) -> Iterator[str]:
    """The flags of one picture that are set, in words, each with its number where it has one."""
    for name, is_set in sorted(quality.items()):
        if is_set and name not in OF_THE_WHOLE:
            words, number = FLAGS.get(name, plain(name)), show_flag(name, measures)
            yield f"{words} ({number})" if number else words


def plain(code: str) -> str:
    """A code as words."""
    return code.replace("_", " ")
