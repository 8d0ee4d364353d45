"""What the user says of all pictures of a run; no import, since who hands out files needs it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stated:
    """What the user says of all pictures of a run, beside what their headers say.

    Attributes:
        age_years: of the patients, None where nothing is stated.
        view: such as AP, empty where nothing is stated.
        accept_outside: whether pictures from outside of the validated population get an answer all
            the same, which then carries the flag `outside_population`.
    """

    age_years: float | None = None
    view: str = ""
    accept_outside: bool = False

    def parameters(self) -> dict[str, str | int | float | bool]:
        """What a run's header must hold of it: only what was stated."""
        said: dict[str, str | int | float | bool] = {}
        if self.age_years is not None:
            said["stated_age_years"] = round(self.age_years, 4)
        if self.view:
            said["stated_view"] = self.view
        if self.accept_outside:
            said["accept_outside_population"] = True
        return said


NOTHING_STATED = Stated()
