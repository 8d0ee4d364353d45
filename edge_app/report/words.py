"""What the report calls things, in plain English for health workers."""

from edge_app.decision import Decision, Reason, Status
from edge_app.results.rows import ResultRow

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
    Reason.NOT_CHEST_RADIOGRAPH: "not a chest X-ray",
    Reason.VIEW_NOT_VALIDATED: "not a frontal view",
    Reason.NOT_FOR_PRESENTATION: "raw detector data",
    Reason.OUTSIDE_VALIDATED_POPULATION: "age or view that the model was not validated on",
    Reason.LUNGS_NOT_FOUND: "lungs not found",
    Reason.LUNGS_CUT_OFF: "lungs cut off at the edge",
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
    "clipped": "over- or under-exposed",
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
    "clipped": "Many points are fully black or white: the film is over- or under-exposed.",
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
    flags = (name for name, is_set in sorted(row.quality.items()) if is_set)
    return ", ".join(FLAGS.get(name, plain(name)) for name in flags if name not in OF_THE_WHOLE)


def plain(code: str) -> str:
    """A code as words."""
    return code.replace("_", " ")
