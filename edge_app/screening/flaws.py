"""Which measure of a picture sets which flag; numbers in words for people. Measures nothing itself.

The usual ranges of the reader's frame and the lungs' outline belong to a model and stand in its
bundle. What a file is like before any network has seen it, and how much of it is burnt out, is the
same for all models: these limits stand here, with what they were chosen on (docs/gate.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flaw:
    """A measure, the flags that it sets, and what they say.

    Attributes:
        measure: its name.
        below, above: the flag that is set under or over the usual range, None where nothing is.
    """

    measure: str
    below: str | None
    above: str | None


# Of the bundle's ranges.
FLAWS = (
    Flaw("tilt_degrees", "tilted", "tilted"),
    Flaw("lungs_unequal", "patient_rotated", "patient_rotated"),
    Flaw("lungs_height", "poor_inspiration", None),
    Flaw("contrast", "low_penetration", "high_penetration"),
    Flaw("sharpness", "blurred", None),
    Flaw("bright_in_lungs", None, "foreign_object"),
    Flaw("clipped", None, "clipped"),
)
# Of the file, before any look.
FILE_FLAWS = (Flaw("colour", None, "in_colour"), Flaw("text", None, "text_on_picture"))
# Of what the reader saw.
EXPOSURE_FLAWS = (
    Flaw("black_in_lungs", None, "over_exposed"),
    Flaw("white_beside_lungs", None, "under_exposed"),
)

# From where on a flag is set. No film of the development sets is in colour (2,704 films, 622 of
# them stored as RGB), none shows more text than 0.078; 98% of them are burnt out less.
MOST_USUAL = {
    "colour": 0.002,
    "text": 0.08,
    "black_in_lungs": 0.03,
    "white_beside_lungs": 0.06,
}

_UNITS = {
    "tilt_degrees": "{:+.1f}°",
    "lungs_height": "{:.2f}",
    "sharpness": "{:.3f}",
}
_MEASURE_OF = {
    flag: flaw.measure
    for flaw in (*FLAWS, *FILE_FLAWS, *EXPOSURE_FLAWS)
    for flag in (flaw.below, flaw.above)
    if flag is not None
}


def flags_of(flaws: tuple[Flaw, ...]) -> tuple[str, ...]:
    """The names of the flags that these set, each once."""
    names = (name for flaw in flaws for name in (flaw.below, flaw.above) if name is not None)
    return tuple(dict.fromkeys(names))


def set_flags(
    flaws: tuple[Flaw, ...],
    measures: Mapping[str, float],
    usual: Mapping[str, tuple[float, float]],
) -> dict[str, bool]:
    """Which flags the measures set, given the usual range of each."""
    flags = dict.fromkeys(flags_of(flaws), False)
    for flaw in flaws:
        low, high = usual[flaw.measure]
        value = measures[flaw.measure]
        if value < low and flaw.below is not None:
            flags[flaw.below] = True
        if value > high and flaw.above is not None:
            flags[flaw.above] = True
    return flags


def own_ranges() -> dict[str, tuple[float, float]]:
    """The usual ranges that hold for every model."""
    return {name: (0.0, most) for name, most in MOST_USUAL.items()}


def show_measure(name: str, value: float) -> str:
    """A measure for people of any language: degrees, a ratio or a share in percent."""
    if name == "lungs_unequal":  # a logarithm of areas, which nobody reads
        ratio = f"{2.718281828459045 ** abs(value):.1f}"
        return f"{ratio} : 1" if value >= 0 else f"1 : {ratio}"
    if name.startswith("unlike"):
        return f"{value:.2f}"
    return _UNITS[name].format(value) if name in _UNITS else f"{100 * value:.1f}%"


def show_flag(flag: str, measures: Mapping[str, float]) -> str:
    """The number behind a flag, empty where it has none."""
    name = _MEASURE_OF.get(flag, "")
    return show_measure(name, measures[name]) if name in measures else ""
