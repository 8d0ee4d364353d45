"""Every reason why there is no answer: an example in the tests, what to do in the documents."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from edge_app.bundle.load import load_bundle
from edge_app.decision import Reason
from edge_app.report.words import REASONS
from edge_app.screening.score_file import score_file
from edge_app.screening.screener import Screener
from tests.conftest import REPOSITORY
from tests.dicom_files import phantom_dataset

# | `code` | threshold, and where it is from | what to do | example in the tests |
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def documented() -> dict[str, tuple[str, str]]:
    """What to do, and the tests with an example, of each reason in docs/gate.md."""
    text = (REPOSITORY / "docs" / "gate.md").read_text("utf-8")
    section = text.partition("## Reasons")[2].partition("\n## ")[0]
    return {code: (to_do.strip(), tests) for code, _, to_do, tests in _ROW.findall(section)}


@cache
def sources() -> dict[str, str]:
    """The source of every test, what it is parametrized with included, by its name."""
    found = {}
    for path in (REPOSITORY / "tests").glob("test_*.py"):
        text = path.read_text("utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
    return found


def test_every_reason_is_documented_and_has_words() -> None:
    assert set(documented()) == {reason.value for reason in Reason}
    assert set(REASONS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_an_example_and_says_what_to_do(reason: Reason) -> None:
    to_do, tests = documented()[reason.value]
    assert len(to_do.split()) > 2
    names = re.findall(r"`(test_\w+)`", tests)
    named = (f"Reason.{reason.name}", f'"{reason.value}"')
    assert any(name in sources()[test] for test in names for name in named), names


def test_a_dicom_without_one_picture_is_not_read(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    dataset = phantom_dataset("1.2.3")
    dataset.NumberOfFrames = 2
    dataset.PixelData *= 2
    dataset.save_as(tmp_path / "two.dcm", enforce_file_format=True)
    row = score_file(Screener(load_bundle(tiny_bundle_folder)), tmp_path / "two.dcm", "two.dcm")
    assert row.reason is Reason.UNSUPPORTED_DICOM
