"""`report.html` in a real Chromium: ten thousand rows on a phone, on wider screens and on paper.

Needs Debian's `chromium` (or the one that PNEUMOSCOPE_CHROMIUM names) and the package playwright.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from edge_app.results.folder import RunFolder
from edge_app.results.rows import encode_row, read_results
from edge_app.runs.batch import BatchPlan, run_batch
from edge_app.runs.rederived import derive_again
from edge_app.runs.scoring_run import RunOptions
from tests.test_batch import write_ward

CHROMIUM = os.environ.get("PNEUMOSCOPE_CHROMIUM") or shutil.which("chromium") or ""
if not CHROMIUM or find_spec("playwright") is None:
    pytest.skip("needs chromium and the package playwright", allow_module_level=True)

ROWS = 10_000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run over a ward, its rows repeated under other names."""
    from tests.tiny_bundle import write_tiny_bundle

    folder = tmp_path_factory.mktemp("ward")
    ward, out = write_ward(folder / "ward"), RunFolder(folder / "out")
    bundle = write_tiny_bundle(folder / "bundle")
    run_batch(BatchPlan((ward,), out.path, options=RunOptions(bundle=bundle)))
    _, rows = read_results(out.results)
    found = list(rows)
    with out.results.open("ab") as stream:
        for number in range(ROWS - len(found)):
            row = found[number % len(found)]
            stream.write(encode_row(replace(row, file=f"ward {number:05}/{row.file}")))
    derive_again(out, bundle, ("html",), lambda text: None)
    return out.report


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, report: Path, width: int, height: int) -> tuple[Any, list[str]]:
    """The page at a size, and the errors of its script as they come."""
    # The page's policy would stop the questions that playwright asks of it.
    context = browser.new_context(
        viewport={"width": width, "height": height}, is_mobile=width < 600, bypass_csp=True
    )
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(report.as_uri())
    return page, faults


def top_of(page: Any, selector: str) -> float:
    """How far below the screen's upper edge something begins, in screens."""
    box = page.locator(selector).first.bounding_box()
    return float(box["y"] / page.viewport_size["height"])


@pytest.mark.parametrize(("width", "height"), [(360, 740), (768, 1024), (1280, 800)])
def test_the_first_film_is_found_at_once_and_nothing_lies_beside_the_screen(
    browser: Any, report: Path, width: int, height: int
) -> None:
    page, faults = opened(browser, report, width, height)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert top_of(page, ".lead a") < 0.3
    assert top_of(page, "figure") < 1.7  # with every warning that there is
    page.click(".lead a")
    assert -0.01 <= top_of(page, "#worklist") < 0.01
    page.click("figure button.open")
    assert page.locator("dialog[open] img").first.bounding_box()["width"] > 0.25 * width
    page.keyboard.press("Escape")
    assert faults == []


def test_ten_thousand_rows_can_be_searched_and_leafed_through_on_a_phone(
    browser: Any, report: Path
) -> None:
    page, faults = opened(browser, report, 360, 740)
    status = page.locator("#status")
    assert status.inner_text().startswith("10,000 of 10,000 rows; page 1 of 200")
    assert page.locator("#body tr").count() == 50
    page.click("#next")
    assert "page 2 of 200" in status.inner_text()
    page.fill("#search", "00042/")
    page.wait_for_function("document.getElementById('status').textContent.startsWith('1 of')")
    assert "ward 00042/" in page.locator("#body tr").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert faults == []


def test_on_paper_names_are_whole_and_the_links_of_the_screen_are_gone(
    browser: Any, report: Path
) -> None:
    page, _ = opened(browser, report, 720, 1000)
    name = page.locator("figure .name b").first
    page.emulate_media(media="print")
    assert name.evaluate("node => getComputedStyle(node).whiteSpace") == "normal"
    assert not page.locator(".lead").is_visible()
    assert not page.locator(".controls").is_visible()
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert 3 < pages < 60  # of the table, the first rows only
