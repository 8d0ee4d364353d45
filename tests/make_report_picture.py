"""`python -m tests.make_report_picture`: docs/report.png, the report of the examples in Chromium.

The examples are nobody's X-rays but one public sample: drawings; all are refused.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from edge_app.cli import main as pneumoscope
from tests.conftest import REPOSITORY

PICTURE = REPOSITORY / "docs" / "report.png"
WIDTH, HEIGHT = 1000, 960


def main() -> int:
    """Score the examples and take the picture."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        examples, out = Path(folder) / "examples", Path(folder) / "results"
        pneumoscope(["examples", str(examples)])
        pneumoscope(["batch", str(examples), "-o", str(out), "--quiet"])
        page = (out / "report.html").read_text(encoding="utf-8")
        # Where this machine keeps its temporary files is nobody's business.
        (out / "report.html").write_text(page.replace(f"{folder}/", "/home/clinic/"))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            shown.goto((out / "report.html").as_uri())
            shown.screenshot(path=Path(folder) / "report.png")
            browser.close()
        with Image.open(Path(folder) / "report.png") as picture:
            # 64 colours hold greys and the four tones, in a third of the bytes.
            picture.convert("RGB").quantize(64).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
