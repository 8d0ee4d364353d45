"""What a bundle cannot show: it stops a release, and a research bundle names it.

An error of a check enters; it is raised, or becomes a line of `research.json`.
"""

from dataclasses import dataclass, field

from export.errors import ExportError


@dataclass(slots=True)
class Shortfalls:
    """The checks that may fail in a research bundle.

    Attributes:
        accepted: it is to be a research bundle.
        lacks: what could not be shown so far.
    """

    accepted: bool
    lacks: list[str] = field(default_factory=list)

    def note(self, error: ExportError) -> None:
        """Take a failed check down.

        Raises:
            ExportError: the same one, where the bundle is to be a release.
        """
        if not self.accepted:
            raise error
        text = " ".join(str(error).split())
        if text not in self.lacks:
            self.lacks.append(text)
