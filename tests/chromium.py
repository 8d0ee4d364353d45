"""A real Chromium to look at the pages with; skips without one.

Needs Debian's `chromium` (or the one that PNEUMOSCOPE_CHROMIUM names) and the package playwright.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("PNEUMOSCOPE_CHROMIUM") or shutil.which("chromium") or ""
if not CHROMIUM or find_spec("playwright") is None:
    pytest.skip("needs chromium and the package playwright", allow_module_level=True)

_RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"


@contextmanager
def chromium() -> Iterator[Any]:
    """An open browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def axe_script() -> str:
    """axe-core; skips where its package is absent. Its page must be opened with `bypass_csp`."""
    if find_spec("axe_playwright_python") is None:
        pytest.skip("axe-core comes with the package axe-playwright-python, absent here")
    import axe_playwright_python

    folder = Path(axe_playwright_python.__file__).parent
    return next(folder.rglob("axe.min.js")).read_text(encoding="utf-8")


def require_accessible(page: Any, axe: str) -> None:
    """Nothing reaches over the edge, and axe-core finds no violation of WCAG 2.2 AA."""
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wide), page.url
    page.evaluate(axe)
    found = page.evaluate(
        f"axe.run({{runOnly: {_RULES}}}).then(result => result.violations.map("
        "one => one.id + ': ' + one.nodes.map(node => node.html).join(' ')))"
    )
    assert found == [], page.url
