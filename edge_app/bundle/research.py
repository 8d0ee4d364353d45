"""Research bundles: what a small site's bundle lacks of what a release must show.

`research.json` of a bundle enters, sentences leave. A bundle that has this file carries a model id
that begins with "research-", so that each row of its results says so, and the other way round.
"""

from dataclasses import dataclass

from edge_app.errors import BundleFormatError
from edge_app.files.codec import CodecError, canonical_json, decode, parse_json

RESEARCH_FILE = "research.json"
RESEARCH_PREFIX = "research-"


@dataclass(frozen=True, slots=True)
class Research:
    """`research.json`: what could not be shown of this model, each in a few words."""

    lacks: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises ValueError where it lacks nothing: then it is no research bundle."""
        if not self.lacks or not all(text.strip() for text in self.lacks):
            raise ValueError("lacks: a research bundle names what it lacks")

    @classmethod
    def from_json(cls, content: bytes) -> "Research":
        """Read the file's bytes.

        Raises:
            BundleFormatError: they do not fit.
        """
        try:
            return decode(cls, parse_json(content))
        except CodecError as error:
            raise BundleFormatError(f"{RESEARCH_FILE}: {error}") from error

    def to_json(self) -> bytes:
        """The bytes of the file."""
        return canonical_json(self)
