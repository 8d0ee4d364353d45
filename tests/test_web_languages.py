"""The translations: every key in every language, with the same values to fill in."""

import re
from pathlib import Path

import pytest

from edge_app.decision import Reason
from edge_app.record.accounts import Role
from edge_app.record.studies import Basis, Label, Sex
from edge_app.report.words import FLAG_SENTENCES
from edge_app.web.answers import CLASSES
from edge_app.web.languages import CODES, DEFAULT, choose, language
from tests.conftest import REPOSITORY

ENGLISH = language(DEFAULT).words
WEB = REPOSITORY / "edge_app" / "web"


@pytest.mark.parametrize("code", CODES)
def test_every_word_is_there_with_its_values(code: str) -> None:
    words = language(code).words
    assert set(words) == set(ENGLISH)
    for key, text in words.items():
        assert text.strip(), key
        assert sorted(re.findall(r"{\w*}", text)) == sorted(re.findall(r"{\w*}", ENGLISH[key])), key


@pytest.mark.parametrize("code", CODES)
def test_no_translation_was_left_in_english(code: str) -> None:
    """Few words are the same in two languages; whole sentences never are."""
    if code == DEFAULT:
        return
    words = language(code).words
    assert [key for key in words if words[key] == ENGLISH[key] and " " in words[key]] == []
    assert language(code).by_machine


def test_every_file_is_a_language_that_is_offered() -> None:
    assert {path.stem for path in (WEB / "languages").iterdir()} == set(CODES)


def test_what_the_pages_ask_for_is_there() -> None:
    asked = set()
    for path in (WEB / "templates").iterdir():
        asked |= set(re.findall(r'\bt\("(\w+)"[,)]', path.read_text(encoding="utf-8")))
    families = {
        "decision_": CLASSES.values(),
        "do_": CLASSES.values(),
        "label_": Label,
        "basis_": Basis,
        "sex_": Sex,
        "role_": Role,
        "reason_": Reason,
        "reason_do_": Reason,
        "flag_": (*FLAG_SENTENCES, "photograph"),
        "flag_do_": (*FLAG_SENTENCES, "photograph"),
    }
    asked |= {f"{family}{member}" for family, members in families.items() for member in members}
    assert asked - set(ENGLISH) == set()


def test_no_word_is_left_that_nobody_asks_for() -> None:
    scripts = [WEB / "answers.py", WEB / "pages.py", WEB / "phone" / "phone.js"]
    sources = [*(WEB / "templates").iterdir(), *scripts]
    text = "".join(Path(path).read_text(encoding="utf-8") for path in sources)
    families = ("decision_", "do_", "label_", "basis_", "sex_", "role_", "reason_", "flag_")
    alone = [key for key in ENGLISH if not key.startswith((*families, "error_"))]
    # What a browser alone cannot read is named by its code.
    text += (WEB / "phone" / "picture.js").read_text(encoding="utf-8")
    assert [key for key in alone if f'"{key}"' not in text] == []


@pytest.mark.parametrize(
    ("wanted", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "sw-KE,sw;q=0.9,en;q=0.8", "sw"),
        (None, "de,*;q=0.5", "en"),
        ("zh", "fr", "zh"),
        ("../../etc", "pt-BR", "pt"),
    ],
)
def test_a_language_is_chosen(wanted: str | None, accepted: str, code: str) -> None:
    assert choose(wanted, accepted).code == code
