"""The words of the pages in each language: files that a translator can edit, `languages/fr.toml`.

A language's code enters, its words leave. A file has a table `[language]` (its own name, its
direction, and who translated it) and a table `[words]` with the same keys as `en.toml`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

DEFAULT = "en"
# In the order of the menu.
CODES = ("en", "fr", "sw", "es", "pt", "hi", "ar", "zh")


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    Attributes:
        code: as in `lang` of HTML.
        name: what its speakers call it.
        direction: of its writing.
        by_machine: whether nobody who speaks it has checked the words.
        words: by key.
    """

    code: str
    name: str
    direction: Literal["ltr", "rtl"]
    by_machine: bool
    words: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key with values filled in."""
        return self.words[key].format_map(values) if values else self.words[key]

    def of(self, *beginnings: str) -> dict[str, str]:
        """The words whose keys begin so, for a script."""
        return {key: text for key, text in self.words.items() if key.startswith(beginnings)}

    def has(self, key: str) -> bool:
        """Whether there are words for a key."""
        return key in self.words


@cache
def language(code: str) -> Language:
    """A language by its code; raises KeyError where there is none."""
    if code not in CODES:
        raise KeyError(code)
    path = files("edge_app") / "web" / "languages" / f"{code}.toml"
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    about, words = document["language"], document["words"]
    return Language(
        code, about["name"], about["direction"], about["translated_by"] == "machine", words
    )


def choose(wanted: str | None, accepted: str) -> Language:
    """The language that was chosen before, else the first that the browser accepts.

    Args:
        wanted: a code, None where none was chosen.
        accepted: the header Accept-Language (RFC 9110, 12.5.4); its weights are not looked at,
            since browsers send their list in order.
    """
    if wanted in CODES:
        return language(wanted)
    for part in accepted.split(","):
        code = part.partition(";")[0].strip().partition("-")[0].lower()
        if code in CODES:
            return language(code)
    return language(DEFAULT)
