"""What an examination of the machine finds: one sentence, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it stands."""

    OK = "ok"
    ATTENTION = "attention"  # it works; somebody should act soon
    PROBLEM = "problem"  # it does not work, or answers may be wrong or lost
    UNKNOWN = "unknown"  # this machine does not tell


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the machine.

    Attributes:
        part: disk, clock, temperature, ...
        verdict: how it stands.
        found: in a sentence.
        advice: what to do, "" nothing.
    """

    part: str
    verdict: Verdict
    found: str
    advice: str = ""
