"""The documentation that comes from the code says what the code says; links lead somewhere."""

import dataclasses
import re

import pytest

from tests import make_docs
from tests.conftest import REPOSITORY


def test_the_pages_that_are_made_from_the_code_are_not_stale() -> None:
    for name, text in make_docs.pages().items():
        path = make_docs.DOCS / name
        assert path.is_file(), f"docs/{name} is missing: run `make docs`"
        assert path.read_text(encoding="utf-8") == text, f"docs/{name} is stale: run `make docs`"


def test_every_option_and_every_key_has_its_row() -> None:
    """A reader of the page finds what `--help` and the dataclass have."""
    from edge_app.bundle.manifest import Locator
    from edge_app.results.rows import LungPlace

    pages = make_docs.pages()
    for text in ("`--operating-point NAME`", "`-o, --out OUT`", "### `pneumoscope model install`"):
        assert text in pages["cli.md"]
    for kind, page in ((Locator, "bundle-format.md"), (LungPlace, "results-format.md")):
        for field in dataclasses.fields(kind):
            assert f"| `{field.name}` |" in pages[page]


def test_a_docstring_s_attributes_stand_in_their_rows() -> None:
    @dataclasses.dataclass(frozen=True)
    class Place:
        """A place.

        Attributes:
            rows, columns: of the mask,
                in cells.
            name: what `people` call it: a word.
        """

        rows: int
        columns: int | None
        name: tuple[str, ...]

    page = make_docs._dataclass(Place)
    assert "A place.\n" in page
    assert "| `rows` | integer | of the mask, in cells. |" in page
    assert "| `columns` | integer or null | of the mask, in cells. |" in page
    assert "| `name` | list of text | what `people` call it: a word. |" in page


@pytest.mark.parametrize(
    "page",
    sorted(
        str(path.relative_to(REPOSITORY))
        for path in (*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"))
    ),
)
def test_links_lead_to_files_that_are_there(page: str) -> None:
    path = REPOSITORY / page
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{page} links to {target}"
